-- Rule 7: more listens first, then the smaller name.
WITH ranked AS (
    SELECT
        listen_date, genre, listen_count,
        ROW_NUMBER() OVER (PARTITION BY listen_date ORDER BY listen_count DESC, genre ASC) AS rank
    FROM genre_day
)

SELECT listen_date, rank, genre, listen_count
FROM ranked
WHERE rank <= 5
