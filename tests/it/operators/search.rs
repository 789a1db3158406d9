//! Searches in a terminal, and attempts as they happen.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::Cast;
use crate::support::shell::{FAILED, Shell};
use crate::support::{Host, events, host};

fn names(attempts: &Value, member: &str) -> Vec<String> {
    let attempts = attempts.as_array().expect("a list");
    attempts.iter().map(|attempt| attempt[member].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn deliveries_of_all_webhooks_are_found_from_a_shell() {
    let cast = Cast::start(&[]).await;
    let shell = Shell::at(&cast.host);
    let shown = shell.plain(&["deliveries"]).await.stdout;
    assert_eq!(shown.lines().count(), 1 + 5, "{shown}");
    for words in ["healthy", "dead", "shaky", "delivered", "status: "] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let json = async |arguments: &[&str]| shell.plain(&[arguments, &["--json"]].concat()).await.json();
    let failed = json(&["deliveries", "--failed"]).await;
    assert_eq!(failed.as_array().map(Vec::len), Some(3), "{failed}");
    let dead = json(&["deliveries", "--webhook", "dead", "--class", "status", "--status-code", "503"]).await;
    assert_eq!(names(&dead, "webhook_id"), [cast.tripped.as_str(); 2]);
    let part = &cast.event[cast.event.len() - 12..];
    let event = json(&["deliveries", "--event", part, "--since", "1h"]).await;
    assert_eq!(names(&event, "event_id"), [cast.event.as_str(); 2]);
    let page = shell.plain(&["deliveries", "--limit", "2"]).await;
    assert!(page.stdout.lines().count() == 3 && page.stderr.contains("--before "), "{page}");
    shell.run(&["deliveries", "--class", "slow"]).await.fails_with(FAILED, &["class must be one of"]);
}

#[tokio::test]
async fn events_are_listed_from_a_shell() {
    let cast = Cast::start(&[]).await;
    let shell = Shell::at(&cast.host);
    let mut finding = events::in_engagement(events::finding("SQL injection", "high"), "eng-1");
    finding["data"]["finding"]["id"] = json!("F-0407");
    let found = cast.admin.event(&finding).await;
    let shown = shell.plain(&["event", "list", "--type", "finding_added"]).await.stdout;
    assert!(shown.lines().count() == 2 && shown.contains("finding_added") && shown.contains("eng-1"), "{shown}");
    let shown = shell.plain(&["event", "list", "--type", "phase_changed"]).await.stdout;
    assert!(shown.lines().count() == 3 && shown.matches("1 delivered, 1 failed").count() == 2, "{shown}");
    let listed =
        shell.plain(&["event", "list", "--finding", "F-0407", "--min-severity", "medium", "--json"]).await.json();
    assert_eq!(names(&listed, "id"), [found.as_str()]);
    assert!(listed[0]["data"].is_null());
    let whole = shell.plain(&["event", "list", "--engagement", "eng-1", "--data", "--json"]).await.json();
    assert_eq!(whole[0]["data"]["finding"]["id"], "F-0407");
    let part = &found[found.len() - 12..];
    assert!(shell.plain(&["event", "get", part]).await.stdout.contains("SQL injection"));
}

/// `heraldry tail`, until it is dropped.
struct Tail(std::process::Child);

impl Tail {
    fn start(host: &Host, arguments: &[&str]) -> (Self, BufReader<std::process::ChildStdout>) {
        let mut command = host::binary(host.folder().path());
        command.arg("tail").args(arguments);
        command.env("HERALDRY_URL", host.origin()).env("HERALDRY_TOKEN", host.admin().token());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        (Self(child), lines)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn line(mut lines: BufReader<std::process::ChildStdout>) -> (String, BufReader<std::process::ChildStdout>) {
    let read = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        (line, lines)
    });
    read.await.expect("it ran")
}

#[tokio::test]
async fn tail_prints_attempts_as_they_happen() {
    let cast = Cast::start(&[]).await;
    let (_tail, lines) = Tail::start(&cast.host, &["--webhook", "shaky", "--json"]);
    // What was there already comes first.
    let (first, lines) = line(lines).await;
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!((&first["event_type"], &first["success"]), (&json!("report_ready"), &json!(false)));
    cast.admin.event(&events::minimal("phase_changed")).await;
    let posted = cast.admin.event(&events::minimal("report_ready")).await;
    let (next, _) = line(lines).await;
    let next: Value = serde_json::from_str(&next).expect("JSON");
    assert_eq!(next["event_id"], json!(posted), "of this webhook alone");
}
