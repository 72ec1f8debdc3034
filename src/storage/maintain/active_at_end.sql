-- Active and returning instances by latest profile at the end of an hour: within 24 hours, 7 days and
-- 30 days. Each parameter is that end, the first hour that does not count.
SELECT
    profile,
    coalesce(sum(instances) FILTER (WHERE hour >= ? - 24), 0) AS "a1!: i64",
    coalesce(sum(instances) FILTER (WHERE hour >= ? - 168), 0) AS "a7!: i64",
    sum(instances) AS "a30!: i64",
    coalesce(sum(returning_instances) FILTER (WHERE hour >= ? - 24), 0) AS "r1!: i64",
    coalesce(sum(returning_instances) FILTER (WHERE hour >= ? - 168), 0) AS "r7!: i64",
    sum(returning_instances) AS "r30!: i64"
FROM activity
WHERE hour >= ? - 720 AND hour < ?
GROUP BY profile
