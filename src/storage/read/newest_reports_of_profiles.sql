-- As newest_reports.sql, of version ?6 and architecture ?7 (NULL is any), without heartbeats if ?8
-- is 0. The newest reports of each matching profile are listed by profile, so that a rare version
-- costs no walk over all reports; to these come the few reports that are not listed yet.
WITH matching AS MATERIALIZED (
    SELECT id FROM profiles
    WHERE (?6 IS NULL OR image_version = ?6) AND (?7 IS NULL OR architecture = ?7)
),
newest AS (
    SELECT reports.id
    FROM matching INNER JOIN reports ON reports.id IN (
        SELECT report
        FROM reports_by_profile AS listed INNER JOIN reports AS of_profile ON of_profile.id = report
        WHERE listed.profile = matching.id
            AND report BETWEEN ?1 AND ?2
            AND received_at >= ?3 AND received_at < ?4
            AND heartbeat <= ?8
        ORDER BY report DESC
        LIMIT ?5
    )
    UNION ALL
    SELECT id
    FROM reports
    -- One lower bound, since SQLite seeks to one only and walks over the rest.
    WHERE id BETWEEN max(?1, 1 + (SELECT position FROM watermarks WHERE name = 'indexed')) AND ?2
        AND received_at >= ?3 AND received_at < ?4
        AND heartbeat <= ?8
        AND profile IN matching
)
SELECT id AS "id!", received_at, instance, profile, heartbeat, startup_ms, client_at
FROM reports
WHERE id IN newest
ORDER BY id DESC
LIMIT ?5
