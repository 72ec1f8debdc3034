-- Days on which each instance was seen, counted from the events. Never fewer than known:
-- older events may have been pruned.
UPDATE instances SET days_seen = counted.days
FROM (
    SELECT instance, count(DISTINCT received_at / 86400000) AS days
    FROM events
    GROUP BY instance
) AS counted
WHERE instances.id = counted.instance AND instances.days_seen < counted.days
