-- Days, and all of time, whose rollup differs from the sum of those hours that it should have.
WITH stored AS (
    SELECT
        span, period, profile, starts, heartbeats, startup_ms_sum, first_event, last_event,
        json_array(
            up_to_100, up_to_250, up_to_500, up_to_750,
            up_to_1000, up_to_1500, up_to_2000, up_to_2500,
            up_to_3000, up_to_4000, up_to_5000, up_to_7500,
            up_to_10000, up_to_15000, up_to_20000, up_to_30000,
            up_to_45000, up_to_60000, up_to_120000, up_to_300000,
            above_300000
        ) AS buckets
    FROM rollups
    WHERE span <> 1
),
spans (span) AS (VALUES (24), (0)),
summed AS (
    SELECT
        spans.span,
        CASE spans.span WHEN 0 THEN 0 ELSE period - period % spans.span END,
        profile,
        sum(starts), sum(heartbeats), sum(startup_ms_sum), min(first_event), max(last_event),
        json_array(
            sum(up_to_100), sum(up_to_250), sum(up_to_500), sum(up_to_750), sum(up_to_1000), sum(up_to_1500), sum(up_to_2000), sum(up_to_2500),
            sum(up_to_3000), sum(up_to_4000), sum(up_to_5000), sum(up_to_7500), sum(up_to_10000), sum(up_to_15000), sum(up_to_20000), sum(up_to_30000),
            sum(up_to_45000), sum(up_to_60000), sum(up_to_120000), sum(up_to_300000), sum(above_300000)
        )
    FROM rollups, spans
    WHERE rollups.span = 1
        AND period < (SELECT position FROM progress WHERE job = 'summed')
    GROUP BY 1, 2, 3
),
different AS (
    SELECT span, period, profile FROM (SELECT * FROM stored EXCEPT SELECT * FROM summed)
    UNION
    SELECT span, 0, profile FROM (SELECT * FROM summed EXCEPT SELECT * FROM stored)
)
SELECT count(*) AS "differences!: i64" FROM different
