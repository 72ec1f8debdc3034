-- Each report is counted once: what is known of the rows that imports stored, and of the reports that
-- clients may send again.

-- One row a row of a reference database that is stored, by an import or a take-over. `created_at` is
-- the row's time in seconds since 1970, 0 where it has none. Rows come in the order of their times, so
-- that a new one is added at the end. `row_key` is a hash of the row's number, its time and its id as they
-- stand there (src/storage/maintain/reference_row.rs). Kept for ever: retention deletes reports, and an
-- import of an old copy must not bring them back.
--
-- The table `imports` is that of older versions, one row a source with the last row stored. Nothing is
-- added to it. A source that is in it has the rows up to that one skipped, and noted here.
CREATE TABLE imported_rows (
    created_at INTEGER NOT NULL,
    row_key INTEGER NOT NULL,
    PRIMARY KEY (created_at, row_key)
) STRICT, WITHOUT ROWID;

-- One row a report that stated a `report_id`, in the order in which they were stored. `key` is a hash of
-- the instance and the id (src/storage/write/report_ids.rs). A million rows take 38 MB. Numbers are
-- not given again, since `running_minutes` refers to rows that are gone.
CREATE TABLE report_ids (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key INTEGER NOT NULL UNIQUE
) STRICT;

-- Minutes in which a server ran, by its monotonic clock. A clock that is wrong makes no id forgotten.
CREATE TABLE running_time (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    minutes INTEGER NOT NULL
) STRICT;

INSERT INTO running_time VALUES (1, 0);

-- One row a minute of running in which a `report_id` came: the last one that was stored before its end.
CREATE TABLE running_minutes (
    minute INTEGER PRIMARY KEY,
    last_report_id INTEGER NOT NULL
) STRICT;
