-- Listens a day and track. Those of several buckets add up.
SELECT
    listen_date,
    track,
    COUNT(*) AS listen_count,
    COUNT(CASE WHEN is_new = 1 THEN 1 END) AS new_listens
FROM distinct_listens
GROUP BY listen_date, track
