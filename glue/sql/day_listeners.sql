-- Distinct listeners a day, of tracks that count. Those of several buckets add up.
WITH bitmaps AS (
    SELECT
        listen_date,
        BITMAP_COUNT(BITMAP_CONSTRUCT_AGG(BITMAP_BIT_POSITION(listener))) AS unique_listeners
    FROM distinct_listens
    WHERE EXISTS (SELECT 1 FROM catalogue WHERE catalogue.track = distinct_listens.track)
    GROUP BY listen_date, BITMAP_BUCKET_NUMBER(listener)
)

SELECT listen_date, CAST(SUM(unique_listeners) AS BIGINT) AS unique_listeners
FROM bitmaps
GROUP BY listen_date
