-- The tracks that are heard, numbered in the order of their bytes, so that the smaller number is the smaller id.
SELECT track_id, CAST(ROW_NUMBER() OVER (ORDER BY track_id ASC) AS INT) AS track
FROM (SELECT track_id FROM listens GROUP BY track_id) AS heard
