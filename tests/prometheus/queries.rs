//! What both are asked.

/// Queries whose answers must be the same, but for the order of series.
pub const QUERIES: [&str; 74] = [
    // Numbers.
    "1",
    "-1.5",
    "2 + 3 * 4 ^ 2 % 7",
    "1 / 0",
    "-1 / 0",
    "0 / 0",
    "3 > bool 2",
    "3 == bool 2",
    // Selectors and matchers.
    "mattermost_starts_total",
    "mattermost_starts_total{architecture=\"aarch64\"}",
    "mattermost_starts_total{architecture!=\"aarch64\"}",
    "mattermost_starts_total{image_version=~\"v11.*\"}",
    "mattermost_starts_total{image_version!~\"v11.*\"}",
    "mattermost_starts_total{image_version=~\"v11.0.0|unknown\",db_type=\"postgres\"}",
    "mattermost_starts_total{image_version=~\"v11\"}",
    "mattermost_starts_total{nosuch=\"\"}",
    "mattermost_starts_total{nosuch!=\"\"}",
    "mattermost_starts_total{nosuch=~\".*\"}",
    "mattermost_starts_total{nosuch=~\".+\"}",
    "{__name__=\"mattermost_starts_total\",db_type=\"mysql\"}",
    "{__name__=~\"mattermost_instances.*\"}",
    "{__name__=~\"mattermost_startup_seconds_(sum|count)\",image_version=\"v11.0.0\"}",
    "mattermost_startup_seconds_bucket{le=\"2.5\"}",
    "mattermost_startup_seconds_bucket{le=\"+Inf\",architecture=\"x86_64\"}",
    "mattermost_startup_seconds_sum",
    "mattermost_startup_seconds_count",
    "mattermost_instances",
    "mattermost_instances_returned",
    "mattermost_active_instances{window=\"24h\"}",
    "mattermost_active_instances{window=~\"7d|30d\",architecture=\"aarch64\"}",
    "mattermost_returning_instances",
    "no_such_metric",
    // Offsets.
    "mattermost_starts_total offset 1d",
    "mattermost_starts_total{db_type=\"mysql\"} offset 90m",
    "mattermost_starts_total offset -3h",
    "sum(mattermost_active_instances{window=\"7d\"} offset 2d)",
    // Aggregations.
    "sum(mattermost_starts_total)",
    "sum by (architecture) (mattermost_starts_total)",
    "sum by (image_version, db_type) (mattermost_starts_total)",
    "sum by (nosuch) (mattermost_starts_total)",
    "sum without (architecture, db_type) (mattermost_starts_total)",
    "sum without () (mattermost_starts_total)",
    "avg(mattermost_starts_total)",
    "avg by (image_version) (mattermost_starts_total)",
    "min by (architecture) (mattermost_starts_total)",
    "max without (image_version) (mattermost_starts_total)",
    "count(mattermost_starts_total)",
    "count by (image_version) (mattermost_starts_total > 10)",
    "quantile(0.25, mattermost_starts_total)",
    "quantile by (architecture) (0.9, mattermost_starts_total)",
    "quantile(2, mattermost_starts_total)",
    "sum by (window) (mattermost_active_instances)",
    "sum by (image_version) (mattermost_active_instances{window=\"30d\"})",
    "count by (le) (mattermost_startup_seconds_bucket)",
    // Arithmetic and comparison.
    "mattermost_starts_total * 2",
    "100 - mattermost_starts_total",
    "-mattermost_instances",
    "mattermost_starts_total % 7",
    "mattermost_starts_total ^ 0.5",
    "mattermost_starts_total > 20",
    "20 >= mattermost_starts_total",
    "mattermost_starts_total > bool 20",
    "mattermost_starts_total != 3",
    "mattermost_startup_seconds_sum / mattermost_startup_seconds_count",
    "sum(mattermost_startup_seconds_sum) / sum(mattermost_startup_seconds_count)",
    "sum by (architecture) (mattermost_starts_total) / on (architecture) max by (architecture) (mattermost_starts_total)",
    "mattermost_active_instances{window=\"24h\"} / ignoring (window) mattermost_active_instances{window=\"30d\"}",
    "mattermost_active_instances{window=\"24h\"} == ignoring (window) mattermost_active_instances{window=\"7d\"}",
    "mattermost_returning_instances < mattermost_active_instances",
    "sum by (image_version) (mattermost_starts_total) / scalar(sum(mattermost_starts_total))",
    // Histograms.
    "histogram_quantile(0.5, sum by (le) (mattermost_startup_seconds_bucket))",
    "histogram_quantile(0.99, sum by (le, architecture) (mattermost_startup_seconds_bucket))",
    "histogram_quantile(0.9, mattermost_startup_seconds_bucket)",
    "histogram_quantile(1.5, sum by (le) (mattermost_startup_seconds_bucket))",
];

/// Queries that choose among equal values: of their answers the values must be the same.
pub const CHOICES: [&str; 4] = [
    "topk(3, mattermost_starts_total)",
    "bottomk(2, mattermost_starts_total)",
    "topk by (architecture) (1, mattermost_starts_total)",
    "topk(2, sum by (image_version) (mattermost_starts_total))",
];

/// Queries whose answers are in order.
pub const IN_ORDER: [&str; 2] = [
    "sort(sum by (image_version) (mattermost_starts_total))",
    "sort_desc(sum by (image_version) (mattermost_starts_total))",
];

/// Queries for the samples of a range.
pub const RANGES: [&str; 3] = [
    "mattermost_starts_total[5h]",
    "mattermost_starts_total{architecture=\"aarch64\"}[140m] offset 1d",
    "mattermost_active_instances{window=\"24h\"}[3h]",
];
