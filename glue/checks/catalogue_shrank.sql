-- Against the catalogue that the newest publishing had.
SELECT NULL AS date, run.song_rows AS value, before.song_rows AS total
FROM run
INNER JOIN (
    SELECT song_rows FROM published
    WHERE song_rows IS NOT NULL
    ORDER BY version DESC
    LIMIT 1
) AS before ON TRUE
WHERE run.song_rows < before.song_rows * (1 - $by)
