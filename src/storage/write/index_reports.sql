-- Indexes the reports that are stored, up to a number: brings the instances, the hours of blocks and the
-- startup times up to date. The parameter is that number. Rows come in the order of their keys, so
-- that each page is visited once. Runs within a transaction.

-- A report may be older than one that is indexed (an import, a clock set back). It then does not
-- change the latest profile, and its day between the first and the last one counts as seen already:
-- recount_days.sql corrects the number after an import. Instances with two days or more, which is
-- the number that counts, are always right.
INSERT OR ROLLBACK INTO instances (id, first_seen, last_seen, days_seen, reports, profile)
SELECT instance, received_at / 1000, received_at / 1000, 1, 1, profile
FROM reports
WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed') AND id <= ?1
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

INSERT OR ROLLBACK INTO report_blocks (block, first_hour, last_hour)
SELECT id / 4096, min(received_at) / 3600000, max(received_at) / 3600000
FROM reports
WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed') AND id <= ?1
GROUP BY 1
ON CONFLICT DO UPDATE SET
    first_hour = min(first_hour, excluded.first_hour),
    last_hour = max(last_hour, excluded.last_hour);

INSERT OR ROLLBACK INTO startup_times (span, period, profile, up_to_ms, starts, sum_ms)
SELECT span, iif(span = 0, 0, hour - hour % span), profile, up_to_ms, starts, sum_ms
FROM (
    SELECT hour, profile, up_to_ms, count(*) AS starts, sum(startup_ms) AS sum_ms
    FROM measured_starts
    WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed') AND id <= ?1
    -- Hour and profile, which is below 2^32, as one number: an import adds its rows in the order of their keys, while
    -- reports that came now, nearly all of one hour, need no comparison more.
    GROUP BY hour * 4294967296 + profile, up_to_ms
-- CROSS JOIN keeps the groups outside, as in store_batch.sql.
) CROSS JOIN (SELECT 1 AS span UNION ALL SELECT 24 UNION ALL SELECT 0)
WHERE (span = 1 OR hour < (SELECT position FROM watermarks WHERE name = 'rolled_up'))
    -- A report that has no date counts in all time only.
    AND (span = 0 OR hour >= 0)
ON CONFLICT DO UPDATE SET
    starts = starts + excluded.starts,
    sum_ms = sum_ms + excluded.sum_ms;

UPDATE OR ROLLBACK watermarks
SET position = last
FROM (SELECT max(id) AS last FROM reports WHERE id <= ?1)
WHERE name = 'indexed' AND position < last;
