SELECT
    days.date,
    days.most_listens_of_a_track AS value,
    days.listens AS total,
    (
        SELECT MIN(songs.song || ' (' || songs.track_id || ')') FROM songs
        WHERE songs.date = days.date AND songs.listen_count = days.most_listens_of_a_track
    ) AS name
FROM days
WHERE days.listens >= $at_least AND days.most_listens_of_a_track > days.listens * $more_than
ORDER BY days.date
