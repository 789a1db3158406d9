//! A third-party formatter: written against `wit/` alone, built here, put into the drop-in folder. And variants that
//! the host rejects.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use heraldry::model::secret::Secret;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::{Destination, Host, Reply, events, host};

const TARGET: &str = "wasm32-unknown-unknown";
const SECRET: &str = "a secret";

/// One crate, built in each of its variants.
struct Built {
    core: Vec<u8>,
    accepted: Vec<u8>,
    rejected: Vec<(&'static str, Vec<u8>)>,
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = lay_out();
        let core = build(&source, None);
        let features =
            ["reserved-name", "describe-loops", "format-loops", "format-panics", "foreign-import", "next-contract"];
        let rejected = features.map(|feature| (feature, component(&build(&source, Some(feature))))).into();
        Built { accepted: component(&core), core, rejected }
    })
}

/// Writes the crate: its own two files, a copy of the contract, and the workspace's lock file, so that it builds
/// offline with the dependencies of the workspace.
fn lay_out() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("third-party");
    let contract = fs::read_to_string(root.join("wit/formatter.wit")).expect("the contract");
    let foreign = contract.replace("    import log;\n", "    import log;\n    import wasi:clocks/wall-clock@0.2.0;\n")
        + "package wasi:clocks@0.2.0 {\n    interface wall-clock {\n        now: func() -> u64;\n    }\n}\n";
    let next = contract.replace("package heraldry:formatter@1.2.0;", "package heraldry:formatter@2.0.0;");
    assert!(
        foreign.contains("import wasi") && next != contract,
        "the contract is not in the form that this test expects"
    );
    let lock = fs::read_to_string(root.join("Cargo.lock")).expect("the lock file");
    for (file, text) in [
        ("Cargo.toml", include_str!("third_party/manifest.toml")),
        ("src/lib.rs", include_str!("third_party/formatter.rs")),
        ("wit/formatter.wit", &contract),
        ("wit-foreign-import/formatter.wit", &foreign),
        ("wit-next-contract/formatter.wit", &next),
        ("Cargo.lock", &lock),
    ] {
        let path = source.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        // Unchanged files keep their time stamp, so that cargo does not rebuild.
        if fs::read_to_string(&path).ok().as_deref() != Some(text) {
            fs::write(&path, text).expect("a file");
        }
    }
    source
}

/// The core module of one variant.
fn build(source: &Path, feature: Option<&str>) -> Vec<u8> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("third-party-target");
    let mut cargo = Command::new(env!("CARGO"));
    // Variables of the outer build must not reach this one.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    cargo.current_dir(source).args(["rustc", "--quiet", "--offline", "--release", "--lib", "--crate-type", "cdylib"]);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(&target);
    if let Some(feature) = feature {
        cargo.args(["--features", feature]);
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{feature:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    fs::read(target.join(TARGET).join("release/third_party.wasm")).expect("a core module")
}

fn component(core: &[u8]) -> Vec<u8> {
    let mut encoder = wit_component::ComponentEncoder::default();
    let encoder = encoder.validate(true).module(core).expect("a core module");
    encoder.encode().expect("a component")
}

/// A host's folder with these files in its drop-in folder.
fn folder_with(files: &[(&str, &[u8])]) -> Arc<TempDir> {
    let folder = Arc::new(host::new_folder());
    let formatters = folder.path().join("formatters.d");
    fs::create_dir(&formatters).expect("a folder");
    for (file, bytes) in files {
        fs::write(formatters.join(file), bytes).expect("a file");
    }
    folder
}

/// Each fault, and words of the error that the history shows for it.
const FAULTS: [(&str, &[&str]); 11] = [
    ("loops", &["limit"]),
    ("allocates", &["limit", "memory"]),
    ("panics", &["panicked"]),
    ("recurses", &["stack"]),
    ("forges-a-signature", &["X-Webhook-Signature"]),
    ("sets-content-length", &["Content-Length"]),
    ("splits-a-header", &["X-Split"]),
    ("too-many-headers", &["headers"]),
    ("too-much-output", &["limit", "output"]),
    ("internal-error", &["the formatter gave up on this event"]),
    ("invalid-event", &["/data", "not a supported event"]),
];

#[tokio::test]
async fn a_third_party_formatter_is_loaded_previewed_and_used() {
    let built = built();
    let host = Host::with(|options| options.folder(&folder_with(&[("from-outside.wasm", &built.accepted)]))).await;
    let admin = host.admin();

    let listed = admin.get("/formatters").await.expect(200).list();
    assert_eq!(listed.len(), 11, "{listed:?}");
    let mine = listed.iter().find(|formatter| formatter["name"] == "third-party").expect("it is listed");
    let digest = Sha256::digest(&built.accepted).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (member, value) in [
        ("version", json!("0.3.1")),
        ("description", json!("A third-party format.")),
        ("origin", json!("folder")),
        ("file", json!("from-outside.wasm")),
        ("state", json!("ready")),
        ("digest", json!(format!("sha256:{digest}"))),
    ] {
        assert_eq!(mine[member], value, "{member}");
    }
    assert_eq!(admin.get("/formatters/third-party").await.expect(200).json()["options_schema"], mine["options_schema"]);

    let event = events::sample("finding_added");
    let body = format!("finding_added|{}|http|{}", event["id"].as_str().expect("an id"), env!("CARGO_PKG_VERSION"));
    let preview = admin.post("/formatters/third-party/preview", &json!({"event": event})).await.expect(200).json();
    assert_eq!(
        (&preview["content_type"], &preview["body"]),
        (&json!("text/x-third-party; charset=utf-8"), &json!(body))
    );
    assert_eq!(preview["headers"], json!({"X-Third-Party": "formatter", "X-Contested": "formatter"}));
    let log = &preview["log"][0];
    assert!(log["level"] == "info" && log["message"].as_str().expect("a line").ends_with(" bytes"), "{log}");
    let fault = json!({"event": event, "options": {"fault": "binary"}});
    let preview = admin.post("/formatters/third-party/preview", &fault).await.expect(200).json();
    assert_eq!((&preview["body"], &preview["body_base64"]), (&Value::Null, &json!("//4AgA==")));
    for (fault, words) in FAULTS {
        let fault = json!({"event": event, "options": {"fault": fault}});
        let response = admin.post("/formatters/third-party/preview", &fault).await;
        let problem = response.problem(422, "not_formatted").json();
        assert!(words.iter().all(|word| problem.to_string().contains(word)), "{response}");
    }

    deliveries_in_each_fault(&host, &event, &body).await;
    let calls = admin.get("/formatters/third-party").await.expect(200).json();
    assert!(calls["calls"].as_u64() > calls["errors"].as_u64() && calls["errors"] != 0, "{calls}");
}

/// Delivers to one webhook per fault and to one without.
async fn deliveries_in_each_fault(host: &Host, event: &Value, body: &str) {
    let admin = host.admin();
    let destination = Destination::start().await;
    let hook = async |path: &str, mut fields: Value| {
        fields["format"] = json!("third-party");
        fields["secret"] = json!(SECRET);
        admin.webhook(&destination.url(path), fields).await
    };
    let plain = hook("/plain", json!({"headers": {"x-contested": "owner"}})).await;
    hook("/binary", json!({"format_options": {"fault": "binary"}})).await;
    hook("/empty-body", json!({"format_options": {"fault": "empty-body"}})).await;
    let mut faulty = Vec::new();
    for (fault, words) in FAULTS {
        let fields = json!({"format_options": {"fault": fault}, "event_types": ["finding_added"]});
        faulty.push((fault, words, hook(&format!("/faulty/{fault}"), fields).await));
    }
    admin.webhook(&destination.url("/built-in"), json!({})).await;

    let id = admin.event(event).await;
    let settled = admin.settled(&id).await;
    let received = destination.wait_for(4).await;
    assert_eq!(received.len(), 4, "an invalid payload was sent");
    for request in &received {
        let expected: &[u8] = match request.path.as_str() {
            "/plain" => body.as_bytes(),
            "/binary" => &[0xff, 0xfe, 0x00, 0x80],
            "/empty-body" => b"",
            _ => continue,
        };
        assert_eq!(request.body, expected, "{}", request.path);
        assert_eq!(request.header("content-type"), "text/x-third-party; charset=utf-8");
        assert_eq!(request.header("content-length"), expected.len().to_string());
        assert_eq!(request.header("x-third-party"), "formatter");
        let owner = if request.path == "/plain" { "owner" } else { "formatter" };
        assert_eq!(request.header("x-contested"), owner, "the webhook's own header wins, and comes once");
        let signature = heraldry::signature::verify_body;
        assert!(
            signature(&Secret::new(SECRET), &request.body, request.header("x-webhook-signature")),
            "any bytes are signed"
        );
    }
    for (fault, words, webhook) in &faulty {
        let attempt = admin.history_of(webhook, 1).await.remove(0);
        let error = attempt["error"].as_str().expect("an error");
        assert!(error.starts_with("formatter: ") && error.split(' ').count() > 5, "{fault}: {error}");
        assert!(words.iter().all(|word| error.contains(word)), "{fault}: {error}");
        assert_eq!((&attempt["status_code"], &attempt["next_attempt_at"]), (&Value::Null, &Value::Null), "{fault}");
        assert_eq!(attempt["formatter"]["version"], "0.3.1");
        let delivery = settled.iter().find(|delivery| delivery["webhook_id"] == **webhook).expect("a delivery");
        assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("failed"), &json!(1)), "{fault}");
    }

    // The formatter does not support this type: the delivery is skipped, which is not a failure.
    let id = admin.event(&events::minimal("monitor_alert")).await;
    let settled = admin.settled(&id).await;
    let count = |status: &str, attempts: u32| {
        settled.iter().filter(|delivery| delivery["status"] == status && delivery["attempts"] == attempts).count()
    };
    assert_eq!((count("skipped", 0), count("delivered", 1), settled.len()), (3, 1, 4), "{settled:?}");
    let received = destination.wait_for(5).await;
    assert_eq!((received.len(), received[4].path.as_str()), (5, "/built-in"));
    let webhook = admin.get(&format!("/webhooks/{plain}")).await.expect(200).json();
    assert_eq!((&webhook["failure_count"], &webhook["is_active"]), (&json!(0), &json!(true)));
    assert_eq!(admin.history(&plain).await.len(), 1);
}

#[tokio::test]
async fn a_rejected_file_is_listed_with_its_reason_and_does_not_affect_the_others() {
    let built = built();
    let text = b"(module (func (export \"format\")))".as_slice();
    let folder = folder_with(&[
        ("a-text.wasm", text),
        ("archive.wasm", b"PK\x03\x04 and so on"),
        ("core.wasm", &built.core),
        ("elf.wasm", b"\x7fELF\x02\x01\x01"),
        ("empty.wasm", b""),
        ("magic.wasm", b"\0asm"),
        ("same-again.wasm", &built.accepted),
        ("right.wasm", &built.accepted),
        ("ignored.wat", text),
        ("._right.wasm", b"\x00\x05\x16\x07 of a Mac"),
        (".#right.wasm", b"a lock of an editor"),
        ("README.txt", b"hello"),
    ]);
    let formatters = folder.path().join("formatters.d");
    for (name, bytes) in &built.rejected {
        fs::write(formatters.join(format!("{name}.wasm")), bytes).expect("a file");
    }
    let cuts = 12;
    for cut in 1..=cuts {
        let end = 8 + (built.accepted.len() - 9) * cut / cuts;
        fs::write(formatters.join(format!("cut-{cut:02}.wasm")), &built.accepted[..end]).expect("a file");
    }
    fs::create_dir(formatters.join("folder.wasm")).expect("a folder");
    std::os::unix::fs::symlink("nowhere", formatters.join("dangling.wasm")).expect("a link");
    std::os::unix::fs::symlink("loop.wasm", formatters.join("loop.wasm")).expect("a link");
    let pipe = std::ffi::CString::new(formatters.join("pipe.wasm").to_str().expect("a path")).expect("no zero in it");
    // SAFETY: the path is a zero-terminated string that outlives the call.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    let giant = fs::File::create(formatters.join("giant.wasm")).expect("a file");
    giant.set_len(1 << 30).expect("a hole");

    let host = Host::with(|options| options.folder(&folder)).await;
    let admin = host.admin();
    let listed = admin.get("/formatters").await.expect(200).list();
    let ready: Vec<_> = listed.iter().filter(|formatter| formatter["state"] == "ready").collect();
    assert_eq!(ready.len(), 11, "{ready:?}");
    let of_file = |file: &str| {
        let found = listed.iter().find(|formatter| formatter["file"] == file);
        found.unwrap_or_else(|| panic!("{file} is not listed"))
    };
    assert_eq!(of_file("right.wasm")["name"], "third-party");
    let mut expected = vec![
        ("a-text.wasm".to_owned(), "not_wasm"),
        ("archive.wasm".into(), "not_wasm"),
        ("core.wasm".into(), "core_module"),
        ("dangling.wasm".into(), "unreadable"),
        ("describe-loops.wasm".into(), "describe_failed"),
        ("elf.wasm".into(), "not_wasm"),
        ("empty.wasm".into(), "empty"),
        ("folder.wasm".into(), "not_a_file"),
        ("foreign-import.wasm".into(), "foreign_imports"),
        ("format-loops.wasm".into(), "sample_failed"),
        ("format-panics.wasm".into(), "sample_failed"),
        ("giant.wasm".into(), "too_large"),
        ("loop.wasm".into(), "unreadable"),
        ("magic.wasm".into(), "not_wasm"),
        ("next-contract.wasm".into(), "contract_version"),
        ("pipe.wasm".into(), "not_a_file"),
        ("reserved-name.wasm".into(), "reserved_name"),
        ("same-again.wasm".into(), "duplicate_name"),
    ];
    expected.extend((1..=cuts).map(|cut| (format!("cut-{cut:02}.wasm"), "invalid_component")));
    for (file, code) in &expected {
        let formatter = of_file(file);
        assert_eq!((&formatter["state"], &formatter["code"]), (&json!("rejected"), &json!(code)), "{formatter}");
        assert_eq!(formatter["name"], file.trim_end_matches(".wasm"));
        assert_eq!((&formatter["version"], &formatter["origin"]), (&Value::Null, &json!("folder")), "{file}");
        let reason = formatter["reason"].as_str().expect("a reason");
        assert!(reason.split(' ').count() >= 4, "{file}: {reason}");
        assert!(
            host.log().lines().any(|line| line.contains("WARN") && line.contains(file.as_str())),
            "{file}: no log line"
        );
    }
    assert_eq!(listed.len(), ready.len() + expected.len());
    for (file, word) in [
        ("foreign-import.wasm", "wasi:clocks/wall-clock@0.2.0"),
        ("next-contract.wasm", "2.0.0"),
        ("same-again.wasm", "right.wasm"),
    ] {
        assert!(of_file(file)["reason"].as_str().is_some_and(|reason| reason.contains(word)), "{}", of_file(file));
    }

    // A rejected one cannot be used, and the others work.
    let event = events::sample("finding_added");
    let fields = json!({"name": "n", "url": "http://127.0.0.1:9/", "format": "core"});
    admin.post("/webhooks", &fields).await.fault("/format", "unknown_format");
    admin.post("/formatters/core/preview", &json!({"event": event})).await.problem(422, "not_formatted");
    for formatter in ready {
        let path = format!("/formatters/{}/preview", formatter["name"].as_str().expect("a name"));
        admin.post(&path, &json!({"event": event})).await.expect(200);
    }
    assert_eq!(admin.get("/formatters/json").await.expect(200).json()["origin"], "built-in");
}

/// A missing formatter does not count as a failure of the webhook: its deliveries are held, and sent when it is back.
#[tokio::test]
async fn deliveries_are_held_while_their_formatter_is_missing() {
    let folder = folder_with(&[("third-party.wasm", &built().accepted)]);
    let host = Host::with(|options| options.folder(&folder).retry_every("100ms")).await;
    let destination = Destination::answering([Reply::status(500)]).await;
    let fields = json!({"format": "third-party", "retry_count": 0});
    let webhook = host.admin().webhook(&destination.url("/"), fields).await;
    let failed = host.admin().event(&events::minimal("phase_changed")).await;
    assert_eq!(host.admin().settled(&failed).await[0]["status"], "failed");

    let mut host = host;
    assert!(host.terminate().await.success());
    let file = folder.path().join("formatters.d/third-party.wasm");
    fs::remove_file(&file).expect("it was there");
    let mut host = host.start_again().await;
    let admin = host.admin();
    let before = admin.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
    let mut waiting = Vec::new();
    for _ in 0..6 {
        waiting.push(admin.event(&events::minimal("phase_changed")).await);
    }
    for event in &waiting {
        assert_eq!(admin.settled(event).await[0]["status"], "held", "the formatter is not loaded");
    }
    let now = admin.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
    assert_eq!((&now["failure_count"], &now["is_active"]), (&before["failure_count"], &json!(true)));
    assert_eq!(destination.received().len(), 1);
    assert!(host.log().lines().any(|line| line.contains("third-party")), "the log does not name it:\n{}", host.log());

    assert!(host.terminate().await.success());
    fs::write(&file, &built().accepted).expect("a file");
    let host = host.start_again().await;
    for event in &waiting {
        assert_eq!(host.admin().settled(event).await[0]["status"], "delivered");
    }
    assert_eq!(destination.wait_for(7).await.len(), 7);
}
