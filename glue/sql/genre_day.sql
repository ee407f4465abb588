-- Rule 4. Listeners are counted from the listens themselves, since one listener may hear many tracks of a genre.
WITH listeners AS (
    SELECT
        counted_listens.listen_date,
        COALESCE(catalogue.genre, 'Unknown') AS genre,
        COUNT(DISTINCT counted_listens.user_id) AS unique_listeners
    FROM counted_listens
    LEFT JOIN catalogue ON catalogue.track_id = counted_listens.track_id
    GROUP BY counted_listens.listen_date, COALESCE(catalogue.genre, 'Unknown')
),

listening AS (
    SELECT
        listen_date,
        genre,
        SUM(listen_count) AS listen_count,
        SUM(listen_count * duration_ms) AS total_listening_ms
    FROM track_genre_day
    GROUP BY listen_date, genre
)

SELECT
    listening.listen_date,
    listening.genre,
    CAST(listening.listen_count AS BIGINT) AS listen_count,
    listeners.unique_listeners,
    CAST(listening.total_listening_ms AS BIGINT) AS total_listening_ms
FROM listening
INNER JOIN listeners ON listeners.listen_date = listening.listen_date AND listeners.genre = listening.genre
