-- Versions that at least half of the active instances ran (within 7 days, by their latest report) at the end of
-- some hours, the first such hour of each. The parameters: the hours are after the first one and up to the second one.
INSERT INTO adoptions (image_version, hour)
SELECT image_version, min(hour)
FROM (
    SELECT hour, image_version, active, sum(active) OVER (PARTITION BY hour) AS all_active
    FROM (
        SELECT snapshots.hour, image_version, sum(value ->> 2) AS active
        FROM snapshots, json_each(snapshots.active)
        INNER JOIN profiles ON profiles.id = value ->> 0
        WHERE snapshots.hour > ? AND snapshots.hour <= ?
        GROUP BY snapshots.hour, image_version
    )
)
WHERE active > 0 AND 2 * active >= all_active
GROUP BY image_version
ON CONFLICT DO UPDATE SET hour = min(hour, excluded.hour)
