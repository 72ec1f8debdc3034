-- What the counts lack, and what they have too much, beside the reports: the table `temp.differences`. An
-- hour that lost reports to retention is taken as it is. Purged reports whose totals are kept count.
DROP TABLE IF EXISTS temp.differences;
DROP TABLE IF EXISTS temp.hours;
DROP TABLE IF EXISTS temp.expected;

CREATE TEMP TABLE hours AS
SELECT
    hour, profile, sum(starts) AS starts, sum(heartbeats) AS heartbeats,
    min(first_report) AS first_report, max(last_report) AS last_report
FROM (
    SELECT
        iif(received_at >= 0, received_at / 3600000, -1) AS hour, profile,
        sum(1 - heartbeat) AS starts, sum(heartbeat) AS heartbeats,
        min(id) AS first_report, max(id) AS last_report
    FROM reports
    GROUP BY 1, 2
    UNION ALL
    SELECT hour, profile, starts, heartbeats, NULL, NULL FROM purged_counts
)
GROUP BY 1, 2;

DELETE FROM temp.hours
WHERE EXISTS (
    SELECT 1 FROM rollups
    WHERE span = 1 AND rollups.period = hours.hour AND rollups.profile = hours.profile
        AND first_report <= (SELECT position FROM watermarks WHERE name = 'pruned')
);

INSERT INTO temp.hours
SELECT period, profile, starts, heartbeats, first_report, last_report
FROM rollups
WHERE span = 1 AND first_report <= (SELECT position FROM watermarks WHERE name = 'pruned');

CREATE TEMP TABLE expected (
    span INTEGER, period INTEGER, profile INTEGER, starts INTEGER, heartbeats INTEGER,
    first_report INTEGER, last_report INTEGER, PRIMARY KEY (span, period, profile)
) WITHOUT ROWID;

INSERT INTO temp.expected
SELECT 1, hour, profile, starts, heartbeats, first_report, last_report FROM temp.hours WHERE hour >= 0
UNION ALL
SELECT
    span, iif(span = 0, 0, hour - hour % 24), profile, sum(starts), sum(heartbeats),
    min(first_report), max(last_report)
FROM temp.hours, (SELECT 24 AS span UNION ALL SELECT 0)
WHERE hour < (SELECT position FROM watermarks WHERE name = 'rolled_up') AND (span = 0 OR hour >= 0)
GROUP BY 1, 2, 3;

CREATE TEMP TABLE differences AS
SELECT
    span, period, profile,
    expected.starts - coalesce(rollups.starts, 0) AS starts,
    expected.heartbeats - coalesce(rollups.heartbeats, 0) AS heartbeats,
    coalesce(expected.first_report, rollups.first_report, 0) AS first_report,
    coalesce(expected.last_report, rollups.last_report, 0) AS last_report
FROM temp.expected LEFT JOIN rollups USING (span, period, profile)
WHERE rollups.starts IS NOT expected.starts OR rollups.heartbeats IS NOT expected.heartbeats
    OR rollups.first_report > expected.first_report OR rollups.last_report < expected.last_report
UNION ALL
SELECT span, period, profile, -starts, -heartbeats, first_report, last_report
FROM rollups
WHERE NOT EXISTS (
    SELECT 1 FROM temp.expected
    WHERE expected.span = rollups.span AND expected.period = rollups.period
        AND expected.profile = rollups.profile
);
