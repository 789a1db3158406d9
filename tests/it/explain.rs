//! Why an event went where it went: `explain`, dry runs and previews of filters, over HTTP and as commands.

use serde_json::{Value, json};

use crate::support::shell::{FAILED, Shell};
use crate::support::{Client, Destination, Host, Reply, events, eventually};

/// What `explain` says of a webhook: if a delivery was made, and why.
async fn told(client: &Client, event: &str, webhook: &str) -> (bool, String) {
    let lines = client.get(&format!("/events/{event}/explain")).await.expect(200).list();
    let line = lines.iter().find(|line| line["webhook_id"] == webhook).expect("a line for every webhook");
    assert_eq!(line["matched"] == true, line["delivery_id"].is_string(), "{line}");
    (line["matched"] == true, line["reason"].as_str().expect("a reason").to_owned())
}

#[tokio::test]
async fn a_critical_finding_comes_once_and_explain_says_which_event_it_was() {
    let host = Host::start().await;
    let admin = host.admin();
    let (once, twice) = (Destination::start().await, Destination::start().await);
    let hook = admin.webhook(&once.url("/"), json!({"name": "on call", "critical_once": true})).await;
    admin.webhook(&twice.url("/"), json!({"name": "siem"})).await;

    let posted = admin.post("/events", &events::finding("remote code execution", "critical")).await.expect(202).json();
    assert_eq!(posted["deliveries"], 3, "two of one webhook, one of the other");
    let (id, derived) = (posted["id"].as_str().expect("an id"), posted["derived"][0].as_str().expect("an id"));
    admin.settled(id).await;
    admin.settled(derived).await;
    let types = |destination: &Destination| {
        let mut types: Vec<String> = destination
            .received()
            .iter()
            .map(|request| request.json()["type"].as_str().expect("a type").to_owned())
            .collect();
        types.sort();
        types
    };
    assert_eq!(types(&once), ["critical_finding"]);
    assert_eq!(types(&twice), ["critical_finding", "finding_added"]);

    let reason = format!("critical_once: the critical_finding derived from it goes instead ({derived})");
    assert_eq!(told(&admin, id, &hook).await, (false, reason));
    assert_eq!(told(&admin, derived, &hook).await, (true, "a delivery was made; its status is delivered".to_owned()));
    // One that would be the only one is made.
    let high = admin.event(&events::finding("weak cipher", "high")).await;
    assert!(told(&admin, &high, &hook).await.0);
    admin.put(&format!("/webhooks/{hook}"), &json!({"event_types": ["finding_added"]})).await.expect(200);
    let alone = admin.event(&events::finding("another", "critical")).await;
    assert!(told(&admin, &alone, &hook).await.0);
    let direct = json!({"type": "critical_finding", "data": {"finding": {"title": "x"}}});
    let direct = admin.event(&direct).await;
    let reason = "not subscribed: critical_finding is not one of finding_added".to_owned();
    assert_eq!(told(&admin, &direct, &hook).await, (false, reason));
}

#[tokio::test]
async fn explain_knows_what_was_held_cancelled_and_told_of_the_host() {
    let host = Host::with(|options| options.args(["--breaker-threshold", "1", "--breaker-probe", "off"])).await;
    let admin = host.admin();
    let bad = Destination::always(Reply::status(500)).await;
    let body = |name: &str, types: &[&str]| json!({"name": name, "event_types": types, "retry_count": 0});
    let dead = admin.webhook(&bad.url("/"), body("dead", &["phase_changed", "webhook_disabled"])).await;
    let ops = Destination::start().await;
    let ops_hook = admin.webhook(&ops.url("/"), body("ops", &["webhook_disabled"])).await;
    let failed = admin.event(&events::minimal("phase_changed")).await;
    admin.settled(&failed).await;
    // For a moment it is held: the webhook is off, and the outcome not yet on the disk.
    let has_failed = (true, "a delivery was made; its status is failed".to_owned());
    eventually("the delivery to have failed", async || {
        (told(&admin, &failed, &dead).await == has_failed).then_some(())
    })
    .await;
    ops.wait_for(1).await;

    let dry = admin.post("/events?dry_run=true", &events::minimal("phase_changed")).await.expect(200).list();
    let line = dry.iter().find(|line| line["webhook_id"] == dead.as_str()).expect("a line");
    assert_eq!((&line["matched"], line["reason"].as_str().expect("words").contains("held")), (&json!(true), true));
    let held = admin.event(&events::minimal("phase_changed")).await;
    assert_eq!(told(&admin, &held, &dead).await, (true, "a delivery was made; its status is held".to_owned()));

    let listed = admin.get("/events?type=webhook_disabled").await.expect(200).list();
    let disabled = listed[0]["id"].as_str().expect("an id");
    assert!(told(&admin, disabled, &ops_hook).await.0);
    let itself = "the event is about this webhook, and a webhook gets no event about itself".to_owned();
    assert_eq!(told(&admin, disabled, &dead).await, (false, itself));

    admin.delete(&format!("/webhooks/{dead}")).await.expect(204);
    let lines = admin.get(&format!("/events/{held}/explain")).await.expect(200).list();
    assert_eq!(lines.len(), 1, "a webhook that is gone has no line: {lines:?}");
}

#[tokio::test]
async fn commands_say_who_would_get_an_event_and_who_got_it() {
    let host = Host::start().await;
    let (admin, shell) = (host.admin(), Shell::at(&host));
    let destination = Destination::start().await;
    let ran = shell.plain(&["send", "--dry-run"]).await;
    assert!(ran.stdout.contains("0 events would make 0 deliveries"), "{ran}");
    let severe = json!({"name": "on call", "filter": {"min_severity": "high"}, "critical_once": true});
    admin.webhook(&destination.url("/"), severe).await;
    admin.webhook(&destination.url("/"), json!({"name": "siem"})).await;

    let bad = r#"{"type":"finding_added","data":{"finding":{"title":"","severity":"dire"}}}"#;
    let lines =
        [events::finding("a", "medium").to_string(), bad.to_owned(), events::finding("b", "critical").to_string()];
    let file = shell.file("scan.jsonl", &lines.join("\n"));
    let ran = shell.run(&["send", "--dry-run", &file]).await.expect(FAILED);
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("/data/finding/title"), "{ran}");
    let has = |words: &[&str]| ran.stdout.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["1", "posted", "on call", "no", "severity medium is below high"]), "{ran}");
    assert!(has(&["1", "posted", "siem", "yes", "a delivery would be made"]), "{ran}");
    assert!(has(&["3", "posted", "on call", "no", "critical_once: the critical_finding"]), "{ran}");
    assert!(has(&["3", "derived critical_finding", "on call", "yes"]), "{ran}");
    assert!(ran.stdout.contains("2 events would make 4 deliveries; rejected 1; nothing was sent"), "{ran}");
    let dry = shell.run(&["send", "--dry-run", "--json", &file]).await.expect(FAILED).json();
    assert_eq!((&dry["events"][1]["line"], &dry["refused"][0]["line"]), (&json!(3), &json!(2)), "{dry}");
    assert_eq!(dry["events"][1]["webhooks"][1]["derived"][0]["matched"], true, "{dry}");

    let ingest = admin.new_token("ingest").await;
    let sender = Shell::at(&host).with("HERALDRY_TOKEN", ingest.token());
    let ran = sender.pipe(&["send", "--dry-run"], &lines[2]).await.expect(0);
    assert!(ran.stdout.contains("critical_finding") && !ran.stdout.contains("siem"), "{ran}");
    assert!(ran.stdout.contains("1 event would make 3 deliveries"), "{ran}");
    assert_eq!(admin.get("/events").await.expect(200).json(), json!([]), "nothing was sent");

    let sent = shell.run(&["send", "--json", &file]).await.expect(FAILED).json();
    assert_eq!((&sent["accepted"], &sent["deliveries"]), (&json!(2), &json!(4)), "as the dry run said: {sent}");
    let listed = admin.get("/events?type=finding_added&min_severity=critical").await.expect(200).list();
    let id = listed[0]["id"].as_str().expect("an id");
    let ran = shell.plain(&["event", "explain", &id[id.len() - 8..]]).await;
    let places: Vec<usize> = ["siem", "on call"].map(|name| ran.stdout.find(name).expect("a row")).to_vec();
    assert!(places.is_sorted() && ran.stdout.contains("critical_once: "), "who got it comes first: {ran}");
    assert!(ran.stdout.contains("went to 1 of 2 webhooks"), "{ran}");
    let json = shell.plain(&["event", "explain", "--json", id]).await.json();
    assert_eq!(json, admin.get(&format!("/events/{id}/explain")).await.expect(200).json());
    shell.run(&["event", "explain", &events::new_id()]).await.fails_with(FAILED, &["404"]);
}

#[tokio::test]
async fn a_filter_is_tried_on_what_is_kept_before_it_is_used() {
    let host = Host::start().await;
    let admin = host.admin();
    let findings: Vec<Value> = (0..1100).map(|number| events::finding(&format!("f {number}"), "high")).collect();
    for part in findings.chunks(500) {
        admin.post("/events", &json!(part)).await.expect(202);
    }
    admin.post("/events", &json!(events::findings(7))).await.expect(202);
    let preview = async |body: Value| admin.post("/webhooks/filter-preview", &body).await.expect(200).json();
    let found = preview(json!({"filter": {"engagement_ids": ["e-1"]}})).await;
    assert_eq!(found, json!({"seen": 1000, "matched": 0, "errors": 0, "examples": []}));
    let found = preview(json!({"filter": {"min_severity": "critical"}, "event_types": ["finding_added"]})).await;
    assert_eq!((&found["seen"], &found["matched"]), (&json!(1000), &json!(7)), "those without a severity pass");
    let titles: Vec<&str> = found["examples"]
        .as_array()
        .expect("examples")
        .iter()
        .map(|event| event["data"]["finding"]["title"].as_str().expect("a title"))
        .collect();
    assert_eq!(titles.len(), 7);
    assert!(titles.contains(&"finding 6"), "{titles:?}");
}
