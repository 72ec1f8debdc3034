-- Counts the events that are not counted yet (the trigger `events_counted` does the work). The
-- progress is kept in the same transaction: after a crash the rest is done again, so this one needs
-- no sync of its own.
PRAGMA synchronous = NORMAL;

UPDATE progress
SET position = (SELECT max(id) FROM events)
WHERE job = 'counted' AND position < (SELECT max(id) FROM events);

PRAGMA synchronous = FULL;
