-- Numbers of the reports after ?1 up to ?2 that a selection has: of instance ?3 (as hexadecimal digits), of
-- kind ?4 (1 is a heartbeat), received from ?5 on and before ?6; NULL is any. A report without a date is in
-- no time. `temp.wanted` has the profiles, with the number of their values that count as `other`.
INSERT INTO temp.matched
SELECT reports.id
FROM reports CROSS JOIN temp.wanted ON wanted.profile = reports.profile
WHERE reports.id > ?1 AND reports.id <= ?2
    AND (?3 IS NULL OR reports.instance = unhex(?3))
    AND (?4 IS NULL OR reports.heartbeat = ?4)
    AND (?5 IS NULL OR reports.received_at >= ?5)
    AND (?6 IS NULL OR reports.received_at < ?6)
    AND (reports.received_at >= 0 OR (?5 IS NULL AND ?6 IS NULL))
    AND (
        wanted.unproven = 0 OR wanted.unproven = (
            SELECT count(*) FROM unproven_values AS unproven
            INNER JOIN temp.wanted_values AS sought
                ON sought.dimension = unproven.dimension AND sought.value = unproven.value
            WHERE unproven.report = reports.id
        )
    )
