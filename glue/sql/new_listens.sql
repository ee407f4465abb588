-- Rule 3: the same user, track and instant is one listen, within a file, across files and across runs.
WITH distinct_listens AS (
    SELECT user_id, track_id, listened_at, listen_date
    FROM run_listens
    GROUP BY user_id, track_id, listened_at, listen_date
)

SELECT user_id, track_id, listened_at, listen_date
FROM distinct_listens
WHERE NOT EXISTS (
    SELECT 1
    FROM lake_listens
    WHERE lake_listens.user_id = distinct_listens.user_id
        AND lake_listens.track_id = distinct_listens.track_id
        AND lake_listens.listened_at = distinct_listens.listened_at
)
