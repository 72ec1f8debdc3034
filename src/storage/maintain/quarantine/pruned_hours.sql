-- Counts of hours that lost reports to retention, of the profiles in `temp.wanted` whose values are all
-- stated: of kind ?1 (1 is a heartbeat) and in hours that lie whole between ?2 and ?3; NULL is any. ?4 is the
-- number of rows. Hours that have purged reports whose totals are kept stay.
SELECT
    rollups.period AS hour, rollups.profile,
    iif(?1 IS 1, 0, starts) AS starts, iif(?1 IS 0, 0, heartbeats) AS heartbeats,
    first_report, last_report
FROM rollups INNER JOIN temp.wanted ON wanted.profile = rollups.profile AND wanted.unproven = 0
WHERE span = 1
    AND first_report <= (SELECT position FROM watermarks WHERE name = 'pruned')
    AND period < (SELECT position FROM watermarks WHERE name = 'rolled_up')
    AND (?2 IS NULL OR period * 3600000 >= ?2)
    AND (?3 IS NULL OR (period + 1) * 3600000 <= ?3)
    AND iif(?1 IS 1, 0, starts) + iif(?1 IS 0, 0, heartbeats) > 0
    AND NOT EXISTS (
        SELECT 1 FROM purged_counts
        WHERE purged_counts.hour = rollups.period AND purged_counts.profile = rollups.profile
    )
ORDER BY rollups.period, rollups.profile
LIMIT ?4
