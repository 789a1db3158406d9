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
    ];
    let mut missing = Vec::new();
    for line in expected {
        if !shows(&anyone, &line).await {
            missing.push(line);
        }
    }
    let metrics = anyone.get("/metrics").await.expect(200);
    assert!(missing.is_empty(), "missing: {missing:#?} in {}", metrics.text());
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"), "{metrics}");
    well_formed(metrics.text());
}

/// True if the metrics show this line within 5 s; counters follow the counted action with a short delay.
async fn shows(anyone: &Client, line: &str) -> bool {
    let has = async || anyone.get("/metrics").await.expect(200).text().lines().any(|shown| shown == line);
    tokio::time::timeout(std::time::Duration::from_secs(5), eventually(line, async || has().await.then_some(())))
        .await
        .is_ok()
}

/// Checks the OpenMetrics syntax: comments or samples, declared names, the end mark.
fn well_formed(text: &str) {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut declared = Vec::new();
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("# TYPE ") {
            declared.push(words.split(' ').next().expect("a name").to_owned());
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        assert!(value.parse::<f64>().is_ok(), "no number: {line}");
        let name = series.split('{').next().expect("a name");
        assert!(declared.iter().any(|known| name.starts_with(known.as_str())), "not declared: {line}");
        assert!(name.starts_with("heraldry_") && (series == name || series.ends_with('}')), "{line}");
    }
}
