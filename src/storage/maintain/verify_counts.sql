-- Periods and profiles whose counts differ from the reports, recounted; through the view that every
-- answer reads. Of a period that lost report ?1 or an earlier one to retention no recount is
-- possible: hours are left out, and days and all time are compared with the counts of their hours and,
-- for all time, of the reports without a date. The first and last report of a count are bounds, which
-- may be further apart than the reports are. Purged reports whose totals are kept count as if they were
-- stored.
WITH stored AS (
    SELECT
        span, period, profile, sum(starts) AS starts, sum(heartbeats) AS heartbeats
    FROM counts
    GROUP BY 1, 2, 3
),
recounted AS (
    SELECT
        received_at / 3600000 AS hour, profile,
        sum(1 - heartbeat) AS starts, sum(heartbeat) AS heartbeats,
        min(id) AS first_report, max(id) AS last_report
    FROM reports
    GROUP BY 1, 2
),
counted AS (
    SELECT hour, profile, sum(starts) AS starts, sum(heartbeats) AS heartbeats
    FROM (
        SELECT hour, profile, starts, heartbeats FROM recounted
        UNION ALL
        SELECT * FROM purged_counts
    )
    GROUP BY 1, 2
),
expected AS (
    SELECT 1 AS span, hour AS period, profile, starts, heartbeats FROM counted WHERE hour >= 0
    UNION ALL
    SELECT
        longer.span, iif(longer.span = 0, 0, period - period % 24), profile,
        sum(starts), sum(heartbeats)
    FROM (
        SELECT period, profile, starts, heartbeats FROM stored WHERE span = 1
        UNION ALL
        SELECT -1, profile, starts, heartbeats FROM counted WHERE hour < 0
    ), (SELECT 24 AS span UNION ALL SELECT 0) AS longer
    WHERE longer.span = 0 OR period >= 0
    GROUP BY 1, 2, 3
),
different AS (
    SELECT span, period, profile FROM (SELECT * FROM stored EXCEPT SELECT * FROM expected)
    UNION
    SELECT span, period, profile FROM (SELECT * FROM expected EXCEPT SELECT * FROM stored)
    EXCEPT
    SELECT span, period, profile FROM counts WHERE span = 1 AND first_report <= ?1
    UNION
    SELECT 1, hour, recounted.profile
    -- CROSS: the smaller side comes second, by its key.
    FROM recounted CROSS JOIN rollups
        ON rollups.span = 1 AND rollups.period = hour AND rollups.profile = recounted.profile
    WHERE rollups.first_report > recounted.first_report
        OR rollups.last_report < recounted.last_report
)
SELECT count(*) AS "differences!: i64" FROM different
