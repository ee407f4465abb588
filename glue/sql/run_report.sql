-- Rule 8: a listener that users does not have is counted, not dropped.
WITH known_tracks AS (
    SELECT track_id FROM catalogue GROUP BY track_id
),

known_users AS (
    SELECT user_id FROM users GROUP BY user_id
),

checked AS (
    SELECT
        CASE WHEN known_tracks.track_id IS NULL THEN 1 ELSE 0 END AS unknown_track,
        CASE WHEN known_users.user_id IS NULL THEN 1 ELSE 0 END AS unknown_user
    FROM new_listens
    LEFT JOIN known_tracks ON known_tracks.track_id = new_listens.track_id
    LEFT JOIN known_users ON known_users.user_id = new_listens.user_id
)

SELECT
    (SELECT COUNT(*) FROM run_listens) AS run_rows,
    COUNT(*) AS new_listens,
    CAST(COALESCE(SUM(unknown_track), 0) AS BIGINT) AS unknown_track_listens,
    CAST(COALESCE(SUM(unknown_user), 0) AS BIGINT) AS unknown_user_listens
FROM checked
