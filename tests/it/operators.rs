//! What operators look at: the status, metrics by webhook, events in a terminal.

mod search;

use serde_json::{Value, json};

use crate::support::shell::{FAILED, Shell};
use crate::support::{Client, Destination, Host, Reply, events, eventually};

/// A host with a webhook that delivers, one that the breaker switched off, one that fails, and one that is off.
struct Cast {
    host: Host,
    admin: Client,
    tripped: String,
    event: String,
    _destinations: [Destination; 2],
}

impl Cast {
    async fn start(flags: &[&str]) -> Self {
        let host = Host::with(|options| options.args(["--breaker-threshold", "2"]).args(flags)).await;
        let admin = host.admin();
        let good = Destination::start().await;
        let bad = Destination::always(Reply::full(503, &[], b"canary-excerpt")).await;
        let hook = async |name: &str, destination: &Destination, fields: Value| {
            let mut body = json!({"name": name, "event_types": ["phase_changed"], "retry_count": 0});
            let members = fields.as_object().expect("an object").clone();
            body.as_object_mut().expect("an object").extend(members);
            admin.webhook(&destination.url("/canary-path"), body).await
        };
        hook("healthy", &good, json!({})).await;
        let tripped = hook("dead", &bad, json!({})).await;
        hook("shaky", &bad, json!({"event_types": ["report_ready"]})).await;
        hook("paused", &good, json!({"is_active": false})).await;
        admin.event(&events::minimal("report_ready")).await;
        let mut event = String::new();
        for _ in 0..2 {
            event = admin.event(&events::minimal("phase_changed")).await;
            admin.settled(&event).await;
        }
        eventually("the breaker to open", async || {
            let webhook = admin.get(&format!("/webhooks/{tripped}")).await.expect(200).json();
            (webhook["is_active"] == false).then_some(())
        })
        .await;
        Self { host, admin, tripped, event, _destinations: [good, bad] }
    }
}

#[tokio::test]
async fn the_status_puts_trouble_first_and_says_why() {
    let cast = Cast::start(&[]).await;
    let Cast { host, admin, tripped, .. } = &cast;
    let status = admin.new_token("operator").await.get("/status").await.expect(200);
    assert!(!status.text().contains("canary"), "no address, no response: {status}");
    let status = status.json();
    assert_eq!((&status["host"]["ready"], &status["host"]["not_ready_reason"]), (&json!(true), &json!(null)));
    assert!(status["host"]["disk"]["free_bytes"].as_u64() <= status["host"]["disk"]["total_bytes"].as_u64());
    let totals = &status["totals"];
    assert_eq!(
        [&totals["webhooks_active"], &totals["webhooks_off"], &totals["webhooks_tripped"]],
        [&json!(2), &json!(1), &json!(1)]
    );
    let webhooks = status["webhooks"].as_array().expect("a list");
    let states: Vec<_> = webhooks.iter().map(|webhook| format!("{} {}", webhook["name"], webhook["state"])).collect();
    assert_eq!(states, [r#""dead" "tripped""#, r#""shaky" "failing""#, r#""paused" "off""#, r#""healthy" "active""#]);
    let trouble: Vec<_> = webhooks.iter().map(|webhook| webhook["trouble"] == true).collect();
    assert_eq!(trouble, [true, true, false, false]);
    assert_eq!((&webhooks[0]["id"], &webhooks[0]["url_host"]), (&json!(tripped), &json!("127.0.0.1")));
    assert!(webhooks[0]["disabled_reason"].as_str().is_some_and(|reason| reason.contains("503")), "{}", webhooks[0]);
    let error = webhooks[1]["last_error"].as_str().expect("an error");
    assert!(error.starts_with("status: ") && webhooks[3]["last_error"].is_null(), "{error}");
    let errors: Vec<_> = status["last_errors"].as_array().expect("a list").iter().collect();
    let named: Vec<_> = errors.iter().map(|error| &error["webhook_name"]).collect();
    assert_eq!(named, [&json!("dead"), &json!("shaky")], "the newest first");
    assert_eq!(status["formatters"], json!([]), "none has trouble");
    screen(&Shell::at(host)).await;
}

/// The same in a terminal.
async fn screen(shell: &Shell) {
    let shown = shell.plain(&["status"]).await.stdout;
    let at = |word: &str| shown.find(word).unwrap_or_else(|| panic!("{word}: {shown}"));
    assert!(at("ready") < at("1 tripped") && at("1 tripped") < at("dead"), "{shown}");
    assert!(at("dead") < at("shaky") && at("shaky") < at("healthy") && at("healthy") < at("Last errors"), "{shown}");
    let row = shown.lines().find(|line| line.starts_with("dead")).expect("a row");
    assert!(row.contains("tripped") && row.contains("503"), "whole in a pipe: {row}");
    let status = shell.plain(&["status", "--json"]).await.json();
    assert_eq!(status["totals"]["webhooks_tripped"], 1);
    let pentester = shell.plain(&["token", "create", "--name", "p", "--role", "pentester"]).await;
    let pentester = Shell::new().with("HERALDRY_URL", &shell.url()).with("HERALDRY_TOKEN", pentester.stdout.trim());
    pentester.run(&["status"]).await.fails_with(FAILED, &["403", "admin or operator"]);
}

#[tokio::test]
async fn a_formatter_with_trouble_is_in_the_status() {
    let host = Host::start().await;
    let folder = host.folder().path().join("formatters.d");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("broken.wasm"), b"not a component").expect("a file");
    let admin = host.admin();
    let status = eventually("the file to be seen", async || {
        let status = admin.get("/status").await.expect(200).json();
        (status["formatters"] != json!([])).then_some(status)
    })
    .await;
    let formatter = &status["formatters"][0];
    assert_eq!((&formatter["name"], &formatter["state"]), (&json!("broken"), &json!("rejected")));
    assert!(formatter["reason"].is_string(), "{formatter}");
    let shown = Shell::at(&host).plain(&["status"]).await.stdout;
    assert!(shown.contains("Formatters with trouble") && shown.contains("no webhooks"), "{shown}");
}

#[tokio::test]
async fn metrics_by_webhook_are_bounded_and_name_webhooks_as_they_are_told_to() {
    let cast = Cast::start(&["--metrics-webhooks", "2"]).await;
    let series = async |client: &Client| {
        let text = client.outside().get("/metrics").await.expect(200).text().to_owned();
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("heraldry_webhook_attempts_total{"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let line = |webhook: &str, outcome: &str, count: u32| {
        format!("heraldry_webhook_attempts_total{{webhook=\"{webhook}\",outcome=\"{outcome}\"}} {count}")
    };
    let lines = series(&cast.admin).await;
    assert_eq!(lines.len(), 6, "two webhooks and the others: {lines:#?}");
    let total: u32 = lines.iter().map(|line| line.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)).sum();
    assert_eq!(total, 5, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("dead")), "names name clients: {lines:#?}");

    let cast = Cast::start(&["--metrics-labels", "name"]).await;
    let lines = series(&cast.admin).await;
    for expected in [
        line("healthy", "delivered", 2),
        line("dead", "failed", 2),
        line("shaky", "failed", 1),
        line("paused", "failed", 0),
    ] {
        assert!(lines.contains(&expected), "{expected}: {lines:#?}");
    }
    let text = cast.admin.outside().get("/metrics").await.expect(200).text().to_owned();
    assert!(text.contains("heraldry_webhook_tripped{webhook=\"dead\"} 1"), "{text}");
    assert!(text.contains("heraldry_build_info{version=\"") && text.contains("heraldry_disk_free_bytes "), "{text}");
}

#[tokio::test]
async fn an_event_is_shown_with_its_deliveries() {
    let cast = Cast::start(&[]).await;
    let Cast { host, event, .. } = &cast;
    let shell = Shell::at(host);
    let shown = shell.plain(&["event", "get", event]).await;
    for words in [event.as_str(), "phase_changed", "healthy", "delivered", "dead", "failed", "\"phase\""] {
        assert!(shown.stdout.contains(words), "{words}: {shown}");
    }
    assert!(shown.stderr.contains("heraldry deliveries --event"), "{shown}");
    assert_eq!(shell.plain(&["event", "get", event, "--json"]).await.json()["id"], json!(event));
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    shell.run(&["event", "get", unknown]).await.fails_with(FAILED, &["404"]);
}
