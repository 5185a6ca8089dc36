//! The packaged alerts, dashboard and fail2ban filter name only metrics and result codes that
//! exist.

use std::collections::BTreeSet;

use cc_gateway::api::{METRICS, ResultCode};
use serde_json::Value;

use crate::support::document;

const RULES: &str = "packaging/prometheus/cc-gateway.rules.yml";
const ALERT_TESTS: &str = "packaging/prometheus/alerts-test.yml";
const DASHBOARD: &str = "packaging/grafana/cc-gateway.json";

/// The metrics named in a text; the series of a histogram count as the histogram.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let words = text
        .split(|letter| !part_of_word(letter))
        .filter(|word| word.starts_with("cc_gateway_"));
    words
        .map(|word| {
            let histogram = METRICS.iter().find(|metric| {
                let series = word.strip_prefix(metric.name);
                metric.kind == "histogram"
                    && series.is_some_and(|series| ["_bucket", "_sum", "_count"].contains(&series))
            });
            histogram.map_or(word, |metric| metric.name).to_owned()
        })
        .collect()
}

/// All strings under the key `key`, at any depth.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => texts(value, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, key, found)),
        _ => (),
    }
}

fn exists(metric: &str) -> bool {
    METRICS.iter().any(|known| known.name == metric)
}

#[test]
fn every_query_of_the_dashboard_names_a_metric_that_exists() {
    let dashboard: Value = serde_json::from_str(&document(DASHBOARD)).unwrap();
    let mut queries = Vec::new();
    texts(&dashboard, "expr", &mut queries);
    assert!(queries.len() > 15, "{queries:?}");
    texts(&dashboard["templating"], "definition", &mut queries);
    for query in queries {
        let named = metrics_in(query);
        assert!(
            !named.is_empty() && named.iter().all(|metric| exists(metric)),
            "{query}"
        );
    }
}

#[test]
fn counters_are_never_shown_as_they_are_and_gauges_never_as_rates() {
    let dashboard: Value = serde_json::from_str(&document(DASHBOARD)).unwrap();
    let mut queries = Vec::new();
    texts(&dashboard, "expr", &mut queries);
    for query in queries {
        let is_rate = query.contains("rate(") || query.contains("increase(");
        let named = metrics_in(query);
        let grows = METRICS
            .iter()
            .filter(|metric| named.contains(metric.name))
            .all(|metric| metric.kind != "gauge");
        assert_eq!(is_rate, grows, "{query}");
    }
}

#[test]
fn every_alert_is_about_metrics_and_codes_that_exist_and_has_a_test() {
    let rules = document(RULES);
    let named = metrics_in(&rules);
    assert!(
        named.len() > 8 && named.iter().all(|metric| exists(metric)),
        "{named:?}"
    );
    let tests = document(ALERT_TESTS);
    for alert in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "no test of the alert {alert}"
        );
    }
}

#[test]
fn every_result_code_of_alerts_dashboard_and_filter_exists() {
    let is_code = |word: &&str| {
        word.len() == 7 && word.as_bytes()[3] == b'-' && word[4..].parse::<u32>().is_ok()
    };
    for name in [RULES, DASHBOARD, "packaging/fail2ban/cc-gateway.conf"] {
        let text = document(name);
        let codes: BTreeSet<&str> = text
            .split(|letter: char| !letter.is_ascii_digit() && letter != '-')
            .filter(is_code)
            .collect();
        assert!(!codes.is_empty(), "{name}");
        for code in codes {
            assert!(
                ResultCode::ALL.iter().any(|known| known.wire() == code),
                "{name}: {code}"
            );
        }
    }
}
