-- Counts the activity and the totals anew from the instances, within a transaction: each row once, in the order of
-- its key. Purged instances whose totals are kept count.
DELETE FROM activity;

INSERT OR ROLLBACK INTO activity (hour, profile, instances, returning_instances)
SELECT hour, profile, sum(instances), sum(returning_instances)
FROM (
    SELECT
        last_seen / 3600 AS hour, profile, 1 AS instances, days_seen > 1 AS returning_instances
    FROM instances
    UNION ALL
    SELECT hour, profile, instances, returning_instances FROM purged_activity
)
-- Hour and profile, which is below 2^32, as one number, which is compared faster.
GROUP BY hour * 4294967296 + profile;

UPDATE totals SET (instances, returning_instances) = (
    SELECT coalesce(sum(activity.instances), 0), coalesce(sum(activity.returning_instances), 0)
    FROM activity
);
