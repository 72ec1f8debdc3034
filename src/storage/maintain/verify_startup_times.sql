-- Periods, profiles and buckets whose startup times differ from the indexed reports, recounted; through
-- the view that every answer reads. Of an hour that lost report ?1 or an earlier one to retention no
-- recount is possible: it is left out, and days and all time are compared with the startup times of
-- their hours. Purged reports whose totals are kept count as if they were stored.
WITH stored AS (
    SELECT span, period, profile, up_to_ms, sum(starts) AS starts, sum(sum_ms) AS sum_ms
    FROM startup_counts
    GROUP BY 1, 2, 3, 4
),
expected AS (
    SELECT 1 AS span, hour AS period, profile, up_to_ms, sum(starts), sum(sum_ms)
    FROM (
        SELECT hour, profile, up_to_ms, count(*) AS starts, sum(startup_ms) AS sum_ms
        FROM measured_starts
        WHERE hour >= 0 AND id <= (SELECT position FROM watermarks WHERE name = 'indexed')
        GROUP BY 1, 2, 3
        UNION ALL
        SELECT * FROM purged_startup_times WHERE hour >= 0
    )
    GROUP BY 2, 3, 4
    UNION ALL
    SELECT
        longer.span, iif(longer.span = 0, 0, period - period % 24), profile, up_to_ms,
        sum(starts), sum(sum_ms)
    FROM (
        SELECT period, profile, up_to_ms, starts, sum_ms FROM stored WHERE span = 1
        UNION ALL
        SELECT -1, profile, up_to_ms, 1, startup_ms FROM measured_starts
        WHERE hour < 0 AND id <= (SELECT position FROM watermarks WHERE name = 'indexed')
        UNION ALL
        SELECT -1, profile, up_to_ms, starts, sum_ms FROM purged_startup_times WHERE hour < 0
    ), (SELECT 24 AS span UNION ALL SELECT 0) AS longer
    WHERE longer.span = 0 OR period >= 0
    GROUP BY 1, 2, 3, 4
),
different AS (
    SELECT span, period, profile FROM (SELECT * FROM stored EXCEPT SELECT * FROM expected)
    UNION
    SELECT span, period, profile FROM (SELECT * FROM expected EXCEPT SELECT * FROM stored)
    EXCEPT
    SELECT span, period, profile FROM counts WHERE span = 1 AND first_report <= ?1
)
SELECT count(*) AS "differences!: i64" FROM different
