SELECT NULL AS date, unreadable_durations AS value, song_rows AS total
FROM run
WHERE song_rows >= $at_least AND unreadable_durations > song_rows * $more_than
