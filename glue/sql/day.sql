-- A listen counts once a day, in however many genres its track is.
SELECT listen_date, COUNT(*) AS listen_count, COUNT(DISTINCT user_id) AS unique_listeners
FROM counted_listens
GROUP BY listen_date
