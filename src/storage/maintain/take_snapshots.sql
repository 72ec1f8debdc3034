-- Snapshots at the end of each hour from ?1 to ?2; before ?3 only at the end of days.
WITH RECURSIVE ends (hour) AS (
    SELECT ?1 WHERE ?1 <= ?2
    UNION ALL
    SELECT hour + 1 FROM ends WHERE hour < ?2
)
INSERT INTO snapshots (hour, instances, returning_instances, active)
SELECT
    ends.hour,
    totals.instances,
    totals.returning_instances,
    (
        SELECT json_group_array(json_array(profile, a1, a7, a30, r1, r7, r30))
        FROM (
            SELECT
                profile,
                coalesce(sum(instances) FILTER (WHERE hour >= ends.hour - 24), 0) AS a1,
                coalesce(sum(instances) FILTER (WHERE hour >= ends.hour - 168), 0) AS a7,
                sum(instances) AS a30,
                coalesce(sum(returning_instances) FILTER (WHERE hour >= ends.hour - 24), 0) AS r1,
                coalesce(sum(returning_instances) FILTER (WHERE hour >= ends.hour - 168), 0) AS r7,
                sum(returning_instances) AS r30
            FROM activity
            WHERE hour >= ends.hour - 720 AND hour < ends.hour
            GROUP BY profile
            HAVING sum(instances) > 0
            ORDER BY profile
        )
    )
FROM ends, totals
WHERE ends.hour % 24 = 0 OR ends.hour >= ?3
