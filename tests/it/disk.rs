//! Disks that are full, broken, removed or in use: nothing acknowledged with 202 is lost, and no failed write is
//! acknowledged.
//!
//! Tests that need root mount a file system in their own namespace; the one with failing syncs needs `strace`.
//! They run with `--ignored`, as in `.ci/run`, which installs the tools.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::host::{binary, new_folder};
use crate::support::{Answer, Client, Destination, Host, PATIENCE, events, eventually, isolated};

/// An event of 64 KiB.
fn large() -> Value {
    let mut event = events::finding("large", "");
    event["data"]["finding"]["description"] = json!("x".repeat(64 * 1024));
    event
}

fn id(event: &Value) -> String {
    event["id"].as_str().expect("an id").to_owned()
}

/// Asserts that the event was rejected because of the host's disk.
#[track_caller]
fn assert_no_room(response: &Answer) {
    match response.status() {
        507 => response.problem(507, "disk_full"),
        _ => response.problem(503, "unavailable"),
    };
    let seconds: u64 = response.header("retry-after").parse().unwrap_or_else(|_| panic!("no Retry-After: {response}"));
    assert!(seconds > 0, "{response}");
}

/// Posts an event. A host with a failing disk must respond too.
async fn post(admin: &Client, event: &Value) -> Answer {
    let response = tokio::time::timeout(PATIENCE, admin.post("/events", event)).await;
    response.unwrap_or_else(|_| panic!("no response for {PATIENCE:?}: the host hangs"))
}

/// Posts events until one is rejected; returns the ids of the accepted ones, and the rejected one with its response.
async fn post_until_rejected(admin: &Client, most: usize, event: impl Fn() -> Value) -> (Vec<String>, String, Answer) {
    let mut accepted = Vec::new();
    for _ in 0..most {
        let event = event();
        let response = post(admin, &event).await;
        if response.status() != 202 {
            return (accepted, id(&event), response);
        }
        accepted.push(id(&event));
    }
    panic!("all of {most} events were accepted");
}

async fn ready(host: &Host) -> bool {
    let anyone = host.visitor().outside();
    let response = tokio::time::timeout(PATIENCE, anyone.get("/readyz")).await;
    response.unwrap_or_else(|_| panic!("no response for {PATIENCE:?}: the host hangs")).status() == 200
}

/// Waits until readiness is false, and asserts that the response names the cause.
async fn not_ready(host: &Host) {
    let anyone = host.visitor().outside();
    let response = eventually("readiness to turn false", async || {
        Some(anyone.get("/readyz").await).filter(|response| response.status() != 200)
    })
    .await;
    response.problem(503, "unavailable");
    assert!(response.text().contains("store"), "{response}");
}

async fn assert_kept(admin: &Client, accepted: &[String]) {
    let mut lost = Vec::new();
    for event in accepted {
        let response = admin.get(&format!("/events/{event}")).await;
        if response.status() != 200 {
            lost.push(response.to_string());
        }
    }
    assert!(lost.is_empty(), "{} of {} are lost: {lost:#?}", lost.len(), accepted.len());
}

fn run(words: &[&OsStr]) {
    let status = Command::new(words[0]).args(&words[1..]).status().expect("the program is installed");
    assert!(status.success(), "{words:?}: {status}");
}

fn mount(words: &[&str], at: &Path) {
    let words = ["mount"].iter().chain(words).map(OsStr::new).chain([at.as_os_str()]);
    run(&words.collect::<Vec<_>>());
}

/// Unmounts lazily: at once, or when its last file is closed.
fn unmount(at: &Path) {
    run(&[OsStr::new("umount"), OsStr::new("--lazy"), at.as_os_str()]);
}

/// A host's folder with a file system mounted as its data folder.
fn mounted(words: &[&str]) -> Arc<TempDir> {
    let folder = Arc::new(new_folder());
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    mount(words, &folder.path().join("data"));
    folder
}

/// Writes a file of this size, or until the disk is full.
fn ballast(path: &Path, bytes: usize) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("a file");
    let chunk = vec![1; 4096];
    for _ in 0..bytes / chunk.len() {
        if file.write_all(&chunk).is_err() {
            break;
        }
    }
}

/// Free bytes of the file system.
fn free(folder: &Path) -> usize {
    let output = Command::new("df").args(["--output=avail", "-k"]).arg(folder).output().expect("df runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().nth(1).and_then(|line| line.trim().parse::<usize>().ok()).expect("a number") * 1024
}

/// Two processes never write to one store.
#[tokio::test]
async fn a_second_process_on_the_same_folder_is_rejected() {
    let host = Host::start().await;
    let (code, log) = Host::refused(|options| options.folder(host.folder())).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("is in use by another process") && log.contains("hint: "), "{log}");
    assert!(log.contains(host.data().to_str().expect("a path")), "the message does not name the folder: {log}");
    let output = binary(host.folder().path()).args(["token", "reset-admin", "--data"]).arg(host.data()).output();
    let output = output.expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is in use by another process"));
    // The first host is unaffected.
    host.admin().event(&events::minimal("phase_changed")).await;
    assert!(ready(&host).await);
}

/// Backpressure: events are rejected while the disk is full, and accepted again once there is space.
#[tokio::test]
#[ignore = "needs root: mounts a small file system"]
async fn a_full_disk_loses_nothing_and_service_resumes_when_there_is_space() {
    let Some(_) = isolated::inside() else {
        let name = "disk::a_full_disk_loses_nothing_and_service_resumes_when_there_is_space";
        return isolated::again(name, &["--mount"], "").await;
    };
    const LEFT: usize = 24 * 1024 * 1024;
    let folder = mounted(&["-t", "tmpfs", "-o", "size=64m", "none"]);
    let data = folder.path().join("data");
    let mut host = Host::with(|options| options.folder(&folder)).await;
    let (admin, destination) = (host.admin(), Destination::start().await);
    admin.webhook(&destination.url("/"), json!({})).await;
    let first = admin.event(&events::minimal("phase_changed")).await;
    admin.settled(&first).await;

    ballast(&data.join("ballast"), free(&data).saturating_sub(LEFT));
    let (mut accepted, rejected, response) = post_until_rejected(&admin, 1000, large).await;
    assert_no_room(&response);
    assert_eq!(response.status(), 507, "{response}");
    let (accepted_before, mut rejected) = (accepted.len(), vec![rejected]);
    assert!(accepted_before > 0, "nothing fitted into {LEFT} bytes");
    // No byte is left, which readiness shows between two attempts to reopen; a small event may still fit.
    ballast(&data.join("more ballast"), LEFT);
    let mut unready = 0;
    for number in 0..100 {
        let event = if number % 4 == 0 { events::minimal("phase_changed") } else { large() };
        let response = post(&admin, &event).await;
        if response.status() == 202 {
            accepted.push(id(&event));
        } else {
            assert_no_room(&response);
            rejected.push(id(&event));
        }
        unready += usize::from(!ready(&host).await);
    }
    println!(
        "{accepted_before} events fitted; of 100 more {} did, {unready} times the host was not ready",
        accepted.len() - accepted_before
    );
    host.logged("the disk is full").await;

    std::fs::remove_file(data.join("ballast")).expect("removed");
    std::fs::remove_file(data.join("more ballast")).expect("removed");
    let next = events::minimal("phase_changed");
    eventually("an event to be accepted, without a restart", async || {
        (post(&admin, &next).await.status() == 202).then_some(())
    })
    .await;
    accepted.push(id(&next));
    eventually("readiness, without a restart", async || ready(&host).await.then_some(())).await;
    for _ in 0..10 {
        accepted.push(admin.event(&large()).await);
    }
    destination
        .wait_until("everything that was accepted", |received| {
            let arrived: Vec<_> = received.iter().map(|request| id(&request.json())).collect();
            accepted.iter().all(|event| arrived.contains(event))
        })
        .await;
    for _life in 0..2 {
        let admin = host.admin();
        assert_kept(&admin, &accepted).await;
        for event in &rejected {
            admin.get(&format!("/events/{event}")).await.problem(404, "not_found");
        }
        host.kill();
        host = host.start_again().await;
    }
    assert!(unready > 0, "readiness stayed true while the disk was full");
    drop(host);
    unmount(&data);
}

/// A file system that the kernel remounts read-only under a running host, as after disk errors.
#[tokio::test]
#[ignore = "needs root: mounts a file system"]
async fn a_file_system_that_turns_read_only_is_reported_and_loses_no_accepted_event() {
    let Some(outside) = isolated::inside() else {
        let name = "disk::a_file_system_that_turns_read_only_is_reported_and_loses_no_accepted_event";
        return isolated::again(name, &["--mount"], "").await;
    };
    let image = outside.join("image");
    let file = std::fs::File::create(&image).expect("a file");
    file.set_len(256 * 1024 * 1024).expect("a sparse file");
    run(&["mkfs.ext4", "-q", "-F"].map(OsStr::new).into_iter().chain([image.as_os_str()]).collect::<Vec<_>>());
    let image = image.to_str().expect("a path");
    let folder = mounted(&["-o", "loop", image]);
    let data = folder.path().join("data");
    let mut host = Host::with(|options| options.folder(&folder)).await;
    let admin = host.admin();
    let mut accepted = Vec::new();
    for event in events::findings(50) {
        accepted.push(admin.event(&event).await);
    }
    // The same that ext4 does on disk errors, with files open or not.
    mount(&["-o", "remount,abort"], &data);
    let (more, _, response) = post_until_rejected(&admin, 50, || events::minimal("phase_changed")).await;
    assert!(more.is_empty(), "{} were accepted on a read-only file system", more.len());
    assert_eq!(response.status(), 503, "{response}");
    assert_no_room(&response);
    not_ready(&host).await;
    host.logged("the store could not be written and is closed; repair the disk and restart the host").await;
    assert!(host.log().contains("Read-only file system") || host.log().contains("Input/output error"));
    // The host still stops on request.
    host.terminate().await;
    unmount(&data);

    mount(&["-o", "loop", image], &data);
    let mut host = host.start_again().await;
    assert_kept(&host.admin(), &accepted).await;
    host.terminate().await;
    mount(&["-o", "remount,ro"], &data);
    assert_rejected_folder(&folder, &[], "Read-only file system").await;
    mount(&["-o", "remount,rw"], &data);
    let mut host = host.start_again().await;
    assert_kept(&host.admin(), &accepted).await;
    host.terminate().await;

    // Root without the capability to ignore permissions.
    for path in [data.join("store"), data.join("store/db")] {
        let permissions = std::fs::metadata(&path).expect("it is there").permissions();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).expect("changed");
        let under = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"];
        assert_rejected_folder(&folder, &under, "Permission denied").await;
        std::fs::set_permissions(&path, permissions).expect("changed");
    }
    let host = host.start_again().await;
    assert_kept(&host.admin(), &accepted).await;
    drop(host);
    unmount(&data);
}

/// Asserts that a host does not start on this folder, and names the cause.
async fn assert_rejected_folder(folder: &Arc<TempDir>, under: &[&str], why: &str) {
    let under: Vec<String> = under.iter().map(|word| (*word).to_owned()).collect();
    let (code, log) = Host::refused(|options| options.folder(folder).under(under)).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(why) && log.contains("hint: ") && !log.contains("panicked"), "{why}: {log}");
    assert!(log.contains(folder.path().join("data").to_str().expect("a path")), "which folder? {log}");
}

/// Writes to unlinked files are lost, so a host whose store was removed accepts nothing.
#[tokio::test]
async fn a_store_whose_folder_was_removed_accepts_nothing() {
    let mut host = Host::start().await;
    let admin = host.admin();
    admin.event(&events::minimal("phase_changed")).await;
    std::fs::remove_dir_all(host.data().join("store")).expect("removed");
    let (_, _, response) = post_until_rejected(&admin, 200, || events::minimal("phase_changed")).await;
    assert_no_room(&response);
    not_ready(&host).await;
    assert!(host.log().contains("ERROR"), "{}", host.log());
    host.kill();
}

/// The n-th sync (or write) of a thread fails once. A later successful sync would not prove that the data is on disk.
#[tokio::test]
#[ignore = "needs strace"]
async fn a_failed_sync_is_never_acknowledged() {
    let folder = Arc::new(new_folder());
    let mut host = Host::with(|options| options.folder(&folder)).await;
    let token = host.admin().token().to_owned();
    let mut accepted = Vec::new();
    for event in events::findings(20) {
        accepted.push(host.admin().event(&event).await);
    }
    host.kill();
    let mut tally = Vec::new();
    for (call, nth) in [1, 2, 3, 4, 6, 9, 14, 20, 40]
        .map(|nth| ("fdatasync", nth))
        .into_iter()
        .chain([1, 2, 5, 12, 30].map(|nth| ("pwrite64", nth)))
        .chain([1, 2].map(|nth| ("fsync", nth)))
    {
        let inject = format!("inject={call}:error=EIO:when={nth}");
        let trace = format!("trace={call}");
        // -D: the host is this test's child, strace its grandchild.
        let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let strace = strace.map(str::to_owned);
        let started = Host::attempt(|options| options.folder(&folder).under(strace)).await;
        let what = match started {
            // Start-up writes too.
            Err(ended) => {
                assert_eq!(ended.code, Some(1), "{call} {nth}: {}", ended.log);
                assert!(ended.log.contains("hint: "), "{call} {nth}: {}", ended.log);
                "did not start".to_owned()
            }
            Ok(host) => run_with_failing_disk(host, &token, &mut accepted).await,
        };
        tally.push(format!("{call} {nth}: {what}"));
        let mut host =
            Host::attempt(|options| options.folder(&folder)).await.expect("it starts on a disk that is well");
        let admin = host.visitor().with_token(&token);
        assert_kept(&admin, &accepted).await;
        host.kill();
    }
    println!("{}", tally.join("\n"));
    let failed = tally.iter().filter(|line| line.contains("then the store failed")).count();
    assert!(failed >= 3, "too few syncs failed under load: {tally:#?}");
}

/// Posts until a write fails, if any does; asserts that nothing is accepted after it. Returns the outcome.
async fn run_with_failing_disk(mut host: Host, token: &str, accepted: &mut Vec<String>) -> String {
    const EVENTS: usize = 60;
    let admin = host.visitor().with_token(token);
    let mut accepted_count = 0;
    for _ in 0..EVENTS {
        let event = events::minimal("phase_changed");
        let response = admin.post("/events", &event).await;
        if response.status() == 202 {
            accepted.push(id(&event));
            accepted_count += 1;
            continue;
        }
        assert_eq!(response.status(), 503, "{response}");
        assert_no_room(&response);
        not_ready(&host).await;
        for _ in 0..5 {
            let response = admin.post("/events", &events::minimal("phase_changed")).await;
            assert_eq!(response.status(), 503, "the host went on after a failed write: {response}");
        }
        host.logged("repair the disk and restart the host").await;
        host.kill();
        return format!("{accepted_count} accepted, then the store failed");
    }
    host.kill();
    format!("{accepted_count} accepted, nothing failed")
}

#[tokio::test]
#[ignore = "needs strace; a minute"]
async fn a_sync_that_hangs_makes_the_host_unready_until_it_returns() {
    let folder = Arc::new(new_folder());
    // The first sync after the start that an event needs takes 45 s, in microseconds; the others are as ever.
    let mut host = Host::with(|options| options.folder(&folder)).await;
    let token = host.admin().token().to_owned();
    host.terminate().await;
    let inject = "inject=fdatasync:delay_enter=45000000:when=6";
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", inject];
    let host =
        Host::attempt(|options| options.folder(&folder).under(strace.map(str::to_owned))).await.expect("it starts");
    let admin = host.visitor().with_token(&token);
    let anyone = admin.outside();
    crate::support::eventually("the store to be open", async || {
        (anyone.request("GET", "/readyz").try_send().await?.status() == 200).then_some(())
    })
    .await;
    let posting = tokio::spawn({
        let admin = admin.clone();
        async move {
            for _ in 0..20 {
                admin.event(&events::minimal("phase_changed")).await;
            }
        }
    });
    let patience = std::time::Duration::from_secs(120);
    let detail = crate::support::within(patience, "readiness to fail", async || {
        let response = anyone.request("GET", "/readyz").try_send().await?;
        (response.status() == 503).then(|| response.text().to_owned())
    })
    .await;
    assert!(detail.contains("store-writer has not moved for 3"), "{detail}");
    let metrics = anyone.get("/metrics").await.expect(200);
    assert!(metrics.text().contains("heraldry_thread_healthy{thread=\"store-writer\"} 0"), "{metrics}");
    host.logged("does not move").await;
    crate::support::within(patience, "readiness", async || {
        let response = anyone.request("GET", "/readyz").try_send().await?;
        (response.status() == 200).then_some(())
    })
    .await;
    posting.await.expect("every event was accepted in the end");
    host.logged("moves again").await;
}
