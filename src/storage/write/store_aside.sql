-- Stores the reports of a batch that go into quarantine, after the others, in the same transaction. They
-- get the numbers that follow. The parameters, twice the same: a JSON array of [quarantine, received_at,
-- instance, profile, heartbeat, startup_ms, client_at, unproven].
INSERT OR ROLLBACK INTO sqlite_sequence (name, seq)
SELECT 'reports', 0
WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'reports');

INSERT OR ROLLBACK INTO quarantined_reports
SELECT
    value ->> 0, seq + 1 + key, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4,
    value ->> 5, value ->> 6, value ->> 7
FROM sqlite_sequence CROSS JOIN json_each(?)
WHERE name = 'reports';

UPDATE OR ROLLBACK sqlite_sequence
SET seq = seq + (SELECT count(*) FROM json_each(?))
WHERE name = 'reports';
