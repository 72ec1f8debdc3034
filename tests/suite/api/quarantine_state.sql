-- All that answers are made of, by names instead of numbers.
WITH named AS (SELECT id, architecture || ' ' || os AS name FROM profiles)
SELECT 'count ' || concat_ws(' ', span, period, name, sum(starts), sum(heartbeats))
FROM counts JOIN named ON named.id = profile GROUP BY span, period, name
UNION ALL
SELECT 'startup ' || concat_ws(' ', span, period, name, up_to_ms, sum(starts), sum(sum_ms))
FROM startup_counts JOIN named ON named.id = profile GROUP BY span, period, name, up_to_ms
UNION ALL
SELECT 'instance ' || concat_ws(' ', hex(i.id), first_seen, last_seen, days_seen, reports, name)
FROM instances AS i JOIN named ON named.id = profile
UNION ALL
SELECT 'activity ' || concat_ws(' ', hour, name, instances, returning_instances)
FROM activity JOIN named ON named.id = profile WHERE instances <> 0
UNION ALL
SELECT 'totals ' || concat_ws(' ', instances, returning_instances) FROM totals
UNION ALL
SELECT 'snapshot ' || concat_ws(' ', hour, instances, returning_instances, (
    SELECT group_concat(line, ';') FROM (
        SELECT name || ' ' || json_remove(value, '$[0]') AS line
        FROM json_each(active) JOIN named ON named.id = value ->> 0 ORDER BY 1
    )
)) FROM snapshots
UNION ALL
SELECT 'report ' || concat_ws(' ', received_at, hex(instance), name, heartbeat, startup_ms, (
    SELECT group_concat(dimension || value) FROM unproven_values WHERE report = reports.id
))
FROM reports JOIN named ON named.id = profile
UNION ALL
SELECT 'blocks that leave reports out ' || count(*)
FROM measured_blocks AS measured LEFT JOIN report_blocks AS stored USING (block)
WHERE (
    stored.first_hour <= measured.first_hour AND stored.last_hour >= measured.last_hour
) IS NOT TRUE
ORDER BY 1
