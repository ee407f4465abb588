-- Rule 5: several rows of one track and genre: the highest popularity wins, then the lowest duration, then the
-- smallest name; artists only make the choice the same every time. Rule 6: missing text is `Unknown`, a missing duration 0.
WITH named AS (
    SELECT
        track_id,
        COALESCE(track_genre, 'Unknown') AS genre,
        COALESCE(track_name, 'Unknown') AS song,
        COALESCE(artists, 'Unknown') AS artists,
        COALESCE(duration_ms, 0) AS duration_ms,
        COALESCE(popularity, -1) AS popularity
    FROM songs
),

ranked AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY track_id, genre
            ORDER BY popularity DESC, duration_ms ASC, song ASC, artists ASC
        ) AS choice
    FROM named
)

SELECT track_id, genre, song, artists, duration_ms
FROM ranked
WHERE choice = 1
