SELECT date, unknown_track_listens AS value, listens AS total
FROM days
WHERE listens >= $at_least AND unknown_track_listens > listens * $more_than
ORDER BY date
