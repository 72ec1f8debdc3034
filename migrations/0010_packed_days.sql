-- Days that are over, each in one row: an answer about a year reads hundreds of rows instead of a million.

-- One row a day (`period` is its first hour): its rows of `rollups` and of `startup_times`, packed
-- (src/storage/packed_days.rs). A copy of these, which are the truth. It counts for the days before the
-- watermark `packed` alone: whoever changes rows of a day before it moves the watermark back to that day in
-- the same transaction, and the writer packs the days from there on anew.
CREATE TABLE packed_days (
    period INTEGER PRIMARY KEY,
    starts BLOB NOT NULL,
    startup_times BLOB NOT NULL
) STRICT;

-- First hour that the packed days do not have.
INSERT INTO watermarks VALUES ('packed', 0);
