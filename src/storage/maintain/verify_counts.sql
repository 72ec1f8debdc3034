-- Periods and profiles whose counts differ from the reports, recounted; through the view that every
-- answer reads. Of a period that lost report ?1 or an earlier one to retention no recount is
-- possible: hours are left out, and days and all time are compared with the counts of their hours.
WITH stored AS (
    SELECT
        span, period, profile, sum(starts) AS starts, sum(heartbeats) AS heartbeats,
        min(first_report) AS first_report, max(last_report) AS last_report
    FROM counts
    GROUP BY 1, 2, 3
),
recounted AS (
    SELECT
        1 AS span, received_at / 3600000 AS period, profile,
        sum(1 - heartbeat) AS starts, sum(heartbeat) AS heartbeats,
        min(id) AS first_report, max(id) AS last_report
    FROM reports
    GROUP BY 2, 3
),
expected AS (
    SELECT * FROM recounted
    UNION ALL
    SELECT
        longer.span, iif(longer.span = 0, 0, period - period % 24), profile,
        sum(starts), sum(heartbeats), min(first_report), max(last_report)
    FROM (
        SELECT period, profile, starts, heartbeats, first_report, last_report
        FROM stored WHERE span = 1
    ), (SELECT 24 AS span UNION ALL SELECT 0) AS longer
    GROUP BY 1, 2, 3
),
different AS (
    SELECT span, period, profile FROM (SELECT * FROM stored EXCEPT SELECT * FROM expected)
    UNION
    SELECT span, period, profile FROM (SELECT * FROM expected EXCEPT SELECT * FROM stored)
    EXCEPT
    SELECT span, period, profile FROM stored WHERE span = 1 AND first_report <= ?1
)
SELECT count(*) AS "differences!: i64" FROM different
