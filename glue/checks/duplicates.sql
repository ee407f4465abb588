SELECT NULL AS date, duplicates AS value, read_rows AS total
FROM run
WHERE read_rows >= $at_least AND duplicates > read_rows * $more_than
