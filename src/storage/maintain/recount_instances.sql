-- Instances that sent reports which are being corrected, counted anew from their indexed reports. Where reports of
-- an instance were pruned that were earlier, the first time and the number of days before are kept.
CREATE TEMP TABLE recounted_instances AS
WITH counted AS (
    SELECT
        instance,
        profile,
        received_at / 1000 AS seen,
        received_at / 86400000 AS day,
        received_at >= 0 AS dated,
        row_number() OVER (
            PARTITION BY instance ORDER BY received_at / 1000 DESC, id DESC
        ) AS from_last
    FROM reports
    WHERE instance IN (
            SELECT moved.instance FROM corrections
            INNER JOIN reports AS moved
                ON moved.id > corrections.after_report AND moved.id <= corrections.last_report
        )
        AND id <= (SELECT position FROM watermarks WHERE name = 'indexed')
),
by_instance AS (
    SELECT
        instance,
        count(*) AS reports,
        min(seen) AS first_seen,
        max(seen) AS last_seen,
        max(iif(from_last = 1, profile, NULL)) AS profile,
        max(1, count(DISTINCT iif(dated, day, NULL))) AS days_seen
    FROM counted
    GROUP BY instance
)
SELECT
    counted.instance,
    iif(
        instances.reports > counted.reports
            AND instances.first_seen >= 0 AND instances.first_seen < counted.first_seen,
        instances.first_seen, counted.first_seen
    ) AS first_seen,
    counted.last_seen,
    counted.profile,
    iif(
        instances.reports > counted.reports
            AND instances.first_seen >= 0 AND instances.first_seen < counted.first_seen,
        max(
            instances.days_seen, counted.days_seen,
            1 + (counted.last_seen / 86400 > instances.first_seen / 86400)
        ),
        counted.days_seen
    ) AS days_seen,
    instances.first_seen AS was_first,
    instances.last_seen AS was_last,
    instances.reports = counted.reports AS is_whole
FROM by_instance AS counted
-- In this order: SQLite knows no size of a subquery, and could walk over it for each instance.
CROSS JOIN instances ON instances.id = counted.instance
