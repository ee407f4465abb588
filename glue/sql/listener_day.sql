-- What a day's listeners come to. Rule 8: listens of users that users does not have are counted, and those that are new.
-- Those of several buckets add up, or the highest counts.
WITH listens_of AS (
    SELECT
        listen_date,
        listener,
        COUNT(*) AS listen_count,
        SUM(is_new) AS new_listens
    FROM distinct_listens
    GROUP BY listen_date, listener
)

SELECT
    listens_of.listen_date,
    MAX(listens_of.listen_count) AS most_listens,
    CAST(SUM(CASE WHEN listeners.is_known = 0 THEN listens_of.listen_count ELSE 0 END) AS BIGINT) AS unknown_user_listens,
    CAST(SUM(CASE WHEN listeners.is_known = 0 THEN listens_of.new_listens ELSE 0 END) AS BIGINT) AS new_unknown_user_listens
FROM listens_of
INNER JOIN listeners ON listeners.listener = listens_of.listener
GROUP BY listens_of.listen_date
