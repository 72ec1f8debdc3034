-- Difference of each count of a snapshot from the one an hour before, by hour and profile. A report
-- in hour h makes its instance active from the end of that hour (h + 1) until its window has passed
-- or the instance's next report takes its place.
--
-- The result is a table, since there may be a million rows and the first cannot be used before all
-- are known. Its rowids follow the hours.
CREATE TEMP TABLE instance_changes AS
WITH pruned AS (
    SELECT position > 0 AS some FROM watermarks WHERE name = 'pruned'
),
dated AS (
    SELECT
        id,
        instance,
        profile,
        received_at,
        -- Where single reports were pruned, the first one may be among them.
        iif(
            (SELECT some FROM pruned),
            (SELECT first_seen FROM instances WHERE instances.id = reports.instance),
            NULL
        ) AS first_seen
    FROM reports
    WHERE received_at >= 0
),
seen AS (
    SELECT
        id,
        instance,
        profile,
        received_at,
        received_at / 3600000 AS hour,
        coalesce(
            lead(received_at / 3600000) OVER by_time,
            9223372036854775807
        ) AS next_hour,
        row_number() OVER by_time = 1
            AND received_at / 1000 = coalesce(first_seen, received_at / 1000) AS is_first,
        received_at / 86400000 > min(
            first_value(received_at / 86400000) OVER by_time,
            coalesce(first_seen / 86400, 9223372036854775807)
        ) AS came_back
    FROM dated
    WINDOW by_time AS (PARTITION BY instance ORDER BY received_at, id)
),
marked AS MATERIALIZED (
    SELECT
        *,
        came_back AND NOT coalesce(
            -- Of pruned reports it is not known; most instances that have some came back by them.
            lag(came_back) OVER (PARTITION BY instance ORDER BY received_at, id), NOT is_first
        ) AS first_return
    FROM seen
),
changes AS (
    SELECT
        hour + 1 AS hour, profile,
        next_hour > hour AS a1, next_hour > hour AS a7, next_hour > hour AS a30,
        next_hour > hour AND came_back AS r1,
        next_hour > hour AND came_back AS r7,
        next_hour > hour AND came_back AS r30,
        is_first AS instances, first_return AS returning_instances
    FROM marked
    UNION ALL
    SELECT min(next_hour, hour + 24) + 1, profile, -1, 0, 0, -came_back, 0, 0, 0, 0
    FROM marked WHERE next_hour > hour
    UNION ALL
    SELECT min(next_hour, hour + 168) + 1, profile, 0, -1, 0, 0, -came_back, 0, 0, 0
    FROM marked WHERE next_hour > hour
    UNION ALL
    SELECT min(next_hour, hour + 720) + 1, profile, 0, 0, -1, 0, 0, -came_back, 0, 0
    FROM marked WHERE next_hour > hour
)
SELECT
    hour,
    profile,
    sum(a1) AS active_24h,
    sum(a7) AS active_7d,
    sum(a30) AS active_30d,
    sum(r1) AS returning_24h,
    sum(r7) AS returning_7d,
    sum(r30) AS returning_30d,
    sum(instances) AS instances,
    sum(returning_instances) AS returning_instances
FROM changes
GROUP BY 1, 2
ORDER BY 1, 2
