-- As newest_reports.sql, of the reports whose numbers are in the JSON array ?1, in its order.
SELECT CAST(string_agg(report, '') AS BLOB) AS "bundle: Vec<u8>"
FROM (
    SELECT
        concat(
            reports.id, ' ', received_at, ' ', octet_length(instance), ':', instance, profile, ' ', heartbeat, ' ',
            startup_ms, ' ', client_at, ' '
        ) AS report
    FROM json_each(?1) AS numbers CROSS JOIN reports ON reports.id = CAST(numbers.value AS INTEGER)
    WHERE received_at >= ?2 AND received_at < ?3 AND heartbeat <= ?5
    LIMIT ?4
)
