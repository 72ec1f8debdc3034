-- Brings the instances up to date with the events that they do not count yet, in the order of
-- their ids, so that each page is visited once. The progress is kept in the same transaction:
-- after a crash the rest is counted again, so this one needs no sync of its own.
PRAGMA synchronous = NORMAL;

BEGIN IMMEDIATE;

-- An event may be older than one that is counted (an import, a clock set back). It then does
-- not change the latest profile, and a day between the first and the last one is not told from
-- a day that was seen: recount_days.sql mends that after an import. That there are two days or
-- more, which is what counts, is always right.
INSERT INTO instances (id, first_seen, last_seen, days_seen, reports, profile)
SELECT instance, received_at / 1000, received_at / 1000, 1, 1, profile
FROM events
WHERE id > (SELECT position FROM progress WHERE job = 'instances')
ORDER BY instance, received_at, id
ON CONFLICT DO UPDATE SET
    profile = iif(excluded.last_seen >= last_seen, excluded.profile, profile),
    days_seen = days_seen + (
        excluded.last_seen / 86400 > last_seen / 86400
        OR excluded.first_seen / 86400 < first_seen / 86400
    ),
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    reports = reports + 1;

UPDATE progress
SET position = (SELECT max(id) FROM events)
WHERE job = 'instances' AND position < (SELECT max(id) FROM events);

COMMIT;

PRAGMA synchronous = FULL;
