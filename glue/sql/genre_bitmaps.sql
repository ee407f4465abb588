-- Rule 4: who listens to a genre on a day, one bit each, 62 to a number.
SELECT
    distinct_listens.listen_date,
    catalogue.genre,
    distinct_listens.listener - distinct_listens.listener % 62 AS listener_group,
    BIT_OR(SHIFTLEFT(CAST(1 AS BIGINT), CAST(distinct_listens.listener % 62 AS INT))) AS bits
FROM distinct_listens
INNER JOIN catalogue ON catalogue.track = distinct_listens.track
GROUP BY
    distinct_listens.listen_date, catalogue.genre, distinct_listens.listener - distinct_listens.listener % 62
