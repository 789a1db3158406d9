//! Machines whose clock stands anywhere, jumps while the host runs and between its starts. The clock is that of
//! libfaketime (Debian's package `faketime`), so these run with `--ignored`, as in `.ci/run`, which installs it.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::support::host::{binary, new_folder};
use crate::support::{Client, Destination, Host, Reply, events};

/// Times that a machine may claim, in libfaketime's notation; from each the clock goes on.
const CLAIMS: [&str; 6] = [
    "@1969-12-31 23:59:58",
    "@1970-01-01 00:00:00",
    "@1901-12-13 20:45:51",
    "@2038-01-19 03:14:06",
    "@9999-12-31 23:59:57",
    "-10s",
];

/// The library, from `LIBFAKETIME` or where Debian has it.
#[expect(clippy::disallowed_methods, reason = "a library that is not installed is named by a variable")]
fn library() -> String {
    let named = std::env::var("LIBFAKETIME").ok();
    let machine = std::env::consts::ARCH;
    let known = ["/usr/lib", "/usr/local/lib"]
        .into_iter()
        .flat_map(|lib| [format!("{lib}/{machine}-linux-gnu/faketime"), format!("{lib}/faketime")])
        .map(|folder| format!("{folder}/libfaketimeMT.so.1"));
    named.into_iter().chain(known).find(|path| Path::new(path).is_file()).expect("libfaketime; or set LIBFAKETIME")
}

/// Sets the clock that the host sees from now on.
fn set(file: &Path, claim: &str) {
    // Renamed, so that no half-written time is read.
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, format!("{claim}\n")).expect("written");
    std::fs::rename(&fresh, file).expect("renamed");
}

/// Posts an event that is delivered, one that fails and is tried again, and reads back what the host says of them.
async fn lives(admin: &Client, destination: &Destination) {
    let event = admin.event(&events::minimal("report_ready")).await;
    assert_eq!(admin.settled(&event).await[0]["status"], "delivered");
    destination.next([Reply::status(500)]);
    let event = admin.event(&events::minimal("report_ready")).await;
    let settled = admin.settled(&event).await;
    assert_eq!((&settled[0]["status"], &settled[0]["attempts"]), (&json!("delivered"), &json!(2)));
    let ready = admin.outside().get("/readyz").await.expect(200);
    let date = httpdate(ready.header("date"));
    assert!((1970..=9999).contains(&date), "{ready}");
    admin.new_token("ingest").await;
    let entries = admin.get("/audit").await.expect(200).list();
    assert_eq!(entries[0]["action"], "token.created");
    admin.get("/export").await.expect(200);
    let metrics = admin.outside().get("/metrics").await.expect(200);
    assert!(!metrics.text().contains("heraldry_thread_healthy{thread=\"store-writer\"} 0"), "{metrics}");
    assert!(metrics.text().lines().any(|line| line == "heraldry_store_damaged_records 0"), "{metrics}");
}

/// The year of an HTTP date.
fn httpdate(text: &str) -> u16 {
    text.split(' ').nth(3).and_then(|year| year.parse().ok()).unwrap_or_else(|| panic!("no date: {text:?}"))
}

#[tokio::test]
#[ignore = "needs libfaketime"]
async fn a_host_lives_at_every_time_and_loses_nothing_by_any_jump() {
    let folder = Arc::new(new_folder());
    let clock = folder.path().join("clock");
    let destination = Destination::start().await;
    set(&clock, "+0");
    let (library, file) = (library(), clock.to_str().expect("plain").to_owned());
    let mut host = Host::with(|options| {
        options
            .folder(&folder)
            .retry_every("50ms")
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
    })
    .await;
    let token = host.admin().token().to_owned();
    host.admin().webhook(&destination.url("/"), json!({"event_types": ["report_ready"]})).await;
    let kept = host.admin().event(&events::minimal("report_ready")).await;
    host.admin().settled(&kept).await;
    for start in CLAIMS {
        // While it runs.
        set(&clock, start);
        let admin = host.visitor().with_token(&token);
        lives(&admin, &destination).await;
        // At the start. Before 1970 it is refused, in words: sled cannot be opened then.
        host.terminate().await;
        assert!(!host.log().contains(" ERROR "), "{start}: {}", host.log());
        if start.starts_with("@19") && !start.starts_with("@1970") {
            let mut command = binary(folder.path());
            command.env("LD_PRELOAD", &library).env("FAKETIME", start);
            let refused =
                command.args(["serve", "--listen", "127.0.0.1:0", "--data", "data"]).output().expect("it runs");
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(1), "{said}");
            assert!(said.contains("clock stands before 1970") && said.contains("hint: "), "{said}");
            assert!(!said.contains("panicked"), "{said}");
            set(&clock, "+0");
        }
        host = host.start_again().await;
        let admin = host.visitor().with_token(&token);
        lives(&admin, &destination).await;
        set(&clock, "+0");
        lives(&admin, &destination).await;
        admin.get(&format!("/events/{kept}")).await.expect(200);
    }
    host.terminate().await;
    assert!(!host.log().contains(" ERROR "), "{}", host.log());
}
