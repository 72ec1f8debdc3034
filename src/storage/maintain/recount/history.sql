-- The history of each instance, by time, as `instance_changes.rs` reads it, with the reports that have no date.
DROP TABLE IF EXISTS temp.history;

CREATE TEMP TABLE history (
    instance BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    id INTEGER NOT NULL,
    profile INTEGER NOT NULL,
    -- Not known: where single reports were pruned, no snapshot is made anew.
    first_seen INTEGER,
    days_seen INTEGER,
    PRIMARY KEY (instance, received_at, id)
) STRICT, WITHOUT ROWID;

INSERT INTO temp.history
SELECT instance, received_at, id, profile, NULL, NULL
FROM reports
ORDER BY instance, received_at, id;
