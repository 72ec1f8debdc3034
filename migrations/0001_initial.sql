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
-- load it follows the events by some thousand of them (`progress`).
CREATE TABLE events_by_profile (
    profile INTEGER NOT NULL REFERENCES profiles (id),
    event INTEGER NOT NULL REFERENCES events (id),
    PRIMARY KEY (profile, event)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER event_removed AFTER DELETE ON events BEGIN
    DELETE FROM events_by_profile WHERE profile = old.profile AND event = old.id;
END;

-- One row an instance id, with its latest profile. Under load it follows the events by some
-- thousand of them (`progress`).
CREATE TABLE instances (
    id BLOB PRIMARY KEY,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    days_seen INTEGER NOT NULL,
    reports INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id)
) STRICT, WITHOUT ROWID;

-- Counts by period and profile, kept for ever. `span` is the period's length in hours:
-- 1, 24, or 0 for all time; `period` its first hour. Days and all time have the hours that are
-- over (`progress`, `summed`): to add each report to three rows instead of one would take as long as
-- all else. `running` tells where to add the hours that are not. The last columns are a histogram of startup
-- times: how many fell above the bound before and not above the bound named.
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

-- The first hour that the rollups of days and of all time do not have. Who reads those adds the
-- hours from here on: `span = 0 OR span = 1 AND period >= (SELECT hour FROM running)`, or a UNION
-- ALL where there are many rows, since for an OR SQLite remembers each.
CREATE VIEW running AS
SELECT position AS hour FROM progress WHERE job = 'summed';

-- What one event adds to a rollup; of the columns of the histogram, at most one is true. The
-- writer sums this over the events of a batch, and `verify` over all events: there is one
-- definition of what is counted.
CREATE VIEW event_counts AS
SELECT
    id,
    received_at / 3600000 AS hour,
    profile,
    1 - heartbeat AS starts,
    heartbeat AS heartbeats,
    coalesce(startup_ms, 0) AS startup_ms_sum,
    startup_ms BETWEEN 0 AND 100 AS up_to_100,
    startup_ms BETWEEN 101 AND 250 AS up_to_250,
    startup_ms BETWEEN 251 AND 500 AS up_to_500,
    startup_ms BETWEEN 501 AND 750 AS up_to_750,
    startup_ms BETWEEN 751 AND 1000 AS up_to_1000,
    startup_ms BETWEEN 1001 AND 1500 AS up_to_1500,
    startup_ms BETWEEN 1501 AND 2000 AS up_to_2000,
    startup_ms BETWEEN 2001 AND 2500 AS up_to_2500,
    startup_ms BETWEEN 2501 AND 3000 AS up_to_3000,
    startup_ms BETWEEN 3001 AND 4000 AS up_to_4000,
    startup_ms BETWEEN 4001 AND 5000 AS up_to_5000,
    startup_ms BETWEEN 5001 AND 7500 AS up_to_7500,
    startup_ms BETWEEN 7501 AND 10000 AS up_to_10000,
    startup_ms BETWEEN 10001 AND 15000 AS up_to_15000,
    startup_ms BETWEEN 15001 AND 20000 AS up_to_20000,
    startup_ms BETWEEN 20001 AND 30000 AS up_to_30000,
    startup_ms BETWEEN 30001 AND 45000 AS up_to_45000,
    startup_ms BETWEEN 45001 AND 60000 AS up_to_60000,
    startup_ms BETWEEN 60001 AND 120000 AS up_to_120000,
    startup_ms BETWEEN 120001 AND 300000 AS up_to_300000,
    startup_ms > 300000 AS above_300000
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
-- `instances` counts and `events_by_profile` lists, `summed` the first hour that the rollups of days
-- and of all time do not have, `pruned` the last one that was deleted for
-- its age, and each import has the last row that it has stored.
CREATE TABLE progress (
    job TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO progress VALUES ('counted', 0), ('summed', 0);

-- The way in of reports: one statement stores a batch of them and adds them to the rollups, whole
-- or not at all. `reports` is a JSON array of [received_at, instance, profile, heartbeat,
-- startup_ms, client_at]; `job` and `position` are an import's progress, NULL for reports that come
-- over the wire.
CREATE VIEW arrivals AS
SELECT '[]' AS reports, NULL AS job, NULL AS position;

CREATE TRIGGER reports_arrived INSTEAD OF INSERT ON arrivals BEGIN
    -- jsonb_each hands each row on in binary; json_each would write it as text, for `->>` to parse
    -- again.
    INSERT INTO events (received_at, instance, profile, heartbeat, startup_ms, client_at)
    SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5
    FROM jsonb_each(new.reports);

    -- To the rollup of their hour, and of their day and all time if these have the hour. The numbers
    -- of the new events follow each other and end with last_insert_rowid().
    INSERT INTO rollups (
        span, period, profile, starts, heartbeats, startup_ms_sum, first_event, last_event,
        up_to_100, up_to_250, up_to_500, up_to_750,
        up_to_1000, up_to_1500, up_to_2000, up_to_2500,
        up_to_3000, up_to_4000, up_to_5000, up_to_7500,
        up_to_10000, up_to_15000, up_to_20000, up_to_30000,
        up_to_45000, up_to_60000, up_to_120000, up_to_300000,
        above_300000
    )
    SELECT
        span,
        CASE span WHEN 0 THEN 0 ELSE hour - hour % span END,
        profile, starts, heartbeats, startup_ms_sum, first_event, last_event,
        up_to_100, up_to_250, up_to_500, up_to_750,
        up_to_1000, up_to_1500, up_to_2000, up_to_2500,
        up_to_3000, up_to_4000, up_to_5000, up_to_7500,
        up_to_10000, up_to_15000, up_to_20000, up_to_30000,
        up_to_45000, up_to_60000, up_to_120000, up_to_300000,
        above_300000
    FROM (
        SELECT
            hour,
            profile,
            sum(starts) AS starts,
            sum(heartbeats) AS heartbeats,
            sum(startup_ms_sum) AS startup_ms_sum,
            min(id) AS first_event,
            max(id) AS last_event,
            count(*) FILTER (WHERE up_to_100) AS up_to_100,
            count(*) FILTER (WHERE up_to_250) AS up_to_250,
            count(*) FILTER (WHERE up_to_500) AS up_to_500,
            count(*) FILTER (WHERE up_to_750) AS up_to_750,
            count(*) FILTER (WHERE up_to_1000) AS up_to_1000,
            count(*) FILTER (WHERE up_to_1500) AS up_to_1500,
            count(*) FILTER (WHERE up_to_2000) AS up_to_2000,
            count(*) FILTER (WHERE up_to_2500) AS up_to_2500,
            count(*) FILTER (WHERE up_to_3000) AS up_to_3000,
            count(*) FILTER (WHERE up_to_4000) AS up_to_4000,
            count(*) FILTER (WHERE up_to_5000) AS up_to_5000,
            count(*) FILTER (WHERE up_to_7500) AS up_to_7500,
            count(*) FILTER (WHERE up_to_10000) AS up_to_10000,
            count(*) FILTER (WHERE up_to_15000) AS up_to_15000,
            count(*) FILTER (WHERE up_to_20000) AS up_to_20000,
            count(*) FILTER (WHERE up_to_30000) AS up_to_30000,
            count(*) FILTER (WHERE up_to_45000) AS up_to_45000,
            count(*) FILTER (WHERE up_to_60000) AS up_to_60000,
            count(*) FILTER (WHERE up_to_120000) AS up_to_120000,
            count(*) FILTER (WHERE up_to_300000) AS up_to_300000,
            count(*) FILTER (WHERE above_300000) AS above_300000
        FROM event_counts
        WHERE changes() > 0 AND id > last_insert_rowid() - changes()
        GROUP BY hour, profile
    ), (SELECT 1 AS span UNION ALL SELECT 24 UNION ALL SELECT 0)
    WHERE span = 1 OR hour < (SELECT position FROM progress WHERE job = 'summed')
    ON CONFLICT DO UPDATE SET
        starts = starts + excluded.starts,
        heartbeats = heartbeats + excluded.heartbeats,
        startup_ms_sum = startup_ms_sum + excluded.startup_ms_sum,
        first_event = min(first_event, excluded.first_event),
        last_event = max(last_event, excluded.last_event),
        up_to_100 = up_to_100 + excluded.up_to_100,
        up_to_250 = up_to_250 + excluded.up_to_250,
        up_to_500 = up_to_500 + excluded.up_to_500,
        up_to_750 = up_to_750 + excluded.up_to_750,
        up_to_1000 = up_to_1000 + excluded.up_to_1000,
        up_to_1500 = up_to_1500 + excluded.up_to_1500,
        up_to_2000 = up_to_2000 + excluded.up_to_2000,
        up_to_2500 = up_to_2500 + excluded.up_to_2500,
        up_to_3000 = up_to_3000 + excluded.up_to_3000,
        up_to_4000 = up_to_4000 + excluded.up_to_4000,
        up_to_5000 = up_to_5000 + excluded.up_to_5000,
        up_to_7500 = up_to_7500 + excluded.up_to_7500,
        up_to_10000 = up_to_10000 + excluded.up_to_10000,
        up_to_15000 = up_to_15000 + excluded.up_to_15000,
        up_to_20000 = up_to_20000 + excluded.up_to_20000,
        up_to_30000 = up_to_30000 + excluded.up_to_30000,
        up_to_45000 = up_to_45000 + excluded.up_to_45000,
        up_to_60000 = up_to_60000 + excluded.up_to_60000,
        up_to_120000 = up_to_120000 + excluded.up_to_120000,
        up_to_300000 = up_to_300000 + excluded.up_to_300000,
        above_300000 = above_300000 + excluded.above_300000;

    INSERT INTO progress
    SELECT new.job, new.position WHERE new.job IS NOT NULL
    ON CONFLICT DO UPDATE SET position = excluded.position;
END;

-- Adds the hours that are over to the rollups of days and of all time.
CREATE TRIGGER hours_summed AFTER UPDATE OF position ON progress
WHEN new.job = 'summed' AND new.position > old.position
BEGIN
    INSERT INTO rollups (
        span, period, profile, starts, heartbeats, startup_ms_sum, first_event, last_event,
        up_to_100, up_to_250, up_to_500, up_to_750,
        up_to_1000, up_to_1500, up_to_2000, up_to_2500,
        up_to_3000, up_to_4000, up_to_5000, up_to_7500,
        up_to_10000, up_to_15000, up_to_20000, up_to_30000,
        up_to_45000, up_to_60000, up_to_120000, up_to_300000,
        above_300000
    )
    SELECT
        spans.span,
        CASE spans.span WHEN 0 THEN 0 ELSE period - period % 24 END,
        profile,
        sum(starts), sum(heartbeats), sum(startup_ms_sum), min(first_event), max(last_event),
        sum(up_to_100), sum(up_to_250), sum(up_to_500), sum(up_to_750),
        sum(up_to_1000), sum(up_to_1500), sum(up_to_2000), sum(up_to_2500),
        sum(up_to_3000), sum(up_to_4000), sum(up_to_5000), sum(up_to_7500),
        sum(up_to_10000), sum(up_to_15000), sum(up_to_20000), sum(up_to_30000),
        sum(up_to_45000), sum(up_to_60000), sum(up_to_120000), sum(up_to_300000),
        sum(above_300000)
    FROM rollups, (SELECT 24 AS span UNION ALL SELECT 0) AS spans
    WHERE rollups.span = 1
        AND period >= old.position
        AND period < new.position
    GROUP BY 1, 2, 3
    ON CONFLICT DO UPDATE SET
        starts = starts + excluded.starts,
        heartbeats = heartbeats + excluded.heartbeats,
        startup_ms_sum = startup_ms_sum + excluded.startup_ms_sum,
        first_event = min(first_event, excluded.first_event),
        last_event = max(last_event, excluded.last_event),
        up_to_100 = up_to_100 + excluded.up_to_100,
        up_to_250 = up_to_250 + excluded.up_to_250,
        up_to_500 = up_to_500 + excluded.up_to_500,
        up_to_750 = up_to_750 + excluded.up_to_750,
        up_to_1000 = up_to_1000 + excluded.up_to_1000,
        up_to_1500 = up_to_1500 + excluded.up_to_1500,
        up_to_2000 = up_to_2000 + excluded.up_to_2000,
        up_to_2500 = up_to_2500 + excluded.up_to_2500,
        up_to_3000 = up_to_3000 + excluded.up_to_3000,
        up_to_4000 = up_to_4000 + excluded.up_to_4000,
        up_to_5000 = up_to_5000 + excluded.up_to_5000,
        up_to_7500 = up_to_7500 + excluded.up_to_7500,
        up_to_10000 = up_to_10000 + excluded.up_to_10000,
        up_to_15000 = up_to_15000 + excluded.up_to_15000,
        up_to_20000 = up_to_20000 + excluded.up_to_20000,
        up_to_30000 = up_to_30000 + excluded.up_to_30000,
        up_to_45000 = up_to_45000 + excluded.up_to_45000,
        up_to_60000 = up_to_60000 + excluded.up_to_60000,
        up_to_120000 = up_to_120000 + excluded.up_to_120000,
        up_to_300000 = up_to_300000 + excluded.up_to_300000,
        above_300000 = above_300000 + excluded.above_300000;
END;

-- Brings the instances and the events by profile up to date with the events that are now counted,
-- in the order of their keys, so that each page is visited once.
CREATE TRIGGER events_counted AFTER UPDATE OF position ON progress
WHEN new.job = 'counted' AND new.position > old.position
BEGIN
    -- An event may be older than one that is counted (an import, a clock set back). It then does
    -- not change the latest profile, and a day between the first and the last one is not told from
    -- a day that was seen: recount_days.sql mends that after an import. That there are two days or
    -- more, which is what counts, is always right.
    INSERT INTO instances (id, first_seen, last_seen, days_seen, reports, profile)
    SELECT instance, received_at / 1000, received_at / 1000, 1, 1, profile
    FROM events
    WHERE id > old.position AND id <= new.position
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
    WHERE id > old.position AND id <= new.position
    ORDER BY profile, id;
END;

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
