//! Formatters over the API: install, versions, activate, roll back, delete; and the automatic rollback (canary).

use serde_json::{Value, json};

use crate::support::component::{self, LOOP};
use crate::support::{Client, Destination, Handmade, Host, events, is_time};

fn version(number: u32) -> Vec<u8> {
    Handmade::new("mine", &format!("1.{number}.0"), &format!("version {number}")).build()
}

async fn body_now(admin: &Client, name: &str) -> String {
    let event = json!({"event": events::minimal("report_ready")});
    let preview = admin.post(&format!("/formatters/{name}/preview"), &event).await.expect(200).json();
    preview["body"].as_str().expect("a text").to_owned()
}

async fn versions(admin: &Client) -> Vec<(String, bool)> {
    let listed = admin.get("/formatters/mine/versions").await.expect(200).list();
    listed
        .iter()
        .map(|version| {
            assert!(is_time(&version["added_at"]), "{version}");
            (version["version"].as_str().expect("a version").to_owned(), version["active"].as_bool().expect("a bool"))
        })
        .collect()
}

fn pairs(expected: &[(&str, bool)]) -> Vec<(String, bool)> {
    expected.iter().map(|(version, active)| ((*version).to_owned(), *active)).collect()
}

#[tokio::test]
async fn a_component_is_installed_replaced_and_rolled_back_and_survives_a_restart() {
    let host = Host::start().await;
    let admin = host.admin();
    let response = admin.install("mine", &version(1)).await.expect(201);
    assert_eq!(response.header("location"), "/api/v1/formatters/mine");
    let info = response.json();
    assert_eq!(
        (&info["origin"], &info["state"], &info["version"]),
        (&json!("upload"), &json!("ready"), &json!("1.1.0"))
    );
    assert_eq!(admin.install("mine", &version(2)).await.expect(200).json()["version"], "1.2.0");
    // Installing the same component again changes nothing.
    admin.install("mine", &version(2)).await.expect(200);
    assert_eq!(versions(&admin).await, pairs(&[("1.2.0", true), ("1.1.0", false)]));
    assert_eq!(body_now(&admin, "mine").await, "version 2");

    let host = host.restart().await;
    let admin = host.admin();
    assert_eq!(body_now(&admin, "mine").await, "version 2");
    assert_eq!(admin.post("/formatters/mine/rollback", &json!({})).await.expect(200).json()["version"], "1.1.0");
    assert_eq!(body_now(&admin, "mine").await, "version 1");
    assert_eq!(versions(&admin).await, pairs(&[("1.2.0", false), ("1.1.0", true)]));
    admin.post("/formatters/mine/activate", &json!({"version": "1.2.0"})).await.expect(200);
    let digest = admin.get("/formatters/mine/versions").await.expect(200).list()[1]["digest"].clone();
    admin.post("/formatters/mine/activate", &json!({"digest": digest})).await.expect(200);
    assert_eq!(body_now(&admin, "mine").await, "version 1");

    admin
        .post("/formatters/mine/activate", &json!({"version": "9.9.9"}))
        .await
        .problem(422, "invalid_fields")
        .fault("/version", "unknown_version");
    admin
        .post("/formatters/mine/activate", &json!({"digest": "sha256:../../x"}))
        .await
        .problem(422, "invalid_fields")
        .fault("/digest", "unknown_version");
    for body in [json!({}), json!({"version": "1.1.0", "digest": "x"})] {
        admin.post("/formatters/mine/activate", &body).await.problem(422, "invalid_fields");
    }
}

#[tokio::test]
async fn a_rejected_upload_has_code_and_reason_and_changes_nothing() {
    let host = Host::start().await;
    let admin = host.admin();
    admin.install("mine", &version(1)).await.expect(201);
    let misnamed = Handmade::new("other", "1.0.0", "x").build();
    let breaks = Handmade::new("mine", "2.0.0", "x").format("(unreachable)").build();
    let loops = Handmade::new("mine", "2.0.0", "x").format(LOOP).build();
    for (bytes, code) in [
        (b"PK\x03\x04".to_vec(), "not_wasm"),
        (Vec::new(), "empty"),
        (Handmade::new("mine", "2.0.0", "x").core(), "core_module"),
        (misnamed, "other_name"),
        (breaks, "sample_failed"),
        (loops, "sample_failed"),
    ] {
        let response = admin.install("mine", &bytes).await;
        assert_eq!(response.status(), 422, "{code}: {response}");
        let problem = response.json();
        assert_eq!(problem["code"], code, "{response}");
        let reason = problem["reason"].as_str().expect("a reason");
        assert!(reason.split(' ').count() > 5 && problem["detail"] == problem["reason"], "{response}");
    }
    assert_eq!(body_now(&admin, "mine").await, "version 1");
    for name in ["json", "syslog"] {
        let taken = Handmade::new(name, "9.0.0", "x").build();
        admin.install(name, &taken).await.problem(409, "conflict");
        admin.delete(&format!("/formatters/{name}")).await.problem(409, "conflict");
        for path in ["rollback", "activate"] {
            let response = admin.post(&format!("/formatters/{name}/{path}"), &json!({"version": "0.1.0"})).await;
            response.problem(409, "conflict");
        }
    }
    let wrong_type = admin.request("PUT", "/formatters/mine").body("application/octet-stream", version(2)).send().await;
    wrong_type.problem(415, "unsupported_media_type");
    let large = admin.install("mine", &vec![0; 32 * 1024 * 1024 + 1]).await;
    large.problem(413, "body_too_large");
    let (pentester, ingest) = (admin.new_token("pentester").await, admin.new_token("ingest").await);
    for who in [pentester, ingest] {
        who.install("mine", &version(2)).await.problem(403, "forbidden");
        who.delete("/formatters/mine").await.problem(403, "forbidden");
        who.post("/formatters/mine/rollback", &json!({})).await.problem(403, "forbidden");
        who.get("/formatters/mine/versions").await.problem(403, "forbidden");
        // A formatter's log may quote events, so it is for admins only.
        let info = who.formatter("mine").await;
        assert_eq!((&info["log"], &info["last_error"]), (&Value::Null, &Value::Null));
    }
    admin.post("/formatters/mine/rollback", &json!({})).await.problem(409, "conflict");
    admin.post("/formatters/nope/rollback", &json!({})).await.problem(404, "not_found");
    admin.get("/formatters/nope/versions").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_formatter_that_a_webhook_names_is_not_deleted() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    admin.install("mine", &version(1)).await.expect(201);
    let webhook = admin.webhook(&destination.url("/"), json!({"format": "mine"})).await;
    let response = admin.delete("/formatters/mine").await;
    response.problem(409, "conflict");
    assert!(response.text().contains(&webhook), "{response}");
    admin.put(&format!("/webhooks/{webhook}"), &json!({"format": "json"})).await.expect(200);
    admin.delete("/formatters/mine").await.expect(204);
    admin.get("/formatters/mine").await.problem(404, "not_found");
    admin.delete("/formatters/mine").await.problem(404, "not_found");
    let host = host.restart().await;
    host.admin().get("/formatters/mine").await.problem(404, "not_found");
}

/// A formatter that fails in this way on events that contain a certain word, which no sample does.
pub(crate) fn fails_on_the_word(number: u32, how: &str) -> Vec<u8> {
    let code = format!("(local $at i32) (local $end i32) {} (i32.const 528)", component::on_the_word(how));
    Handmade::new("mine", &format!("1.{number}.0"), &format!("version {number}")).format(&code).build()
}

#[tokio::test]
async fn a_version_that_fails_where_its_predecessor_works_is_rolled_back() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    admin.install("mine", &version(1)).await.expect(201);
    let webhook = admin.webhook(&destination.url("/"), json!({"format": "mine", "event_types": ["*"]})).await;
    for (number, how, words) in
        [(2, "(unreachable)", "it panicked or aborted"), (3, "(loop (br 0))", "the limit on instructions")]
    {
        admin.install("mine", &fails_on_the_word(number, how)).await.expect(200);
        let before = destination.received().len();
        let calm = admin.event(&events::finding("Calm", "high")).await;
        admin.settled(&calm).await;
        let loud = admin.event(&events::finding("Boom", "high")).await;
        let settled = admin.settled(&loud).await;
        assert_eq!(settled[0]["status"], "delivered", "{settled:?}");
        let received = destination.wait_for(before + 2).await;
        let bodies: Vec<&str> = received[before..].iter().map(|request| request.text()).collect();
        assert_eq!(bodies, [format!("version {number}").as_str(), "version 1"]);

        let attempt = admin.history(&webhook).await.remove(0);
        assert_eq!(
            (&attempt["success"], &attempt["formatter"]["version"]),
            (&json!(true), &json!("1.1.0")),
            "{attempt}"
        );
        let note = attempt["note"].as_str().expect("a note");
        assert!(note.contains(&format!("version 1.{number}.0 fails")) && note.contains(words), "{note}");
        let listed = admin.get("/formatters/mine/versions").await.expect(200).list();
        let bad = listed.iter().find(|version| version["version"] == format!("1.{number}.0")).expect("listed");
        let reason = bad["rolled_back"]["reason"].as_str().expect("a reason");
        assert!(reason.contains(words) && reason.contains(&loud) && bad["active"] == false, "{bad}");
        assert_eq!(admin.formatter("mine").await["version"], "1.1.0");
        host.logged("a formatter was rolled back").await;
    }
    let webhook = admin.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
    assert_eq!((&webhook["failure_count"], &webhook["is_active"]), (&json!(0), &json!(true)));
    // If the previous version fails too, the event is at fault and nothing is rolled back.
    admin.install("mine", &fails_on_the_word(4, "(unreachable)")).await.expect(200);
    admin.install("mine", &fails_on_the_word(5, "(unreachable)")).await.expect(200);
    let loud = admin.event(&events::finding("Boom", "high")).await;
    assert_eq!(admin.settled(&loud).await[0]["status"], "failed");
    let info = admin.formatter("mine").await;
    assert_eq!((&info["version"], &info["traps"]["panic"]), (&json!("1.5.0"), &json!(1)), "{info}");
    let error = &info["last_error"];
    assert_eq!((&error["code"], &error["event_id"]), (&json!("trap"), &json!(loud)), "{error}");
    assert_eq!(error["event_type"], "finding_added");
}

/// The same call may be in time on another machine, or on this one a moment later.
#[tokio::test]
async fn a_version_that_runs_out_of_time_is_not_rolled_back() {
    let limits = ["--formatter-fuel", "100000000000", "--formatter-timeout", "50ms"];
    let host = Host::with(|options| options.args(limits)).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    admin.install("mine", &version(1)).await.expect(201);
    let webhook = admin.webhook(&destination.url("/"), json!({"format": "mine", "event_types": ["*"]})).await;
    admin.install("mine", &fails_on_the_word(2, "(loop (br 0))")).await.expect(200);
    admin.event(&events::finding("Boom", "high")).await;
    let attempt = admin.history_of(&webhook, 1).await.remove(0);
    let error = attempt["error"].as_str().expect("it failed");
    assert!(error.contains("the limit on time, which is 50 ms of processor time"), "{attempt}");
    let listed = admin.get("/formatters/mine/versions").await.expect(200).list();
    assert_eq!((&listed[0]["version"], &listed[0]["active"]), (&json!("1.2.0"), &json!(true)), "{listed:?}");
    assert_eq!(listed[0]["rolled_back"], json!(null), "{listed:?}");
    assert!(admin.formatter("mine").await["limits_crossed"]["time"].as_u64() >= Some(1));
}

#[tokio::test]
async fn limits_are_settings_and_shown_consistently() {
    let settings = [
        ("--large-formatters", "off"),
        ("--formatter-headers", "1"),
        ("--formatter-tables", "500"),
        ("--formatter-stack", "64KiB"),
        ("--formatter-log-lines", "3"),
        ("--formatter-size", "1MiB"),
        ("--formatter-output", "32KiB"),
        ("--formatter-input", "8KiB"),
        ("--max-event-bytes", "8KiB"),
        ("--formatter-compile-time", "60s"),
    ];
    let host = Host::with(|options| options.args(settings.iter().flat_map(|(flag, value)| [*flag, *value]))).await;
    let admin = host.admin();
    let plain = Handmade::new("plain", "1.0.0", "x");
    admin.install("plain", &plain.build()).await.expect(201);
    let limits = admin.formatter("plain").await["limits"].clone();
    for (limit, value) in [
        ("instructions", 200_000_000),
        ("time_ms", 500),
        ("memory_bytes", 64 << 20),
        ("table_elements", 500),
        ("stack_bytes", 64 << 10),
        ("input_bytes", 8 << 10),
        ("output_bytes", 32 << 10),
        ("headers", 1),
        ("log_lines", 3),
        ("component_bytes", 1 << 20),
        ("compile_ms", 60_000),
    ] {
        assert_eq!(limits[limit], value, "{limit}: {limits}");
    }
    let two = Handmade::new("two-headers", "1.0.0", "x").payload(&[("X-A", "1"), ("X-B", "2")], 40_100, 1);
    let long = Handmade::new("long", "1.0.0", &"x".repeat(33_000));
    let large = r#"{"name":"large","version":"1.0.0","description":"d","size":"large"}"#;
    let large = Handmade::new("large", "1.0.0", "x").manifest(large);
    for (name, made, code, words) in [
        ("two-headers", two, "sample_failed", "the limit on headers, which is 1"),
        ("long", long, "sample_failed", "the limit on output, which is 32768 bytes"),
        ("large", large, "large_off", "--large-formatters on"),
    ] {
        let response = admin.install(name, &made.build()).await;
        assert_eq!((response.status(), &response.json()["code"]), (422, &json!(code)), "{response}");
        assert!(response.text().contains(words), "{response}");
    }
    let padded = [plain.build(), vec![0; 1 << 20]].concat();
    admin.install("plain", &padded).await.problem(413, "body_too_large");
    // An event within its own limit, with options that exceed the formatter's input limit.
    let options = json!({"x": "y".repeat(8000)});
    let preview = json!({"event": events::finding(&"x".repeat(1000), "low"), "options": options});
    let response = admin.post("/formatters/plain/preview", &preview).await;
    response.problem(422, "not_formatted");
    assert!(response.text().contains("the limit on input, which is 8192 bytes"), "{response}");
}
