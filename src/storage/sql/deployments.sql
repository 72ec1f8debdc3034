-- The newest ?5 events with numbers from ?1 to ?2 that arrived from ?3 to before ?4; without
-- heartbeats if ?6 is 0.
SELECT
    events.id AS "id!", received_at, instance,
    image_version, architecture, os, container_runtime, db_type, telemetry_version,
    heartbeat, startup_ms, client_at
-- CROSS: by number, whatever the statistics say of another way.
FROM events CROSS JOIN profiles ON profiles.id = events.profile
WHERE events.id BETWEEN ?1 AND ?2 AND received_at >= ?3 AND received_at < ?4
    AND heartbeat <= ?6
ORDER BY events.id DESC
LIMIT ?5
