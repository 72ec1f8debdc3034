-- The newest ?5 reports with numbers from ?1 to ?2, received from ?3 to before ?4, without heartbeats if
-- ?6 is 0, of the profiles in the JSON array ?7 (NULL is any): a walk over the numbers. As a bundle.
SELECT CAST(string_agg(report, '') AS BLOB) AS "bundle: Vec<u8>"
FROM (
    SELECT
        concat(
            id, ' ', received_at, ' ', octet_length(instance), ':', instance, profile, ' ', heartbeat, ' ',
            startup_ms, ' ', client_at, ' '
        ) AS report
    FROM reports
    WHERE id BETWEEN ?1 AND ?2
        AND received_at >= ?3 AND received_at < ?4
        AND heartbeat <= ?6
        AND (?7 IS NULL OR profile IN (SELECT value FROM json_each(?7)))
    ORDER BY id DESC
    LIMIT ?5
)
