//! A host that has just started: its formatters are still loading. Time is virtual, so requests wait for nothing.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError, mpsc};

use super::*;

/// A host whose catalog loads nothing until the gate is dropped.
struct Starting {
    host: Host,
    catalog: Arc<Catalog>,
    gate: mpsc::Sender<()>,
    _folder: tempfile::TempDir,
}

impl Starting {
    /// With these files in the drop-in folder.
    async fn with(files: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("formatters.d")).expect("a folder");
        for file in files {
            std::fs::write(folder.path().join("formatters.d").join(file), "no component").expect("a file");
        }
        let (gate, closed) = mpsc::channel();
        let closed = Mutex::new(closed);
        let wanted = Box::new(move || {
            // Returns once the sender is gone.
            let _ = closed.lock().unwrap_or_else(PoisonError::into_inner).recv();
            HashSet::new()
        });
        let clock = Arc::new(SystemClock::start());
        let options = CatalogOptions { wanted, ..CatalogOptions::in_folder(folder.path(), crate::built_in(), clock) };
        let catalog = Arc::new(Catalog::start(options).expect("formatters"));
        let host = Host::with_catalog(Limits::default(), BODY_TIMEOUT, Arc::clone(&catalog)).await;
        Self { host, catalog, gate, _folder: folder }
    }
}

fn webhook(format: &str, options: &str) -> String {
    format!(r#"{{"name":"n","url":"https://hook.invalid/","format":"{format}","format_options":{options}}}"#)
}

#[tokio::test(start_paused = true)]
async fn a_webhook_may_name_a_format_whose_manifest_is_known() {
    let starting = Starting::with(&[]).await;
    let host = &starting.host;
    assert_eq!(host.get("/readyz").await.status, 200, "nobody needs a formatter yet");
    let formatters = host.get("/api/v1/formatters").await.json();
    let formatters = formatters.as_array().expect("an array");
    assert_eq!(formatters.len(), crate::built_in().len());
    for formatter in formatters {
        assert_eq!(formatter["state"], "loading", "{formatter}");
        assert!(formatter["options_schema"].is_object() && formatter["version"].is_string(), "{formatter}");
    }

    let rejected = host.post("/api/v1/webhooks", &webhook("json", r#"{"shape":"round"}"#)).await;
    assert_eq!(rejected.problem(), ["422 invalid_fields", "/format_options/shape invalid_option"]);
    let rejected = host.post("/api/v1/webhooks", &webhook("nonsense", "{}")).await;
    assert_eq!(rejected.problem(), ["422 invalid_fields", "/format unknown_format"]);
    let created = host.post("/api/v1/webhooks", &webhook("json", r#"{"shape":"plain"}"#)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let created = created.header("location").expect("a location").to_owned();

    // Its deliveries wait, and the host is not ready until they need not.
    let ready = host.get("/readyz").await;
    assert_eq!(ready.problem(), ["503 unavailable"]);
    assert!(ready.text.contains("being loaded: json\""), "{}", ready.text);
    let accepted = host.post("/api/v1/events", r#"{"type":"phase_changed","data":{"phase":{"name":"x"}}}"#).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let event = format!("/api/v1/events/{}", accepted.json()["id"].as_str().expect("an id"));
    let delivery = host.get(&event).await.json()["deliveries"][0].clone();
    assert_eq!((&delivery["status"], &delivery["attempts"]), (&"pending".into(), &0.into()), "{delivery}");

    // What needs the formatter itself is told when to come back.
    let preview = r#"{"event":{"type":"report_ready","data":{"report":{"title":"x"}}}}"#;
    for reply in
        [host.post("/api/v1/formatters/json/preview", preview).await, host.post(&format!("{created}/test"), "{}").await]
    {
        assert_eq!(reply.problem(), ["503 unavailable"]);
        assert!(
            reply.header("retry-after").is_some() && reply.text.contains("json is still being loaded"),
            "{reply:?}"
        );
    }
    let upload = host.call("PUT /api/v1/formatters/json", &host.admin, &["content-type: application/wasm"], Some("x"));
    assert_eq!(upload.await.problem(), ["409 conflict"]);

    drop(starting.gate);
    while !starting.catalog.is_settled() {
        // Not a busy loop: the threads that compile have a lower priority.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(host.get("/readyz").await.status, 200);
    assert_eq!(host.get("/api/v1/formatters/json").await.json()["state"], "ready");
    assert_eq!(host.post("/api/v1/formatters/json/preview", preview).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_names_a_format_of_which_nothing_is_known_yet_may_come_again() {
    let starting = Starting::with(&["mine.wasm"]).await;
    let host = &starting.host;
    let listed = host.get("/api/v1/formatters/mine").await.json();
    assert_eq!((&listed["state"], &listed["file"]), (&"loading".into(), &"mine.wasm".into()), "{listed}");
    assert!(listed["options_schema"].is_null() && listed["digest"].is_null(), "{listed}");
    // The file's manifest may say any name.
    for name in ["mine", "yours"] {
        let reply = host.post("/api/v1/webhooks", &webhook(name, "{}")).await;
        assert_eq!(reply.problem(), ["503 unavailable"]);
        assert!(reply.header("retry-after").is_some() && reply.text.contains(name), "{reply:?}");
    }
    assert_eq!(host.post("/api/v1/webhooks", &webhook("json", "{}")).await.status, 201);

    drop(starting.gate);
    while !starting.catalog.is_settled() {
        // Not a busy loop: the threads that compile have a lower priority.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let reply = host.post("/api/v1/webhooks", &webhook("mine", "{}")).await;
    assert_eq!(reply.problem(), ["422 invalid_fields", "/format unknown_format"]);
}
