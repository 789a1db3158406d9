//! `/healthz`, `/readyz` and `/metrics`: for supervisors, without a token.

use serde_json::json;

use crate::support::{Client, Destination, Host, Reply, events, eventually};

#[tokio::test]
async fn health_readiness_and_metrics_need_no_token() {
    let host = Host::with(|options| options.args(["--breaker-threshold", "1"])).await;
    let (admin, anyone) = (host.admin(), host.visitor().outside());
    assert_eq!(anyone.get("/healthz").await.expect(200).json(), json!({"status": "ok"}));
    assert_eq!(anyone.get("/readyz").await.expect(200).json(), json!({"status": "ready"}));

    let (good, bad) = (Destination::start().await, Destination::always(Reply::status(500)).await);
    let only = |types: &[&str]| json!({"event_types": types, "retry_count": 0});
    admin.webhook(&good.url("/"), only(&["finding_added", "critical_finding"])).await;
    let tripped = admin.webhook(&bad.url("/"), only(&["report_ready"])).await;
    admin.webhook(&good.url("/"), json!({"is_active": false})).await;
    admin.event(&events::finding("a finding", "critical")).await;
    admin.event(&events::minimal("report_ready")).await;
    admin.get("/webhooks/7").await.expect(404);

    let expected = [
        "heraldry_events_accepted_total{type=\"finding_added\"} 1".to_owned(),
        "heraldry_events_accepted_total{type=\"report_ready\"} 1".to_owned(),
        "heraldry_attempts_total{outcome=\"delivered\"} 2".to_owned(),
        "heraldry_attempts_total{outcome=\"status\"} 1".to_owned(),
        "heraldry_attempt_seconds_count 3".to_owned(),
        "heraldry_attempts_in_flight 0".to_owned(),
        "heraldry_webhooks{state=\"active\"} 1".to_owned(),
        "heraldry_webhooks{state=\"off\"} 1".to_owned(),
        "heraldry_webhooks{state=\"tripped\"} 1".to_owned(),
        format!("heraldry_webhook_tripped{{webhook=\"{tripped}\"}} 1"),
        "heraldry_formatter_calls_total{formatter=\"json\"} 3".to_owned(),
        "heraldry_http_requests_total{method=\"POST\",route=\"/api/v1/events\",status=\"202\"} 2".to_owned(),
        "heraldry_http_requests_total{method=\"GET\",route=\"/api/v1/webhooks/{id}\",status=\"404\"} 1".to_owned(),
        "heraldry_store_writable 1".to_owned(),
        "heraldry_thread_healthy{thread=\"store-writer\"} 1".to_owned(),
        "heraldry_thread_healthy{thread=\"scheduler\"} 1".to_owned(),
        "heraldry_thread_healthy{thread=\"api\"} 1".to_owned(),
    ];
    let mut missing = Vec::new();
    for line in expected {
        if !shows(&anyone, &line).await {
            missing.push(line);
        }
    }
    let metrics = anyone.get("/metrics").await.expect(200);
    assert!(missing.is_empty(), "missing: {missing:#?} in {}", metrics.text());
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    well_formed(metrics.text(), false);
    let request = anyone.request("GET", "/metrics").header("accept", "application/openmetrics-text; version=1.0.0");
    let metrics = request.send().await.expect(200);
    assert_eq!(metrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(metrics.header("vary"), "accept");
    well_formed(metrics.text(), true);
}

/// True if the metrics show this line within 5 s; counters follow the counted action with a short delay.
async fn shows(anyone: &Client, line: &str) -> bool {
    let has = async || anyone.get("/metrics").await.expect(200).text().lines().any(|shown| shown == line);
    tokio::time::timeout(std::time::Duration::from_secs(5), eventually(line, async || has().await.then_some(())))
        .await
        .is_ok()
}

/// Checks the syntax of OpenMetrics 1.0, or of the text format 0.0.4: each family in one piece, with its help and type
/// first, names of samples as the type has them, and the end mark in OpenMetrics only.
fn well_formed(text: &str, is_open: bool) {
    let rows = if is_open { text.strip_suffix("# EOF\n").expect("the end mark") } else { text };
    let mut families: Vec<(&str, &str)> = Vec::new();
    let mut help = None;
    for line in rows.lines() {
        if let Some(words) = line.strip_prefix("# HELP ") {
            help = words.split_once(' ').map(|(name, _)| name);
            continue;
        }
        if let Some(words) = line.strip_prefix("# TYPE ") {
            let (name, kind) = words.split_once(' ').expect("a name and a type");
            assert_eq!(help.take(), Some(name), "the help comes first: {line}");
            assert!(families.iter().all(|(known, _)| *known != name), "twice: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            families.push((name, kind));
            continue;
        }
        assert!(!line.starts_with('#'), "{line}");
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        assert!(value.parse::<f64>().is_ok(), "no number: {line}");
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| (name, labels));
        let (family, kind) = families.last().expect("a family");
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("outside its family: {line}"));
        let suffixes: &[&str] = match *kind {
            "counter" if is_open => &["_total"],
            "counter" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        assert!(*kind != "counter" || name.ends_with("_total"), "{line}");
        assert!(name.starts_with("heraldry_") && (labels.is_empty() || labels.ends_with('}')), "{line}");
        assert_eq!(labels.contains("le=\""), suffix == "_bucket", "{line}");
    }
    assert!(families.len() > 10, "{text}");
}

#[tokio::test]
async fn a_host_keeps_no_memory_in_huge_pages() {
    let host = Host::start().await;
    assert!(!host.may_have_huge_pages());
}
