-- Rule 7: more listens first, then the smaller track_id. Rule 5 chooses the name among the rows of track and genre, as
-- it does the duration, then the smallest name; artists only make the choice the same every time. Rule 6: a track that
-- songs does not have is its own song.
WITH ranked AS (
    SELECT
        listen_date, genre, track, listen_count,
        ROW_NUMBER() OVER (PARTITION BY listen_date, genre ORDER BY listen_count DESC, track ASC) AS rank
    FROM track_genre_day
),

top AS (
    SELECT ranked.listen_date, ranked.genre, ranked.rank, tracks.track_id, ranked.listen_count
    FROM ranked
    INNER JOIN tracks ON tracks.track = ranked.track
    WHERE ranked.rank <= 3
),

wanted AS (
    SELECT track_id, genre FROM top GROUP BY track_id, genre
),

named AS (
    SELECT
        wanted.track_id,
        wanted.genre,
        COALESCE(songs.track_name, 'Unknown') AS song,
        COALESCE(songs.artists, 'Unknown') AS artists,
        COALESCE(songs.duration_ms, 0) AS duration_ms,
        COALESCE(songs.popularity, -1) AS popularity
    FROM songs
    INNER JOIN wanted ON wanted.track_id = songs.track_id AND wanted.genre = COALESCE(songs.track_genre, 'Unknown')
),

chosen AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY track_id, genre
            ORDER BY popularity DESC, duration_ms ASC, song ASC, artists ASC
        ) AS choice
    FROM named
)

SELECT
    top.listen_date,
    top.genre,
    top.rank,
    top.track_id,
    COALESCE(chosen.song, top.track_id) AS song,
    COALESCE(chosen.artists, 'Unknown') AS artists,
    top.listen_count
FROM top
LEFT JOIN chosen ON chosen.track_id = top.track_id AND chosen.genre = top.genre AND chosen.choice = 1
