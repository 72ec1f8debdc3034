-- What the activity from hour ?1 on lacks, and what it has too much, beside the instances.
INSERT INTO temp.differences
SELECT hour, profile, sum(instances) AS more, sum(returning_instances) AS more_returning
FROM (
    SELECT
        last_seen / 3600 AS hour, profile, count(*) AS instances,
        sum(days_seen > 1) AS returning_instances
    FROM instances
    WHERE last_seen / 3600 >= ?1
    GROUP BY 1, 2
    UNION ALL
    SELECT * FROM purged_activity WHERE hour >= ?1
    UNION ALL
    SELECT hour, profile, -instances, -returning_instances FROM activity WHERE hour >= ?1
)
GROUP BY hour, profile
HAVING sum(instances) <> 0 OR sum(returning_instances) <> 0
