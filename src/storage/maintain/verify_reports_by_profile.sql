-- Indexed reports that are not listed by their profile, and listed reports that are not stored: as many as there are
-- rows too many, with the missing ones in their place. To look each up would read a page for each.
SELECT missing + ((SELECT count(*) FROM reports_by_profile) + missing - indexed) AS "differences!: i64"
FROM (
    SELECT
        count(*) AS indexed,
        count(*) FILTER (
            WHERE NOT EXISTS (
                SELECT 1 FROM reports_by_profile AS listed
                WHERE listed.profile = reports.profile AND listed.report = reports.id
            )
        ) AS missing
    FROM reports
    WHERE id <= (SELECT position FROM watermarks WHERE name = 'indexed')
)
