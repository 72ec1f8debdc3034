-- Days on which each instance was seen, counted from the events that are counted. Never fewer than
-- known: older events may have been pruned.
UPDATE instances SET days_seen = counted.days
FROM (
    SELECT instance, count(DISTINCT received_at / 86400000) AS days
    FROM events
    WHERE id <= (SELECT position FROM progress WHERE job = 'counted')
    GROUP BY instance
) AS counted
WHERE instances.id = counted.instance AND instances.days_seen < counted.days
