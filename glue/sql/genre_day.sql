-- Rule 4. Listeners are counted apart, since one listener may hear many tracks of a genre.
WITH listening AS (
    SELECT
        listen_date,
        genre,
        SUM(listen_count) AS listen_count,
        SUM(listen_count * duration_ms) AS total_listening_ms
    FROM track_genre_day
    GROUP BY listen_date, genre
),

listeners_of_genre AS (
    SELECT listen_date, genre, SUM(unique_listeners) AS unique_listeners
    FROM genre_listeners
    GROUP BY listen_date, genre
)

SELECT
    listening.listen_date,
    listening.genre,
    CAST(listening.listen_count AS BIGINT) AS listen_count,
    CAST(listeners_of_genre.unique_listeners AS BIGINT) AS unique_listeners,
    CAST(listening.total_listening_ms AS BIGINT) AS total_listening_ms
FROM listening
INNER JOIN listeners_of_genre
    ON listeners_of_genre.listen_date = listening.listen_date AND listeners_of_genre.genre = listening.genre
