-- How many listeners have how many listens on a day, and whether users has them. Rule 8: a listen of a user that users
-- does not have is counted. Those of several buckets add up.
WITH listens_of AS (
    SELECT
        listen_date,
        listener,
        COUNT(*) AS listen_count,
        COUNT(CASE WHEN is_new = 1 THEN 1 END) AS new_listens
    FROM distinct_listens
    GROUP BY listen_date, listener
)

SELECT
    listens_of.listen_date,
    listeners.is_known,
    listens_of.listen_count,
    COUNT(*) AS listener_count,
    CAST(SUM(listens_of.new_listens) AS BIGINT) AS new_listens
FROM listens_of
INNER JOIN listeners ON listeners.listener = listens_of.listener
GROUP BY listens_of.listen_date, listeners.is_known, listens_of.listen_count
