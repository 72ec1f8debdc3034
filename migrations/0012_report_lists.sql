-- Reports by profile, packed: a row a report took thirteen bytes.

DROP TRIGGER report_removed;
DROP TABLE reports_by_profile;

-- One row a profile and block of 4096 numbers of reports (as in `report_blocks`): the numbers of the reports of the
-- block that have the profile, packed (src/storage/report_lists.rs). Written once, when all reports of the block are
-- indexed; the newest reports are in no list. A report that changes its profile changes its list, and so does one
-- that leaves the numbers. One that is deleted for its age stays in its list, until the whole block goes.
CREATE TABLE report_lists (
    profile INTEGER NOT NULL REFERENCES profiles (id),
    block INTEGER NOT NULL,
    reports BLOB NOT NULL,
    PRIMARY KEY (profile, block)
) STRICT, WITHOUT ROWID;

-- First block that has no lists yet. Whoever opens the database lists what is indexed.
INSERT INTO watermarks VALUES ('listed', 0);
