-- Rule 4: distinct listeners a day and genre, one bit each. A listener is in one bucket only, so those of several add
-- up.
WITH bitmaps AS (
    SELECT
        distinct_listens.listen_date,
        catalogue.genre,
        BITMAP_COUNT(BITMAP_CONSTRUCT_AGG(BITMAP_BIT_POSITION(distinct_listens.listener))) AS unique_listeners
    FROM distinct_listens
    INNER JOIN catalogue ON catalogue.track = distinct_listens.track
    GROUP BY distinct_listens.listen_date, catalogue.genre, BITMAP_BUCKET_NUMBER(distinct_listens.listener)
)

SELECT listen_date, genre, CAST(SUM(unique_listeners) AS BIGINT) AS unique_listeners
FROM bitmaps
GROUP BY listen_date, genre
