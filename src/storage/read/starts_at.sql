-- Starts by part of a stretch of time and by group of profiles.
--
-- ?1 is a JSON array of objects with stretch, span, from and until: the counts of that span whose
-- period begins in hour `from` or later and before hour `until`. ?2 is a JSON array of
-- [profile, group]; other profiles are left out.
WITH parts (stretch, span, first, past) AS MATERIALIZED (
    SELECT
        value ->> '$.stretch', value ->> '$.span', value ->> '$.from', value ->> '$.until'
    FROM json_each(?1)
),
groups (profile, member) AS MATERIALIZED (
    -- CAST gives the column INTEGER affinity; without it SQLite cannot look up by it.
    SELECT CAST(value ->> 0 AS INTEGER), value ->> 1 FROM json_each(?2)
)
SELECT
    stretch AS "stretch!: i64",
    member AS "member!: i64",
    sum(starts) AS "starts!: i64"
FROM parts
CROSS JOIN stored_spans ON stored_spans.span = parts.span
CROSS JOIN rollups
    ON rollups.span = stored_spans.stored_as
    AND rollups.period >= max(stored_spans.first, parts.first)
    AND rollups.period < parts.past
INNER JOIN groups ON groups.profile = rollups.profile
GROUP BY 1, 2
