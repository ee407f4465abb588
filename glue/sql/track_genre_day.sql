-- Rule 5: a track that is in several genres counts in each of them. Rule 6: one that is in none is its own song in
-- `Unknown`.
WITH track_day AS (
    SELECT listen_date, track_id, COUNT(*) AS listen_count
    FROM counted_listens
    GROUP BY listen_date, track_id
)

SELECT
    track_day.listen_date,
    COALESCE(catalogue.genre, 'Unknown') AS genre,
    track_day.track_id,
    COALESCE(catalogue.song, track_day.track_id) AS song,
    COALESCE(catalogue.artists, 'Unknown') AS artists,
    COALESCE(catalogue.duration_ms, 0) AS duration_ms,
    track_day.listen_count
FROM track_day
LEFT JOIN catalogue ON catalogue.track_id = track_day.track_id
