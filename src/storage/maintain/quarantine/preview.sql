-- Sums of the reports of `temp.matched`.
WITH taken AS (
    SELECT reports.* FROM temp.matched CROSS JOIN reports ON reports.id = matched.report
),
senders AS (
    SELECT instance, count(*) AS reports FROM taken GROUP BY instance
)
SELECT
    (SELECT count(*) FROM reports) AS stored,
    count(*) AS reports,
    coalesce(sum(heartbeat), 0) AS heartbeats,
    min(iif(received_at >= 0, received_at, NULL)) AS first,
    max(iif(received_at >= 0, received_at, NULL)) AS last,
    (SELECT count(*) FROM senders) AS instances,
    (
        SELECT count(*) FROM senders INNER JOIN instances ON instances.id = senders.instance
        WHERE instances.reports = senders.reports
    ) AS whole
FROM taken
