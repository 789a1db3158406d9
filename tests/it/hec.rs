//! Batches of events and of raw lines into a strict HTTP Event Collector, written here after Splunk's documented rules
//! (`formatters/FORMATS.md`, section 5); and the pace (rate limit) of a webhook.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};

use crate::support::{Client, Destination, Host, Reply, events};

const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

#[derive(Default)]
struct Seen {
    requests: usize,
    /// Number of times that each event was received, by its id.
    received: BTreeMap<String, usize>,
    lines: Vec<String>,
    /// Number of requests that are first responded to with "busy".
    busy: usize,
    /// Events that contain this text are rejected.
    rejected: Option<&'static str>,
}

type Shared = Arc<Mutex<Seen>>;
type Answer = (StatusCode, String);

struct Collector {
    origin: String,
    seen: Shared,
}

impl Collector {
    async fn start() -> Self {
        let seen = Shared::default();
        let router = Router::new()
            .route("/services/collector/event", post(event))
            .route("/services/collector/raw", post(raw))
            .with_state(Arc::clone(&seen));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, seen }
    }

    fn with_seen<T>(&self, read: impl FnOnce(&mut Seen) -> T) -> T {
        read(&mut self.seen.lock().expect("no panic while it was locked"))
    }
}

fn response(status: u16, code: u16, text: &str) -> Answer {
    (StatusCode::from_u16(status).expect("a status"), json!({"text": text, "code": code}).to_string())
}

fn admit(headers: &HeaderMap, seen: &mut Seen) -> Result<(), Answer> {
    seen.requests += 1;
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    match given.and_then(|given| given.strip_prefix("Splunk ")) {
        None => return Err(response(401, 2, "Token is required")),
        Some(token) if token != TOKEN => return Err(response(403, 4, "Invalid token")),
        Some(_) => {}
    }
    if seen.busy > 0 {
        seen.busy -= 1;
        return Err(response(503, 9, "Server is busy"));
    }
    Ok(())
}

async fn event(State(seen): State<Shared>, headers: HeaderMap, body: Bytes) -> Answer {
    let mut seen = seen.lock().expect("no panic while it was locked");
    match admit(&headers, &mut seen).and_then(|()| accept(&mut seen, &body)) {
        Ok(()) => response(200, 0, "Success"),
        Err(response) => response,
    }
}

/// Accepts all events of a request, or none.
fn accept(seen: &mut Seen, body: &[u8]) -> Result<(), Answer> {
    if body.is_empty() {
        return Err(response(400, 5, "No data"));
    }
    let mut ids = Vec::new();
    for envelope in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
        let envelope = envelope.map_err(|_| response(400, 6, "Invalid data format"))?;
        let members = envelope.as_object().ok_or_else(|| response(400, 6, "Invalid data format"))?;
        for name in members.keys() {
            if !["time", "host", "source", "sourcetype", "index", "event", "fields"].contains(&name.as_str()) {
                return Err(response(400, 6, "Invalid data format"));
            }
        }
        let event = members.get("event").ok_or_else(|| response(400, 12, "Event field is required"))?;
        if event.is_null() || event == "" || event.as_object().is_some_and(serde_json::Map::is_empty) {
            return Err(response(400, 13, "Event field cannot be blank"));
        }
        if !members.get("time").is_some_and(|time| time.as_f64().is_some_and(|time| time > 1e9 && time < 1e10)) {
            return Err(response(400, 6, "Invalid data format"));
        }
        let flat = |value: &Value| match value {
            Value::Array(items) => items.iter().all(|item| item.is_string() || item.is_number()),
            value => !value.is_object() && !value.is_null(),
        };
        let fields = members.get("fields").and_then(Value::as_object);
        if !fields.is_none_or(|fields| fields.values().all(flat)) {
            return Err(response(400, 15, "Error in handling indexed fields"));
        }
        if members.get("index").is_some_and(|index| index != "main") {
            return Err(response(400, 7, "Incorrect index"));
        }
        if seen.rejected.is_some_and(|word| event.to_string().contains(word)) {
            return Err(response(400, 6, "Invalid data format"));
        }
        ids.push(event["id"].as_str().unwrap_or_default().to_owned());
    }
    for id in ids {
        *seen.received.entry(id).or_default() += 1;
    }
    Ok(())
}

async fn raw(State(seen): State<Shared>, headers: HeaderMap, body: String) -> Answer {
    let mut seen = seen.lock().expect("no panic while it was locked");
    if let Err(response) = admit(&headers, &mut seen) {
        return response;
    }
    let channel = headers.get("x-splunk-request-channel").and_then(|value| value.to_str().ok());
    match channel {
        None => return response(400, 10, "Data channel is missing"),
        Some(channel) if uuid::Uuid::parse_str(channel).is_err() => return response(400, 11, "Invalid data channel"),
        Some(_) => {}
    }
    if body.trim().is_empty() {
        return response(400, 5, "No data");
    }
    seen.lines.extend(body.lines().map(str::to_owned));
    response(200, 0, "Success")
}

fn samples() -> Vec<Value> {
    heraldry::samples::posted()
        .into_iter()
        .map(|sample| {
            let mut event: Value = serde_json::from_str(sample.json).expect("JSON");
            event["id"] = events::new_id().into();
            event
        })
        .collect()
}

/// Posts events in one request; returns the ids, with those of derived events.
async fn post_all(admin: &Client, events: &[Value]) -> Vec<String> {
    let responses = admin.post("/events", &json!(events)).await.expect(202).list();
    let ids = |response: &Value| {
        let derived =
            response["derived"].as_array().expect("a list").iter().map(|id| id.as_str().expect("an id").to_owned());
        derived.chain([response["id"].as_str().expect("an id").to_owned()]).collect::<Vec<_>>()
    };
    responses.iter().flat_map(ids).collect()
}

async fn status_of(admin: &Client, event: &str) -> String {
    admin.settled(event).await[0]["status"].as_str().expect("a status").to_owned()
}

fn splunk(more: Value) -> Value {
    let mut fields = json!({
        "format": "splunk-hec",
        "headers": {"Authorization": format!("Splunk {TOKEN}")},
        "batch": {"max_events": 10, "max_wait_ms": 200},
    });
    for (name, value) in more.as_object().expect("an object") {
        fields[name] = value.clone();
    }
    fields
}

async fn host() -> Host {
    Host::with(|options| options.retry_every("10ms")).await
}

#[tokio::test]
async fn events_are_sent_in_batches_and_each_has_its_own_outcome() {
    let (host, collector) = (host().await, Collector::start().await);
    let admin = host.admin();
    collector.with_seen(|seen| seen.busy = 1);
    let webhook = admin.webhook(&format!("{}/services/collector/event", collector.origin), splunk(json!({}))).await;
    let ids = post_all(&admin, &samples()).await;
    for id in &ids {
        assert_eq!(status_of(&admin, id).await, "delivered");
    }
    let (requests, received) = collector.with_seen(|seen| (seen.requests, seen.received.clone()));
    assert_eq!(received.values().sum::<usize>(), ids.len(), "each once: {received:?}");
    assert!(requests <= ids.len().div_ceil(10) + 2, "{requests} requests for {} events", ids.len());
    let history = admin.history(&webhook).await;
    let busy: Vec<_> = history.iter().filter(|attempt| attempt["success"] == false).collect();
    assert!(busy.len() > 1, "one outcome per event of the batch");
    for attempt in busy {
        assert!(attempt["error"].as_str().is_some_and(|error| error.contains("busy")), "{attempt}");
        assert!(attempt["note"].as_str().is_some_and(|note| note.starts_with("one of ")), "{attempt}");
    }
}

#[tokio::test]
async fn one_rejected_event_does_not_fail_the_others_of_its_batch() {
    let (host, collector) = (host().await, Collector::start().await);
    let admin = host.admin();
    collector.with_seen(|seen| seen.rejected = Some("poison"));
    admin.webhook(&format!("{}/services/collector/event", collector.origin), splunk(json!({}))).await;
    let titles = ["a", "b", "poison", "c", "d", "e", "f"];
    let posted: Vec<_> = titles.iter().map(|title| events::finding(title, "low")).collect();
    let ids = post_all(&admin, &posted).await;
    for (id, title) in ids.iter().zip(titles) {
        let expected = if title == "poison" { "failed" } else { "delivered" };
        assert_eq!(status_of(&admin, id).await, expected, "{title}");
    }
    let received = collector.with_seen(|seen| seen.received.clone());
    assert_eq!((received.len(), received.values().sum::<usize>()), (6, 6), "{received:?}");
}

#[tokio::test]
async fn the_error_codes_of_the_collector_are_explained_in_the_history() {
    let (host, collector) = (host().await, Collector::start().await);
    let admin = host.admin();
    let url = format!("{}/services/collector/event", collector.origin);
    for (more, word) in [
        (json!({"headers": {}}), "token"),
        (json!({"headers": {"Authorization": "Splunk 99999999-2222-3333-4444-555555555555"}}), "token"),
        (json!({"format_options": {"index": "elsewhere"}}), "index"),
    ] {
        let webhook = admin.webhook(&url, splunk(more)).await;
        let attempt = admin.post(&format!("/webhooks/{webhook}/test"), &json!({})).await.expect(200).json();
        assert_eq!(attempt["success"], false);
        assert!(attempt["error"].as_str().is_some_and(|error| error.contains(word)), "{attempt}");
        // A retry cannot succeed.
        admin.event(&events::finding("x", "low")).await;
        let history = admin.history_of(&webhook, 2).await;
        assert_eq!(
            (&history[0]["success"], &history[0]["next_attempt_at"]),
            (&json!(false), &json!(null)),
            "{history:?}"
        );
        admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
    }
}

#[tokio::test]
async fn lines_go_to_the_raw_endpoint_with_their_channel() {
    let (host, collector) = (host().await, Collector::start().await);
    let admin = host.admin();
    let url = format!("{}/services/collector/raw?sourcetype=cef", collector.origin);
    for format in ["cef", "syslog", "leef"] {
        let headers = json!({"Authorization": format!("Splunk {TOKEN}"), "X-Splunk-Request-Channel": events::new_id()});
        let fields = json!({"format": format, "headers": headers, "batch": {"max_events": 5, "max_wait_ms": 100}});
        let webhook = admin.webhook(&url, fields).await;
        collector.with_seen(|seen| seen.lines.clear());
        let ids = post_all(&admin, &samples()).await;
        for id in &ids {
            assert_eq!(status_of(&admin, id).await, "delivered");
        }
        let lines = collector.with_seen(|seen| seen.lines.clone());
        assert_eq!(lines.len(), ids.len(), "{format}");
        for id in &ids {
            assert_eq!(lines.iter().filter(|line| line.contains(id.as_str())).count(), 1, "{format}: {id}");
        }
        admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
    }
}

/// Start times of a webhook's attempts in Unix milliseconds, in order.
async fn begun(admin: &Client, webhook: &str, attempts: usize) -> Vec<i64> {
    let history = admin.history_of(webhook, attempts).await;
    let at = |attempt: &Value| {
        let text = attempt["created_at"].as_str().expect("a time").to_owned();
        let time = time::OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).expect("a time");
        i64::try_from(time.unix_timestamp_nanos() / 1_000_000).expect("this century")
    };
    let mut times: Vec<_> = history.iter().map(at).collect();
    times.sort_unstable();
    times
}

#[tokio::test]
async fn a_rate_limit_spaces_attempts() {
    let (host, destination) = (host().await, Destination::start().await);
    let admin = host.admin();
    let limit = json!({"rate_limit": {"count": 2, "per_seconds": 1}});
    let webhook = admin.webhook(&destination.url("/"), limit).await;
    for event in events::findings(7) {
        admin.event(&event).await;
    }
    let times = begun(&admin, &webhook, 7).await;
    for window in times.windows(3) {
        assert!(window[2] - window[0] >= 995, "three attempts within a second: {times:?}");
    }
}

/// Events that were posted pretty-printed contain line feeds and cannot share a request of lines: each is sent in a
/// request of its own, and each of these requests counts against the rate limit.
#[tokio::test]
async fn events_that_cannot_be_batched_are_sent_alone_within_the_rate_limit() {
    let (host, destination) = (host().await, Destination::start().await);
    let admin = host.admin();
    let fields = json!({
        "batch": {"max_events": 10, "max_wait_ms": 300}, "rate_limit": {"count": 2, "per_seconds": 1},
        "format_options": {"shape": "plain"},
    });
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    let laid_out: Vec<_> =
        events::findings(5).iter().map(|event| serde_json::to_string_pretty(event).expect("JSON")).collect();
    admin.post_text("/events", format!("[{}]", laid_out.join(","))).await.expect(202);
    let received = destination.wait_for(5).await;
    let titles: Vec<_> =
        received.iter().map(|request| request.json()["data"]["finding"]["title"].as_str().map(str::to_owned)).collect();
    let mut sorted = titles.clone();
    sorted.sort();
    assert_eq!(sorted, (0..5).map(|number| Some(format!("finding {number}"))).collect::<Vec<_>>());
    assert!(received.iter().all(|request| request.header("x-webhook-batch-size") == "1"));
    let times = begun(&admin, &webhook, 5).await;
    for window in times.windows(3) {
        assert!(window[2] - window[0] >= 995, "three requests within a second: {times:?}");
    }
}

#[tokio::test]
async fn a_429_pauses_all_pending_deliveries() {
    let busy = Reply::full(429, &[("Retry-After", "2")], b"");
    let (host, destination) = (host().await, Destination::answering([busy]).await);
    let admin = host.admin();
    let webhook = admin.webhook(&destination.url("/"), json!({})).await;
    admin.event(&events::finding("first", "low")).await;
    let first = begun(&admin, &webhook, 1).await[0];
    for event in events::findings(5) {
        admin.event(&event).await;
    }
    let times = begun(&admin, &webhook, 7).await;
    assert!(
        times[1] - first >= 1995,
        "a request was sent during the pause that the destination had asked for: {times:?}"
    );
}
