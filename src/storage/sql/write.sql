-- Stores a batch of reports and adds them to the rollups: one transaction, sent to SQLite as one
-- piece of work.
--
-- The parameters are the reports, as a JSON array of [received_at, instance, profile,
-- heartbeat, startup_ms, client_at], and the name and position of an import's progress, NULL
-- for reports that come over the wire. jsonb_each hands each row on in binary; json_each would
-- write it as text, for `->>` to parse again.
BEGIN IMMEDIATE;

INSERT INTO events (received_at, instance, profile, heartbeat, startup_ms, client_at)
SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5
FROM jsonb_each(?);

-- To the rollups of their hour, their day and all time. The numbers of the new events follow
-- each other and end with last_insert_rowid().
WITH added AS MATERIALIZED (
    SELECT
        hour,
        profile,
        sum(starts) AS starts,
        sum(heartbeats) AS heartbeats,
        sum(startup_ms_sum) AS startup_ms_sum,
        min(id) AS first_event,
        max(id) AS last_event,
        sum(up_to_100) AS up_to_100,
        sum(up_to_250) AS up_to_250,
        sum(up_to_500) AS up_to_500,
        sum(up_to_750) AS up_to_750,
        sum(up_to_1000) AS up_to_1000,
        sum(up_to_1500) AS up_to_1500,
        sum(up_to_2000) AS up_to_2000,
        sum(up_to_2500) AS up_to_2500,
        sum(up_to_3000) AS up_to_3000,
        sum(up_to_4000) AS up_to_4000,
        sum(up_to_5000) AS up_to_5000,
        sum(up_to_7500) AS up_to_7500,
        sum(up_to_10000) AS up_to_10000,
        sum(up_to_15000) AS up_to_15000,
        sum(up_to_20000) AS up_to_20000,
        sum(up_to_30000) AS up_to_30000,
        sum(up_to_45000) AS up_to_45000,
        sum(up_to_60000) AS up_to_60000,
        sum(up_to_120000) AS up_to_120000,
        sum(up_to_300000) AS up_to_300000,
        sum(above_300000) AS above_300000
    FROM event_counts
    WHERE id > last_insert_rowid() - changes()
    GROUP BY hour, profile
),
spans (span) AS (VALUES (1), (24), (0))
INSERT INTO rollups (
    span, period, profile, starts, heartbeats, startup_ms_sum, first_event, last_event,
    up_to_100, up_to_250, up_to_500, up_to_750,
    up_to_1000, up_to_1500, up_to_2000, up_to_2500,
    up_to_3000, up_to_4000, up_to_5000, up_to_7500,
    up_to_10000, up_to_15000, up_to_20000, up_to_30000,
    up_to_45000, up_to_60000, up_to_120000, up_to_300000,
    above_300000
)
SELECT
    span,
    CASE span WHEN 0 THEN 0 ELSE hour - hour % span END,
    profile, starts, heartbeats, startup_ms_sum, first_event, last_event,
    up_to_100, up_to_250, up_to_500, up_to_750,
    up_to_1000, up_to_1500, up_to_2000, up_to_2500,
    up_to_3000, up_to_4000, up_to_5000, up_to_7500,
    up_to_10000, up_to_15000, up_to_20000, up_to_30000,
    up_to_45000, up_to_60000, up_to_120000, up_to_300000,
    above_300000
FROM added, spans
WHERE true
ON CONFLICT DO UPDATE SET
    starts = starts + excluded.starts,
    heartbeats = heartbeats + excluded.heartbeats,
    startup_ms_sum = startup_ms_sum + excluded.startup_ms_sum,
    first_event = min(first_event, excluded.first_event),
    last_event = max(last_event, excluded.last_event),
    up_to_100 = up_to_100 + excluded.up_to_100,
    up_to_250 = up_to_250 + excluded.up_to_250,
    up_to_500 = up_to_500 + excluded.up_to_500,
    up_to_750 = up_to_750 + excluded.up_to_750,
    up_to_1000 = up_to_1000 + excluded.up_to_1000,
    up_to_1500 = up_to_1500 + excluded.up_to_1500,
    up_to_2000 = up_to_2000 + excluded.up_to_2000,
    up_to_2500 = up_to_2500 + excluded.up_to_2500,
    up_to_3000 = up_to_3000 + excluded.up_to_3000,
    up_to_4000 = up_to_4000 + excluded.up_to_4000,
    up_to_5000 = up_to_5000 + excluded.up_to_5000,
    up_to_7500 = up_to_7500 + excluded.up_to_7500,
    up_to_10000 = up_to_10000 + excluded.up_to_10000,
    up_to_15000 = up_to_15000 + excluded.up_to_15000,
    up_to_20000 = up_to_20000 + excluded.up_to_20000,
    up_to_30000 = up_to_30000 + excluded.up_to_30000,
    up_to_45000 = up_to_45000 + excluded.up_to_45000,
    up_to_60000 = up_to_60000 + excluded.up_to_60000,
    up_to_120000 = up_to_120000 + excluded.up_to_120000,
    up_to_300000 = up_to_300000 + excluded.up_to_300000,
    above_300000 = above_300000 + excluded.above_300000;

INSERT INTO progress
SELECT job, position FROM (SELECT ? AS job, ? AS position) WHERE job IS NOT NULL
ON CONFLICT DO UPDATE SET position = excluded.position;

COMMIT;
