-- Rule 7: more listens first, then the smaller track_id.
WITH ranked AS (
    SELECT
        listen_date, genre, track_id, song, artists, listen_count,
        ROW_NUMBER() OVER (PARTITION BY listen_date, genre ORDER BY listen_count DESC, track_id ASC) AS rank
    FROM track_genre_day
)

SELECT listen_date, genre, rank, track_id, song, artists, listen_count
FROM ranked
WHERE rank <= 3
