-- Days whose listens are few or many beside the median of days before: of the same weekday, or of the last days.
WITH before AS (
    SELECT
        days.date,
        MEDIAN(published.listen_count) AS usual,
        COUNT(*) AS history
    FROM days
    INNER JOIN published ON
        published.date < days.date
        AND CASE
            WHEN $against = 'same_weekday' THEN (days.date - published.date) % 7 = 0 AND days.date - published.date <= 7 * $last
            ELSE days.date - published.date <= $last
        END
    GROUP BY days.date
)

SELECT
    days.date,
    days.listen_count AS value,
    before.usual,
    before.history,
    days.listen_count < before.usual AS is_low
FROM days
INNER JOIN before ON before.date = days.date
WHERE
    before.history >= $least
    AND before.usual > 0
    -- A day that is not over has few listens because it is not over.
    AND ((days.is_over AND days.listen_count < before.usual * $below) OR days.listen_count > before.usual * $above)
ORDER BY days.date
