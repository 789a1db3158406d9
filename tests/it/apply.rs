//! `heraldry apply`: webhooks as code; and what makes it harmless to repeat: a PUT of equal values changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::shell::{FAILED, Ran, Shell, USAGE};
use crate::support::{Client, Destination, Host, Reply, events, eventually, host};

/// An address on which nothing listens; a webhook to it can be saved.
const NOWHERE: &str = "http://127.0.0.1:9/";
/// Webhooks of the large file.
const MANY: usize = 200;

/// A file of many webhooks: every fourth is signed and has a header, both from files.
fn many(timeout_of: impl Fn(usize) -> usize, numbers: impl IntoIterator<Item = usize>) -> String {
    let mut text = String::new();
    for number in numbers {
        let timeout = timeout_of(number);
        write!(
            text,
            "[[webhooks]]\nname = \"team-{number:03}\"\nurl = \"{NOWHERE}{number}\"\ntimeout_ms = {timeout}\n"
        )
        .expect("a text");
        if number.is_multiple_of(4) {
            text.push_str("secret = \"file:signing\"\nheaders = { X-Key = \"file:key\", X-Team = \"t\" }\n");
        }
    }
    text
}

/// Everything that a change of a webhook would touch: tags by name, and the entries of the audit log about webhooks.
async fn state(admin: &Client) -> (BTreeMap<String, (String, Value)>, usize) {
    let mut tags = BTreeMap::new();
    for webhook in admin.get("/webhooks").await.expect(200).list() {
        let id = webhook["id"].as_str().expect("an id");
        let response = admin.get(&format!("/webhooks/{id}")).await.expect(200);
        let name = webhook["name"].as_str().expect("a name").to_owned();
        tags.insert(name, (response.header("etag").to_owned(), response.json()["updated_at"].clone()));
    }
    (tags, audited(admin).await)
}

/// The number of entries in the audit log.
async fn audited(admin: &Client) -> usize {
    let newest = admin.get("/audit?limit=1").await.expect(200).list();
    newest.first().map_or(0, |entry| entry["sequence"].as_u64().expect("a number") as usize)
}

/// The names of the webhooks with another tag.
fn changed(before: &BTreeMap<String, (String, Value)>, after: &BTreeMap<String, (String, Value)>) -> Vec<String> {
    before
        .iter()
        .filter(|(name, tag)| after.get(*name).is_some_and(|now| now != *tag))
        .map(|(name, _)| name.clone())
        .collect()
}

fn counts(ran: &Ran) -> [u64; 6] {
    let document = ran.json();
    ["created", "changed", "unchanged", "removed", "failed", "not_done"]
        .map(|name| document[name].as_u64().expect(name))
}

/// Asserts that a text is nowhere in what a command printed.
#[track_caller]
fn hides(ran: &Ran, secrets: &[&str]) {
    for secret in secrets {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret}: {ran}");
    }
}

const SECRETS: [&str; 3] = ["CANARY-signing", "CANARY-key", "CANARY-other"];

#[tokio::test]
async fn two_hundred_webhooks_are_applied_and_applying_again_changes_nothing() {
    let host = Host::start().await;
    let (admin, shell) = (host.admin(), Shell::at(&host));
    shell.file("signing", "CANARY-signing\n");
    shell.file("key", "CANARY-key\n");
    let file = shell.file("webhooks.toml", &many(|_| 5000, 0..MANY));

    let dry = shell.plain(&["apply", &file, "--dry-run"]).await;
    assert!(dry.stdout.contains("+ create team-007\n    url: http://127.0.0.1:9\n"), "{dry}");
    assert!(dry.stdout.ends_with("plan: 200 to create, 0 to change, 0 that may change, 0 to remove, 0 unchanged\n"));
    hides(&dry, &SECRETS);
    assert_eq!(admin.get("/webhooks").await.expect(200).list(), Vec::<Value>::new(), "--dry-run changes nothing");

    let applied = shell.plain(&["apply", &file]).await;
    assert!(applied.stdout.ends_with("applied: 200 created, 0 changed, 0 removed, 0 unchanged\n"), "{applied}");
    hides(&applied, &SECRETS);
    let mut names: Vec<Value> =
        admin.get("/webhooks").await.expect(200).list().iter().map(|webhook| webhook["name"].clone()).collect();
    names.reverse();
    let wanted: Vec<String> = (0..MANY).map(|number| format!("team-{number:03}")).collect();
    assert_eq!(json!(names), json!(wanted), "in the file's order");

    // The same file again: also what is not shown is compared, and equal.
    let before = state(&admin).await;
    let again = shell.plain(&["apply", &file, "--json"]).await;
    assert_eq!(counts(&again), [0, 0, 200, 0, 0, 0]);
    hides(&again, &SECRETS);
    assert_eq!(state(&admin).await, before, "applying twice changes nothing");

    // Another secret: a dry run can only say that it may change; the run changes those that have it.
    shell.file("key", "CANARY-other\n");
    let dry = shell.plain(&["apply", &file, "--dry-run"]).await;
    assert!(dry.stdout.contains("? may change team-000\n    secret: may change (write-only"), "{dry}");
    assert!(dry.stdout.ends_with("plan: 0 to create, 0 to change, 50 that may change, 0 to remove, 150 unchanged\n"));
    let ran = shell.plain(&["apply", &file, "--json"]).await;
    assert_eq!(counts(&ran), [0, 50, 150, 0, 0, 0]);
    hides(&ran, &SECRETS);
    let after = state(&admin).await;
    assert_eq!(changed(&before.0, &after.0).len(), 50);
    assert_eq!(after.1, before.1 + 50, "an entry in the audit log for each change");
}

#[tokio::test]
async fn the_plan_names_each_field_and_removes_only_when_asked_to() {
    let host = Host::start().await;
    let (admin, shell) = (host.admin(), Shell::at(&host));
    shell.file("signing", "CANARY-signing");
    shell.file("key", "CANARY-key");
    let file = shell.file("webhooks.toml", &many(|_| 5000, 0..20));
    shell.plain(&["apply", &file]).await;
    let before = state(&admin).await;

    // Number 3 has another timeout, number 21 is new, the first two are gone from the file.
    let text = many(|number| if number == 3 { 9000 } else { 5000 }, (2..20).chain([21]));
    let file = shell.file("webhooks.toml", &text);
    let dry = shell.plain(&["apply", &file, "--dry-run"]).await;
    assert!(dry.stdout.contains("~ change team-003\n    timeout_ms: 5000 → 9000\n? may change team-004"), "{dry}");
    assert!(dry.stdout.contains("+ create team-021\n"), "{dry}");
    assert!(dry.stderr.contains("not in the file, and stay without --prune: team-000, team-001"), "{dry}");
    let ran = shell.plain(&["apply", &file, "--json"]).await;
    assert_eq!(counts(&ran), [1, 1, 17, 0, 0, 0]);
    let document = ran.json();
    assert_eq!(document["not_in_file"], json!(["team-000", "team-001"]));
    let third = document["webhooks"].as_array().expect("a list").iter().find(|one| one["name"] == "team-003");
    let third = third.expect("a webhook");
    assert_eq!(third["changes"], json!([{"field": "timeout_ms", "from": 5000, "to": 9000}]));
    assert_eq!((&third["action"], &third["result"]), (&json!("change"), &json!("changed")));
    let after = state(&admin).await;
    assert_eq!(changed(&before.0, &after.0), ["team-003"]);

    // Nobody can be asked in a pipe.
    let dry = shell.plain(&["apply", &file, "--prune", "--dry-run"]).await;
    assert!(dry.stdout.contains("- remove team-000\n- remove team-001\nplan: "), "{dry}");
    assert_eq!(state(&admin).await, after);
    let ran = shell.plain(&["apply", &file, "--prune"]).await;
    assert!(
        ran.stdout
            .ends_with("removed team-000\nremoved team-001\napplied: 0 created, 0 changed, 2 removed, 19 unchanged\n")
    );
    let left = state(&admin).await.0;
    assert_eq!(
        left.keys().cloned().collect::<Vec<_>>(),
        (2..20).chain([21]).map(|n| format!("team-{n:03}")).collect::<Vec<_>>()
    );
    assert_eq!(changed(&after.0, &left), Vec::<String>::new());
    // Without --prune there is nothing to ask about.
    let ran = shell.plain(&["apply", &file, "--yes"]).await;
    assert!(
        ran.stdout.contains("0 removed, 19 unchanged") || ran.stdout.contains("0 to remove, 19 unchanged"),
        "{ran}"
    );
    assert_eq!(state(&admin).await.0, left);
}

#[tokio::test]
async fn a_run_that_was_killed_is_completed_by_the_next() {
    let host = Host::start().await;
    let (admin, shell) = (host.admin(), Shell::at(&host));
    shell.file("signing", "CANARY-signing");
    shell.file("key", "CANARY-key");
    let file = shell.file("webhooks.toml", &many(|_| 5000, 0..MANY));
    let mut command = host::binary(shell.folder.path());
    command.args(["apply", &file, "--server", host.origin(), "--token", admin.token()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let killed = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("the binary starts");
        let mut output = child.stdout.take().expect("a pipe");
        // SAFETY: no memory is involved. The pipe holds some seventy lines, so that the command waits for its reader long
        // before it is done.
        let size = unsafe { libc::fcntl(output.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
        assert!((1..=4096).contains(&size), "{size}");
        let (mut text, mut byte) = (Vec::new(), [0]);
        while String::from_utf8_lossy(&text).matches("created team-").count() < 20 {
            assert_eq!(output.read(&mut byte).expect("output"), 1, "it ended by itself");
            text.push(byte[0]);
        }
        child.kill().expect("the signal is sent");
        child.wait().expect("it ends");
    });
    killed.await.expect("it ran");
    let (half, _) = state(&admin).await;
    assert!((20..MANY).contains(&half.len()), "{}", half.len());

    let ran = shell.plain(&["apply", &file, "--json"]).await;
    let there = half.len() as u64;
    assert_eq!(counts(&ran), [MANY as u64 - there, 0, there, 0, 0, 0]);
    let (whole, _) = state(&admin).await;
    assert_eq!((whole.len(), changed(&half, &whole)), (MANY, Vec::new()));
}

#[tokio::test]
async fn a_webhook_that_the_host_rejects_stops_no_other_and_is_named() {
    let host = Host::start().await;
    let (admin, shell) = (host.admin(), Shell::at(&host).with("HOOK", "http://10.1.2.3/CANARY-path"));
    admin.webhook(NOWHERE, json!({"name": "old"})).await;
    let text = |url: &str| {
        format!(
            "[[webhooks]]\nname = \"a\"\nurl = \"{NOWHERE}\"\n[[webhooks]]\nname = \"b\"\nurl = \"{url}\"\n\
             [[webhooks]]\nname = \"c\"\nurl = \"{NOWHERE}\"\n"
        )
    };
    // The guard of the host denies the address of the second; that it is a secret keeps even its host out of the error.
    let file = shell.file("webhooks.toml", &text("env:HOOK"));
    let ran = shell.run(&["apply", &file, "--prune", "--yes"]).await.expect(FAILED);
    assert!(ran.stderr.contains("failed: b: ") && ran.stderr.contains("line 6: /url: the value of env:HOOK"), "{ran}");
    assert!(ran.stderr.contains("not done: old") && ran.stderr.contains("again completes it"), "{ran}");
    assert!(
        ran.stdout.ends_with("applied: 2 created, 0 changed, 0 removed, 0 unchanged, 1 failed, 1 not done\n"),
        "{ran}"
    );
    hides(&ran, &["CANARY", "10.1.2.3"]);
    let ran = shell.run(&["apply", &file, "--prune", "--json"]).await.expect(FAILED);
    assert_eq!(counts(&ran), [0, 0, 2, 0, 1, 1]);
    hides(&ran, &["CANARY", "10.1.2.3"]);
    let file = shell.file("webhooks.toml", &text(NOWHERE));
    assert_eq!(counts(&shell.plain(&["apply", &file, "--prune", "--json"]).await), [1, 0, 2, 1, 0, 0]);
    assert_eq!(state(&admin).await.0.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_caller_without_the_right_or_a_host_does_nothing() {
    let host = Host::start().await;
    let (admin, shell) = (host.admin(), Shell::at(&host));
    let file = shell.file("webhooks.json", &json!({"webhooks": [{"name": "a", "url": NOWHERE}]}).to_string());
    admin.webhook(NOWHERE, json!({"name": "there"})).await;
    for (role, words) in
        [("operator", "needs an admin token"), ("pentester", "needs an admin token"), ("ingest", "403")]
    {
        let token = admin.new_token(role).await;
        let ran = shell_with_token(&host, token.token()).run(&["apply", &file]).await;
        ran.fails_with(FAILED, &[words]);
    }
    let nowhere = Shell::at(&host).with("HERALDRY_URL", "http://127.0.0.1:9");
    nowhere.run(&["apply", &file]).await.fails_with(FAILED, &["127.0.0.1:9"]);
    // A dry run is for whoever sees all fields, also of webhooks that do not exist yet.
    assert_eq!(admin.get("/webhooks").await.expect(200).list().len(), 1);
}

fn shell_with_token(host: &Host, token: &str) -> Shell {
    Shell::at(host).with("HERALDRY_TOKEN", token)
}

#[tokio::test]
async fn an_invalid_file_is_rejected_with_every_line_before_anything_is_done() {
    let host = Host::start().await;
    let (admin, shell) = (host.admin(), Shell::at(&host));
    let good = format!("[[webhooks]]\nname = \"good\"\nurl = \"{NOWHERE}\"\n");
    std::fs::create_dir(shell.folder.path().join("below")).expect("a folder");
    shell.file("outside.txt", "CANARY");
    for (more, words) in [
        ("timeout = 3", &["line 4: webhook `good`: /timeout: is not known here"][..]),
        ("timeout_ms = 3\nretry_count = 99", &["line 4: ", "/timeout_ms: must be from", "line 5: ", "/retry_count: "]),
        ("format = \"no-such\"", &["/format: the host has no format of this name; it has ", "slack"]),
        ("id = \"1\"", &["line 4: ", "/id: is set by the host"]),
        ("generate_secret = true", &["/generate_secret: cannot be used here"]),
        (
            "[[webhooks]]\nname = \"good\"\nurl = \"http://a/\"",
            &["line 5: the name `good` is that of another webhook, on line 1"],
        ),
        ("[[webhooks]]\nurl = \"http://a/\"", &["line 4: a webhook needs a `name`"]),
        ("[other]", &["line 4: `other` is not known here"]),
        ("secret = \"CANARY\" x", &["line 4: "]),
        ("secret = \"env:HERALDRY_TOKEN\"", &["/secret: env:HERALDRY_TOKEN is a variable of Heraldry itself"]),
        ("secret = \"env:NO_SUCH_VARIABLE\"", &["/secret: env:NO_SUCH_VARIABLE is not set"]),
        ("secret = \"file:../outside.txt\"", &["/secret: file:../outside.txt is outside the folders"]),
        ("secret = \"file:/etc/passwd\"", &["/secret: file:/etc/passwd is outside the folders"]),
        ("secret = \"file:missing\"", &["/secret: file:missing does not exist"]),
        ("format = \"env:PATH\"", &["/format: env: and file: are read only in secret, url"]),
        (
            "format = \"slack\"\nformat_options = { compact = \"env:PATH\" }",
            &["/format_options/compact: env: and file: are"],
        ),
    ] {
        let file = shell.file("below/webhooks.toml", &format!("{good}{more}\n"));
        let ran = shell.run(&["apply", &file, "--prune", "--yes"]).await.fails_with(USAGE, words);
        hides(&ran, &["CANARY", admin.token(), "root:"]);
        assert!(ran.stderr.contains("webhooks.toml line ") && ran.stderr.contains("nothing was done"), "{ran}");
    }
    shell.run(&["apply", "no-such-file.toml"]).await.fails_with(FAILED, &["no-such-file.toml"]);
    let file = shell.file("webhooks.toml", &good);
    shell.run(&["apply", &file, "--secrets-dir", "no-such-folder"]).await.fails_with(USAGE, &["--secrets-dir"]);
    assert_eq!(admin.get("/webhooks").await.expect(200).list(), Vec::<Value>::new());

    // Of a name that two webhooks of the host have, nobody knows which one is meant.
    let ids =
        [admin.webhook(NOWHERE, json!({"name": "good"})).await, admin.webhook(NOWHERE, json!({"name": "good"})).await];
    let before = state(&admin).await;
    let words = ["several webhooks of a name", "good: ", &ids[0], &ids[1]];
    let file = shell.file("webhooks.toml", &format!("[[webhooks]]\nname = \"first\"\nurl = \"{NOWHERE}\"\n{good}"));
    shell.run(&["apply", &file]).await.fails_with(FAILED, &words);
    assert_eq!(state(&admin).await, before);
}

#[tokio::test]
async fn secrets_come_from_variables_and_files_and_are_used() {
    let host = Host::start().await;
    let destination = Destination::start().await;
    let shell = Shell::at(&host).with("HOOK", &destination.url("/CANARY-path")).with("KEY", "CANARY-header");
    let others = tempfile::tempdir().expect("a folder");
    std::fs::write(others.path().join("signing"), "CANARY-signing\n").expect("a file");
    let text = "[[webhooks]]\nname = \"a\"\nurl = \"env:HOOK\"\nsecret = \"file:signing\"\n\
        headers = { X-Key = \"env:KEY\" }\nevent_types = [\"*\"]\n";
    let file = shell.file("webhooks.toml", text);
    let secrets_dir = others.path().to_str().expect("a path");
    shell.run(&["apply", &file]).await.fails_with(USAGE, &["file:signing does not exist"]);
    for expected in [[1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]] {
        let ran = shell.plain(&["apply", &file, "--secrets-dir", secrets_dir, "--json"]).await;
        assert_eq!(counts(&ran), expected);
        hides(&ran, &["CANARY"]);
    }
    host.admin().event(&events::minimal("report_ready")).await;
    let received = destination.wait_for(1).await.remove(0);
    assert_eq!((received.path.as_str(), received.header("x-key")), ("/CANARY-path", "CANARY-header"));
    assert!(received.is_signed_with("CANARY-signing"));

    // Another address of the same variable: the plan says so without the address.
    let moved = shell.with("HOOK", &destination.url("/CANARY-moved"));
    let ran = moved.plain(&["apply", &file, "--secrets-dir", secrets_dir]).await;
    assert!(ran.stdout.contains("~ change a\n    url: another one, of env:HOOK\n"), "{ran}");
    hides(&ran, &["CANARY", "127.0.0.1"]);

    // A credential as text in the file is used, with a warning.
    let file = moved.file("webhooks.toml", &text.replace("file:signing", "CANARY-text"));
    let ran = moved.plain(&["apply", &file, "--dry-run"]).await;
    assert!(ran.stderr.contains("line 4: webhook `a`: /secret: a credential stands in the file as text"), "{ran}");
    hides(&ran, &["CANARY"]);
}

#[tokio::test]
async fn the_circuit_breakers_work_is_left_alone_unless_the_file_says_otherwise() {
    let host = Host::start().await;
    let (admin, shell) = (host.admin(), Shell::at(&host));
    let destination = Destination::always(Reply::status(410)).await;
    let text = format!("[[webhooks]]\nname = \"a\"\nurl = \"{}\"\nevent_types = [\"*\"]\n", destination.url("/"));
    let file = shell.file("webhooks.toml", &text);
    shell.plain(&["apply", &file]).await;
    admin.event(&events::minimal("report_ready")).await;
    let is_off = async || {
        let webhooks = admin.get("/webhooks").await.expect(200).list();
        (webhooks[0]["is_active"] == false).then(|| webhooks[0].clone())
    };
    eventually("the 410 to switch it off", is_off).await;
    let ran = shell.plain(&["apply", &file]).await;
    assert!(ran.stderr.contains("a stays off: the host switched it off (") && ran.stderr.contains("410"), "{ran}");
    assert!(ran.stdout.ends_with("applied: 0 created, 0 changed, 0 removed, 1 unchanged\n"), "{ran}");
    let changed = shell.file("webhooks.toml", &format!("{text}retry_count = 1\n"));
    assert_eq!(counts(&shell.plain(&["apply", &changed, "--json"]).await), [0, 1, 0, 0, 0, 0]);
    let webhook = is_off().await.expect("it is still off");
    assert_eq!((&webhook["retry_count"], webhook["disabled_reason"].is_string()), (&json!(1), true));
    let on = shell.file("webhooks.toml", &format!("{text}retry_count = 1\nis_active = true\n"));
    let ran = shell.plain(&["apply", &on]).await;
    assert!(ran.stdout.contains("    is_active: off by the host → on\n"), "{ran}");
    assert_eq!(is_off().await, None);
    assert_eq!(counts(&shell.plain(&["apply", &on, "--json"]).await), [0, 0, 1, 0, 0, 0]);
}

#[tokio::test]
async fn the_example_of_the_deployment_files_can_be_applied() {
    let host = Host::start().await;
    let shell = Shell::at(&host).with("SLACK_URL", NOWHERE).with("OPERATORS_URL", NOWHERE);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/webhooks.toml");
    let file = shell.file("webhooks.toml", &std::fs::read_to_string(example).expect("the example"));
    std::fs::create_dir(shell.folder.path().join("secrets")).expect("a folder");
    shell.file("secrets/splunk-authorization", "Splunk 0-1\n");
    shell.file("secrets/ticket-signing-secret", "whsec_c2VjcmV0\n");
    for expected in [[4, 0, 0, 0, 0, 0], [0, 0, 4, 0, 0, 0]] {
        let ran = shell.plain(&["apply", &file, "--json"]).await;
        assert_eq!(counts(&ran), expected, "{ran}");
        assert!(ran.stderr.is_empty(), "{ran}");
    }
}

#[tokio::test]
async fn a_put_of_equal_values_changes_nothing() {
    let host = Host::start().await;
    let admin = host.admin();
    let whole = json!({
        "name": "whole", "url": "HTTP://127.0.0.1:9", "secret": "a secret", "event_types": ["report_ready", "report_ready"],
        "format": "slack", "format_options": {"compact": true, "mentions": {"critical": ["here"]}},
        "headers": {"X-One": "1", "X-Two": "2"}, "filter": {"min_severity": "HIGH"}, "critical_once": true,
        "order": "severity", "rate_limit": {"count": 1, "per_seconds": 1}, "retry_count": 7, "timeout_ms": 7000,
        "is_active": true,
    });
    let created = admin.post("/webhooks", &whole).await.expect(201);
    let path = format!("/webhooks/{}", created.json()["id"].as_str().expect("an id"));
    let (tag, shown, entries) = (created.header("etag").to_owned(), created.json(), audited(&admin).await);
    let put_text =
        async |text: &str| admin.request("PUT", &path).body("application/json", text.to_owned()).send().await;
    let reordered = r#"{"headers": {"X-Two": "2", "X-One": "1"},
        "format_options": {"mentions": {"critical": ["here"]}, "compact": true}, "url": "http://127.0.0.1:9/"}"#;
    for body in [&whole.to_string(), reordered, "{}", r#"{"is_active": true}"#, r#"{"secret": "a secret"}"#] {
        let response = put_text(body).await.expect(200);
        assert_eq!((response.header("etag"), response.json()), (tag.as_str(), shown.clone()), "{body}");
        assert_eq!(audited(&admin).await, entries, "{body}");
    }
    // Any other value, also one that is never shown, is a change.
    let mut last = tag;
    for body in [
        r#"{"secret": "another"}"#,
        r#"{"headers": {"X-One": "1", "X-Two": "3"}}"#,
        r#"{"headers": {"X-One": "1"}}"#,
        r#"{"format_options": {"compact": false}}"#,
        r#"{"is_active": false}"#,
        r#"{"is_active": true}"#,
    ] {
        let response = put_text(body).await.expect(200);
        assert_ne!(response.header("etag"), last, "{body}");
        response.header("etag").clone_into(&mut last);
    }
    assert_eq!(audited(&admin).await, entries + 6);
}

#[tokio::test]
async fn samples_are_sent_by_their_type() {
    let host = Host::start().await;
    let shell = Shell::at(&host);
    let destination = Destination::start().await;
    host.admin().webhook(&destination.url("/"), json!({})).await;
    let ran = shell.plain(&["send", "--sample", "report_ready"]).await;
    assert!(ran.stdout.starts_with("accepted 1 event: 1 delivery queued"), "{ran}");
    assert!(ran.stderr.starts_with("posted the sample of report_ready in the engagement "), "{ran}");
    let received = destination.wait_for(1).await.remove(0).json();
    let id = received["id"].as_str().expect("an id");
    assert!(ran.stderr.trim_end().ends_with(id) && received["type"] == "report_ready", "{ran}");
    assert!(received["engagement"]["id"].is_string(), "{received}");
    // Twice is two events; several types are posted in their order.
    let ran = shell.plain(&["send", "--sample", "report_ready", "--sample", "phase_changed", "--json"]).await;
    assert_eq!(ran.json()["accepted"], 2);
    destination.wait_for(3).await;
    for (arguments, words) in [
        (&["send", "--sample", "webhook_disabled"][..], &["made by the host itself", "webhook test"][..]),
        (&["send", "--sample", "report_redy"], &["did you mean report_ready?"]),
        (&["send", "--sample", "*"], &["no event type `*`", "report_ready"]),
        (&["send", "--sample", "report_ready", "events.jsonl"], &["cannot be used with"]),
    ] {
        let ran = shell.run(arguments).await.expect(USAGE);
        assert!(words.iter().all(|words| ran.stderr.contains(words)), "{ran}");
    }
}
