-- Brings the instances up to date with the events that they do not count yet, in the order of
-- their ids, so that each page is visited once. The progress is kept in the same transaction:
-- after a crash the rest is counted again, so this one needs no sync of its own.
PRAGMA synchronous = NORMAL;

BEGIN IMMEDIATE;

-- An event may be older than one that is counted (an import, a clock set back). It then
-- changes neither the latest profile nor the days; recount_days.sql mends the latter after an
-- import.
INSERT INTO instances (id, first_seen, last_seen, days_seen, reports, profile)
SELECT instance, received_at / 1000, received_at / 1000, 1, 1, profile
FROM events
WHERE id > (SELECT position FROM progress WHERE job = 'instances')
ORDER BY instance, received_at, id
ON CONFLICT DO UPDATE SET
    profile = iif(excluded.last_seen >= last_seen, excluded.profile, profile),
    days_seen = days_seen + (excluded.last_seen / 86400 > last_seen / 86400),
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    reports = reports + 1;

UPDATE progress
SET position = max(position, (SELECT coalesce(max(id), 0) FROM events))
WHERE job = 'instances';

COMMIT;

PRAGMA synchronous = FULL;
