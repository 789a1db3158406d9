//! Lists over everything: attempts of all webhooks, events, and what waits for each webhook.

use serde_json::{Value, json};

use crate::support::{Answer, Client, Destination, Host, Reply, events, eventually, is_id, is_time};

const NOWHERE: &str = "http://127.0.0.1:9/";
/// An id that does not exist.
const UNKNOWN_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn about(title: &str, finding: &str, engagement: &str) -> Value {
    let mut event = events::in_engagement(events::finding(title, "medium"), engagement);
    event["data"]["finding"]["id"] = json!(finding);
    event
}

/// A member of each item.
fn each<'a>(items: &'a [Value], member: &str) -> Vec<&'a Value> {
    items.iter().map(|item| &item[member]).collect()
}

/// All pages of a list, by following the links.
async fn pages(client: &Client, path: &str) -> Vec<Value> {
    let (mut items, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let answer = client.get(&path).await.expect(200);
        items.extend(answer.list());
        next = linked(&answer);
    }
    items
}

fn linked(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    let path = link.strip_prefix("</api/v1")?.strip_suffix(">; rel=\"next\"");
    Some(path.expect("a link").to_owned())
}

const HOST_EVENTS: [&str; 3] = ["webhook_failing", "webhook_disabled", "delivery_failed"];

#[tokio::test]
async fn attempts_and_events_are_found_whatever_the_webhook() {
    let host = Host::with(|options| options.args(["--breaker-threshold", "100000"])).await;
    let admin = host.admin();
    let well = Destination::always(Reply::status(200)).await;
    let ill = Destination::always(Reply::status(503)).await;
    let fields = json!({"event_types": ["*"], "retry_count": 0});
    let (well, ill) = (admin.webhook(&well.url("/"), fields.clone()).await, admin.webhook(&ill.url("/"), fields).await);
    let mut posted = Vec::new();
    for event in [
        about("a", "F-0407", "eng-1"),
        about("b", "F-0408", "eng-1"),
        about("c", "F-0407", "eng 2&c"),
        events::minimal("report_ready"),
    ] {
        let id = admin.event(&event).await;
        admin.settled(&id).await;
        posted.push(id);
    }
    posted.reverse();
    attempts(&admin, &well, &ill, &posted).await;
    listed_events(&admin, &posted).await;
    forward(&admin, &posted[0]).await;
    bad_queries(&admin).await;
}

async fn attempts(admin: &Client, well: &str, ill: &str, posted: &[String]) {
    let all = pages(admin, "/deliveries?limit=3").await;
    assert_eq!(all.len(), 8);
    assert!(all.iter().all(|one| is_id(&one["webhook_id"]) && is_time(&one["created_at"])), "{all:?}");
    assert!(all.windows(2).all(|pair| pair[0]["id"].as_str() > pair[1]["id"].as_str()), "newest first");
    // The same as each webhook's own list, with the webhook beside it.
    let own = admin.history(ill).await;
    let of_ill = pages(admin, &format!("/deliveries?webhook_id={ill}&limit=1")).await;
    assert_eq!(each(&of_ill, "id"), each(&own, "id"));
    assert_eq!(each(&of_ill, "error"), each(&own, "error"));
    for (query, expected) in [
        (format!("webhook_id={well}"), 4),
        (format!("webhook_id={UNKNOWN_ID}"), 0),
        ("success=true".to_owned(), 4),
        ("class=status".to_owned(), 4),
        ("class=timeout".to_owned(), 0),
        ("status_code=503".to_owned(), 4),
        ("event_type=report_ready".to_owned(), 2),
        (format!("event_id={}", posted[0]), 2),
        ("engagement_id=eng-1".to_owned(), 4),
        ("engagement_id=eng+2%26c".to_owned(), 2),
        ("finding_id=F-0407".to_owned(), 4),
        (format!("finding_id=F-0407&webhook_id={ill}&success=false"), 2),
        ("finding_id=F-0407&success=true&status_code=503".to_owned(), 0),
        ("finding_id=F-04".to_owned(), 0),
        ("since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z".to_owned(), 0),
        ("since=2020-01-01T00:00:00Z".to_owned(), 8),
    ] {
        let found = pages(admin, &format!("/deliveries?{query}&limit=3")).await;
        assert_eq!(found.len(), expected, "{query}: {found:?}");
    }
}

async fn listed_events(admin: &Client, posted: &[String]) {
    let all = platform_events(admin, "limit=3").await;
    let ids: Vec<Value> = posted.iter().map(|id| json!(id)).collect();
    assert_eq!(each(&all, "id"), ids.iter().collect::<Vec<_>>());
    let members: Vec<&String> = all[1].as_object().expect("an object").keys().collect();
    assert_eq!(members, ["accepted_at", "deliveries", "engagement", "id", "occurred_at", "type"]);
    let whole = platform_events(admin, "data=true").await;
    assert_eq!(whole[0], admin.get(&format!("/events/{}", posted[0])).await.expect(200).json());
    for (query, expected) in [
        ("type=report_ready", 1),
        ("engagement_id=eng-1", 2),
        ("finding_id=F-0407", 2),
        ("finding_id=F-0407&engagement_id=eng-1", 1),
        ("min_severity=medium", 3),
        ("min_severity=HIGH", 0),
        ("until=2020-01-01T00:00:00Z", 0),
    ] {
        assert_eq!(platform_events(admin, &format!("{query}&limit=1")).await.len(), expected, "{query}");
    }
    let told = pages(admin, "/events?type=webhook_failing").await;
    assert!(!told.is_empty() && told.iter().all(|event| event["type"] == "webhook_failing"), "{told:?}");
}

/// The listed events without the host's own, of what failed.
async fn platform_events(admin: &Client, query: &str) -> Vec<Value> {
    let listed = pages(admin, &format!("/events?{query}")).await;
    let is_host = |event: &Value| event["type"].as_str().is_some_and(|name| HOST_EVENTS.contains(&name));
    listed.into_iter().filter(|event| !is_host(event)).collect()
}

/// Reading on from an attempt, oldest first.
async fn forward(admin: &Client, last_event: &str) {
    let newest = pages(admin, "/deliveries").await;
    let (first, rest) = newest.split_last().expect("attempts");
    let after = pages(admin, &format!("/deliveries?after={}&limit=2", first["id"].as_str().expect("an id"))).await;
    assert_eq!(each(&after, "id"), rest.iter().rev().map(|one| &one["id"]).collect::<Vec<_>>());
    let path = format!("/deliveries?after={}", newest[0]["id"].as_str().expect("an id"));
    let none = admin.get(&path).await.expect(200);
    assert_eq!((none.text(), linked(&none)), ("[]", None), "{last_event} was the last");
    let event = admin.event(&events::minimal("phase_changed")).await;
    admin.settled(&event).await;
    let found = admin.get(&path).await.expect(200).list();
    assert_eq!(each(&found, "event_id"), [&json!(event), &json!(event)]);
}

async fn bad_queries(admin: &Client) {
    for query in [
        "limit=0",
        "limit=201",
        "before=x",
        "webhook_id=x",
        "class=slow",
        "status_code=1",
        "event_type=*",
        "finding_id=",
        "since=today",
        "page=2",
        "success=yes",
        &format!("before={UNKNOWN_ID}"),
        &format!("before={UNKNOWN_ID}&after={UNKNOWN_ID}"),
    ] {
        admin.get(&format!("/deliveries?{query}")).await.problem(400, "invalid_query");
    }
    for query in ["limit=x", "data=1", "type=nope", "min_severity=bad", "webhook_id=x", &format!("before={UNKNOWN_ID}")]
    {
        admin.get(&format!("/events?{query}")).await.problem(400, "invalid_query");
    }
}

#[tokio::test]
async fn a_webhook_shows_what_waits_and_what_is_held_also_after_a_kill() {
    let mut host = Host::with(|options| options.retry_every("1h").args(["--breaker-threshold", "2"])).await;
    let admin = host.admin();
    let ill = Destination::always(Reply::status(500)).await;
    let retrying = admin.webhook(&ill.url("/"), json!({"event_types": ["*"], "retry_count": 3})).await;
    let failing = admin.webhook(&ill.url("/"), json!({"event_types": ["*"], "retry_count": 0})).await;
    let mut posted = Vec::new();
    for _ in 0..4 {
        posted.push(admin.event(&events::minimal("phase_changed")).await);
        eventually("the first attempts", async || {
            let event = admin.get(&format!("/events/{}", posted[posted.len() - 1])).await.json();
            let deliveries = event["deliveries"].as_array().expect("deliveries").clone();
            let tried = |one: &Value| one["attempts"] != 0 || one["status"] == "held";
            deliveries.iter().all(tried).then_some(())
        })
        .await;
    }
    let shown = async |client: &Client| {
        let mut shown = Vec::new();
        for webhook in [&retrying, &failing] {
            let view = client.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
            shown.push((view["waiting"].clone(), view["held"].clone(), view["oldest_waiting_at"].clone()));
        }
        shown
    };
    // The breaker switches the second one off at its second failure; the last two events are held.
    let accepted_at = async |id: &str| admin.get(&format!("/events/{id}")).await.json()["accepted_at"].clone();
    let expected =
        vec![(json!(4), json!(0), accepted_at(&posted[0]).await), (json!(0), json!(2), accepted_at(&posted[2]).await)];
    assert_eq!(shown(&admin).await, expected);
    host.kill();
    let host = host.start_again().await;
    assert_eq!(shown(&host.admin()).await, expected);
    let off = host.admin().put(&format!("/webhooks/{retrying}"), &json!({"is_active": false})).await.expect(200).json();
    assert_eq!((&off["waiting"], &off["held"]), (&json!(0), &json!(4)));
    let made = host.admin().post("/webhooks", &json!({"name": "n", "url": NOWHERE})).await.expect(201).json();
    let none = (&json!(0), &json!(0), &json!(null));
    assert_eq!((&made["waiting"], &made["held"], &made["oldest_waiting_at"]), none);
}
