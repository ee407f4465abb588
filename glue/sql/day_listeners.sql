-- Distinct listeners a day, of tracks that count: of any genre. Those of several buckets add up.
WITH bitmaps AS (
    SELECT listen_date, listener_group, BIT_COUNT(BIT_OR(bits)) AS unique_listeners
    FROM genre_bitmaps
    GROUP BY listen_date, listener_group
)

SELECT listen_date, CAST(SUM(unique_listeners) AS BIGINT) AS unique_listeners
FROM bitmaps
GROUP BY listen_date
