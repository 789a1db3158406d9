//! The watched drop-in folder of formatters.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::component::LOOP;
use crate::support::{Client, Destination, Handmade, Host, events, eventually, host};

fn version(number: u32) -> Vec<u8> {
    Handmade::new("live", &format!("1.{number}.0"), &format!("version {number}")).build()
}

/// Writes a temporary file and renames it, so that the host never sees a partial file.
fn put(folder: &Path, file: &str, bytes: &[u8]) {
    let beside = folder.join(format!("{file}.part"));
    fs::write(&beside, bytes).expect("a file");
    fs::rename(beside, folder.join(file)).expect("moved");
}

async fn until(admin: &Client, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    eventually(what, async || {
        let listed = admin.get("/formatters").await.expect(200).list();
        holds(&listed).then_some(listed)
    })
    .await
}

fn has(listed: &[Value], file: &str, state: &str, version: Option<&str>) -> bool {
    listed.iter().any(|formatter| {
        formatter["file"] == file && formatter["state"] == state && formatter["version"].as_str() == version
    })
}

#[tokio::test]
async fn files_are_added_changed_and_removed_while_the_host_runs() {
    let host = Host::start().await;
    let admin = host.admin();
    // The folder may be created later.
    let folder = host.folder().path().join("formatters.d");
    fs::create_dir_all(&folder).expect("a folder");
    put(&folder, "live.wasm", &version(1));
    until(&admin, "the first version", |listed| has(listed, "live.wasm", "ready", Some("1.1.0"))).await;

    let destination = Destination::start().await;
    let webhook = admin.webhook(&destination.url("/"), json!({"format": "live"})).await;
    put(&folder, "live.wasm", &version(2));
    until(&admin, "the second version", |listed| has(listed, "live.wasm", "ready", Some("1.2.0"))).await;

    // A rejected replacement never unloads the working version, and both are listed.
    for bad in [b"\0asm".to_vec(), Handmade::new("live", "1.3.0", "x").format(LOOP).build()] {
        put(&folder, "live.wasm", &bad);
        let listed = until(&admin, "the rejection", |listed| has(listed, "live.wasm", "rejected", None)).await;
        assert!(has(&listed, "live.wasm", "ready", Some("1.2.0")), "{listed:?}");
        let metrics = admin.outside().get("/metrics").await.expect(200);
        assert!(metrics.text().contains("heraldry_formatters_rejected 1"), "{metrics}");
        put(&folder, "live.wasm", &version(2));
        until(&admin, "the good file again", |listed| !has(listed, "live.wasm", "rejected", None)).await;
    }
    host.logged("a formatter file was rejected").await;
    let id = admin.event(&events::finding("x", "low")).await;
    assert_eq!(admin.settled(&id).await[0]["status"], "delivered");

    // Removing a file removes its format: deliveries are held, and sent when it is back.
    fs::remove_file(folder.join("live.wasm")).expect("removed");
    until(&admin, "the formatter to go", |listed| listed.iter().all(|formatter| formatter["name"] != "live")).await;
    let id = admin.event(&events::finding("y", "low")).await;
    eventually("the delivery to be held", async || {
        let event = admin.get(&format!("/events/{id}")).await.expect(200).json();
        (event["deliveries"][0]["status"] == "held").then_some(())
    })
    .await;
    assert_eq!(admin.history(&webhook).await.len(), 1);
    put(&folder, "other-name.wasm", &version(3));
    eventually("the held delivery to be delivered", async || {
        let event = admin.get(&format!("/events/{id}")).await.expect(200).json();
        (event["deliveries"][0]["status"] == "delivered").then_some(())
    })
    .await;
    let received = destination.wait_for(2).await;
    assert_eq!([received[0].text(), received[1].text()], ["version 2", "version 3"]);
}

#[tokio::test]
async fn of_two_files_with_one_name_the_first_is_used_and_the_second_replaces_it() {
    let folder = Arc::new(host::new_folder());
    let formatters = folder.path().join("formatters.d");
    fs::create_dir(&formatters).expect("a folder");
    put(&formatters, "a.wasm", &version(1));
    put(&formatters, "b.wasm", &version(2));
    let host = Host::with(|options| options.folder(&folder)).await;
    let admin = host.admin();
    let listed = until(&admin, "both files", |listed| has(listed, "b.wasm", "rejected", None)).await;
    assert!(has(&listed, "a.wasm", "ready", Some("1.1.0")), "{listed:?}");
    // A name in the folder cannot be replaced by an upload.
    admin.install("live", &version(3)).await.problem(409, "conflict");
    admin.post("/formatters/live/rollback", &json!({})).await.problem(409, "conflict");
    fs::remove_file(formatters.join("a.wasm")).expect("removed");
    until(&admin, "the second to step in", |listed| has(listed, "b.wasm", "ready", Some("1.2.0"))).await;
}

#[tokio::test]
async fn a_file_that_was_rolled_back_stays_rolled_back_until_it_changes() {
    let folder = Arc::new(host::new_folder());
    let formatters = folder.path().join("formatters.d");
    fs::create_dir(&formatters).expect("a folder");
    put(&formatters, "live.wasm", &version(1));
    let host = Host::with(|options| options.folder(&folder)).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    admin.webhook(&destination.url("/"), json!({"format": "live"})).await;
    // Traps on events of more than 4 KiB; no sample is that large.
    let code =
        "(if (i32.gt_u (i32.load offset=28 (local.get 0)) (i32.const 12288)) (then (unreachable))) (i32.const 528)";
    put(&formatters, "live.wasm", &Handmade::new("live", "1.2.0", "version 2").format(code).build());
    until(&admin, "the second version", |listed| has(listed, "live.wasm", "ready", Some("1.2.0"))).await;
    let id = admin.event(&events::finding(&"x".repeat(20_000), "low")).await;
    assert_eq!(admin.settled(&id).await[0]["status"], "delivered");
    assert_eq!(destination.wait_for(1).await[0].text(), "version 1");
    let rolled_back = |listed: &[Value]| {
        has(listed, "live.wasm", "ready", Some("1.1.0"))
            && listed.iter().any(|formatter| formatter["code"] == "rolled_back")
    };
    until(&admin, "the way back", rolled_back).await;
    let host = host.restart().await;
    let admin = host.admin();
    until(&admin, "the way back, after a restart", rolled_back).await;
    put(&formatters, "live.wasm", &version(3));
    let listed = until(&admin, "the third version", |listed| has(listed, "live.wasm", "ready", Some("1.3.0"))).await;
    assert!(!has(&listed, "live.wasm", "rejected", None), "{listed:?}");
}
