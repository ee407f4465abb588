SELECT date, unknown_user_listens AS value, listens AS total
FROM days
WHERE listens >= $at_least AND unknown_user_listens > listens * $more_than
ORDER BY date
