-- Hours and profiles of which `activity` differs from the instances last seen then, from
-- hour ?1 on (older hours are dropped), and totals that differ from the instances.
WITH counted AS (
    SELECT last_seen / 3600 AS hour, profile, count(*), sum(days_seen > 1)
    FROM instances
    WHERE last_seen / 3600 >= ?1
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
            OR returning_instances <> (SELECT count(*) FROM instances WHERE days_seen > 1)
    ) AS "differences!: i64"
