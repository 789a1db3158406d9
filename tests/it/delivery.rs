//! One delivery and its attempts: headers and body, signatures, retries, and isolation between webhooks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::destination::body_signature;
use crate::support::{Client, Destination, Host, Received, Reply, events, eventually, host};

/// A key as Standard Webhooks writes it, and its bytes in hexadecimal.
const SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const SECRET_HEX: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
/// Long enough for everything in flight to arrive.
const QUIET: Duration = Duration::from_millis(500);

/// The headers of a signed delivery over HTTP: these and no others.
const SIGNED_HEADERS: [&str; 11] = [
    "content-length",
    "content-type",
    "host",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "x-webhook-attempt",
    "x-webhook-delivery",
    "x-webhook-event",
    "x-webhook-signature",
];

/// Verifies both signatures with third-party implementations.
#[track_caller]
fn assert_signed(request: &Received, secret: &str) {
    assert_eq!(request.header("x-webhook-signature"), body_signature(secret, &request.body));
    assert!(request.is_signed_with(secret), "the signature does not verify");
    let mut other = request.clone();
    other.body.push(b' ');
    assert!(!other.is_signed_with(secret), "another body verifies as well");
}

fn names(request: &Received) -> BTreeSet<String> {
    request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
}

async fn built_in_formats(client: &Client) -> Vec<String> {
    let all = client.get("/formatters").await.expect(200).list();
    let built_in = all.iter().filter(|formatter| formatter["origin"] == "built-in");
    built_in.map(|formatter| formatter["name"].as_str().expect("a name").to_owned()).collect()
}

#[track_caller]
fn time(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(value.as_str().expect("a time"), &Rfc3339).expect("RFC 3339")
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}

#[tokio::test]
async fn every_format_arrives_whole_and_signed() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    let mut formats = built_in_formats(&admin).await;
    // These formats support findings and alerts only.
    formats.retain(|format| !["ocsf", "pagerduty"].contains(&format.as_str()));
    assert_eq!(formats.len(), 8, "{formats:?}");
    let mut webhooks = BTreeMap::new();
    for (number, format) in formats.iter().enumerate() {
        // Alternates between both notations of a secret.
        let secret = if number % 2 == 0 { SECRET } else { "correct horse \u{fc} battery" };
        let fields = json!({"format": format, "secret": secret});
        webhooks.insert(format, (secret, admin.webhook(&destination.url(&format!("/{format}?a=b")), fields).await));
    }
    let unsigned = admin.webhook(&destination.url("/unsigned"), json!({})).await;
    let posted = [events::sample("finding_added--emoji"), events::sample("phase_changed")];
    let mut deliveries = BTreeMap::new();
    for event in &posted {
        let id = admin.event(event).await;
        for delivery in admin.settled(&id).await {
            assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("delivered"), &json!(1)));
            let text = |member: &str| delivery[member].as_str().expect("a text").to_owned();
            deliveries.insert(text("id"), (text("webhook_id"), event));
        }
    }
    let received = destination.received();
    assert_eq!((received.len(), deliveries.len()), (18, 18));
    for request in &received {
        let (webhook, event) = deliveries.remove(request.delivery()).expect("a delivery of this id, once");
        assert_eq!(request.method, "POST");
        assert_eq!(request.header("host"), destination.address().to_string());
        assert_eq!(request.header("user-agent"), concat!("heraldry/", env!("CARGO_PKG_VERSION")));
        assert_eq!(request.header("x-webhook-event"), event["type"].as_str().expect("a type"));
        assert_eq!(request.header("x-webhook-delivery"), request.delivery());
        assert_eq!(request.attempt(), 1);
        let timestamp: i64 = request.header("webhook-timestamp").parse().expect("seconds");
        assert!((unix_now() - timestamp).abs() < 60, "{timestamp}");
        if webhook == unsigned {
            assert_eq!(request.path, "/unsigned");
            let expected = SIGNED_HEADERS.iter().filter(|name| !name.ends_with("-signature"));
            assert_eq!(names(request), expected.map(|name| (*name).to_owned()).collect());
            continue;
        }
        let format = request.path.trim_start_matches('/').trim_end_matches("?a=b");
        let (secret, id) = &webhooks[&format.to_owned()];
        assert_eq!(&webhook, id);
        assert_signed(request, secret);
        assert_eq!(names(request), SIGNED_HEADERS.map(str::to_owned).into());
        let preview = admin.post(&format!("/formatters/{format}/preview"), &json!({"event": event})).await.expect(200);
        let preview = preview.json();
        assert_eq!(request.text(), preview["body"].as_str().expect("text"), "{format}");
        assert_eq!(request.header("content-type"), preview["content_type"], "{format}");
        match format {
            "cef" | "leef" | "syslog" => {
                assert_eq!(request.header("content-type"), "text/plain; charset=utf-8");
                assert!(!request.text().contains('\n'), "{}", request.text());
            }
            _ => {
                assert!(request.header("content-type").starts_with("application/json"), "{format}");
                assert!(request.json().is_object(), "{format}");
            }
        }
    }
}

/// Verifies `X-Webhook-Signature` and the Standard Webhooks signature as a shell script would.
#[tokio::test]
#[ignore = "needs openssl"]
async fn openssl_verifies_both_signatures() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    admin.webhook(&destination.url("/"), json!({"secret": SECRET})).await;
    admin.event(&events::sample("finding_added--hostile-controls")).await;
    let request = destination.wait_for(1).await.remove(0);
    let digest = |key: &[&str], text: &[u8]| {
        let arguments = ["dgst", "-sha256", "-binary", "-mac", "HMAC", "-macopt"];
        let mut openssl = Command::new("openssl");
        let openssl = openssl.args(arguments).args(key).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut openssl = openssl.spawn().expect("openssl is installed");
        openssl.stdin.take().expect("a pipe").write_all(text).expect("openssl reads");
        let output = openssl.wait_with_output().expect("openssl ends");
        assert!(output.status.success());
        output.stdout
    };
    let plain = digest(&[&format!("key:{SECRET}")], &request.body);
    assert_eq!(
        request.header("x-webhook-signature"),
        format!("sha256={}", plain.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    );
    let signed = format!("{}.{}.", request.delivery(), request.header("webhook-timestamp"));
    let standard = digest(&[&format!("hexkey:{SECRET_HEX}")], &[signed.as_bytes(), &request.body].concat());
    assert_eq!(request.header("webhook-signature"), format!("v1,{}", STANDARD.encode(standard)));
}

/// The destination quotes the request's header, which is masked whatever it is at the time.
#[tokio::test]
async fn a_changed_webhook_is_sent_and_masked_as_it_is_now() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    destination.decide(|request| {
        let quoted = format!("{}{}", request.header("x-first"), request.header("x-second"));
        Reply::full(200, &[], quoted.as_bytes())
    });
    let fields = json!({"format": "json", "headers": {"X-First": "canary-first-value"}});
    let webhook = admin.webhook(&destination.url("/first"), fields).await;
    let states = [("/first", ["canary-first-value", ""]), ("/second", ["", "canary-second-value"])];
    for (changes, (path, headers)) in states.into_iter().enumerate() {
        if changes > 0 {
            let change = json!({"url": destination.url(path), "headers": {"X-Second": headers[1]}});
            admin.put(&format!("/webhooks/{webhook}"), &change).await.expect(200);
        }
        for count in [2 * changes + 1, 2 * changes + 2] {
            admin.settled(&admin.event(&events::minimal("report_ready")).await).await;
            let received = destination.wait_for(count).await;
            let request = &received[count - 1];
            assert_eq!(
                (request.path.as_str(), [request.header("x-first"), request.header("x-second")]),
                (path, headers)
            );
            assert_eq!(admin.history_of(&webhook, count).await[0]["response_excerpt"], "[redacted]");
        }
    }
}

#[tokio::test]
async fn a_retry_is_the_same_delivery_again() {
    let host = Host::with(|options| options.retry_every("1100ms")).await;
    let admin = host.admin();
    let destination = Destination::answering([Reply::full(500, &[], b"not today"), Reply::status(503)]).await;
    let headers = json!({"Authorization": "Splunk 0f3c", "X-Tenant": "red team"});
    let webhook = admin.webhook(&destination.url("/hook"), json!({"secret": SECRET, "headers": headers})).await;
    let event = admin.event(&events::sample("finding_added--hostile-markup")).await;
    let settled = admin.settled(&event).await;
    assert_eq!((&settled[0]["status"], &settled[0]["attempts"]), (&json!("delivered"), &json!(3)));
    assert_eq!(settled[0]["next_attempt_at"], Value::Null);

    let received = destination.wait_for(3).await;
    let mut history = admin.history_of(&webhook, 3).await;
    history.reverse();
    assert_eq!((received.len(), history.len()), (3, 3));
    for ((request, attempt), number) in received.iter().zip(&history).zip(1..) {
        assert_eq!(request.delivery(), received[0].delivery());
        assert_eq!(request.header("x-webhook-delivery"), received[0].delivery());
        assert_eq!(request.body, received[0].body);
        assert_eq!(request.attempt(), number);
        assert_eq!((request.header("authorization"), request.header("x-tenant")), ("Splunk 0f3c", "red team"));
        assert_signed(request, SECRET);
        assert_eq!(attempt["attempt"], number);
        assert_eq!((&attempt["delivery_id"], &attempt["event_id"]), (&json!(request.delivery()), &json!(event)));
        let seconds = time(&attempt["created_at"]).unix_timestamp().to_string();
        assert_eq!(request.header("webhook-timestamp"), seconds, "the time is the attempt's");
    }
    assert_ne!(received[0].header("webhook-timestamp"), received[2].header("webhook-timestamp"));
    for (attempt, status) in history.iter().zip([500, 503, 200]) {
        let success = status == 200;
        assert_eq!((&attempt["status_code"], &attempt["success"]), (&json!(status), &json!(success)));
        assert_eq!(attempt["next_attempt_at"].is_null(), success);
        assert_eq!(attempt["error"].as_str().is_none_or(|error| !error.starts_with("status: ")), success);
        assert_eq!(attempt["formatter"]["name"], "json");
    }
    assert_eq!(history[0]["response_excerpt"], "not today");
    // Exponential backoff with jitter: each wait is the base, less at most half of it.
    for pair in history.windows(2) {
        let waited = time(&pair[0]["next_attempt_at"]) - time(&pair[0]["created_at"]);
        assert!(waited >= Duration::from_millis(550) && waited <= Duration::from_millis(1600), "{waited}");
        assert!(time(&pair[1]["created_at"]) >= time(&pair[0]["next_attempt_at"]), "the retry came too early");
    }
}

#[tokio::test]
async fn only_events_that_pass_type_and_filter_are_delivered() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    for (path, fields) in [
        ("/all", json!({})),
        ("/phases", json!({"event_types": ["phase_changed", "phase_changed"]})),
        ("/derived", json!({"event_types": ["critical_finding"]})),
        ("/severe", json!({"filter": {"min_severity": "high"}})),
        ("/engaged", json!({"filter": {"engagement_ids": ["E-1", "E-3"]}})),
        ("/both", json!({"filter": {"min_severity": "high", "engagement_ids": ["E-1"]}})),
    ] {
        admin.webhook(&destination.url(path), fields).await;
    }
    let posted = [
        ("low", events::finding("low", "low"), 1),
        ("high", events::finding("high", "HIGH"), 2),
        ("none", events::finding("none", ""), 2),
        ("low in E-1", events::in_engagement(events::finding("low in E-1", "low"), "E-1"), 2),
        ("high in E-1", events::in_engagement(events::finding("high in E-1", "high"), "E-1"), 4),
        ("high in E-2", events::in_engagement(events::finding("high in E-2", "high"), "E-2"), 2),
        // The host derives a critical_finding: each webhook for all types gets both.
        ("critical", events::finding("critical", "Critical"), 5),
    ];
    for (title, event, deliveries) in &posted {
        let response = admin.post("/events", event).await.expect(202).json();
        assert_eq!(response["deliveries"], *deliveries, "{title}");
        assert_eq!(response["derived"].as_array().map(Vec::len), Some(usize::from(*title == "critical")));
    }
    let phase = admin.event(&events::minimal("phase_changed")).await;
    let expected: BTreeMap<&str, Vec<&str>> = [
        (
            "/all",
            vec![
                "critical",
                "critical",
                "high",
                "high in E-1",
                "high in E-2",
                "low",
                "low in E-1",
                "none",
                "phase_changed",
            ],
        ),
        ("/both", vec!["high in E-1"]),
        ("/derived", vec!["critical"]),
        ("/engaged", vec!["high in E-1", "low in E-1"]),
        ("/phases", vec!["phase_changed"]),
        ("/severe", vec!["critical", "critical", "high", "high in E-1", "high in E-2", "none", "phase_changed"]),
    ]
    .into();
    admin.settled(&phase).await;
    let total = expected.values().map(Vec::len).sum();
    let received = destination.wait_for(total).await;
    destination.stays_quiet(QUIET).await;
    let mut arrived: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for request in &received {
        let body = request.json();
        let title = body["data"]["finding"]["title"].as_str().map_or("phase_changed".to_owned(), str::to_owned);
        arrived.entry(&request.path).or_default().push(title);
    }
    arrived.values_mut().for_each(|titles| titles.sort());
    let arrived: BTreeMap<&str, Vec<&str>> =
        arrived.iter().map(|(path, titles)| (*path, titles.iter().map(String::as_str).collect())).collect();
    assert_eq!(arrived, expected);
}

/// Each attempt uses the webhook's current configuration: pending deliveries get the new URL, format and secret.
#[tokio::test]
async fn a_change_applies_to_pending_deliveries() {
    let host = Host::with(|options| options.retry_every("3s")).await;
    let admin = host.admin();
    let (wrong, right) = (Destination::always(Reply::status(404)).await, Destination::start().await);
    let moved = admin.webhook(&wrong.url("/moved"), json!({})).await;
    let reformatted = admin.webhook(&wrong.url("/reformatted"), json!({})).await;
    let event = admin.event(&events::sample("finding_added")).await;
    for webhook in [&moved, &reformatted] {
        let waiting = &admin.history_of(webhook, 1).await[0];
        assert!(waiting["next_attempt_at"].is_string(), "{waiting}");
    }
    let first = wrong.wait_for(2).await;
    let to = |path| json!({"url": right.url(path)});
    admin.put(&format!("/webhooks/{moved}"), &to("/moved")).await.expect(200);
    let mut change = to("/reformatted");
    change["format"] = json!("cef");
    change["secret"] = json!(SECRET);
    admin.put(&format!("/webhooks/{reformatted}"), &change).await.expect(200);

    for delivery in admin.settled(&event).await {
        assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("delivered"), &json!(2)));
    }
    let received = right.wait_for(2).await;
    let of = |requests: &[Received], path: &str| {
        requests.iter().find(|request| request.path == path).cloned().expect("a request to this path")
    };
    for path in ["/moved", "/reformatted"] {
        let (before, after) = (of(&first, path), of(&received, path));
        assert_eq!((before.delivery(), after.attempt()), (after.delivery(), 2), "{path}");
        assert_eq!(before.body == after.body, path == "/moved", "{path}");
    }
    let after = of(&received, "/reformatted");
    assert!(after.text().starts_with("CEF:"), "{}", after.text());
    assert_signed(&after, SECRET);
    assert_eq!(admin.history(&reformatted).await[0]["formatter"]["name"], "cef");
    assert_eq!(wrong.received().len(), 2, "the old URL was called again");
}

#[tokio::test]
async fn a_test_delivery_is_one_attempt_and_changes_nothing() {
    let host = Host::with(|options| options.retry_every("50ms")).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    let types = json!(["report_ready", "finding_added"]);
    let fields = json!({"event_types": types, "secret": SECRET, "is_active": false});
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    let path = format!("/webhooks/{webhook}");
    let test = async || admin.post(&format!("{path}/test"), &json!({})).await;

    let made = test().await.expect(200).json();
    assert_eq!((&made["success"], &made["is_test"], &made["status_code"]), (&json!(true), &json!(true), &json!(200)));
    assert_eq!((&made["event_id"], &made["event_type"]), (&Value::Null, &json!("report_ready")));
    assert_eq!((&made["attempt"], &made["next_attempt_at"]), (&json!(1), &Value::Null));
    let request = destination.wait_for(1).await.remove(0);
    assert_eq!((request.header("x-webhook-event"), request.attempt()), ("report_ready", 1));
    assert_eq!(made["delivery_id"], request.delivery());
    assert_signed(&request, SECRET);

    destination.from_now_on(Reply::status(500));
    let before = admin.get(&path).await.expect(200).json();
    let made = test().await.expect(200).json();
    assert_eq!((&made["success"], &made["status_code"]), (&json!(false), &json!(500)));
    assert_eq!(made["next_attempt_at"], Value::Null);
    assert!(made["error"].as_str().expect("an error").starts_with("status: "), "{made}");
    destination.from_now_on(Reply::status(410));
    test().await.expect(200);
    destination.stays_quiet(QUIET).await;
    assert_eq!(destination.received().len(), 3, "a test is not retried");
    let after = admin.get(&path).await.expect(200).json();
    for member in ["failure_count", "disabled_reason", "is_active"] {
        assert_eq!(before[member], after[member], "{member}");
    }
    let history = admin.history(&webhook).await;
    assert!(history.len() == 3 && history.iter().all(|attempt| attempt["is_test"] == true), "{history:?}");
    assert_eq!(history[1], made);

    destination.from_now_on(Reply::status(200));
    for number in 4..=60 {
        assert_eq!(test().await.status(), 200, "test {number}");
    }
    let rejected = test().await;
    rejected.problem(429, "too_many_requests");
    let wait: u64 = rejected.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(destination.received().len(), 60);
    let other = admin.webhook(&destination.url("/other"), json!({})).await;
    admin.post(&format!("/webhooks/{other}/test"), &json!({})).await.expect(200);
}

/// A destination that does not respond uses its own share of the concurrency, and delays no other webhook.
#[tokio::test]
async fn a_slow_destination_delays_no_other_webhook_and_deleting_it_aborts_its_attempts() {
    let host = Host::with(|options| options.args(["--webhook-concurrency", "4"])).await;
    let admin = host.admin();
    let (slow, healthy) = (Destination::always(Reply::silence()).await, Destination::start().await);
    let webhook = admin.webhook(&slow.url("/"), json!({"timeout_ms": 30_000})).await;
    admin.webhook(&healthy.url("/"), json!({})).await;
    let mut posted = Vec::new();
    for event in events::findings(20) {
        posted.push(admin.event(&event).await);
    }
    healthy.wait_for(20).await;
    slow.wait_for(4).await;
    slow.stays_quiet(QUIET).await;
    assert_eq!(slow.received().len(), 4, "more concurrent attempts than the webhook may have");
    assert!(admin.history(&webhook).await.is_empty(), "the slow attempts are still in flight");

    // Attempts in flight are aborted, pending deliveries are cancelled, and nothing arrives after the response.
    admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
    slow.from_now_on(Reply::status(200));
    slow.stays_quiet(QUIET).await;
    admin.get(&format!("/webhooks/{webhook}/deliveries")).await.problem(404, "not_found");
    for event in &posted {
        let mut found: Vec<_> =
            admin.settled(event).await.into_iter().map(|delivery| delivery["status"].clone()).collect();
        found.sort_by_key(Value::to_string);
        assert_eq!(found, ["cancelled", "delivered"]);
    }
}

#[tokio::test]
async fn nothing_arrives_after_a_webhook_was_deleted() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    for round in 0..10 {
        let path = format!("/{round}");
        let webhook = admin.webhook(&destination.url(&path), json!({"event_types": ["finding_added"]})).await;
        let batch = Value::Array(events::findings(200));
        let before = destination.received().len();
        admin.post("/events", &batch).await.expect(202);
        destination.wait_for(before + 1 + round * 10).await;
        admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
        // A request sent before the response may still be in transit through this process.
        tokio::time::sleep(Duration::from_millis(100)).await;
        destination.stays_quiet(Duration::from_millis(200)).await;
    }
    let fewest = 10 * 200;
    assert!(destination.received().len() < fewest, "every round came too late to delete anything");
}

/// Fairness: a busy webhook does not use up the concurrency of the host.
#[tokio::test]
async fn ready_webhooks_take_turns() {
    let host = Host::with(|options| options.args(["--concurrency", "8", "--webhook-concurrency", "2"])).await;
    let admin = host.admin();
    let busy = Destination::always(Reply::status(200).after(Duration::from_millis(20))).await;
    let other = Destination::start().await;
    let busy_types = json!({"event_types": ["finding_added"]});
    for _ in 0..3 {
        admin.webhook(&busy.url("/"), busy_types.clone()).await;
    }
    admin.webhook(&other.url("/"), json!({"event_types": ["report_ready"]})).await;
    admin.post("/events", &Value::Array(events::findings(300))).await.expect(202);
    busy.wait_for(1).await;
    admin.event(&events::minimal("report_ready")).await;
    other.wait_for(1).await;
    assert!(busy.received().len() < 900, "the other webhook had to wait for the busy one");
}

/// Connections are reused; one that the peer closed while it was idle causes no failed attempt.
#[tokio::test]
async fn a_connection_is_reused_until_it_is_closed() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    let webhook = admin.webhook(&destination.url("/"), json!({"retry_count": 0})).await;
    let last_words = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    destination.next([Reply::status(200), Reply::raw(last_words), Reply::status(200)]);
    for number in 1..=3 {
        admin.event(&events::minimal("phase_changed")).await;
        admin.history_of(&webhook, number).await;
    }
    let connections: Vec<usize> = destination.received().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
    assert!(admin.history(&webhook).await.iter().all(|attempt| attempt["success"] == true));
}

/// Bodies contain the posted event byte for byte.
#[tokio::test]
async fn a_posted_event_is_delivered_byte_for_byte() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    admin.webhook(&destination.url("/"), json!({"format_options": {"shape": "plain"}, "secret": SECRET})).await;
    let id = events::new_id();
    let data = r#"{ "finding" : {"title":"a\u0000\u2028é\"", "cvss": 9.80, "n": -1.50E+08,  "k":[ ] } }"#;
    let text = format!(r#"{{"type":"finding_added","id":"{id}","data":{data}}}"#);
    admin.post_text("/events", text).await.expect(202);
    let request = destination.wait_for(1).await.remove(0);
    assert!(request.text().contains(data), "{}", request.text());
    assert_signed(&request, SECRET);
}

/// `listen` as the destination: prints deliveries and verifies their signatures.
#[tokio::test]
async fn listen_prints_deliveries_and_verifies_their_signatures() {
    let host = Host::start().await;
    let admin = host.admin();
    let mut command = host::binary(host.folder().path());
    command.args(["listen", "--port", "0", "--json", "--secret", SECRET, "--fail-first", "1"]);
    let mut listen = Killed(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let (stderr, stdout) = (listen.0.stderr.take().expect("a pipe"), listen.0.stdout.take().expect("a pipe"));
    let url = next_line(stderr, |line| line.split_once("listening on ").map(|(_, url)| url.trim().to_owned())).await;
    let webhook = admin.webhook(&url, json!({"secret": SECRET, "retry_count": 1})).await;
    let event = admin.event(&events::sample("retest_completed")).await;
    let line = next_line(stdout, |line| line.contains("\"attempt\":2").then(|| line.to_owned())).await;
    let line: Value = serde_json::from_str(&line).expect("a JSON object a line");
    assert_eq!((&line["event"], &line["answer"]), (&json!("retest_completed"), &json!(200)));
    assert_eq!(line["signatures"], json!({"x-webhook-signature": "verifies", "webhook-signature": "verifies"}));
    assert_eq!(admin.settled(&event).await[0]["status"], "delivered");
    assert_eq!(admin.history(&webhook).await.len(), 2);
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Fails only if the process has exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The next line that the predicate accepts.
async fn next_line(
    from: impl std::io::Read + Send + 'static,
    take: impl Fn(&str) -> Option<String> + Send + 'static,
) -> String {
    use std::io::BufRead as _;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufReader::new(from).lines().map_while(Result::ok) {
            if let Some(found) = take(&line) {
                // Fails once the test is over.
                let _ = sender.send(found);
            }
        }
    });
    eventually("a line of output", async || receiver.try_recv().ok()).await
}
