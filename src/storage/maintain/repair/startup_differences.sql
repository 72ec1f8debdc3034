-- What the startup times lack, and what they have too much, beside the indexed reports: the table
-- `temp.differences`. An hour that lost reports to retention is taken as it is. Purged reports whose totals
-- are kept count.
DROP TABLE IF EXISTS temp.differences;
DROP TABLE IF EXISTS temp.hours;
DROP TABLE IF EXISTS temp.expected;

CREATE TEMP TABLE hours AS
SELECT hour, profile, up_to_ms, sum(starts) AS starts, sum(sum_ms) AS sum_ms
FROM (
    SELECT
        iif(hour >= 0, hour, -1) AS hour, profile, up_to_ms, count(*) AS starts,
        sum(startup_ms) AS sum_ms
    FROM measured_starts
    WHERE id <= (SELECT position FROM watermarks WHERE name = 'indexed')
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT * FROM purged_startup_times
)
GROUP BY 1, 2, 3;

DELETE FROM temp.hours
WHERE EXISTS (
    SELECT 1 FROM rollups
    WHERE span = 1 AND rollups.period = hours.hour AND rollups.profile = hours.profile
        AND first_report <= (SELECT position FROM watermarks WHERE name = 'pruned')
);

INSERT INTO temp.hours
SELECT startup_times.period, startup_times.profile, up_to_ms, startup_times.starts, sum_ms
FROM rollups INNER JOIN startup_times USING (span, period, profile)
WHERE span = 1 AND first_report <= (SELECT position FROM watermarks WHERE name = 'pruned');

CREATE TEMP TABLE expected (
    span INTEGER, period INTEGER, profile INTEGER, up_to_ms INTEGER, starts INTEGER, sum_ms INTEGER,
    PRIMARY KEY (span, period, profile, up_to_ms)
) WITHOUT ROWID;

INSERT INTO temp.expected
SELECT 1, hour, profile, up_to_ms, starts, sum_ms FROM temp.hours WHERE hour >= 0
UNION ALL
SELECT span, iif(span = 0, 0, hour - hour % 24), profile, up_to_ms, sum(starts), sum(sum_ms)
FROM temp.hours, (SELECT 24 AS span UNION ALL SELECT 0)
WHERE hour < (SELECT position FROM watermarks WHERE name = 'rolled_up') AND (span = 0 OR hour >= 0)
GROUP BY 1, 2, 3, 4;

CREATE TEMP TABLE differences AS
SELECT
    span, period, profile, up_to_ms,
    expected.starts - coalesce(startup_times.starts, 0) AS starts,
    expected.sum_ms - coalesce(startup_times.sum_ms, 0) AS sum_ms
FROM temp.expected LEFT JOIN startup_times USING (span, period, profile, up_to_ms)
WHERE startup_times.starts IS NOT expected.starts OR startup_times.sum_ms IS NOT expected.sum_ms
UNION ALL
SELECT span, period, profile, up_to_ms, -starts, -sum_ms
FROM startup_times
WHERE NOT EXISTS (
    SELECT 1 FROM temp.expected
    WHERE expected.span = startup_times.span AND expected.period = startup_times.period
        AND expected.profile = startup_times.profile AND expected.up_to_ms = startup_times.up_to_ms
);
