-- Rule 6: listens of tracks that songs does not have are kept, or rejected by setting. The lake keeps them either way,
-- so that a corrected catalogue or another setting can be applied to old days.
SELECT user_id, track_id, listened_at, listen_date
FROM day_listens
WHERE ${keep_unknown_tracks}
    OR EXISTS (SELECT 1 FROM catalogue WHERE catalogue.track_id = day_listens.track_id)
