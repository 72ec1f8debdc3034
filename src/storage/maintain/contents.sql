-- Number of reports and of instances, and all that makes another backup worth while. The clock's record, the
-- samples and the snapshots of hours without a report change by themselves and are left out.
SELECT
    (SELECT coalesce(sum(starts + heartbeats), 0) FROM counts WHERE span = 0) AS reports,
    (SELECT instances FROM totals) AS instances,
    concat_ws(
        ' ',
        (SELECT coalesce(sum(starts + heartbeats), 0) FROM counts WHERE span = 0),
        (SELECT instances FROM totals),
        (SELECT max(seq) FROM sqlite_sequence WHERE name = 'reports'),
        (SELECT position FROM watermarks WHERE name = 'indexed'),
        (SELECT position FROM watermarks WHERE name = 'pruned'),
        (SELECT max(id) FROM clock_stretches),
        (SELECT count(*) FROM corrections),
        (SELECT count(*) FROM outages),
        (SELECT count(*) FROM accepted_values),
        (SELECT count(*) FROM public_numbers),
        (SELECT count(*) FROM quarantined_reports),
        (SELECT group_concat(id || state || phase) FROM quarantines),
        (SELECT group_concat(id || ':' || phase) FROM purges),
        (SELECT count(*) FROM purged_instances),
        (SELECT max(id * 2 + done) FROM repairs)
    ) AS state
