SELECT NULL AS date, rejected_rows AS value, read_rows AS total
FROM run
WHERE read_rows >= $at_least AND rejected_rows > read_rows * $more_than
