"""Texts of the formats `promql` and `promql-selector`, for .ci/schemathesis."""

import schemathesis
from hypothesis import strategies as st

SELECTORS = [
    "mattermost_instances",
    "mattermost_recent_start",
    'mattermost_active_instances{window="7d", os!=""}',
    '{__name__=~"mattermost_.*", architecture!~"x86.*"}',
]
EXPRESSIONS = [
    "1",
    "-1.5e3 * 2",
    "sum by (image_version) (increase(mattermost_starts_total[1d]))",
    "histogram_quantile(0.9, sum by (le) (mattermost_startup_seconds_bucket))",
    'topk(3, mattermost_active_instances{window="7d"}) / 2',
    "telemetry_http_requests_total offset 1h",
]


def mostly(texts):
    """One of the texts, and sometimes any other: no schema states the syntax."""
    return st.one_of([st.sampled_from(texts)] * 9 + [st.text(min_size=1, max_size=20)])


schemathesis.openapi.format("promql-selector", mostly(SELECTORS))
schemathesis.openapi.format("promql", mostly(SELECTORS + EXPRESSIONS))
