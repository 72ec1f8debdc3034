-- Brings the instances of all events from number ?1 on up to date, event by event.
-- An event may be older than the latest (an import, a clock set back): it then changes
-- neither the latest profile nor the days, which `recount_days` mends after an import.
INSERT INTO instances (id, first_seen, last_seen, days_seen, reports, profile)
SELECT instance, received_at / 1000, received_at / 1000, 1, 1, profile
FROM events
WHERE id >= ?1
ORDER BY id
ON CONFLICT DO UPDATE SET
    profile = iif(excluded.last_seen >= last_seen, excluded.profile, profile),
    days_seen = days_seen + (excluded.last_seen / 86400 > last_seen / 86400),
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    reports = reports + 1
