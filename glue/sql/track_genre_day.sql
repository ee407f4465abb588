-- Rule 5: a track that is in several genres counts in each of them.
WITH track_totals AS (
    SELECT listen_date, track, CAST(SUM(listen_count) AS BIGINT) AS listen_count
    FROM track_day
    GROUP BY listen_date, track
)

SELECT
    track_totals.listen_date,
    catalogue.genre,
    track_totals.track,
    track_totals.listen_count,
    catalogue.duration_ms
FROM track_totals
INNER JOIN catalogue ON catalogue.track = track_totals.track
