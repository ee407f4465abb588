-- What the run's rows came to.
WITH known_tracks AS (
    SELECT track FROM catalogue WHERE is_known = 1 GROUP BY track
),

new_listens AS (
    SELECT
        SUM(track_day.new_listens) AS new_listens,
        SUM(CASE WHEN known_tracks.track IS NULL THEN track_day.new_listens ELSE 0 END) AS unknown_track_listens
    FROM track_day
    LEFT JOIN known_tracks ON known_tracks.track = track_day.track
),

unknown AS (
    SELECT SUM(CASE WHEN is_known = 0 THEN new_listens ELSE 0 END) AS unknown_user_listens FROM listener_day
)

SELECT
    (SELECT COUNT(*) FROM listens WHERE of_run = 1) AS run_rows,
    CAST(COALESCE(new_listens.new_listens, 0) AS BIGINT) AS new_listens,
    CAST(COALESCE(new_listens.unknown_track_listens, 0) AS BIGINT) AS unknown_track_listens,
    CAST(COALESCE(unknown.unknown_user_listens, 0) AS BIGINT) AS unknown_user_listens
FROM new_listens
CROSS JOIN unknown
