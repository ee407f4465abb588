-- Rule 8: new listens of users that users does not have. Those of several buckets add up.
WITH listener_day AS (
    SELECT listener, SUM(is_new) AS new_listens
    FROM distinct_listens
    GROUP BY listener
)

SELECT CAST(COALESCE(SUM(listener_day.new_listens), 0) AS BIGINT) AS unknown_user_listens
FROM listener_day
INNER JOIN listeners ON listeners.listener = listener_day.listener
WHERE listeners.is_known = 0
