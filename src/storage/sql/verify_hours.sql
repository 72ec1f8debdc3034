-- Hours and profiles whose rollup differs from its events, counted anew. Hours of which
-- event ?1 or an earlier one has been pruned can no longer be counted and are left out.
WITH stored AS (
    SELECT
        period AS hour, profile, starts, heartbeats, startup_ms_sum, first_event, last_event,
        json_array(
            up_to_100, up_to_250, up_to_500, up_to_750,
            up_to_1000, up_to_1500, up_to_2000, up_to_2500,
            up_to_3000, up_to_4000, up_to_5000, up_to_7500,
            up_to_10000, up_to_15000, up_to_20000, up_to_30000,
            up_to_45000, up_to_60000, up_to_120000, up_to_300000,
            above_300000
        ) AS buckets
    FROM rollups
    WHERE span = 1
),
counted AS (
    SELECT
        hour, profile, sum(starts), sum(heartbeats), sum(startup_ms_sum), min(id), max(id),
        json_array(
            count(*) FILTER (WHERE up_to_100), count(*) FILTER (WHERE up_to_250), count(*) FILTER (WHERE up_to_500), count(*) FILTER (WHERE up_to_750), count(*) FILTER (WHERE up_to_1000), count(*) FILTER (WHERE up_to_1500), count(*) FILTER (WHERE up_to_2000), count(*) FILTER (WHERE up_to_2500),
            count(*) FILTER (WHERE up_to_3000), count(*) FILTER (WHERE up_to_4000), count(*) FILTER (WHERE up_to_5000), count(*) FILTER (WHERE up_to_7500), count(*) FILTER (WHERE up_to_10000), count(*) FILTER (WHERE up_to_15000), count(*) FILTER (WHERE up_to_20000), count(*) FILTER (WHERE up_to_30000),
            count(*) FILTER (WHERE up_to_45000), count(*) FILTER (WHERE up_to_60000), count(*) FILTER (WHERE up_to_120000), count(*) FILTER (WHERE up_to_300000), count(*) FILTER (WHERE above_300000)
        )
    FROM event_counts
    GROUP BY hour, profile
),
pruned AS (SELECT hour, profile FROM stored WHERE first_event <= ?1),
different AS (
    SELECT hour, profile FROM (SELECT * FROM stored EXCEPT SELECT * FROM counted)
    UNION
    SELECT hour, profile FROM (SELECT * FROM counted EXCEPT SELECT * FROM stored)
    EXCEPT
    SELECT hour, profile FROM pruned
)
SELECT count(*) AS "differences!: i64" FROM different
