-- Startup times by stretch of time and by group of profiles.
--
-- ?1 is a JSON array of [stretch, span, from, to]: the rollups of that span whose period begins
-- from `from` to before `to`, and the hours among these that the longer spans do not have yet. ?2 is a JSON array of [profile, group]; other profiles are left out.
WITH
stretches (stretch, span, first, past) AS MATERIALIZED (
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1)
    UNION ALL
    SELECT
        value ->> 0, 1, max(value ->> 2, position),
        iif(value ->> 1 = 0, 9223372036854775807, value ->> 3)
    FROM json_each(?1), progress
    WHERE value ->> 1 <> 1 AND job = 'summed'
),
groups (profile, member) AS MATERIALIZED (
    -- A type, without which there is no looking up by it.
    SELECT CAST(value ->> 0 AS INTEGER), value ->> 1 FROM json_each(?2)
)
SELECT
    stretch AS "stretch!: i64",
    member AS "member!: i64",
    sum(startup_ms_sum) AS "sum_ms!: i64",
    json_array(
        sum(up_to_100), sum(up_to_250), sum(up_to_500), sum(up_to_750),
        sum(up_to_1000), sum(up_to_1500), sum(up_to_2000), sum(up_to_2500),
        sum(up_to_3000), sum(up_to_4000), sum(up_to_5000), sum(up_to_7500),
        sum(up_to_10000), sum(up_to_15000), sum(up_to_20000), sum(up_to_30000),
        sum(up_to_45000), sum(up_to_60000), sum(up_to_120000), sum(up_to_300000),
        sum(above_300000)
    ) AS "buckets!: String"
FROM stretches
CROSS JOIN rollups
    ON rollups.span = stretches.span
    AND rollups.period >= stretches.first
    AND rollups.period < stretches.past
INNER JOIN groups ON groups.profile = rollups.profile
GROUP BY 1, 2
