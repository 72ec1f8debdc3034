-- Instances of `temp.touched`, counted anew from their indexed reports: those that are stored now, and
-- those that were before the reports of quarantine ?1 up to number ?2 moved out or, where ?3 is 1, back.
--
-- Where single reports were pruned, an instance has more than its stored ones: what it had beyond those
-- that were stored before stays. Of pruned reports alone it is not known when the last one came, nor of
-- which profile.
INSERT INTO temp.recounted
WITH moving AS (
    SELECT id, instance, received_at, profile FROM quarantined_reports
    WHERE quarantine = ?1 AND id <= ?2
        AND id <= (SELECT position FROM watermarks WHERE name = 'indexed')
),
seen AS (
    SELECT
        instance, received_at, id, profile,
        NOT (?3 AND id IN (SELECT id FROM moving)) AS before, 1 AS after
    FROM reports
    WHERE instance IN (SELECT instance FROM temp.touched)
        AND id <= (SELECT position FROM watermarks WHERE name = 'indexed')
    UNION ALL
    SELECT instance, received_at, id, profile, 1, 0 FROM moving WHERE NOT ?3
),
numbered AS (
    SELECT
        *, iif(received_at >= 0, received_at / 86400000, NULL) AS day,
        row_number() OVER (
            PARTITION BY instance, after ORDER BY received_at / 1000 DESC, id DESC
        ) AS from_last
    FROM seen
),
counted AS (
    SELECT
        instance,
        sum(before) AS reports_before, sum(after) AS reports,
        min(iif(before, received_at / 1000, NULL)) AS first_before,
        min(iif(after, received_at / 1000, NULL)) AS first_seen,
        max(iif(after, received_at / 1000, NULL)) AS last_seen,
        count(DISTINCT iif(before, day, NULL)) AS days_before,
        count(DISTINCT iif(after, day, NULL)) AS days_seen,
        max(iif(after AND from_last = 1, profile, NULL)) AS profile
    FROM numbered
    GROUP BY instance
),
-- What an instance has beyond the reports that were stored before.
pruned AS (
    SELECT
        counted.*,
        instances.reports - reports_before AS pruned_reports,
        instances.days_seen - days_before AS pruned_days,
        instances.first_seen AS was_first, instances.last_seen AS was_last,
        instances.profile AS was_profile
    FROM counted LEFT JOIN instances ON instances.id = counted.instance
        AND instances.reports > reports_before
        AND (SELECT position > 0 FROM watermarks WHERE name = 'pruned')
)
SELECT
    instance,
    reports + coalesce(pruned_reports, 0),
    CASE
        WHEN was_first < coalesce(first_before, was_first + 1)
            THEN min(was_first, coalesce(first_seen, was_first))
        ELSE coalesce(first_seen, was_first)
    END,
    coalesce(last_seen, was_first),
    iif(pruned_reports IS NULL, max(1, days_seen), days_seen + pruned_days),
    coalesce(profile, was_profile)
FROM pruned
ORDER BY instance
