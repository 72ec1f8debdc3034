-- Startup times by part of a stretch of time, and in each by group of profiles and bucket.
--
-- ?1 is a JSON array of objects with stretch, span, from and until: the histograms of that span
-- whose period begins in hour `from` or later and before hour `until`. ?2 is a JSON array of
-- [profile, group]; other profiles are left out.
--
-- Each part is sorted by itself, by one number for both group and bucket: sorting all of them at
-- once, by two, takes a third longer. `cells` is a JSON array of [group * 100,000,000 + bucket's
-- upper bound, starts, sum of their times].
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
    (
        SELECT json_group_array(json_array(cell, starts, sum_ms))
        FROM (
            SELECT
                member * 100000000 + up_to_ms AS cell,
                sum(starts) AS starts,
                sum(sum_ms) AS sum_ms
            FROM stored_spans
            CROSS JOIN startup_times
                ON startup_times.span = stored_spans.stored_as
                AND startup_times.period >= max(stored_spans.first, parts.first)
                AND startup_times.period < parts.past
            INNER JOIN groups ON groups.profile = startup_times.profile
            WHERE stored_spans.span = parts.span
            GROUP BY 1
        )
    ) AS "cells!: String"
FROM parts
