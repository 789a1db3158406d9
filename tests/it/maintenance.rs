//! `heraldry store`: export and import, check and repair, compact.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::support::{Client, Destination, Handmade, Host, Reply, events, eventually};

const LONG_AGO: &str = "2020-01-01T00:00:00Z";

fn heraldry(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heraldry"));
    command.args(arguments).env_remove("HERALDRY_TOKEN").env_remove("HERALDRY_URL");
    command.envs(environment.iter().copied()).output().expect("the binary runs")
}

#[track_caller]
fn succeeds(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

#[track_caller]
fn fails(output: &Output, words: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(words) && stderr.contains("hint: "), "{words}: {stderr}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

/// A host with a delivered, a failed, a held and a pending delivery, and an uploaded formatter.
async fn populated_host(destination: &Destination) -> (Host, Vec<String>, String) {
    let host = Host::with(|options| options.retry_every("1h")).await;
    let admin = host.admin();
    admin.install("mine", &Handmade::new("mine", "1.0.0", "made by mine").build()).await.expect(201);
    let fields = json!({"format": "mine", "secret": "s", "event_types": ["report_ready"]});
    let webhook = admin.webhook(&destination.url("/a"), fields).await;
    let delivered = admin.event(&events::minimal("report_ready")).await;
    admin.settled(&delivered).await;
    admin.webhook(&destination.url("/b"), json!({"event_types": ["phase_changed"]})).await;
    destination.from_now_on(Reply::status(500));
    let pending = admin.event(&events::minimal("phase_changed")).await;
    eventually("a first attempt", async || {
        let event = admin.get(&format!("/events/{pending}")).await.expect(200).json();
        (event["deliveries"][0]["attempts"] == 1).then_some(())
    })
    .await;
    destination.next([Reply::status(410)]);
    let failed = admin.event(&events::minimal("report_ready")).await;
    admin.settled(&failed).await;
    let held = admin.event(&events::minimal("report_ready")).await;
    destination.from_now_on(Reply::status(200));
    (host, vec![delivered, failed, held, pending], webhook)
}

async fn statuses(admin: &Client, events: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for event in events {
        let event = admin.get(&format!("/events/{event}")).await.expect(200).json();
        all.push(event["deliveries"][0]["status"].as_str().expect("a status").to_owned());
    }
    all
}

#[tokio::test]
async fn an_export_of_a_running_host_restores_to_another_host() {
    let destination = Destination::start().await;
    let (mut host, events, webhook) = populated_host(&destination).await;
    let admin = host.admin();
    let before = statuses(&admin, &events).await;
    assert_eq!(before, ["delivered", "failed", "held", "pending"]);
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("export.ndjson");
    let running = [("HERALDRY_URL", host.origin()), ("HERALDRY_TOKEN", admin.token())];
    let data = host.data();
    succeeds(&heraldry(&["store", "export", "--data", text(&data), "--out", text(&file)], &running));
    fails(&heraldry(&["store", "export", "--data", text(&data), "--out", text(&file)], &running), "exists already");
    let wrong_token = [("HERALDRY_URL", host.origin()), ("HERALDRY_TOKEN", "wrong")];
    let other = folder.path().join("other.ndjson");
    fails(&heraldry(&["store", "export", "--data", text(&data), "--out", text(&other)], &wrong_token), "401");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "a file was left behind");
    let exported = std::fs::read_to_string(&file).expect("an export");
    for line in exported.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let value = STANDARD.decode(line["v"].as_str().unwrap_or_default()).expect("base64");
        // The reason why a webhook was switched off names its host, and nothing else of its URL.
        assert!(!value.windows(7).any(|part| part == b"http://"), "a destination's URL is readable");
    }
    for role in ["pentester", "ingest"] {
        admin.new_token(role).await.get("/export").await.problem(403, "forbidden");
    }
    // While the host runs, its store is locked.
    fails(&heraldry(&["store", "check", "--data", text(&data)], &[]), "in use");
    host.terminate().await;

    // A folder that the import creates is private from the start, and is removed if the import fails.
    let fresh = folder.path().join("fresh");
    fails(&heraldry(&["store", "import", text(&file), "--data", text(&fresh), "--json"], &[]), "master key");
    assert!(!fresh.exists(), "an empty folder was left behind");
    let key = std::fs::read_to_string(data.join("master.key")).expect("a key");
    let with_key = [("HERALDRY_MASTER_KEY", key.trim())];
    succeeds(&heraldry(&["store", "import", text(&file), "--data", text(&fresh), "--json"], &with_key));
    let mode = std::fs::metadata(&fresh).expect("a folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the imported store is readable by others");

    // A truncated or modified export imports nothing, and neither does one without its key.
    let copy = folder.path().join("data");
    let import = |from: &Path| heraldry(&["store", "import", text(from), "--data", text(&copy), "--json"], &[]);
    let broken = folder.path().join("broken.ndjson");
    std::fs::create_dir_all(&copy).expect("a folder");
    fails(&import(&file), "master key");
    std::fs::copy(data.join("master.key"), copy.join("master.key")).expect("a key");
    for (broke, words) in [
        (exported[..exported.len() / 2].to_owned(), "cut"),
        (exported.lines().take(5).map(|line| format!("{line}\n")).collect(), "cut"),
        (exported.replacen("created_at\":\"2", "created_at\":\"3", 1), "changed"),
        ("hello\n".to_owned(), "not a line"),
        (String::new(), "not a line"),
        (exported.replacen("heraldry_export\":2", "heraldry_export\":9", 1), "version 9"),
        (exported.replacen("heraldry_export\":2", "heraldry_export\":1", 1), "checksum"),
        (exported.repeat(2), "comes after the end"),
        (format!("{exported}\n"), "comes after the end"),
    ] {
        std::fs::write(&broken, broke).expect("written");
        fails(&import(&broken), words);
        assert!(!copy.join("store").exists(), "{words}: a store was created");
    }
    let imported = succeeds(&import(&file));
    assert!(imported["records"].as_u64() > Some(10) && imported["files"].as_u64() >= Some(2), "{imported}");
    assert_eq!(imported["requeued"], 0);
    assert_eq!(imported["signed"], true);
    fails(&import(&file), "holds a store already");
    succeeds(&heraldry(&["store", "check", "--data", text(&copy)], &[]));

    let other = Host::with(|options| options.retry_every("1h").folder(&folder)).await;
    let admin = other.visitor().with_token(admin.token());
    assert_eq!(statuses(&admin, &events).await, before);
    let audit = admin.get("/audit").await.expect(200).list();
    assert_eq!((&audit[0]["action"], &audit[0]["actor"]["type"]), (&json!("store.imported"), &json!("command_line")));
    assert!(audit.iter().any(|entry| entry["action"] == "store.exported"), "{audit:?}");
    assert_eq!(audit[0]["changes"][2], json!({"field": "signed", "to": true}));
    // Secrets, formatters and held deliveries were restored.
    let seen = destination.received().len();
    admin.put(&format!("/webhooks/{webhook}"), &json!({"is_active": true})).await.expect(200);
    admin.post(&format!("/webhooks/{webhook}/recover"), &json!({"since": LONG_AGO})).await.expect(202);
    let received = destination.wait_for(seen + 2).await;
    assert!(received[seen..].iter().all(|request| request.is_signed_with("s") && request.text() == "made by mine"));
}

#[tokio::test]
async fn a_stopped_store_is_checked_exported_and_compacted() {
    let destination = Destination::start().await;
    let (mut host, events, _) = populated_host(&destination).await;
    let before = statuses(&host.admin(), &events).await;
    host.terminate().await;
    let data = host.data();
    let report = succeeds(&heraldry(&["store", "check", "--data", text(&data), "--json"], &[]));
    assert_eq!((&report["ok"], &report["found"]["lost"]), (&json!(true), &json!(0)), "{report}");
    let kinds = report["found"]["kinds"].as_array().expect("a list");
    let count = |name: &str| kinds.iter().find(|kind| kind["kind"] == name).expect("a kind")["records"].clone();
    // Four of the platform, and two of the host: what failed, and that it is off.
    assert_eq!((count("events"), count("webhooks"), count("tokens")), (json!(6), json!(2), json!(1)));
    let file = host.folder().path().join("export.ndjson");
    succeeds(&heraldry(&["store", "export", "--data", text(&data), "--out", text(&file)], &[]));
    let sizes = succeeds(&heraldry(&["store", "compact", "--data", text(&data), "--json"], &[]));
    assert!(sizes["after_bytes"].as_u64() <= sizes["before_bytes"].as_u64(), "{sizes}");
    assert!(!data.join("store.old").exists() && !data.join("store.compacting").exists());
    succeeds(&heraldry(&["store", "check", "--data", text(&data)], &[]));
    // A compaction that was interrupted between its renames: the old store is put back.
    std::fs::rename(data.join("store"), data.join("store.old")).expect("renamed");
    let host = host.start_again().await;
    assert_eq!(statuses(&host.admin(), &events).await, before);
    let nowhere = host.folder().path().join("nowhere");
    fails(&heraldry(&["store", "check", "--data", text(&nowhere)], &[]), "nowhere");
}

/// An export that somebody has changed, with a checksum made anew.
fn forged(export: &str) -> String {
    let (body, _) = export.trim_end().rsplit_once('\n').expect("lines");
    let body = format!("{}\n", body.replacen("\"heraldry_export\":2", "\"heraldry_export\":1", 1));
    let sha256 = data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(&body));
    format!("{body}{{\"end\":true,\"lines\":{},\"sha256\":\"{sha256}\"}}\n", body.lines().count())
}

#[tokio::test]
async fn an_export_that_proves_nothing_is_imported_on_demand_only() {
    let mut host = Host::start().await;
    let token = host.admin().token().to_owned();
    let exported = host.admin().get("/export").await.expect(200).text().to_owned();
    host.terminate().await;
    let data = host.data();
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("export.ndjson");
    std::fs::write(&file, forged(&exported)).expect("written");
    let copy = folder.path().join("data");
    std::fs::create_dir(&copy).expect("a folder");
    std::fs::copy(data.join("master.key"), copy.join("master.key")).expect("a key");
    let import = |more: &[&str]| {
        heraldry(&[["store", "import", text(&file), "--data", text(&copy)].as_slice(), more].concat(), &[])
    };
    fails(&import(&[]), "--unsigned");
    assert!(!copy.join("store").exists());
    let output = import(&["--unsigned"]);
    succeeds(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("warning: nothing proves where this export comes from"), "{said}");
    let checked = heraldry(&["store", "check", "--data", text(&copy)], &[]);
    succeeds(&checked);
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains("from an export that was not authenticated (sha256 "), "{checked}");
    let report = succeeds(&heraldry(&["store", "check", "--data", text(&copy), "--json"], &[]));
    assert!(report["ok"] == true && !report["found"]["imported_unsigned"]["sha256"].is_null(), "{report}");
    let host = Host::with(|options| options.folder(&folder)).await;
    let audit = host.visitor().with_token(&token).get("/audit").await.expect(200).list();
    assert_eq!(audit[0]["changes"][2], json!({"field": "signed", "to": false}));
}

#[tokio::test]
async fn an_export_is_imported_from_a_pipe() {
    let mut host = Host::start().await;
    let exported = host.admin().get("/export").await.expect(200).text().to_owned();
    host.terminate().await;
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("data");
    let key = std::fs::read_to_string(host.data().join("master.key")).expect("a key");
    for (stream, works) in [(&exported[..exported.len() - 1], false), (exported.as_str(), true)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heraldry"));
        command.args(["store", "import", "-", "--data", text(&copy)]).env("HERALDRY_MASTER_KEY", key.trim());
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        let mut child = command.spawn().expect("the binary runs");
        std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), stream.as_bytes()).expect("written");
        assert_eq!(child.wait().expect("it ends").success(), works);
        assert_eq!(copy.join("store").is_dir(), works);
    }
}
