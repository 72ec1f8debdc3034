-- Stores a batch of reports and adds them to the counts. Runs within a transaction, whose other statements
-- are in store_batch.rs.
--
-- The parameter: the reports, a JSON array of [received_at, instance, profile, heartbeat, startup_ms,
-- client_at].

-- jsonb_each hands each row on in binary; json_each would write it as text, for `->>` to parse
-- again. OR ROLLBACK spares the journal from which a single statement would be undone.
INSERT OR ROLLBACK INTO reports (received_at, instance, profile, heartbeat, startup_ms, client_at)
SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5
FROM jsonb_each(?);

-- Adds to the rollup of their hour, and to those of their day and of all time if the hour is
-- rolled up already. The numbers of the new reports follow each other and end with
-- last_insert_rowid().
INSERT OR ROLLBACK INTO rollups (
    span, period, profile, starts, heartbeats, first_report, last_report
)
SELECT
    span, iif(span = 0, 0, hour - hour % span), profile, starts, heartbeats, first_report,
    last_report
FROM (
    SELECT
        received_at / 3600000 AS hour,
        profile,
        sum(1 - heartbeat) AS starts,
        sum(heartbeat) AS heartbeats,
        min(id) AS first_report,
        max(id) AS last_report
    FROM reports
    WHERE changes() > 0 AND id > last_insert_rowid() - changes()
    -- Hour and profile, which is below 2^32, as one number: it is compared faster.
    GROUP BY received_at / 3600000 * 4294967296 + profile
-- CROSS JOIN keeps the groups outside, which SQLite would make anew for each span.
) CROSS JOIN (SELECT 1 AS span UNION ALL SELECT 24 UNION ALL SELECT 0)
WHERE (span = 1 OR hour < (SELECT position FROM watermarks WHERE name = 'rolled_up'))
    -- A report that has no date counts in all time only.
    AND (span = 0 OR hour >= 0)
ON CONFLICT DO UPDATE SET
    starts = starts + excluded.starts,
    heartbeats = heartbeats + excluded.heartbeats,
    first_report = min(first_report, excluded.first_report),
    last_report = max(last_report, excluded.last_report);
