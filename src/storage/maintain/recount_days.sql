-- Instances whose indexed reports show more days than are counted. The number never falls, since
-- older reports may have been pruned. `days_seen` is the count that was compared: a server may raise
-- it before it is corrected.
--
-- The result is a table, so that the recount needs no write lock.
CREATE TEMP TABLE recounted_days AS
SELECT instances.id AS instance, instances.days_seen AS days_seen, counted.days AS days
FROM (
    SELECT instance, max(1, count(DISTINCT iif(received_at >= 0, received_at / 86400000, NULL))) AS days
    FROM reports
    WHERE id <= (SELECT position FROM watermarks WHERE name = 'indexed')
    GROUP BY instance
) AS counted
INNER JOIN instances ON instances.id = counted.instance
WHERE instances.days_seen < counted.days
ORDER BY instances.id
