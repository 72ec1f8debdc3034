-- Histograms of startup times by the values of dimension ?1 ('' is one for all), over the
-- periods of span ?2 from ?3 to before ?4.
SELECT
    CASE ?1
        WHEN 'image_version' THEN image_version
        WHEN 'architecture' THEN architecture
        WHEN 'os' THEN os
        WHEN 'container_runtime' THEN container_runtime
        WHEN 'db_type' THEN db_type
        WHEN 'telemetry_version' THEN telemetry_version
        ELSE ''
    END AS "value!: String",
    sum(startup_ms_sum) AS "sum_ms!: i64",
    json_array(
        sum(up_to_100), sum(up_to_250), sum(up_to_500), sum(up_to_750),
        sum(up_to_1000), sum(up_to_1500), sum(up_to_2000), sum(up_to_2500),
        sum(up_to_3000), sum(up_to_4000), sum(up_to_5000), sum(up_to_7500),
        sum(up_to_10000), sum(up_to_15000), sum(up_to_20000), sum(up_to_30000),
        sum(up_to_45000), sum(up_to_60000), sum(up_to_120000), sum(up_to_300000),
        sum(above_300000)
    ) AS "buckets!: String"
FROM (
    SELECT
        profile, startup_ms_sum,
        up_to_100, up_to_250, up_to_500, up_to_750,
        up_to_1000, up_to_1500, up_to_2000, up_to_2500,
        up_to_3000, up_to_4000, up_to_5000, up_to_7500,
        up_to_10000, up_to_15000, up_to_20000, up_to_30000,
        up_to_45000, up_to_60000, up_to_120000, up_to_300000,
        above_300000
    FROM rollups
    WHERE span = ?2 AND period >= ?3 AND period < ?4
    UNION ALL
    -- The hours that the days, or all time, do not have yet.
    SELECT
        profile, startup_ms_sum,
        up_to_100, up_to_250, up_to_500, up_to_750,
        up_to_1000, up_to_1500, up_to_2000, up_to_2500,
        up_to_3000, up_to_4000, up_to_5000, up_to_7500,
        up_to_10000, up_to_15000, up_to_20000, up_to_30000,
        up_to_45000, up_to_60000, up_to_120000, up_to_300000,
        above_300000
    FROM rollups
    WHERE ?2 <> 1 AND span = 1 AND period >= (SELECT hour FROM running)
        AND (?2 = 0 OR period >= ?3 AND period < ?4)
) AS counts
INNER JOIN profiles ON profiles.id = counts.profile
GROUP BY 1
ORDER BY 1
