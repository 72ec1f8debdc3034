-- Events that are not listed by their profile, as far as they should be, and listed ones that
-- are not stored.
SELECT (
    SELECT count(*)
    FROM events
    WHERE id <= (SELECT position FROM progress WHERE job = 'counted')
        AND NOT EXISTS (
            SELECT 1 FROM events_by_profile AS listed
            WHERE listed.profile = events.profile AND listed.event = events.id
        )
) + (
    SELECT count(*)
    FROM events_by_profile AS listed
    WHERE NOT EXISTS (
        SELECT 1 FROM events WHERE events.id = listed.event AND events.profile = listed.profile
    )
) AS "differences!: i64"
