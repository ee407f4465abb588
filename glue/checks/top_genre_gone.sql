-- Genres that were among the first five when the day was published before, or the day before it, and have no listens.
SELECT
    top_before.date,
    top_before.genre AS name,
    top_before.of_day,
    top_before.listen_count AS value
FROM top_before
INNER JOIN days ON days.date = top_before.date
LEFT JOIN genres ON genres.date = top_before.date AND genres.genre = top_before.genre
WHERE
    genres.genre IS NULL
    AND top_before.listen_count >= $at_least
    AND (days.is_over OR top_before.of_day = top_before.date)
ORDER BY top_before.date, top_before.genre
