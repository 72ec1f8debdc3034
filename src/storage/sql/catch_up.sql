-- Brings the instances and the events by profile up to date with the events that they do not
-- have yet, in the order of their keys, so that each page is visited once. The progress is kept in
-- the same transaction: after a crash the rest is done again, so this one needs no sync of its own.
PRAGMA synchronous = NORMAL;

BEGIN IMMEDIATE;

-- An event may be older than one that is counted (an import, a clock set back). It then does
-- not change the latest profile, and a day between the first and the last one is not told from
-- a day that was seen: recount_days.sql mends that after an import. That there are two days or
-- more, which is what counts, is always right.
INSERT INTO instances (id, first_seen, last_seen, days_seen, reports, profile)
SELECT instance, received_at / 1000, received_at / 1000, 1, 1, profile
FROM events
WHERE id > (SELECT position FROM progress WHERE job = 'counted')
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

INSERT INTO events_by_profile (profile, event)
SELECT profile, id
FROM events
WHERE id > (SELECT position FROM progress WHERE job = 'counted')
ORDER BY profile, id;

UPDATE progress
SET position = (SELECT max(id) FROM events)
WHERE job = 'counted' AND position < (SELECT max(id) FROM events);

COMMIT;

PRAGMA synchronous = FULL;
