-- Reports that are taken out of every number, reversibly or for good, and repairs of the numbers.
--
-- Rows of `quarantines`, `purges` and `repairs` are orders of an operator. The server that runs, or the
-- command where none runs, carries them out in steps; `phase` and `position` say how far it has come.

-- One row a quarantine: which reports it takes. NULL is any. `field_values` is a JSON array of pairs of dimension
-- and value, as reported. `from_at` is the first time, `until_at` the first one that does not count.
-- `future` is 1 where reports that are still to come are taken, too. `last_report` is the last report
-- that was stored when it began; NULL before.
CREATE TABLE quarantines (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    made_at INTEGER NOT NULL,
    instance BLOB,
    field_values TEXT NOT NULL,
    heartbeat INTEGER CHECK (heartbeat IN (0, 1)),
    from_at INTEGER,
    until_at INTEGER,
    future INTEGER NOT NULL CHECK (future IN (0, 1)),
    state TEXT NOT NULL CHECK (state IN ('applying', 'active', 'lifting')),
    last_report INTEGER,
    phase INTEGER NOT NULL DEFAULT 0,
    position INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row a report in quarantine, with its number. `unproven` is a JSON object of what `unproven_values`
-- had of it. No retention deletes it.
CREATE TABLE quarantined_reports (
    quarantine INTEGER NOT NULL REFERENCES quarantines (id),
    id INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    instance BLOB NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    heartbeat INTEGER NOT NULL CHECK (heartbeat IN (0, 1)),
    startup_ms INTEGER,
    client_at INTEGER,
    unproven TEXT,
    PRIMARY KEY (quarantine, id)
) STRICT, WITHOUT ROWID;

-- Counts of hours whose single reports were pruned, as far as a quarantine takes them.
CREATE TABLE quarantined_counts (
    quarantine INTEGER NOT NULL REFERENCES quarantines (id),
    hour INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    starts INTEGER NOT NULL,
    heartbeats INTEGER NOT NULL,
    first_report INTEGER NOT NULL,
    last_report INTEGER NOT NULL,
    PRIMARY KEY (quarantine, hour, profile)
) STRICT, WITHOUT ROWID;

-- Startup times of these hours.
CREATE TABLE quarantined_startup_times (
    quarantine INTEGER NOT NULL REFERENCES quarantines (id),
    hour INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    up_to_ms INTEGER NOT NULL,
    starts INTEGER NOT NULL,
    sum_ms INTEGER NOT NULL,
    PRIMARY KEY (quarantine, hour, profile, up_to_ms)
) STRICT, WITHOUT ROWID;

-- Key of the hashes below, made with the first purge.
CREATE TABLE purge_key (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    key BLOB NOT NULL
) STRICT;

-- One row an instance that was purged: a keyed hash of its id. No report of it is stored again.
CREATE TABLE purged_instances (
    hash BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- One row a purge. `instance` is NULL once it is done, when `reports` says how many there were. `from_hour`
-- is the first hour of which snapshots change.
CREATE TABLE purges (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    instance BLOB,
    keep_totals INTEGER NOT NULL CHECK (keep_totals IN (0, 1)),
    phase INTEGER NOT NULL DEFAULT 0,
    from_hour INTEGER,
    reports INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Counts of purged reports whose totals are kept, by hour and profile. `hour` is -1 for those without a
-- date.
CREATE TABLE purged_counts (
    hour INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    starts INTEGER NOT NULL,
    heartbeats INTEGER NOT NULL,
    PRIMARY KEY (hour, profile)
) STRICT, WITHOUT ROWID;

-- Startup times of these reports.
CREATE TABLE purged_startup_times (
    hour INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    up_to_ms INTEGER NOT NULL,
    starts INTEGER NOT NULL,
    sum_ms INTEGER NOT NULL,
    PRIMARY KEY (hour, profile, up_to_ms)
) STRICT, WITHOUT ROWID;

-- Purged instances whose totals are kept, by the hour in which they were last seen and their profile.
CREATE TABLE purged_activity (
    hour INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    instances INTEGER NOT NULL,
    returning_instances INTEGER NOT NULL,
    PRIMARY KEY (hour, profile)
) STRICT, WITHOUT ROWID;

-- One row a repair that is not finished, or the last one, with what it found.
CREATE TABLE repairs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    done INTEGER NOT NULL DEFAULT 0 CHECK (done IN (0, 1)),
    relabelled INTEGER NOT NULL DEFAULT 0,
    repaired INTEGER NOT NULL DEFAULT 0
) STRICT;
