-- Rule 4: distinct listeners a day and genre. A listener is in one bucket only, so those of several add up.
SELECT listen_date, genre, CAST(SUM(BIT_COUNT(bits)) AS BIGINT) AS unique_listeners
FROM genre_bitmaps
GROUP BY listen_date, genre
