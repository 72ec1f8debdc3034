//! Every route with each hostile value of each of its parameters.

use std::net::Ipv4Addr;

use futures_util::{StreamExt as _, stream};
use mattermost_telemetry::http::DOCUMENT;
use serde_json::Value;

use super::{
    raw,
    trial::{REPORTS, Trial},
};
use crate::support::named_binary;

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const AT_A_TIME: usize = 16;
/// Bytes of the largest form.
const FORM: usize = 128 * 1024;

/// Values, already encoded for a URL or not meant to be.
fn hostile_values() -> Vec<String> {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        open.repeat(depth) + inner + &close.repeat(depth)
    };
    let many = |item: &str, count: usize| vec![item; count].join(",");
    let matching =
        |pattern: &str| format!("mattermost_starts_total{{image_version=~%22{pattern}%22}}");
    let mut values: Vec<String> = [
        "0",
        "-1",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1e308",
        "1e999",
        "-1e308",
        "NaN",
        "Inf",
        "0x7fffffffffffffff",
        "00000000000000000000000001",
        "0000-00-00T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "-9999-01-01T00:00:00Z",
        "1ms",
        "1000y",
        "99999999999y",
        "1y1y",
        "%00",
        "%ff%fe",
        "%c0%80",
        "%ed%a0%80",
        "%",
        "%%%",
        "%g1",
        "%u0041",
        "&&&&",
        "=",
        "=&=&=",
        ";",
        "+",
        "..%2f..%2fetc%2fpasswd",
        "'%20OR%201=1--",
        "%22",
        "%0d%0ax:y",
        "mattermost_starts_total",
        "mattermost_startup_seconds_bucket",
        "mattermost_starts_total[1000y]",
        "increase(mattermost_startup_seconds_bucket[1000y])",
        "rate(mattermost_starts_total[1ms])%20offset%201000y",
        "topk(9223372036854775807,mattermost_recent_start)",
        "quantile(NaN,mattermost_startup_seconds_bucket)",
        "histogram_quantile(0.9,mattermost_startup_seconds_bucket)",
        "%7B__name__=~%22.%2B%22%7D",
        "%7B__name__!=%22%22%7D",
    ]
    .map(str::to_owned)
    .into();
    for pattern in [
        "(a%2B)%2B$",
        "(.*)*x",
        "((((a*)*)*)*)*$",
        "(a|a)*$",
        "a%7B1000%7D%7B1000%7D",
        "%5B",
        "(?i)(.?)%7B500%7D",
        "(v11|v10|.*|.%2B|())%2B%2B",
    ] {
        values.push(matching(pattern));
    }
    values.push(matching(&"(a%2B)%2B".repeat(500)));
    values.push(matching(&many("v11.0.0", 1000).replace(',', "|")));
    values.push(matching(&nested("(", "a", "%2B)%2B", 2000)));
    values.push(nested("(", "mattermost_starts_total", ")", 2000));
    values.push(nested("sum(", "mattermost_starts_total", ")", 2000));
    values.push(nested("-", "1", "", 5000));
    values.push("1%5E".repeat(4000) + "1");
    values.push("mattermost_starts_total".to_owned() + &"%2Bmattermost_starts_total".repeat(99));
    values.push(format!("sum%20by%20({})%20(mattermost_starts_total)", many("os", 4000)));
    values.push(format!("mattermost_starts_total{{{}}}", many("os=%22Linux%22", 1000)));
    values.push("9".repeat(10_000));
    values.push("a".repeat(15_000));
    values.push("%2541".repeat(3000));
    values
}

/// Parameters that a route needs besides the hostile one.
fn usual(path: &str, hostile: &str) -> String {
    let all: &[(&str, &str)] = match path {
        "/api/v1/query" => &[("query", "mattermost_starts_total")],
        "/api/v1/query_range" => &[
            ("query", "mattermost_startup_seconds_bucket"),
            ("start", "2026-01-01T00:00:00Z"),
            ("end", "2026-01-31T00:00:00Z"),
            ("step", "1h"),
        ],
        "/api/v1/series" => &[("match[]", "mattermost_startup_seconds_bucket")],
        _ => &[],
    };
    let others = all.iter().filter(|(name, _)| *name != hostile);
    others.fold(String::new(), |pairs, (name, value)| pairs + "&" + name + "=" + value)
}

/// Requests to every route of the description.
fn requests() -> Vec<Vec<u8>> {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let values = hostile_values();
    let mut requests = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parameters = methods["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let names: Vec<_> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        for value in &values {
            let target = path.replace("{name}", "os");
            // Where there is no parameter, whatever is sent must be ignored or refused.
            requests.push(raw::get(&format!("{target}?{value}")));
            requests.push(raw::get(&format!("{target}/{value}")));
            if path.contains("{name}") {
                requests.push(raw::get(&path.replace("{name}", value)));
            }
            for name in &names {
                let pairs = format!("{name}={value}{}", usual(path, name));
                requests.push(raw::get(&format!("{target}?{pairs}")));
                if methods.get("post").is_some() {
                    requests.push(form(&target, &pairs));
                }
            }
        }
        if methods.get("post").is_some() && path.starts_with("/api/") {
            requests.extend(large_forms(path, &values));
        }
    }
    requests
}

fn form(target: &str, pairs: &str) -> Vec<u8> {
    raw::post(target, "application/x-www-form-urlencoded", pairs.as_bytes())
}

/// Forms as large as they may be, and a byte larger.
fn large_forms(path: &str, values: &[String]) -> Vec<Vec<u8>> {
    let fill = |begin: &str, piece: &str| {
        let mut pairs = begin.to_owned();
        while pairs.len() + piece.len() <= FORM {
            pairs += piece;
        }
        pairs
    };
    let mut forms = vec![
        fill("", "&"),
        fill("", "a&"),
        fill("", "%"),
        fill("query=", "%ff"),
        fill("query=", "("),
        fill("query=", "mattermost_starts_total%2B"),
        fill("query=1&match[]=", "mattermost_starts_total%7Bos=~%22"),
        fill("query=1", "&match[]=mattermost_startup_seconds_bucket"),
        fill("query=mattermost_starts_total%7Bimage_version=~%22", "v11.0.0%7C"),
        "a".repeat(FORM),
        "a".repeat(FORM + 1),
    ];
    // As many selectors as there may be, of the kinds that cost most.
    forms.extend(values.iter().map(|value| format!("match[]={value}&").repeat(50)));
    forms.into_iter().map(|pairs| form(path, &pairs)).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures time and memory: .ci/abuse"]
async fn hostile_queries() {
    let trial = Trial::begin_with(|_, database| {
        let database = format!("sqlite://{}", database.display());
        let simulated = named_binary()
            .args(["simulate", "--instances", "300", "--days", "30", "--database-url", &database])
            .output()
            .unwrap();
        assert!(simulated.status.success(), "{}", String::from_utf8_lossy(&simulated.stderr));
    })
    .await;
    let address = trial.address;
    let attacks = stream::iter(requests()).for_each_concurrent(AT_A_TIME, |request| {
        let tally = trial.tally.clone();
        async move {
            let answer = raw::exchange(address, ATTACKER, &request).await.unwrap_or_default();
            let status = raw::status(&answer);
            let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
            let allowed = status.is_some_and(|status| status < 500 || status == 503);
            assert!(allowed, "{status:?} {shown}");
            tally.add(status);
        }
    });
    attacks.await;
    trial.honest_reports(REPORTS / 2).await;
    trial.judge("hostile queries", 0).await;
}
