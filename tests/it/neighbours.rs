//! Previews and candidates beside deliveries: they are limited, and come after them. The order of calls on the threads is
//! proved in virtual time, beside the queue.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::component::{self, LOOP};
use crate::support::{Destination, Handmade, Host, events, eventually, host};
use crate::uploads::fails_on_the_word;

#[tokio::test]
async fn previews_that_loop_are_limited_by_token_and_deliveries_go_on() {
    // A looping call takes its whole time, so that previews pile up.
    let host = Host::with(|options| options.args(["--formatter-fuel", "100000000000"])).await;
    let admin = host.admin();
    admin.install("mine", &fails_on_the_word(1, "(loop (br 0))")).await.expect(201);
    let destination = Destination::start().await;
    admin.webhook(&destination.url("/"), json!({"format": "json", "event_types": ["*"]})).await;
    let looping = json!({"event": events::finding("Boom", "high")});
    let tokens = [admin.new_token("pentester").await, admin.new_token("ingest").await];
    let mut previews = tokio::task::JoinSet::new();
    for number in 0..64 {
        let (client, looping) = (tokens[number % tokens.len()].clone(), looping.clone());
        previews.spawn(async move { client.post("/formatters/mine/preview", &looping).await });
    }
    for number in 0..20 {
        let id = admin.event(&events::finding(&format!("F-{number}"), "high")).await;
        assert_eq!(admin.settled(&id).await[0]["status"], "delivered");
    }
    let (mut rejected, mut failed) = (0, 0);
    while let Some(response) = previews.join_next().await {
        let response = response.expect("no panic");
        if response.status() == 429 {
            response.problem(429, "too_many_requests");
            assert_eq!(response.header("retry-after"), "1");
            assert!(response.text().contains("previews and checks"), "{response}");
            rejected += 1;
        } else {
            // It sees the failure of its own event.
            response.problem(422, "not_formatted");
            assert!(response.text().contains("500 ms of processor time"), "{response}");
            failed += 1;
        }
    }
    assert!(rejected > 0 && failed >= 2, "{rejected} rejected, {failed} made");
    // The slots are free again.
    let calm = json!({"event": events::finding("Calm", "high")});
    for client in &tokens {
        client.post("/formatters/mine/preview", &calm).await.expect(200);
    }
    let metrics = admin.outside().get("/metrics").await.expect(200);
    for metric in [
        "heraldry_formatter_processor_seconds_total{formatter=\"json\"}",
        "heraldry_formatter_calls_waiting{formatter=\"mine\"} 0",
        "heraldry_formatter_previews_waiting 0",
    ] {
        assert!(metrics.text().contains(metric), "{metric}: {metrics}");
    }
}

#[tokio::test]
async fn the_reason_of_a_rollback_is_for_admins_only() {
    let folder = Arc::new(host::new_folder());
    let drop_in = folder.path().join("formatters.d");
    fs::create_dir(&drop_in).expect("a folder");
    let file = drop_in.join("mine.wasm");
    fs::write(&file, Handmade::new("mine", "1.0.0", "version 0").build()).expect("a file");
    let host = Host::with(|options| options.folder(&folder)).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    admin.webhook(&destination.url("/"), json!({"format": "mine", "event_types": ["*"]})).await;
    fs::write(drop_in.join("new"), fails_on_the_word(1, "(unreachable)")).expect("a file");
    fs::rename(drop_in.join("new"), &file).expect("replaced");
    eventually("the new version", async || (admin.formatter("mine").await["version"] == "1.1.0").then_some(())).await;
    let event = admin.event(&events::finding("Boom", "high")).await;
    assert_eq!(admin.settled(&event).await[0]["status"], "delivered");

    let rejected = |listed: Vec<Value>| listed.into_iter().find(|entry| entry["state"] == "rejected").expect("listed");
    let listed = rejected(admin.get("/formatters").await.expect(200).list());
    let reason = listed["reason"].as_str().expect("for admins");
    assert!(listed["code"] == "rolled_back" && reason.contains(&event), "{listed}");
    for role in ["pentester", "ingest"] {
        let client = admin.new_token(role).await;
        let response = client.get("/formatters").await.expect(200);
        assert!(!response.text().contains(&event), "{response}");
        let listed = rejected(response.list());
        assert_eq!((&listed["code"], &listed["reason"]), (&json!("rolled_back"), &Value::Null));
        assert!(!client.get("/formatters/mine").await.expect(200).text().contains(&event));
    }
    // The host's log names the event and the kind, and quotes nothing.
    let line = host.logged("a formatter was rolled back").await;
    assert!(line.contains(&event) && line.contains("trap") && !line.contains("panicked"), "{line}");
    // Another component that was rejected has a reason, too.
    fs::write(drop_in.join("other.wasm"), b"\0asm").expect("a file");
    eventually("the rejection", async || (admin.get("/formatters/other").await.status() == 200).then_some(())).await;
    let pentester = admin.new_token("pentester").await;
    let preview = json!({"event": events::minimal("phase_changed")});
    let problem = pentester.post("/formatters/other/preview", &preview).await;
    problem.problem(422, "not_formatted");
    assert!(problem.text().contains("rejected: not_wasm") && !problem.text().contains("truncated"), "{problem}");
}

/// Code of `format` that takes this many turns of a loop.
fn counts_down(turns: u32) -> String {
    format!("(local $left i32) {} (i32.const 528)", component::turns(turns, ""))
}

/// A formatter that logs this many lines in each call of `describe` or `format`.
pub(crate) fn logs(lines: u32, in_describe: bool) -> Vec<u8> {
    let result = if in_describe { 512 } else { 528 };
    let log = component::turns(lines, "(call 0 (i32.const 1) (i32.const 40100) (i32.const 1))");
    let code = format!("(local $left i32) {log} (i32.const {result})");
    let made =
        Handmade::new("chatty", "1.0.0", "x").import("heraldry:formatter/log@1.2.0", "log", "(param i32 i32 i32)");
    if in_describe { made.describe(&code).build() } else { made.format(&code).build() }
}

#[tokio::test]
async fn a_check_is_bounded_as_a_whole_and_says_what_was_used() {
    // Every call is within its limits; all of them together are not.
    let host = Host::with(|options| options.args(["--formatter-check-time", "1s"])).await;
    let admin = host.admin();
    let busy = Handmade::new("busy", "1.0.0", "x").format(&counts_down(30_000_000)).build();
    for (name, component, code, words) in [
        ("chatty", logs(1000, false), "check_log", "10000 are allowed for all of them together"),
        ("chatty", logs(6000, true), "check_log", "12000 lines in 3 calls"),
        ("busy", busy, "check_time", "1000 ms are allowed for all of them together"),
    ] {
        let response = admin.install(name, &component).await;
        assert_eq!((response.status(), &response.json()["code"]), (422, &json!(code)), "{response}");
        assert!(response.text().contains(words), "{response}");
        admin.get(&format!("/formatters/{name}")).await.problem(404, "not_found");
    }
    // A few lines a call are no fault, and neither is a call that takes its time.
    admin.install("chatty", &logs(20, false)).await.expect(201);
    // Checks end, and others come after them.
    let loops = Handmade::new("loops", "1.0.0", "x").describe(LOOP).build();
    assert_eq!(admin.install("loops", &loops).await.status(), 422);
    admin.install("plain", &Handmade::new("plain", "1.0.0", "x").build()).await.expect(201);
}
