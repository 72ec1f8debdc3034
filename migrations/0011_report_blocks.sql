-- Times of reports by their numbers: reports have no index by time, which every batch would have to change.

-- One row a block of 4096 numbers, those that are `block` after a division by 4096: the hours between which its
-- indexed reports were received. They may lie further apart than the reports do, never closer: a correction of
-- times widens them, and a report that goes leaves them as they are. A repair makes them anew.
CREATE TABLE report_blocks (
    block INTEGER PRIMARY KEY,
    first_hour INTEGER NOT NULL,
    last_hour INTEGER NOT NULL
) STRICT;

-- The same out of the reports. A grouping would sort all of them.
CREATE VIEW measured_blocks (block, first_hour, last_hour) AS
WITH RECURSIVE
-- The first report of each block; NULL after the last one.
firsts (id, indexed) AS (
    SELECT (SELECT min(id) FROM reports), position FROM watermarks WHERE name = 'indexed'
    UNION ALL
    SELECT
        (SELECT min(reports.id) FROM reports WHERE reports.id >= (firsts.id / 4096 + 1) * 4096),
        indexed
    FROM firsts
    WHERE firsts.id <= indexed
)
SELECT
    id / 4096,
    (
        SELECT min(received_at) FROM reports
        WHERE reports.id BETWEEN firsts.id AND min(firsts.id / 4096 * 4096 + 4095, indexed)
    ) / 3600000,
    (
        SELECT max(received_at) FROM reports
        WHERE reports.id BETWEEN firsts.id AND min(firsts.id / 4096 * 4096 + 4095, indexed)
    ) / 3600000
FROM firsts
WHERE id <= indexed;

INSERT INTO report_blocks SELECT block, first_hour, last_hour FROM measured_blocks;
