-- The days that are to be corrected, out of the history. A table, so that what reads it needs no write lock. It must be of
-- the same state of the database, so that no report is in one of them only.
DROP TABLE IF EXISTS temp.recounted_days;

-- Instances whose indexed reports show more days than are counted. The number never falls, since
-- older reports may have been pruned. `days_seen` is the count that was compared: a server may raise
-- it before it is corrected.
CREATE TEMP TABLE recounted_days AS
SELECT instance, days_seen, days
FROM (
    SELECT id AS instance, days_seen, (
        SELECT count(DISTINCT received_at / 86400000)
        FROM temp.history
        WHERE history.instance = instances.id
            AND history.id <= (SELECT position FROM watermarks WHERE name = 'indexed')
    ) AS days
    FROM instances
    -- Others have as many days as reports, or one.
    WHERE reports > days_seen
)
WHERE days_seen < days
ORDER BY instance;
