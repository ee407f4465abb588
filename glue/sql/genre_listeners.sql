-- Rule 4: distinct listeners a day and genre, one bit each, 62 to a number. A listener is in one bucket only, so those
-- of several add up.
WITH bitmaps AS (
    SELECT
        distinct_listens.listen_date,
        catalogue.genre,
        BIT_COUNT(BIT_OR(SHIFTLEFT(CAST(1 AS BIGINT), CAST(distinct_listens.listener % 62 AS INT)))) AS unique_listeners
    FROM distinct_listens
    INNER JOIN catalogue ON catalogue.track = distinct_listens.track
    GROUP BY distinct_listens.listen_date, catalogue.genre, distinct_listens.listener - distinct_listens.listener % 62
)

SELECT listen_date, genre, CAST(SUM(unique_listeners) AS BIGINT) AS unique_listeners
FROM bitmaps
GROUP BY listen_date, genre
