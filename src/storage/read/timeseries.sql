-- Reports by period and by group of profiles: the first ?5 rows of the periods of span ?1 that begin
-- in hour ?2 or later and before hour ?3. ?4 is a JSON array of [profile, group].
WITH groups (profile, member) AS MATERIALIZED (
    -- CAST gives the column INTEGER affinity; without it SQLite cannot look up by it.
    SELECT CAST(value ->> 0 AS INTEGER), value ->> 1 FROM json_each(?4)
)
SELECT
    period - period % ?1 AS "period!: i64",
    member AS "member!: i64",
    sum(starts) AS "starts!: i64",
    sum(heartbeats) AS "heartbeats!: i64"
FROM stored_spans
CROSS JOIN rollups
    ON rollups.span = stored_spans.stored_as
    AND rollups.period >= max(stored_spans.first, ?2)
    AND rollups.period < ?3
INNER JOIN groups ON groups.profile = rollups.profile
WHERE stored_spans.span = ?1
GROUP BY 1, 2
ORDER BY 1, 2
LIMIT ?5
