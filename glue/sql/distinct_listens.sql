-- Rule 3: the same user, track and instant is one listen, within a file, across files and across runs. It is new where
-- no other run brought it. Ids have become numbers here: everything that follows compares and counts those.
SELECT
    listens.listen_date,
    listeners.listener,
    tracks.track,
    MIN(listens.of_run) AS is_new
FROM listens
INNER JOIN listeners ON listeners.user_id = listens.user_id
INNER JOIN tracks ON tracks.track_id = listens.track_id
GROUP BY listens.listen_date, listeners.listener, tracks.track, listens.listened_at
