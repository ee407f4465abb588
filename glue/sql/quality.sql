-- What the checks of a day look at besides its KPIs. Of all its distinct listens, also those of tracks that do not count.
WITH known_tracks AS (
    SELECT track FROM catalogue WHERE is_known = 1 GROUP BY track
),

track_totals AS (
    SELECT listen_date, track, SUM(listen_count) AS listen_count
    FROM track_day
    GROUP BY listen_date, track
),

by_track AS (
    SELECT
        track_totals.listen_date,
        SUM(track_totals.listen_count) AS listens,
        SUM(CASE WHEN known_tracks.track IS NULL THEN track_totals.listen_count ELSE 0 END) AS unknown_track_listens,
        MAX(track_totals.listen_count) AS most_listens_of_a_track
    FROM track_totals
    LEFT JOIN known_tracks ON known_tracks.track = track_totals.track
    GROUP BY track_totals.listen_date
),

by_listener AS (
    SELECT
        listen_date,
        MAX(listen_count) AS most_listens_of_a_listener,
        SUM(CASE WHEN is_known = 0 THEN listen_count * listener_count ELSE 0 END) AS unknown_user_listens
    FROM listener_day
    GROUP BY listen_date
)

SELECT
    by_track.listen_date,
    CAST(by_track.listens AS BIGINT) AS listens,
    CAST(by_track.unknown_track_listens AS BIGINT) AS unknown_track_listens,
    CAST(by_listener.unknown_user_listens AS BIGINT) AS unknown_user_listens,
    CAST(by_track.most_listens_of_a_track AS BIGINT) AS most_listens_of_a_track,
    CAST(by_listener.most_listens_of_a_listener AS BIGINT) AS most_listens_of_a_listener
FROM by_track
INNER JOIN by_listener ON by_listener.listen_date = by_track.listen_date
