-- Snapshots at the end of each hour from ?1 to ?2; before ?3 only at the end of days.
WITH RECURSIVE ends (hour) AS (
    SELECT ?1 WHERE ?1 <= ?2
    UNION ALL
    SELECT hour + 1 FROM ends WHERE hour < ?2
)
INSERT INTO snapshots (
    hour, profile,
    active_24h, active_7d, active_30d, returning_24h, returning_7d, returning_30d
)
SELECT
    ends.hour,
    activity.profile,
    coalesce(sum(instances) FILTER (WHERE activity.hour >= ends.hour - 24), 0),
    coalesce(sum(instances) FILTER (WHERE activity.hour >= ends.hour - 168), 0),
    sum(instances),
    coalesce(sum(returning_instances) FILTER (WHERE activity.hour >= ends.hour - 24), 0),
    coalesce(sum(returning_instances) FILTER (WHERE activity.hour >= ends.hour - 168), 0),
    sum(returning_instances)
FROM ends
INNER JOIN activity
    ON activity.hour >= ends.hour - 720 AND activity.hour < ends.hour
WHERE ends.hour % 24 = 0 OR ends.hour >= ?3
GROUP BY ends.hour, activity.profile
HAVING sum(instances) > 0
