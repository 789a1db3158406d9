//! Formatters in the API, and previews. Third-party components are in `third_party.rs`.

use std::sync::Arc;

use heraldry::model::event::EventType;
use serde_json::{Value, json};

use crate::support::{Client, Destination, Host, events, host};

const BUILT_IN: [&str; 10] =
    ["cef", "discord", "json", "leef", "ocsf", "pagerduty", "slack", "splunk-hec", "syslog", "teams"];
const MEMBERS: [&str; 30] = [
    "abilities",
    "calls",
    "description",
    "digest",
    "errors",
    "file",
    "instructions",
    "interprets",
    "join",
    "kind",
    "last_error",
    "limits",
    "limits_crossed",
    "log",
    "log_lines",
    "log_lines_dropped",
    "memory_peak_bytes",
    "name",
    "options_schema",
    "origin",
    "output_bytes",
    "size",
    "skipped",
    "state",
    "timings",
    "title",
    "traps",
    "typed_errors",
    "version",
    "warnings",
];

const PREVIEW: [&str; 9] =
    ["body", "content_type", "context", "duration_us", "headers", "instructions", "log", "log_dropped", "memory_bytes"];

fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn built_in_formatters_are_listed_and_preview_every_sample() {
    let host = Host::start().await;
    let admin = host.admin();
    let listed = admin.get("/formatters").await.expect(200).list();
    let names: Vec<&str> = listed.iter().filter_map(|formatter| formatter["name"].as_str()).collect();
    assert_eq!(names, BUILT_IN);
    for formatter in &listed {
        assert_eq!(members(formatter), MEMBERS);
        let name = formatter["name"].as_str().expect("a name");
        assert_eq!(&admin.get(&format!("/formatters/{name}")).await.expect(200).json(), formatter);
        assert_eq!(
            (&formatter["origin"], &formatter["file"], &formatter["state"]),
            (&json!("built-in"), &json!(null), &json!("ready"))
        );
        let digest = formatter["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
        assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
        assert_eq!(formatter["options_schema"]["type"], "object");
        assert!(formatter["version"].is_string() && formatter["description"].is_string());
        assert_eq!((&formatter["calls"], &formatter["errors"]), (&json!(0), &json!(0)));
    }
    for missing in ["nope", "JSON", "json.wasm", "..%2fjson"] {
        admin.get(&format!("/formatters/{missing}")).await.problem(404, "not_found");
        let event = json!({"event": events::minimal("phase_changed")});
        admin.post(&format!("/formatters/{missing}/preview"), &event).await.problem(404, "not_found");
    }
    every_sample(&admin).await;
    host_events_in_every_format(&admin).await;
    rejected_previews(&admin).await;
    previews_equal_deliveries(&admin).await;
}

async fn every_sample(admin: &Client) {
    for name in BUILT_IN {
        let mut calls = 0;
        for sample in heraldry::samples::all().iter().filter(|sample| !sample.json.contains("\"caused_by\"")) {
            let options = match name {
                "ocsf" => json!({"all_events": true}),
                "pagerduty" => json!({"all_events": true, "routing_key": "0123456789abcdef0123456789abcdef"}),
                _ => json!({}),
            };
            let body = format!("{{\"event\":{},\"options\":{options}}}", sample.json);
            let response = admin.post_text(&format!("/formatters/{name}/preview"), body).await.expect(200);
            let preview = response.json();
            assert_eq!(members(&preview), PREVIEW, "{name}");
            assert_eq!((&preview["headers"], &preview["log"]), (&json!({}), &json!([])), "{response}");
            let text = preview["body"].as_str().expect("text");
            let content_type = preview["content_type"].as_str().expect("a type");
            match name {
                "cef" | "leef" | "syslog" => {
                    assert_eq!(content_type, "text/plain; charset=utf-8");
                    assert!(!text.contains(['\n', '\r']), "{name}, {}: {text:?}", sample.name);
                }
                "ocsf" => {
                    assert_eq!(content_type, "application/x-ndjson");
                    text.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).expect("JSON a line")));
                }
                _ => {
                    assert!(content_type.starts_with("application/json"), "{content_type}");
                    serde_json::from_str::<Value>(text)
                        .unwrap_or_else(|error| panic!("{name}, {}: {error}", sample.name));
                }
            }
            calls += 1;
        }
        let counted = admin.get(&format!("/formatters/{name}")).await.expect(200).json();
        assert_eq!((&counted["calls"], &counted["errors"]), (&json!(calls), &json!(0)), "{name}");
        let timings = &counted["timings"];
        assert!(timings["max_us"].as_u64() >= timings["mean_us"].as_u64(), "{timings}");
        assert!(timings["mean_us"].as_u64() > Some(0), "{timings}");
    }
}

/// A webhook's test sends the sample of any host event, in every format, without an option that asks for all events.
async fn host_events_in_every_format(admin: &Client) {
    let destination = Destination::start().await;
    let mut sent = 0;
    for name in BUILT_IN {
        let options = match name {
            "pagerduty" => json!({"routing_key": "0123456789abcdef0123456789abcdef"}),
            _ => json!({}),
        };
        let fields = json!({"format": name, "format_options": options, "event_types": ["webhook_disabled"]});
        let webhook = admin.webhook(&destination.url("/"), fields).await;
        for event_type in EventType::hosts().map(EventType::as_str) {
            let body = json!({"event_type": event_type});
            let attempt = admin.post(&format!("/webhooks/{webhook}/test"), &body).await.expect(200).json();
            let error = attempt["error"].as_str().unwrap_or_default();
            // Of some destinations the format expects more than a status.
            assert!(!error.starts_with("formatter"), "{name} {event_type}: {attempt}");
            sent += 1;
            let received = &destination.wait_for(sent).await[sent - 1];
            assert_eq!(received.header("x-webhook-event"), event_type, "{name}");
            assert!(!received.text().is_empty(), "{name} {event_type}");
        }
        admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
    }
}

async fn rejected_previews(admin: &Client) {
    let event = || events::minimal("phase_changed");
    for (body, faults) in [
        (json!([]), vec![("", "wrong_type")]),
        (json!({}), vec![("/event", "required")]),
        (json!({"event": 7}), vec![("/event", "wrong_type")]),
        (json!({"event": [event()]}), vec![("/event", "wrong_type")]),
        (json!({"event": event(), "options": null}), vec![("/options", "wrong_type")]),
        (json!({"event": event(), "webhook": 1}), vec![("/webhook", "unknown_field")]),
        (
            json!({"event": {"type": "nope", "data": {}}, "options": 1}),
            vec![("/event/type", "unknown_event_type"), ("/options", "wrong_type")],
        ),
    ] {
        admin.post("/formatters/json/preview", &body).await.faults(&faults);
    }
    let response =
        admin.post("/formatters/json/preview", &json!({"event": event(), "options": {"shape": "odd", "x": 1}})).await;
    response.problem(422, "invalid_fields");
    for pointer in ["/options/shape", "/options/x"] {
        assert!(response.text().contains(&format!("\"pointer\":\"{pointer}\"")), "{pointer}: {response}");
    }
}

/// A preview is identical to the delivery, byte for byte; it sends and stores nothing.
async fn previews_equal_deliveries(admin: &Client) {
    let destination = Destination::start().await;
    for (name, options) in [
        ("cef", json!({"vendor": "ACME"})),
        ("json", json!({})),
        ("json", json!({"shape": "plain"})),
        ("json", json!({"shape": "cloudevents"})),
        ("slack", json!({})),
        ("syslog", json!({"facility": "auth"})),
        ("teams", json!({})),
    ] {
        let event = events::sample("finding_verified");
        let body = json!({"event": event, "options": options});
        let preview = admin.post(&format!("/formatters/{name}/preview"), &body).await.expect(200).json();
        admin.get(&format!("/events/{}", event["id"].as_str().expect("an id"))).await.problem(404, "not_found");
        let before = destination.received().len();
        let fields = json!({"format": name, "format_options": options});
        let webhook = admin.webhook(&destination.url(&format!("/{name}")), fields).await;
        admin.event(&event).await;
        let received = destination.wait_for(before + 1).await.pop().expect("a delivery");
        assert_eq!(received.text(), preview["body"].as_str().expect("text"), "{name}");
        assert_eq!(received.header("content-type"), preview["content_type"], "{name}");
        admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
    }
}

#[tokio::test]
async fn a_rejected_drop_in_file_is_listed_with_its_reason_and_affects_no_other() {
    let folder = Arc::new(host::new_folder());
    let drop_in = folder.path().join("formatters.d");
    std::fs::create_dir(&drop_in).expect("a folder");
    std::fs::write(drop_in.join("broken.wasm"), b"no component").expect("a file");
    std::fs::write(drop_in.join("empty.wasm"), b"").expect("a file");
    std::fs::write(drop_in.join("readme.txt"), b"no formatter").expect("a file");
    std::fs::write(drop_in.join("usurper.wasm"), heraldry::built_in()[0].component).expect("a file");
    let host = Host::with(|options| options.folder(&folder)).await;
    let admin = host.admin();
    host.visitor().outside().get("/readyz").await.expect(200);
    let listed = admin.get("/formatters").await.expect(200).list();
    let mut names: Vec<&str> = listed.iter().filter_map(|formatter| formatter["name"].as_str()).collect();
    names.sort_unstable();
    let mut expected: Vec<_> = ["broken", "empty", "usurper"].iter().chain(&BUILT_IN).copied().collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (name, code) in [("broken", None), ("empty", None), ("usurper", Some("reserved_name"))] {
        let rejected = admin.get(&format!("/formatters/{name}")).await.expect(200).json();
        assert_eq!((&rejected["state"], &rejected["origin"]), (&json!("rejected"), &json!("folder")));
        assert_eq!(rejected["file"], json!(format!("{name}.wasm")));
        for unknown in ["version", "description", "options_schema"] {
            assert_eq!(rejected[unknown], json!(null), "{unknown}");
        }
        let (found, reason) =
            (rejected["code"].as_str().expect("a code"), rejected["reason"].as_str().expect("a reason"));
        assert!(!found.is_empty() && reason.len() > 10 && code.is_none_or(|code| code == found), "{rejected}");
        assert!(host.log().contains(&format!("{name}.wasm")), "the log names {name}: {}", host.log());
        // It cannot be used as a format.
        let webhook = json!({"name": "n", "url": "http://127.0.0.1:9/", "format": name});
        admin.post("/webhooks", &webhook).await.fault("/format", "unknown_format");
        let preview = json!({"event": events::minimal("phase_changed")});
        admin.post(&format!("/formatters/{name}/preview"), &preview).await.problem(422, "not_formatted");
    }
    // The others are unaffected.
    let destination = Destination::start().await;
    admin.webhook(&destination.url("/"), json!({"format": "slack"})).await;
    admin.event(&events::sample("finding_added")).await;
    destination.wait_for(1).await;
}
