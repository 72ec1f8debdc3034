-- Indexes the reports that are stored, up to a number: brings the instances, the reports by profile and
-- the startup times up to date. Each parameter is that number. Rows come in the order of their keys, so
-- that each page is visited once.
--
-- After a crash the watermark sends the same reports here again, so the transaction needs no sync
-- of its own.
PRAGMA synchronous = NORMAL;

BEGIN IMMEDIATE;

-- Reports that are of an earlier day than one of their instance that is indexed: what they change in the
-- windows of the calendar is found by a recount. Nearly always the first subquery has no row.
INSERT OR ROLLBACK INTO calendar_moves (day, previous_day, first_week, moved)
SELECT
    received_at / 86400000,
    instances.last_seen / 86400,
    iif(
        instances.first_seen < 0, -1,
        instances.first_seen / 86400 - (instances.first_seen / 86400 + 3) % 7
    ),
    count(*)
FROM (
    SELECT min(received_at) AS earliest
    FROM reports
    WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed')
        AND id <= ?
        AND received_at >= 0
    HAVING min(received_at) < 86400000 * max(
        coalesce((SELECT max(first_day) FROM calendar_counts WHERE kind = 'day'), 0),
        coalesce((SELECT max(day) FROM calendar_moves), 0)
    )
        -- The latest day may not be counted yet.
        OR EXISTS (SELECT 1 FROM calendar_recounts)
)
CROSS JOIN reports
    ON reports.id > (SELECT position FROM watermarks WHERE name = 'indexed') AND reports.id <= ?
CROSS JOIN instances
    ON instances.id = reports.instance
    AND instances.last_seen / 86400 > reports.received_at / 86400000
WHERE received_at >= 0
GROUP BY 1, 2, 3
ON CONFLICT DO UPDATE SET moved = moved + excluded.moved;

-- A report may be older than one that is indexed (an import, a clock set back). It then does not
-- change the latest profile, and its day between the first and the last one counts as seen already:
-- sort_history.sql corrects the number after an import. Instances with two days or more, which is
-- the number that counts, are always right.
INSERT OR ROLLBACK INTO instances (id, first_seen, last_seen, days_seen, reports, profile)
SELECT instance, received_at / 1000, received_at / 1000, 1, 1, profile
FROM reports
WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed') AND id <= ?
ORDER BY instance, received_at, id
ON CONFLICT DO UPDATE SET
    profile = iif(excluded.last_seen >= last_seen, excluded.profile, profile),
    -- A report that has no date is of no day, until it is dated.
    days_seen = days_seen + (
        (
            excluded.last_seen / 86400 > last_seen / 86400
            OR excluded.first_seen / 86400 < first_seen / 86400
        )
        AND excluded.first_seen >= 0
        AND last_seen >= 0
    ),
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    reports = reports + 1;

INSERT OR ROLLBACK INTO reports_by_profile (profile, report)
SELECT profile, id
FROM reports
WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed') AND id <= ?
ORDER BY profile, id;

INSERT OR ROLLBACK INTO report_blocks (block, first_hour, last_hour)
SELECT id / 4096, min(received_at) / 3600000, max(received_at) / 3600000
FROM reports
WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed') AND id <= ?
GROUP BY 1
ON CONFLICT DO UPDATE SET
    first_hour = min(first_hour, excluded.first_hour),
    last_hour = max(last_hour, excluded.last_hour);

INSERT OR ROLLBACK INTO startup_times (span, period, profile, up_to_ms, starts, sum_ms)
SELECT span, iif(span = 0, 0, hour - hour % span), profile, up_to_ms, starts, sum_ms
FROM (
    SELECT hour, profile, up_to_ms, count(*) AS starts, sum(startup_ms) AS sum_ms
    FROM measured_starts
    WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed') AND id <= ?
    -- Hour and profile, which is below 2^32, as one number: an import adds its rows in the order of their keys, while
    -- reports that came now, nearly all of one hour, need no comparison more.
    GROUP BY hour * 4294967296 + profile, up_to_ms
), (SELECT 1 AS span UNION ALL SELECT 24 UNION ALL SELECT 0)
WHERE (span = 1 OR hour < (SELECT position FROM watermarks WHERE name = 'rolled_up'))
    -- A report that has no date counts in all time only.
    AND (span = 0 OR hour >= 0)
ON CONFLICT DO UPDATE SET
    starts = starts + excluded.starts,
    sum_ms = sum_ms + excluded.sum_ms;

UPDATE OR ROLLBACK watermarks
SET position = last
FROM (SELECT max(id) AS last FROM reports WHERE id <= ?)
WHERE name = 'indexed' AND position < last;

COMMIT;

PRAGMA synchronous = FULL;
