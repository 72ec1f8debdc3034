-- Days on which each instance was seen, recounted from the indexed reports. The number never falls,
-- since older reports may have been pruned.
UPDATE instances SET days_seen = counted.days
FROM (
    SELECT instance, count(DISTINCT received_at / 86400000) AS days
    FROM reports
    WHERE id <= (SELECT position FROM watermarks WHERE name = 'indexed')
    GROUP BY instance
) AS counted
WHERE instances.id = counted.instance AND instances.days_seen < counted.days
