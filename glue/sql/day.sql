-- A listen counts once a day, in however many genres its track is.
WITH counted AS (
    SELECT listen_date, SUM(listen_count) AS listen_count
    FROM track_day
    WHERE EXISTS (SELECT 1 FROM catalogue WHERE catalogue.track = track_day.track)
    GROUP BY listen_date
),

listening AS (
    SELECT listen_date, SUM(unique_listeners) AS unique_listeners
    FROM day_listeners
    GROUP BY listen_date
)

SELECT
    counted.listen_date,
    CAST(counted.listen_count AS BIGINT) AS listen_count,
    CAST(listening.unique_listeners AS BIGINT) AS unique_listeners
FROM counted
INNER JOIN listening ON listening.listen_date = counted.listen_date
