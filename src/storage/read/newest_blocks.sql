-- The newest blocks of numbers, of those up to ?1, that follow each other and have reports of the hours from ?2
-- to ?3: the first and the last of them. No row where there are none.
SELECT
    coalesce(
        (
            SELECT block + 1 FROM report_blocks
            WHERE block < last AND (last_hour < ?2 OR first_hour > ?3)
            ORDER BY block DESC LIMIT 1
        ),
        0
    ) AS "first!: i64",
    last AS "last!: i64"
FROM (
    SELECT block AS last FROM report_blocks
    WHERE block <= ?1 AND last_hour >= ?2 AND first_hour <= ?3
    ORDER BY block DESC LIMIT 1
)
