-- Moves the indexed starts whose reports are stored into other buckets, in all their periods. The parameter: a
-- JSON array of [above, up_to, old, new], the startup times over the first and up to the second one that lie
-- in the bucket with the bound `old` and belong into that with the bound `new`.
WITH times (above, up_to, old, new) AS MATERIALIZED (
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)
),
moved AS MATERIALIZED (
    SELECT
        received_at / 3600000 AS hour, profile, old, new, count(*) AS starts,
        sum(startup_ms) AS sum_ms
    FROM reports CROSS JOIN times
    WHERE id <= (SELECT position FROM watermarks WHERE name = 'indexed')
        AND startup_ms > above AND startup_ms <= up_to
    GROUP BY 1, 2, 3, 4
)
INSERT INTO startup_times (span, period, profile, up_to_ms, starts, sum_ms)
SELECT
    span, iif(span = 0, 0, hour - hour % span) AS start, profile, up_to_ms, sum(starts), sum(sum_ms)
FROM (
    SELECT hour, profile, old AS up_to_ms, -starts AS starts, -sum_ms AS sum_ms FROM moved
    UNION ALL
    SELECT hour, profile, new, starts, sum_ms FROM moved
), (SELECT 1 AS span UNION ALL SELECT 24 UNION ALL SELECT 0)
WHERE (span = 1 OR hour < (SELECT position FROM watermarks WHERE name = 'rolled_up'))
    -- A report that has no date counts in all time only.
    AND (span = 0 OR hour >= 0)
GROUP BY span, start, profile, up_to_ms
ON CONFLICT DO UPDATE SET
    starts = starts + excluded.starts,
    sum_ms = sum_ms + excluded.sum_ms;
