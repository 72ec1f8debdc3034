-- Instances that differ from their indexed reports, as they should be: the table `temp.recounted`. One
-- without reports has 0. Where single reports were pruned, an instance may have more reports and days, and
-- an earlier first one, than its reports show.
DROP TABLE IF EXISTS temp.recounted;

CREATE TEMP TABLE recounted AS
WITH numbered AS (
    SELECT
        instance, received_at, profile,
        row_number() OVER (
            PARTITION BY instance ORDER BY received_at / 1000 DESC, id DESC
        ) AS from_last
    FROM reports
    WHERE id <= (SELECT position FROM watermarks WHERE name = 'indexed')
),
counted AS (
    SELECT
        instance,
        count(*) AS reports,
        min(received_at / 1000) AS first_seen,
        max(received_at / 1000) AS last_seen,
        max(1, count(DISTINCT iif(received_at >= 0, received_at / 86400000, NULL))) AS days_seen,
        max(iif(from_last = 1, profile, NULL)) AS profile
    FROM numbered
    GROUP BY instance
),
expected AS (
    SELECT
        instance,
        iif(pruned, max(counted.reports, instances.reports), counted.reports) AS reports,
        iif(pruned, min(counted.first_seen, instances.first_seen), counted.first_seen) AS first_seen,
        iif(pruned, max(counted.last_seen, instances.last_seen), counted.last_seen) AS last_seen,
        iif(pruned, max(counted.days_seen, instances.days_seen), counted.days_seen) AS days_seen,
        iif(
            pruned AND counted.last_seen < instances.last_seen, instances.profile, counted.profile
        ) AS profile
    FROM (
        SELECT
            counted.*,
            (SELECT position > 0 FROM watermarks WHERE name = 'pruned')
                AND EXISTS (SELECT 1 FROM instances WHERE id = instance) AS pruned
        FROM counted
    ) AS counted LEFT JOIN instances ON instances.id = counted.instance
)
SELECT expected.*
FROM expected LEFT JOIN instances ON instances.id = expected.instance
WHERE (
    expected.reports, expected.first_seen, expected.last_seen, expected.days_seen, expected.profile
) IS NOT (
    instances.reports, instances.first_seen, instances.last_seen, instances.days_seen,
    instances.profile
)
UNION ALL
SELECT id, 0, NULL, NULL, NULL, NULL
FROM instances
WHERE (SELECT position = 0 FROM watermarks WHERE name = 'pruned')
    AND id NOT IN (SELECT instance FROM counted);
