-- Listens a day and track. Those of several buckets add up.
SELECT
    listen_date,
    track,
    COUNT(*) AS listen_count,
    CAST(SUM(is_new) AS BIGINT) AS new_listens
FROM distinct_listens
GROUP BY listen_date, track
