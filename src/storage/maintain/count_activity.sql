-- Counts the activity and the totals anew from the instances, within a transaction: each row once, in the order of
-- its key. The parameter is the hour that is now. Purged instances whose totals are kept count.
DELETE FROM activity;

-- Hours that no window reaches would be dropped within the hour: those of more than 32 days before now or before the
-- last report, whichever is earlier. A clock that is ahead leaves none out, nor does a report of a time to come. Those
-- of reports without a date are negative, and stay.
INSERT OR ROLLBACK INTO activity (hour, profile, instances, returning_instances)
SELECT hour, profile, sum(instances), sum(returning_instances)
FROM (
    SELECT
        last_seen / 3600 AS hour, profile, 1 AS instances, days_seen > 1 AS returning_instances
    FROM instances
    UNION ALL
    SELECT hour, profile, instances, returning_instances FROM purged_activity
)
WHERE hour >= min(?1, (SELECT max(last_seen) / 3600 FROM instances)) - 768 OR hour < 0
-- Hour and profile, which is below 2^32, as one number, which is compared faster.
GROUP BY hour * 4294967296 + profile;

UPDATE totals SET (instances, returning_instances) = (
    SELECT sum(instances), sum(returning_instances)
    FROM (
        SELECT count(*) AS instances, count(*) FILTER (WHERE days_seen > 1) AS returning_instances
        FROM instances
        UNION ALL
        SELECT coalesce(sum(instances), 0), coalesce(sum(returning_instances), 0)
        FROM purged_activity
    )
);
