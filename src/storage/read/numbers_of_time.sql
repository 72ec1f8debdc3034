-- First and last number of the reports of a time, to the hour. Reports have no index by time: the rollups
-- name the numbers between which those of each hour and day lie.
--
-- ?1 is a JSON array of objects with span, from and until, as in starts_at.sql. ?2 is a JSON array of the
-- wanted profiles (NULL is any).
WITH parts (span, first, past) AS MATERIALIZED (
    SELECT value ->> '$.span', value ->> '$.from', value ->> '$.until' FROM json_each(?1)
)
SELECT min(first_report) AS "first: i64", max(last_report) AS "last: i64"
FROM parts
CROSS JOIN stored_spans ON stored_spans.span = parts.span
CROSS JOIN rollups
    ON rollups.span = stored_spans.stored_as
    AND rollups.period >= max(stored_spans.first, parts.first)
    AND rollups.period < parts.past
WHERE ?2 IS NULL OR profile IN (SELECT value FROM json_each(?2))
