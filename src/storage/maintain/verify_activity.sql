-- Hours and profiles of which `activity` differs from the instances last seen then, from
-- hour ?1 on (older hours are dropped), and totals that differ from the instances. Purged ones whose
-- totals are kept count.
WITH counted AS (
    SELECT hour, profile, sum(instances), sum(returning_instances)
    FROM (
        SELECT
            last_seen / 3600 AS hour, profile, count(*) AS instances,
            sum(days_seen > 1) AS returning_instances
        FROM instances
        WHERE last_seen / 3600 >= ?1
        GROUP BY 1, 2
        UNION ALL
        SELECT * FROM purged_activity WHERE hour >= ?1
    )
    GROUP BY 1, 2
),
stored AS (
    SELECT hour, profile, instances, returning_instances
    FROM activity
    WHERE hour >= ?1 AND (instances <> 0 OR returning_instances <> 0)
),
different AS (
    SELECT hour, profile FROM (SELECT * FROM stored EXCEPT SELECT * FROM counted)
    UNION
    SELECT hour, profile FROM (SELECT * FROM counted EXCEPT SELECT * FROM stored)
)
SELECT
    (SELECT count(*) FROM different) + (
        SELECT count(*) FROM totals
        WHERE instances <> (SELECT count(*) FROM instances)
                + (SELECT coalesce(sum(instances), 0) FROM purged_activity)
            OR returning_instances <> (SELECT count(*) FROM instances WHERE days_seen > 1)
                + (SELECT coalesce(sum(returning_instances), 0) FROM purged_activity)
    ) AS "differences!: i64"
