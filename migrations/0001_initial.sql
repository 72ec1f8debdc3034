-- The schema. Times are UTC. `_at` columns hold milliseconds since 1970, `_seen` columns
-- seconds, `hour` and `period` columns whole hours: three units, so that each table is
-- as narrow as its use allows.

-- Each combination of dimension values that was ever reported, once. Every other table
-- names a combination by its number.
CREATE TABLE profiles (
    id INTEGER PRIMARY KEY,
    image_version TEXT NOT NULL,
    architecture TEXT NOT NULL,
    os TEXT NOT NULL,
    container_runtime TEXT NOT NULL,
    db_type TEXT NOT NULL,
    telemetry_version TEXT NOT NULL,
    UNIQUE (image_version, architecture, os, container_runtime, db_type, telemetry_version)
) STRICT;

-- One row a report, in the order of arrival. The only table that retention prunes.
-- `instance` is the id in its short form: a byte that tells the form, then the id's own
-- bytes (src/storage/instance_key.rs).
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- the number of a pruned event is not given again
    received_at INTEGER NOT NULL,
    instance BLOB NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    heartbeat INTEGER NOT NULL CHECK (heartbeat IN (0, 1)),
    startup_ms INTEGER,
    client_at INTEGER
) STRICT;

-- Finds the newest reports of a rare version without a walk over all of them. Not an index,
-- which every batch of reports would have to change in as many places as it has profiles: under
-- load it follows the events by some hundred of them (`progress`).
CREATE TABLE events_by_profile (
    profile INTEGER NOT NULL REFERENCES profiles (id),
    event INTEGER NOT NULL REFERENCES events (id),
    PRIMARY KEY (profile, event)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER event_removed AFTER DELETE ON events BEGIN
    DELETE FROM events_by_profile WHERE profile = old.profile AND event = old.id;
END;

-- One row an instance id, with its latest profile. Under load it follows the events by some
-- hundred of them (`progress`).
CREATE TABLE instances (
    id BLOB PRIMARY KEY,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    days_seen INTEGER NOT NULL,
    reports INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id)
) STRICT, WITHOUT ROWID;

-- Counts by period and profile, kept for ever. `span` is the period's length in hours:
-- 1, 24, or 0 for all time; `period` its first hour. The last columns are a histogram of
-- startup times: how many fell above the bound before and not above the bound named.
CREATE TABLE rollups (
    span INTEGER NOT NULL CHECK (span IN (0, 1, 24)),
    period INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    starts INTEGER NOT NULL,
    heartbeats INTEGER NOT NULL,
    startup_ms_sum INTEGER NOT NULL,
    first_event INTEGER NOT NULL,
    last_event INTEGER NOT NULL,
    up_to_100 INTEGER NOT NULL,
    up_to_250 INTEGER NOT NULL,
    up_to_500 INTEGER NOT NULL,
    up_to_750 INTEGER NOT NULL,
    up_to_1000 INTEGER NOT NULL,
    up_to_1500 INTEGER NOT NULL,
    up_to_2000 INTEGER NOT NULL,
    up_to_2500 INTEGER NOT NULL,
    up_to_3000 INTEGER NOT NULL,
    up_to_4000 INTEGER NOT NULL,
    up_to_5000 INTEGER NOT NULL,
    up_to_7500 INTEGER NOT NULL,
    up_to_10000 INTEGER NOT NULL,
    up_to_15000 INTEGER NOT NULL,
    up_to_20000 INTEGER NOT NULL,
    up_to_30000 INTEGER NOT NULL,
    up_to_45000 INTEGER NOT NULL,
    up_to_60000 INTEGER NOT NULL,
    up_to_120000 INTEGER NOT NULL,
    up_to_300000 INTEGER NOT NULL,
    above_300000 INTEGER NOT NULL,
    PRIMARY KEY (span, period, profile)
) STRICT, WITHOUT ROWID;

-- What one event adds to a rollup. The writer sums this over the events of a batch, and
-- `verify` over all events: there is one definition of what is counted.
CREATE VIEW event_counts AS
SELECT
    id,
    received_at / 3600000 AS hour,
    profile,
    1 - heartbeat AS starts,
    heartbeat AS heartbeats,
    coalesce(startup_ms, 0) AS startup_ms_sum,
    coalesce(startup_ms BETWEEN 0 AND 100, 0) AS up_to_100,
    coalesce(startup_ms BETWEEN 101 AND 250, 0) AS up_to_250,
    coalesce(startup_ms BETWEEN 251 AND 500, 0) AS up_to_500,
    coalesce(startup_ms BETWEEN 501 AND 750, 0) AS up_to_750,
    coalesce(startup_ms BETWEEN 751 AND 1000, 0) AS up_to_1000,
    coalesce(startup_ms BETWEEN 1001 AND 1500, 0) AS up_to_1500,
    coalesce(startup_ms BETWEEN 1501 AND 2000, 0) AS up_to_2000,
    coalesce(startup_ms BETWEEN 2001 AND 2500, 0) AS up_to_2500,
    coalesce(startup_ms BETWEEN 2501 AND 3000, 0) AS up_to_3000,
    coalesce(startup_ms BETWEEN 3001 AND 4000, 0) AS up_to_4000,
    coalesce(startup_ms BETWEEN 4001 AND 5000, 0) AS up_to_5000,
    coalesce(startup_ms BETWEEN 5001 AND 7500, 0) AS up_to_7500,
    coalesce(startup_ms BETWEEN 7501 AND 10000, 0) AS up_to_10000,
    coalesce(startup_ms BETWEEN 10001 AND 15000, 0) AS up_to_15000,
    coalesce(startup_ms BETWEEN 15001 AND 20000, 0) AS up_to_20000,
    coalesce(startup_ms BETWEEN 20001 AND 30000, 0) AS up_to_30000,
    coalesce(startup_ms BETWEEN 30001 AND 45000, 0) AS up_to_45000,
    coalesce(startup_ms BETWEEN 45001 AND 60000, 0) AS up_to_60000,
    coalesce(startup_ms BETWEEN 60001 AND 120000, 0) AS up_to_120000,
    coalesce(startup_ms BETWEEN 120001 AND 300000, 0) AS up_to_300000,
    coalesce(startup_ms > 300000, 0) AS above_300000
FROM events;

-- How many instances were last seen in an hour, by latest profile. Kept in step with
-- `instances` by the triggers below, so that "active within a window" is a sum over
-- hours and never a walk over instances. Hours that no window reaches are dropped.
CREATE TABLE activity (
    hour INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    instances INTEGER NOT NULL,
    returning_instances INTEGER NOT NULL,
    PRIMARY KEY (hour, profile)
) STRICT, WITHOUT ROWID;

-- How many instances there are, and how many of them returned on another day.
CREATE TABLE totals (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    instances INTEGER NOT NULL,
    returning_instances INTEGER NOT NULL
) STRICT;

INSERT INTO totals VALUES (1, 0, 0);

CREATE TRIGGER instance_added AFTER INSERT ON instances BEGIN
    INSERT INTO activity VALUES (new.last_seen / 3600, new.profile, 1, new.days_seen > 1)
    ON CONFLICT DO UPDATE SET
        instances = instances + 1,
        returning_instances = returning_instances + excluded.returning_instances;
    UPDATE totals SET
        instances = instances + 1,
        returning_instances = returning_instances + (new.days_seen > 1);
END;

CREATE TRIGGER instance_moved AFTER UPDATE ON instances
WHEN new.last_seen / 3600 <> old.last_seen / 3600
    OR new.profile <> old.profile
    OR (new.days_seen > 1) <> (old.days_seen > 1)
BEGIN
    UPDATE activity SET
        instances = instances - 1,
        returning_instances = returning_instances - (old.days_seen > 1)
    WHERE hour = old.last_seen / 3600 AND profile = old.profile;
    INSERT INTO activity VALUES (new.last_seen / 3600, new.profile, 1, new.days_seen > 1)
    ON CONFLICT DO UPDATE SET
        instances = instances + 1,
        returning_instances = returning_instances + excluded.returning_instances;
    UPDATE totals SET
        returning_instances = returning_instances + (new.days_seen > 1) - (old.days_seen > 1);
END;

CREATE TRIGGER instance_removed AFTER DELETE ON instances BEGIN
    UPDATE activity SET
        instances = instances - 1,
        returning_instances = returning_instances - (old.days_seen > 1)
    WHERE hour = old.last_seen / 3600 AND profile = old.profile;
    UPDATE totals SET
        instances = instances - 1,
        returning_instances = returning_instances - (old.days_seen > 1);
END;

-- How it stood at the end of an hour (`hour` is the first hour that is not counted): all
-- instances so far, and `active` by latest profile, as a JSON array of [profile, within 24 hours,
-- 7 days, 30 days, and of each of these how many have returned]. Hourly for a quarter, then daily.
-- One row, since a picture over a year reads a hundred thousand of these numbers.
CREATE TABLE snapshots (
    hour INTEGER PRIMARY KEY,
    instances INTEGER NOT NULL,
    returning_instances INTEGER NOT NULL,
    active TEXT NOT NULL
) STRICT;

-- How far a job has come that goes on where it stopped: `counted` is the last event that
-- `instances` counts and `events_by_profile` lists, `pruned` the last one that was deleted for
-- its age, and each import has the last row that it has stored.
CREATE TABLE progress (
    job TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO progress VALUES ('counted', 0);

-- The server's own metrics over the last 30 days: what a scrape of each minute would have told
-- (src/storage/samples.rs). `name` is a series as the text format writes it, with its labels.
CREATE TABLE sample_series (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Counters go on over a restart of the server. `minute` is whole minutes since 1970. A value
-- that stays the same is stored every ten minutes only.
CREATE TABLE samples (
    series INTEGER NOT NULL REFERENCES sample_series (id),
    minute INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (series, minute)
) STRICT, WITHOUT ROWID;
