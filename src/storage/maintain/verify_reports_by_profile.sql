-- Indexed reports that are not listed by their profile, and listed reports that are not stored.
SELECT (
    SELECT count(*)
    FROM reports
    WHERE id <= (SELECT position FROM watermarks WHERE name = 'indexed')
        AND NOT EXISTS (
            SELECT 1 FROM reports_by_profile AS listed
            WHERE listed.profile = reports.profile AND listed.report = reports.id
        )
) + (
    SELECT count(*)
    FROM reports_by_profile AS listed
    WHERE NOT EXISTS (
        SELECT 1 FROM reports WHERE reports.id = listed.report AND reports.profile = listed.profile
    )
) AS "differences!: i64"
