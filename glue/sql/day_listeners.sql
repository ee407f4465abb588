-- Distinct listeners a day, of tracks that count. Those of several buckets add up.
WITH bitmaps AS (
    SELECT
        listen_date,
        BIT_COUNT(BIT_OR(SHIFTLEFT(CAST(1 AS BIGINT), CAST(listener % 62 AS INT)))) AS unique_listeners
    FROM distinct_listens
    WHERE EXISTS (SELECT 1 FROM catalogue WHERE catalogue.track = distinct_listens.track)
    GROUP BY listen_date, listener - listener % 62
)

SELECT listen_date, CAST(SUM(unique_listeners) AS BIGINT) AS unique_listeners
FROM bitmaps
GROUP BY listen_date
