-- Rule 8: who listens, numbered, and whether users has them. A listener that it does not have is counted, not dropped.
WITH numbered AS (
    SELECT user_id, CAST(ROW_NUMBER() OVER (ORDER BY user_id ASC) AS INT) AS listener
    FROM (SELECT user_id FROM listens GROUP BY user_id) AS heard
)

SELECT
    user_id,
    listener,
    CASE WHEN EXISTS (SELECT 1 FROM users WHERE users.user_id = numbered.user_id) THEN 1 ELSE 0 END AS is_known
FROM numbered
