-- Stores a batch of reports and adds them to the counts. Runs within a transaction, whose other statements
-- are in store_batch.rs.
--
-- The parameters, each used once: the reports, a JSON array of [received_at, instance, profile,
-- heartbeat, startup_ms, client_at]; the changes of values, JSON arrays or NULL for none: those
-- without a label, as [reports stored after theirs, instance, dimension, value]; sightings, as
-- [dimension, value, instance, day]; releases that lose their label; values that get one, as
-- [dimension, value, proven].

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
    GROUP BY 1, 2
), (SELECT 1 AS span UNION ALL SELECT 24 UNION ALL SELECT 0)
WHERE (span = 1 OR hour < (SELECT position FROM watermarks WHERE name = 'rolled_up'))
    -- A report that has no date counts in all time only.
    AND (span = 0 OR hour >= 0)
ON CONFLICT DO UPDATE SET
    starts = starts + excluded.starts,
    heartbeats = heartbeats + excluded.heartbeats,
    first_report = min(first_report, excluded.first_report),
    last_report = max(last_report, excluded.last_report);

-- The instance is compared so that a value is linked to its own report or to none.
INSERT OR ROLLBACK INTO unproven_values (report, dimension, value)
SELECT reports.id, given.value ->> 2, given.value ->> 3
FROM jsonb_each(?) AS given
CROSS JOIN reports ON reports.id = last_insert_rowid() - (given.value ->> 0)
WHERE reports.instance = unhex(given.value ->> 1);

INSERT OR ROLLBACK INTO sightings (dimension, value, instance, day)
SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3
FROM jsonb_each(?)
WHERE true
ON CONFLICT DO NOTHING;

DELETE FROM accepted_values
WHERE dimension = 'image_version' AND proven = 0
    AND value IN (SELECT displaced.value FROM json_each(?) AS displaced);

INSERT OR ROLLBACK INTO accepted_values (dimension, value, proven)
SELECT value ->> 0, value ->> 1, value ->> 2
FROM jsonb_each(?)
WHERE true
ON CONFLICT DO UPDATE SET proven = max(proven, excluded.proven);

