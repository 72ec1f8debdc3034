-- The history of each instance, by time. A table, so that what reads it needs no write lock.
DROP TABLE IF EXISTS temp.history;

CREATE TEMP TABLE history (
    instance BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    id INTEGER NOT NULL,
    profile INTEGER NOT NULL,
    -- Where single reports were pruned: when the instance was first seen, in seconds since 1970, and on how
    -- many days.
    first_seen INTEGER,
    days_seen INTEGER,
    PRIMARY KEY (instance, received_at, id)
) STRICT, WITHOUT ROWID;

INSERT INTO temp.history
SELECT
    instance, received_at, id, profile,
    iif(
        (SELECT position > 0 FROM watermarks WHERE name = 'pruned'),
        (SELECT first_seen FROM instances WHERE instances.id = reports.instance),
        NULL
    ),
    iif(
        (SELECT position > 0 FROM watermarks WHERE name = 'pruned'),
        (SELECT days_seen FROM instances WHERE instances.id = reports.instance),
        NULL
    )
FROM reports
-- Those without a date are in no history yet.
WHERE received_at >= 0
ORDER BY instance, received_at, id;
