-- Instances that differ from their indexed reports. Where reports were pruned (?1 is 1), an instance
-- may have more reports and days, and an earlier first one, than its reports show.
WITH counted AS (
    SELECT
        instance,
        count(*) AS reports,
        min(received_at) / 1000 AS first_seen,
        max(received_at) / 1000 AS last_seen,
        max(1, count(DISTINCT iif(received_at >= 0, received_at / 86400000, NULL))) AS days_seen
    FROM reports
    WHERE id <= (SELECT position FROM watermarks WHERE name = 'indexed')
    GROUP BY instance
)
SELECT
    count(*) FILTER (
        WHERE instances.id IS NULL
            OR instances.last_seen < counted.last_seen
            OR instances.reports < counted.reports
            OR (instances.days_seen < 2 AND counted.days_seen > 1)
            OR instances.first_seen > counted.first_seen
            OR (
                ?1 = 0 AND (
                    instances.last_seen <> counted.last_seen
                    OR instances.reports <> counted.reports
                    OR instances.days_seen > counted.days_seen
                    OR instances.first_seen <> counted.first_seen
                )
            )
    ) + iif(?1 = 0, (SELECT count(*) FROM instances) - count(instances.id), 0)
        AS "differences!: i64"
FROM counted LEFT JOIN instances ON instances.id = counted.instance
