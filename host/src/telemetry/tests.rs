//! What the files for monitoring and the documentation name is there.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// A scrape of a host on which everything has happened.
fn everything() -> String {
    let telemetry = Telemetry::bounded(1);
    let webhook = WebhookId::from_bytes([1; 16]);
    telemetry.events_accepted(EventType::ReportReady, 1);
    telemetry.attempt(webhook, None, Duration::from_millis(3), 0);
    telemetry.attempt(webhook, Some(ErrorClass::Timeout), Duration::from_millis(3), 0);
    telemetry.expression_failed(webhook);
    telemetry.request(&http::Method::POST, "/api/v1/events", 202);
    let series = telemetry.formatters().series("json");
    series.add_error(FormatterErrorKind::Trap, "unreachable");
    let webhooks = [1, 2].map(|number| WebhookSnapshot {
        id: WebhookId::from_bytes([number; 16]),
        label: number.to_string(),
        waiting: 1,
        held: 1,
        oldest_seconds: 1,
        next_probe: Some(1),
    });
    let snapshot = Snapshot {
        webhooks: webhooks.into(),
        tripped: vec!["1".into()],
        formatters: vec![FormatterSnapshot { name: "json".into(), ..FormatterSnapshot::default() }],
        rejected: BTreeMap::from([("trap".into(), 1)]),
        threads: vec![("api".into(), true)],
        disk: Some((1, 2)),
        ..Snapshot::default()
    };
    telemetry.render(snapshot, Exposition::Text)
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("heraldry_")).collect()
}

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn alerts_dashboard_and_documentation_name_metrics_that_exist() {
    let scraped = everything();
    let existing: BTreeSet<&str> =
        names(&scraped).into_iter().filter(|name| scraped.contains(&format!("\n{name}"))).collect();
    for (path, fewest) in [
        ("deploy/alerts.yml", 12),
        ("deploy/alerts.test.yml", 12),
        ("deploy/grafana-dashboard.json", 20),
        ("docs/OPERATIONS.md", 20),
    ] {
        let text = file(path);
        let named = names(&text);
        assert!(named.len() >= fewest, "{path} names only {named:?}");
        // A histogram is named without its suffixes, and a counter in a list of several.
        let exists =
            |name: &&str| existing.iter().any(|known| known == name || known.strip_suffix("_count") == Some(name));
        let missing: Vec<&&str> = named.iter().filter(|name| !exists(name)).collect();
        assert!(missing.is_empty(), "{path} names metrics that do not exist: {missing:?}");
    }
}

#[test]
fn every_metric_by_webhook_is_on_the_dashboard_and_documented() {
    let scraped = everything();
    let by_webhook = names(&scraped).into_iter().filter(|name| name.starts_with("heraldry_webhook_"));
    let (dashboard, documentation) = (file("deploy/grafana-dashboard.json"), file("docs/OPERATIONS.md"));
    let mut seen = 0;
    for name in by_webhook {
        assert!(names(&dashboard).contains(name), "{name} is not on the dashboard");
        assert!(names(&documentation).contains(name), "{name} is not documented");
        seen += 1;
    }
    assert_eq!(seen, 7);
}

/// The text between two characters that follow at once.
fn enclosed(text: &str, open: char, close: char) -> Option<&str> {
    text.strip_prefix(open)?.split_once(close).map(|(inner, _)| inner)
}

/// The labels of a selector or a series, with what stands behind each.
fn labels(inner: &str) -> Vec<(&str, &str)> {
    // No value in these files has a comma or a quote.
    let pairs = inner.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(label, value)| (label, value.trim_start_matches('~').trim_matches('"'))).collect()
}

/// Every query of the dashboard selects series of the host, by labels and values that these have.
#[test]
fn every_panel_of_the_dashboard_shows_series_of_the_host() {
    let scraped = everything();
    // Prometheus adds this one when it scrapes.
    let has = |name: &str, label: &str, value: Option<&str>| {
        let series = scraped.lines().filter_map(|line| enclosed(line.strip_prefix(name)?, '{', '}'));
        let mut all = series.flat_map(labels);
        label == "instance" || all.any(|(known, is)| known == label && value.is_none_or(|value| is == value))
    };
    let dashboard: serde_json::Value = serde_json::from_str(&file("deploy/grafana-dashboard.json")).expect("JSON");
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            queries += 1;
            let found: Vec<&str> = names(query).into_iter().collect();
            for name in &found {
                let exists = scraped
                    .lines()
                    .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
                assert!(exists, "{title}: {name} of {query}");
                let selector = query.split_once(name).and_then(|(_, rest)| enclosed(rest, '{', '}'));
                for (label, value) in labels(selector.expect("a selector")) {
                    let literal = Some(value).filter(|value| !value.starts_with('$') && !value.contains(['.', '|']));
                    assert!(has(name, label, literal), "{title}: {label}={value} of {query}");
                }
                for by in query.split(" by (").skip(1) {
                    let by = by.split_once(')').map_or(by, |(by, _)| by);
                    for label in by.split(',').map(str::trim) {
                        assert!(has(name, label, None), "{title}: by {label} of {query}");
                    }
                }
            }
        }
    }
    assert!(queries > 30, "{queries}");
}

#[test]
fn the_build_is_named() {
    let line = everything().lines().find(|line| line.starts_with("heraldry_build_info{")).map(str::to_owned);
    let line = line.expect("a series");
    assert!(line.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")) && line.ends_with(" 1"), "{line}");
}
