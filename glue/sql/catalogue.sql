-- The genres of the tracks that are heard, with the duration that counts there. Rule 5: of several rows of one track
-- and genre the highest popularity wins, then the lowest duration. Rule 6: missing text is `Unknown`, a missing
-- duration 0; a track that songs does not have is in `Unknown`, or in no genre by setting.
WITH named AS (
    SELECT
        tracks.track,
        COALESCE(songs.track_genre, 'Unknown') AS genre,
        COALESCE(songs.duration_ms, 0) AS duration_ms,
        COALESCE(songs.popularity, -1) AS popularity,
        CASE WHEN songs.track_id IS NULL THEN 0 ELSE 1 END AS is_known
    FROM tracks
    LEFT JOIN songs ON songs.track_id = tracks.track_id
),

ranked AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY track, genre ORDER BY popularity DESC, duration_ms ASC) AS choice
    FROM named
)

SELECT track, genre, duration_ms, is_known
FROM ranked
WHERE choice = 1 AND (is_known = 1 OR ${keep_unknown_tracks})
