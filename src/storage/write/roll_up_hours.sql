-- Adds the hours from the watermark `rolled_up` to before an hour to the counts and startup times of
-- their days and of all time, and moves the watermark. Each parameter is that hour. The statements
-- run in the caller's transaction.
INSERT INTO rollups (span, period, profile, starts, heartbeats, first_report, last_report)
SELECT
    longer.span,
    iif(longer.span = 0, 0, period - period % 24),
    profile,
    sum(starts),
    sum(heartbeats),
    min(first_report),
    max(last_report)
FROM rollups, (SELECT 24 AS span UNION ALL SELECT 0) AS longer
WHERE rollups.span = 1
    AND period >= (SELECT position FROM watermarks WHERE name = 'rolled_up')
    AND period < ?
GROUP BY 1, 2, 3
ON CONFLICT DO UPDATE SET
    starts = starts + excluded.starts,
    heartbeats = heartbeats + excluded.heartbeats,
    first_report = min(first_report, excluded.first_report),
    last_report = max(last_report, excluded.last_report);

INSERT INTO startup_times (span, period, profile, up_to_ms, starts, sum_ms)
SELECT
    longer.span,
    iif(longer.span = 0, 0, period - period % 24),
    profile,
    up_to_ms,
    sum(starts),
    sum(sum_ms)
FROM startup_times, (SELECT 24 AS span UNION ALL SELECT 0) AS longer
WHERE startup_times.span = 1
    AND period >= (SELECT position FROM watermarks WHERE name = 'rolled_up')
    AND period < ?
GROUP BY 1, 2, 3, 4
ON CONFLICT DO UPDATE SET
    starts = starts + excluded.starts,
    sum_ms = sum_ms + excluded.sum_ms;

UPDATE watermarks SET position = ? WHERE name = 'rolled_up';
