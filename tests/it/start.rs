//! A start without a cache of machine code: the host works while it compiles.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::host::Options;
use crate::support::{Destination, Host, PATIENCE, events, eventually, within};

/// The compilers that a process has started, by process id.
fn compilers_of(host: u32) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    ids.filter(|id| is_compiler(id) && parent(id) == Some(host)).collect()
}

/// True while a process with this id runs and is a compiler.
fn is_compiler(id: &str) -> bool {
    let command = std::fs::read(Path::new("/proc").join(id).join("cmdline")).unwrap_or_default();
    command.split(|byte| *byte == 0).any(|word| word == b"compile-component")
}

fn parent(id: &str) -> Option<u32> {
    let status = std::fs::read_to_string(Path::new("/proc").join(id).join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[tokio::test]
async fn the_first_start_accepts_and_delivers_while_it_compiles() {
    let host = Host::attempt(Options::cold).await.expect("it listens");
    assert!(host.log().contains(&format!("starting on {}: opening the store in ", host.origin())), "{}", host.log());
    // Nobody waits for any, so the smallest is the first.
    host.logged("compiling formatters, once: splunk-hec, json, ").await;
    let (anyone, admin) = (host.visitor().outside(), host.admin());
    assert_eq!(anyone.get("/healthz").await.expect(200).json(), json!({"status": "ok"}));
    let formatters = admin.get("/formatters").await.expect(200).json();
    let names: Vec<String> = formatters
        .as_array()
        .expect("a list")
        .iter()
        .map(|formatter| formatter["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(names.len(), heraldry::built_in().len());
    let destination = Destination::start().await;
    for name in names.iter().filter(|name| !["pagerduty", "splunk-hec"].contains(&name.as_str())) {
        admin.webhook(&destination.url(&format!("/{name}")), json!({"format": name})).await;
    }
    let event = admin.event(&events::sample("finding_added")).await;
    let settled = within(4 * PATIENCE, "every delivery", async || {
        let deliveries = admin.get(&format!("/events/{event}")).await.expect(200).json()["deliveries"].clone();
        let deliveries = deliveries.as_array().expect("a list").clone();
        // Waiting for a formatter is neither an attempt nor a reason to be held.
        assert!(deliveries.iter().all(|delivery| delivery["status"] != "held"), "{deliveries:?}");
        deliveries.iter().all(|delivery| delivery["status"] == "delivered").then_some(deliveries)
    })
    .await;
    assert!(settled.iter().all(|delivery| delivery["attempts"] == 1), "{settled:?}");
    assert_eq!(settled.len(), destination.received().len());
    anyone.get("/readyz").await.expect(200);
    host.formatters_loaded().await;
    let states = admin.get("/formatters").await.expect(200).json();
    assert!(states.as_array().expect("a list").iter().all(|formatter| formatter["state"] == "ready"), "{states}");
}

#[tokio::test]
async fn what_active_webhooks_name_is_compiled_first() {
    let mut host = Host::start().await;
    let destination = Destination::start().await;
    host.admin().webhook(&destination.url("/"), json!({"format": "teams"})).await;
    host.admin().webhook(&destination.url("/"), json!({"format": "slack", "is_active": false})).await;
    assert!(host.terminate().await.success());
    std::fs::remove_dir_all(host.data().join("components")).expect("the code cache");
    let host = host.start_again().await;
    let line = host.logged("compiling formatters, once: ").await;
    assert!(line.contains(": teams (active webhooks name them), then splunk-hec, json, "), "{line}");
    assert!(line.contains("slack"), "{line}");
}

#[tokio::test]
async fn a_host_that_compiles_stops_at_once_and_takes_its_compilers_along() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let mut host = Host::attempt(Options::cold).await.expect("it listens");
        let compilers = eventually("a compiler", async || {
            let compilers = compilers_of(host.id());
            (!compilers.is_empty()).then_some(compilers)
        })
        .await;
        host.signal(signal);
        let status = host.exited(PATIENCE).await;
        assert_eq!(status.success(), signal == libc::SIGTERM, "{status}: {}", host.log());
        eventually("the compilers to end", async || compilers.iter().all(|id| !is_compiler(id)).then_some(())).await;
        // What was not compiled is compiled by the next start.
        let host = host.start_again().await;
        let states: Value = host.admin().get("/formatters").await.expect(200).json();
        assert!(states.as_array().expect("a list").iter().all(|formatter| formatter["state"] == "ready"), "{states}");
    }
}
