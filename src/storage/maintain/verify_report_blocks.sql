-- Blocks of numbers whose hours leave a report out.
SELECT count(*) AS "differences!: i64"
FROM measured_blocks AS measured
WHERE NOT EXISTS (
    SELECT 1 FROM report_blocks AS stored
    WHERE stored.block = measured.block
        AND stored.first_hour <= measured.first_hour
        AND stored.last_hour >= measured.last_hour
)
