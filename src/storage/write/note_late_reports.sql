-- Notes the reports that are not indexed, up to a number (the parameter), and of an earlier day than one of their
-- instance that is: what they change in the windows of the calendar is found by a recount. Nearly always the first
-- subquery has no row. Runs within a transaction, before index_reports.sql.
INSERT OR ROLLBACK INTO calendar_moves (day, previous_day, first_week, moved)
SELECT
    received_at / 86400000,
    instances.last_seen / 86400,
    iif(
        instances.first_seen < 0, -1,
        instances.first_seen / 86400 - (instances.first_seen / 86400 + 3) % 7
    ),
    count(*)
FROM (
    SELECT min(received_at) AS earliest
    FROM reports
    WHERE id > (SELECT position FROM watermarks WHERE name = 'indexed')
        AND id <= ?1
        AND received_at >= 0
    HAVING min(received_at) < 86400000 * max(
        coalesce((SELECT max(first_day) FROM calendar_counts WHERE kind = 'day'), 0),
        coalesce((SELECT max(day) FROM calendar_moves), 0)
    )
        -- The latest day may not be counted yet.
        OR EXISTS (SELECT 1 FROM calendar_recounts)
)
CROSS JOIN reports
    ON reports.id > (SELECT position FROM watermarks WHERE name = 'indexed') AND reports.id <= ?1
CROSS JOIN instances
    ON instances.id = reports.instance
    AND instances.last_seen / 86400 > reports.received_at / 86400000
WHERE received_at >= 0
GROUP BY 1, 2, 3
ON CONFLICT DO UPDATE SET moved = moved + excluded.moved;
