//! Filter expressions in the running program: the evaluator is compiled in a child process, and loaded again by a restart.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Destination, Host, Reply};

fn finding(title: &str, cvss: f64) -> Value {
    json!({"type": "finding_added", "data": {"finding": {"title": title, "severity": "high", "cvss": cvss}}})
}

async fn titles(destination: &Destination, count: usize) -> Vec<String> {
    let received = destination.wait_for(count).await;
    let title = |json: Value| json["data"]["finding"]["title"].as_str().expect("a title").to_owned();
    let mut titles: Vec<String> = received.iter().map(|request| title(request.json())).collect();
    titles.sort();
    titles
}

async fn deliveries(admin: &Client, event: &str) -> usize {
    let event = admin.get(&format!("/events/{event}")).await.expect(200).json();
    event["deliveries"].as_array().expect("a list").len()
}

#[tokio::test]
async fn only_events_for_which_the_expression_is_true_are_delivered_also_after_a_restart() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    let fields = json!({"event_types": ["finding_added"], "filter": {"expression": "finding.cvss >= 9.0"}});
    let id = admin.webhook(&destination.url("/"), fields).await;
    for (title, cvss) in [("a", 8.9), ("b", 9.0), ("c", 3.1), ("d", 10.0)] {
        admin.event(&finding(title, cvss)).await;
    }
    assert_eq!(titles(&destination, 2).await, ["b", "d"]);
    let host = host.restart().await;
    let admin = host.admin();
    admin.event(&finding("e", 1.0)).await;
    admin.event(&finding("f", 9.9)).await;
    assert_eq!(titles(&destination, 3).await, ["b", "d", "f"]);
    // One that loops is stopped, and the event passes.
    let slow = "[1,2,3,4,5,6,7,8,9].all(a, data.many.all(b, data.many.all(c, b + c > a)))";
    admin.put(&format!("/webhooks/{id}"), &json!({"filter": {"expression": slow}})).await.expect(200);
    let mut many = finding("g", 0.0);
    many["data"]["many"] = (10..3000).collect::<Vec<i32>>().into();
    admin.event(&many).await;
    assert_eq!(titles(&destination, 4).await, ["b", "d", "f", "g"]);
    let webhook = admin.get(&format!("/webhooks/{id}")).await.expect(200).json();
    assert_eq!(webhook["expression_error"], "it takes more than 50 million steps");
    destination.stays_quiet(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn host_events_are_judged_too() {
    let host = Host::start().await;
    let admin = host.admin();
    let (failing, wanted, unwanted) =
        (Destination::start().await, Destination::start().await, Destination::start().await);
    failing.from_now_on(Reply::status(410));
    let fields = json!({"name": "gone", "event_types": ["finding_added"]});
    admin.webhook(&failing.url("/"), fields).await;
    for (destination, name) in [(&wanted, "gone"), (&unwanted, "another")] {
        let expression = format!("data.webhook.name == '{name}'");
        let fields = json!({"event_types": ["webhook_disabled"], "filter": {"expression": expression}});
        admin.webhook(&destination.url("/"), fields).await;
    }
    admin.event(&finding("a", 1.0)).await;
    let told = wanted.wait_for(1).await.remove(0).json();
    assert_eq!((&told["type"], &told["data"]["webhook"]["name"]), (&json!("webhook_disabled"), &json!("gone")));
    let id = told["id"].as_str().expect("an id");
    assert_eq!(deliveries(&admin, id).await, 1);
    assert!(unwanted.received().is_empty());
}
