-- The history of each instance, by time, and the days that are to be corrected.
--
-- The results are tables, so that what reads them needs no write lock. Both are made in one
-- transaction, so that no report is in one of them only.
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

DROP TABLE IF EXISTS temp.recounted_days;

-- Instances whose indexed reports show more days than are counted. The number never falls, since
-- older reports may have been pruned. `days_seen` is the count that was compared: a server may raise
-- it before it is corrected.
CREATE TEMP TABLE recounted_days AS
SELECT instances.id AS instance, instances.days_seen AS days_seen, counted.days AS days
FROM (
    SELECT instance, count(DISTINCT received_at / 86400000) AS days
    FROM temp.history
    WHERE id <= (SELECT position FROM watermarks WHERE name = 'indexed')
    GROUP BY instance
    -- One day is never too few.
    HAVING count(*) > 1
) AS counted
-- In this order: SQLite knows no size of a subquery, and could walk over it for each instance.
CROSS JOIN instances ON instances.id = counted.instance
WHERE instances.days_seen < counted.days
ORDER BY instances.id;
