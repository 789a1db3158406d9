//! Idempotency: repeats by event id and by idempotency key; in sequence, concurrently, and across restarts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Destination, Host, Received, events};

/// A host with an admin and two ingest clients.
struct Cast {
    host: Host,
    admin: Client,
    ingest: Client,
    other: Client,
}

fn id_of(accepted: &Value) -> String {
    accepted["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_repeat_gets_the_first_response_and_queues_nothing() {
    let host = Host::start().await;
    let admin = host.admin();
    let (ingest, other) = (admin.new_token("ingest").await, admin.new_token("ingest").await);
    let cast = Cast { host, admin, ingest, other };
    let destination = Destination::start().await;
    let webhook = cast.admin.webhook(&destination.url("/"), json!({})).await;
    let expected = by_id(&cast).await + by_key(&cast).await + at_the_same_time(&cast).await;
    let history = cast.admin.history_of(&webhook, expected).await;
    assert!(history.iter().all(|attempt| attempt["success"] == true), "{history:?}");
    assert_eq!(destination.received().len(), expected, "a repeat was delivered");
    restarts(cast, destination, expected).await;
}

/// Repeats of events with ids; returns the number of deliveries so far.
async fn by_id(cast: &Cast) -> usize {
    let Cast { ingest, other, admin, .. } = cast;
    let post = async |client: &Client, text: &str| client.post_text("/events", text).await;
    let id = events::new_id();
    let text = format!(
        "{{\"type\":\"finding_added\",\"id\":\"{id}\",\"data\":{{\"finding\":{{\"title\":\"é\",\"severity\":\"critical\",\"cvss\":1.50}}}}}}"
    );
    let first = post(ingest, &text).await.expect(202);
    assert_eq!(first.json()["deliveries"], 2);
    // The same JSON value in another spelling.
    let respelled = format!(
        "{{ \"id\" : \"{id}\" , \"data\":{{\"finding\":{{\"cvss\":15e-1,\"severity\":\"critical\",\"title\":\"\\u00e9\"}}}},\n\"type\":\"finding_added\"}}"
    );
    for again in [post(ingest, &text).await, post(ingest, &respelled).await] {
        assert_eq!(again.expect(202).text(), first.text());
    }
    for list in
        [ingest.post_text("/events", format!("[{text}]")).await, ingest.post_lines("/events", text.clone()).await]
    {
        assert_eq!(list.expect(202).json(), json!([first.json()]));
    }
    // The id with another value is a conflict.
    let rejected_as_taken = |response: Answer, pointers: &[&str]| {
        let errors: Vec<(&str, &str)> = pointers.iter().map(|pointer| (*pointer, "event_id_taken")).collect();
        response.problem(422, "event_id_taken").errors(&errors);
    };
    rejected_as_taken(post(ingest, &text.replace("1.50", "1.51")).await, &["/id"]);
    rejected_as_taken(post(ingest, &text.replace("\"critical\"", "\"CRITICAL\"")).await, &["/id"]);
    rejected_as_taken(post(other, &text).await, &["/id"]);
    rejected_as_taken(post(admin, &text).await, &["/id"]);
    let fresh = events::minimal("phase_changed");
    let changed = text.replace("1.50", "2");
    rejected_as_taken(post(ingest, &format!("[{fresh},{changed},{changed}]")).await, &["/1/id", "/2/id"]);
    rejected_as_taken(ingest.post_lines("/events", format!("{fresh}\n{changed}")).await, &["/1/id"]);
    ingest.get(&format!("/events/{}", id_of(&fresh))).await.problem(404, "not_found");
    // Twice in one request: the same value is one event, another is not.
    let twin = events::minimal("phase_changed");
    let mut false_twin = twin.clone();
    false_twin["data"]["phase"]["name"] = json!("other");
    rejected_as_taken(ingest.post("/events", &json!([twin, false_twin])).await, &["/1/id"]);
    let pair = ingest.post("/events", &json!([twin, fresh, twin])).await.expect(202).list();
    assert_eq!((&pair[0], id_of(&pair[1])), (&pair[2], id_of(&fresh)));
    // Known and new events in one request.
    let third = events::minimal("phase_changed");
    let mixed = ingest.post("/events", &json!([twin, third])).await.expect(202).list();
    assert_eq!((&mixed[0], id_of(&mixed[1])), (&pair[0], id_of(&third)));
    2 + 3
}

fn keyed(client: &Client, key: &str, body: &str) -> impl Future<Output = Answer> + use<> {
    let request = client.request("POST", "/events").header("idempotency-key", key);
    request.body("application/json", body.to_owned()).send()
}

/// Repeats with an idempotency key; returns the number of deliveries that they add.
async fn by_key(cast: &Cast) -> usize {
    let Cast { ingest, other, .. } = cast;
    let body = "{\"type\":\"phase_changed\",\"data\":{\"phase\":{\"name\":\"x\"}}}";
    let first = keyed(ingest, "a key", body).await.expect(202);
    assert_eq!(keyed(ingest, "a key", body).await.expect(202).text(), first.text());
    let reused = |response: Answer| {
        response.problem(422, "idempotency_key_reused");
    };
    reused(keyed(ingest, "a key", &body.replace("\"x\"", "\"y\"")).await);
    reused(keyed(ingest, "a key", &format!("[{body}]")).await);
    reused(keyed(ingest, "a key", &format!("[{body},{body}]")).await);
    // A key is scoped to its token and case-sensitive; requests without it are independent.
    let others = keyed(other, "a key", body).await.expect(202);
    let without = ingest.post_text("/events", body).await.expect(202);
    let capital = keyed(ingest, "A key", body).await.expect(202);
    let ids: BTreeSet<String> = [&first, &others, &without, &capital].map(|a| id_of(&a.json())).into();
    assert_eq!(ids.len(), 4);
    // A request with several events.
    let several = format!("[{body},{body}]");
    let all = keyed(ingest, "several", &several).await.expect(202);
    assert_eq!(keyed(ingest, "several", &several).await.expect(202).text(), all.text());
    // The syntax of a key.
    for good in ["k".to_owned(), "k".repeat(255), "a b~!".to_owned()] {
        keyed(ingest, &good, body).await.expect(202);
    }
    for bad in ["", &"k".repeat(256), "é", "a\tb"] {
        keyed(ingest, bad, body).await.problem(400, "invalid_header");
    }
    let twice = ingest.request("POST", "/events").header("idempotency-key", "a").header("idempotency-key", "b");
    twice.body("application/json", body).send().await.problem(400, "invalid_header");
    // A rejected request does not use up its key.
    keyed(ingest, "second try", "{\"type\":\"nope\",\"data\":{}}").await.problem(422, "invalid_fields");
    keyed(ingest, "second try", body).await.expect(202);
    4 + 2 + 3 + 1
}

/// A hundred concurrent requests are one event; returns the number of deliveries that they add.
async fn at_the_same_time(cast: &Cast) -> usize {
    let same = events::finding("at once", "critical").to_string();
    let with_id = (0..100).map(|_| tokio::spawn(keyless(cast.ingest.clone(), same.clone())));
    one_answer(with_id.collect()).await;
    let body = "[{\"type\":\"phase_changed\",\"data\":{\"phase\":{\"name\":\"at once\"}}}]";
    let with_key = (0..100).map(|_| tokio::spawn(keyed(&cast.ingest, "at once", body)));
    one_answer(with_key.collect()).await;
    2 + 1
}

async fn keyless(client: Client, body: String) -> Answer {
    client.post_text("/events", body).await
}

async fn one_answer(tasks: Vec<tokio::task::JoinHandle<Answer>>) {
    let mut texts = BTreeSet::new();
    for task in tasks {
        texts.insert(task.await.expect("no panic").expect(202).text().to_owned());
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

/// Both kinds survive a kill right after the response, and a stop.
async fn restarts(cast: Cast, destination: Destination, before: usize) {
    let Cast { host, ingest, other, .. } = cast;
    let event = events::finding("before the kill", "critical").to_string();
    let body = "{\"type\":\"phase_changed\",\"data\":{\"phase\":{\"name\":\"before the kill\"}}}";
    let by_id = ingest.post_text("/events", event.clone()).await.expect(202);
    let by_key = keyed(&ingest, "before the kill", body).await.expect(202);
    let mut host = host;
    host.kill();
    let mut host = host.start_again().await;
    for stop in [true, false] {
        let ingest = host.visitor().with_token(ingest.token());
        let other = host.visitor().with_token(other.token());
        assert_eq!(ingest.post_text("/events", event.clone()).await.expect(202).text(), by_id.text());
        assert_eq!(keyed(&ingest, "before the kill", body).await.expect(202).text(), by_key.text());
        ingest.post_text("/events", event.replace("the kill", "it")).await.problem(422, "event_id_taken");
        other.post_text("/events", event.clone()).await.problem(422, "event_id_taken");
        keyed(&ingest, "before the kill", &body.replace("kill", "x")).await.problem(422, "idempotency_key_reused");
        let id = id_of(&by_id.json());
        ingest.settled(&id).await;
        other.get(&format!("/events/{id}")).await.problem(404, "not_found");
        if stop {
            host = host.restart().await;
        }
    }
    // A delivery in flight at the kill may be sent again, but no repeat creates a new one.
    let received = destination.wait_until("three more", |received| received.len() >= before + 3).await;
    let ids: BTreeSet<&str> = received.iter().map(Received::delivery).collect();
    assert_eq!(ids.len(), before + 3);
}
