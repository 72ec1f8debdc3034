-- The tables and their invariants. The statements that change them are programs: files beside the
-- code that runs them, in src/storage/.
--
-- Times are UTC. `_at` columns hold milliseconds since 1970, `_seen` columns seconds, `hour` and
-- `period` columns whole hours: three units, so that each table is as narrow as its use allows.

-- One row a combination of dimension values that was ever reported. Every other table names a
-- combination by its number.
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

-- One row a report, in the order in which they were stored. The only table that retention prunes.
-- `instance` is the id in its short form: a byte that names the form, then the id's own bytes
-- (src/storage/instance_key.rs).
CREATE TABLE reports (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- the number of a pruned report is not given again
    received_at INTEGER NOT NULL,
    instance BLOB NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    heartbeat INTEGER NOT NULL CHECK (heartbeat IN (0, 1)),
    startup_ms INTEGER,
    client_at INTEGER
) STRICT;

-- Position of each job, one row a job:
-- `indexed`: the last report that `instances`, `reports_by_profile` and `startup_times` have;
-- `rolled_up`: the first hour that the rollups of days and of all time do not have, the open hour;
-- `pruned`: the last report that was deleted for its age.
CREATE TABLE watermarks (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO watermarks VALUES ('indexed', 0), ('rolled_up', 0), ('pruned', 0);

-- One row a source of an import: the last of its rows that is stored.
CREATE TABLE imports (
    source TEXT PRIMARY KEY,
    last_row INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row a report, found by its profile: a rare version is listed without a walk over all reports.
-- A table and not an index, which every batch would have to change in as many places as it has
-- profiles. Follows the reports up to the watermark `indexed`.
CREATE TABLE reports_by_profile (
    profile INTEGER NOT NULL REFERENCES profiles (id),
    report INTEGER NOT NULL REFERENCES reports (id),
    PRIMARY KEY (profile, report)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER report_removed AFTER DELETE ON reports BEGIN
    DELETE FROM reports_by_profile WHERE profile = old.profile AND report = old.id;
END;

-- Counts of one period and profile, kept for ever. `span` is the period's length in hours: 1, 24, or
-- 0 for all time; `period` is its first hour. Each report is added to its hour in its own
-- transaction, and to its day and to all time when the hour is rolled up: three rows a report would
-- take as long as all other writes. Read through the view `counts`, which adds the open hours.
CREATE TABLE rollups (
    span INTEGER NOT NULL CHECK (span IN (0, 1, 24)),
    period INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    starts INTEGER NOT NULL,
    heartbeats INTEGER NOT NULL,
    first_report INTEGER NOT NULL,
    last_report INTEGER NOT NULL,
    PRIMARY KEY (span, period, profile)
) STRICT, WITHOUT ROWID;

-- Rows that make up the periods of a span: those of the span itself, and for days and all time the open
-- hours, which these do not have yet. `stored_as` is the span of the rows, `first` the first hour of
-- theirs that counts. The one definition of "days that are over plus the hours that are open".
--
-- A statement for a part of the time joins this view with the stored rows itself, with one lower bound:
-- `period >= max(first, …)`. SQLite seeks to one bound and walks over the rest.
CREATE VIEW stored_spans (span, stored_as, first) AS
SELECT 1, 1, -9223372036854775808
UNION ALL
SELECT 24, 24, -9223372036854775808
UNION ALL
SELECT 0, 0, -9223372036854775808
UNION ALL
SELECT 24, 1, position FROM watermarks WHERE name = 'rolled_up'
UNION ALL
SELECT 0, 1, position FROM watermarks WHERE name = 'rolled_up';

-- Counts of hours, days and all time, up to the last report that is stored. A profile may have several
-- rows of one period.
CREATE VIEW counts AS
SELECT
    stored_spans.span,
    iif(stored_spans.span = 0, 0, period - period % stored_spans.span) AS period,
    profile, starts, heartbeats, first_report, last_report
FROM stored_spans
CROSS JOIN rollups
    ON rollups.span = stored_spans.stored_as AND rollups.period >= stored_spans.first;

-- Upper bounds of the buckets of startup times, in milliseconds: those of domain::BOUNDS_MS and the
-- longest time. Written when the database is opened.
CREATE TABLE startup_bounds (
    up_to_ms INTEGER PRIMARY KEY
) STRICT;

-- Histograms of startup times, kept for ever: number of the starts of a period and profile in the
-- bucket with an upper bound, and the sum of their times. Spans and periods are those of `rollups`.
-- Follows the reports up to the watermark `indexed`. Read through the view `startup_counts`.
CREATE TABLE startup_times (
    span INTEGER NOT NULL CHECK (span IN (0, 1, 24)),
    period INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    up_to_ms INTEGER NOT NULL,
    starts INTEGER NOT NULL,
    sum_ms INTEGER NOT NULL,
    PRIMARY KEY (span, period, profile, up_to_ms)
) STRICT, WITHOUT ROWID;

-- Histograms of hours, days and all time, up to the last report that is indexed: as `counts`.
CREATE VIEW startup_counts AS
SELECT
    stored_spans.span,
    iif(stored_spans.span = 0, 0, period - period % stored_spans.span) AS period,
    profile, up_to_ms, starts, sum_ms
FROM stored_spans
CROSS JOIN startup_times
    ON startup_times.span = stored_spans.stored_as AND startup_times.period >= stored_spans.first;

-- The bucket of each start that stated its startup time.
CREATE VIEW measured_starts AS
SELECT
    id,
    received_at / 3600000 AS hour,
    profile,
    startup_ms,
    (
        SELECT up_to_ms FROM startup_bounds WHERE up_to_ms >= startup_ms
        ORDER BY up_to_ms LIMIT 1
    ) AS up_to_ms
FROM reports
WHERE startup_ms IS NOT NULL;

-- One row an instance id, with its latest profile. Follows the reports up to the watermark `indexed`.
CREATE TABLE instances (
    id BLOB PRIMARY KEY,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    days_seen INTEGER NOT NULL,
    reports INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id)
) STRICT, WITHOUT ROWID;

-- Number of instances last seen in an hour, by latest profile. The triggers below keep it in step
-- with `instances`, so that "active within a window" is a sum over hours and never a walk over
-- instances. Hours that no window reaches are dropped.
CREATE TABLE activity (
    hour INTEGER NOT NULL,
    profile INTEGER NOT NULL REFERENCES profiles (id),
    instances INTEGER NOT NULL,
    returning_instances INTEGER NOT NULL,
    PRIMARY KEY (hour, profile)
) STRICT, WITHOUT ROWID;

-- Number of instances, and of those that were seen on two or more days.
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

-- State of the fleet at the end of an hour (`hour` is the first hour that is not counted): all
-- instances so far, and `active` by latest profile, as a JSON array of [profile, within 24 hours,
-- 7 days, 30 days, and the returning instances within each of these]. Hourly for a quarter, then daily.
-- One row an hour, since a panel over a year reads a hundred thousand of these numbers.
CREATE TABLE snapshots (
    hour INTEGER PRIMARY KEY,
    instances INTEGER NOT NULL,
    returning_instances INTEGER NOT NULL,
    active TEXT NOT NULL
) STRICT;

-- The server's own series over the last 30 days, as a scrape of each minute would have shown them.
-- `name` is a series as the text format writes it, with its labels.
CREATE TABLE sample_series (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- One sample of a series. Counters go on over a restart of the server. `minute` is whole minutes
-- since 1970. A value that stays the same is stored every ten minutes only.
CREATE TABLE samples (
    series INTEGER NOT NULL REFERENCES sample_series (id),
    minute INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (series, minute)
) STRICT, WITHOUT ROWID;
