-- Active instances by moment and by group of profiles, as the latest snapshot before tells.
--
-- ?1 is a JSON array of hours, ?2 a JSON array of [profile, group]; other profiles are left out.
WITH
moments (moment, hour) AS MATERIALIZED (
    SELECT
        key + 0,
        (SELECT max(hour) FROM snapshot_totals WHERE hour <= value)
    FROM json_each(?1)
),
groups (profile, member) AS MATERIALIZED (
    SELECT value ->> 0, value ->> 1 FROM json_each(?2)
)
SELECT
    moment AS "moment!: i64",
    member AS "member!: i64",
    sum(active_24h) AS "active_24h!: i64",
    sum(active_7d) AS "active_7d!: i64",
    sum(active_30d) AS "active_30d!: i64",
    sum(returning_24h) AS "returning_24h!: i64",
    sum(returning_7d) AS "returning_7d!: i64",
    sum(returning_30d) AS "returning_30d!: i64"
FROM moments
CROSS JOIN snapshots ON snapshots.hour = moments.hour
INNER JOIN groups ON groups.profile = snapshots.profile
GROUP BY 1, 2
