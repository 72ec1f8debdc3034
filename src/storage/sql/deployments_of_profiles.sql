-- As deployments.sql, of version ?6 and architecture ?7 (NULL is any), without
-- heartbeats if ?8 is 0. The newest events of
-- each matching profile come from the index by profile, so that a rare version costs no
-- walk over all events.
SELECT events.id AS "id!", received_at, instance, profile, heartbeat, startup_ms, client_at
FROM profiles INNER JOIN events ON events.id IN (
    SELECT newest.id FROM events AS newest
    WHERE newest.profile = profiles.id
        AND newest.id BETWEEN ?1 AND ?2
        AND newest.received_at >= ?3 AND newest.received_at < ?4
        AND newest.heartbeat <= ?8
    ORDER BY newest.id DESC
    LIMIT ?5
)
WHERE (?6 IS NULL OR image_version = ?6) AND (?7 IS NULL OR architecture = ?7)
ORDER BY events.id DESC
LIMIT ?5
