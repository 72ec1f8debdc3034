-- As newest_reports.sql, out of the lists of the profiles in ?7. The queue of the recursion has the next
-- report of each list and returns the newest of these, so that the lists are read as far as the answer
-- goes and no further.
WITH RECURSIVE
newest (report, profile) AS (
    SELECT
        (
            SELECT report FROM reports_by_profile AS list
            WHERE list.profile = CAST(value AS INTEGER) AND list.report BETWEEN ?1 AND ?2
            ORDER BY list.report DESC LIMIT 1
        ),
        CAST(value AS INTEGER)
    FROM json_each(?7)
    UNION ALL
    SELECT
        (
            SELECT report FROM reports_by_profile AS list
            WHERE list.profile = newest.profile
                AND list.report BETWEEN ?1 AND newest.report - 1
            ORDER BY list.report DESC LIMIT 1
        ),
        newest.profile
    FROM newest
    WHERE newest.report IS NOT NULL
    ORDER BY 1 DESC
)
SELECT CAST(string_agg(report, '') AS BLOB) AS "bundle: Vec<u8>"
FROM (
    SELECT
        concat(
            id, ' ', received_at, ' ', octet_length(instance), ':', instance, reports.profile, ' ', heartbeat, ' ',
            startup_ms, ' ', client_at, ' '
        ) AS report
    FROM newest CROSS JOIN reports ON id = report
    WHERE received_at >= ?3 AND received_at < ?4 AND heartbeat <= ?6
    LIMIT ?5
)
