SELECT date, most_listens_of_a_listener AS value
FROM days
WHERE most_listens_of_a_listener > $more_than
ORDER BY date
