//! A webhook's history: the fields of an attempt, pages, filters.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Destination, Host, Reply, events, is_id, is_time};

#[tokio::test]
async fn the_history_shows_each_attempt_and_comes_in_pages() {
    let host = Host::with(|options| options.retry_every("50ms").args(["--breaker-threshold", "100000"])).await;
    let admin = host.admin();
    attempts(&admin).await;
    excerpts(&admin).await;
    let (webhook, all) = long_history(&admin).await;
    pages(&admin, &webhook, &all).await;
    filters(&admin, &webhook, &all).await;
    bad_queries(&admin, &webhook).await;
}

/// The members of one attempt.
async fn attempts(admin: &Client) {
    let destination = Destination::answering([Reply::full(503, &[], b"not now")]).await;
    let fields = json!({"event_types": ["report_ready"], "format": "cef", "retry_count": 1});
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    let event = admin.event(&events::minimal("report_ready")).await;
    let delivery = admin.settled(&event).await.remove(0);
    assert_eq!((&delivery["webhook_id"], &delivery["status"]), (&json!(webhook), &json!("delivered")));
    let history = admin.history_of(&webhook, 2).await;
    let cef = admin.get("/formatters/cef").await.expect(200).json();
    for attempt in &history {
        let members: Vec<&String> = attempt.as_object().expect("an object").keys().collect();
        let expected = [
            "attempt",
            "created_at",
            "delivery_id",
            "duration_ms",
            "error",
            "event_id",
            "event_type",
            "formatter",
            "id",
            "is_test",
            "next_attempt_at",
            "note",
            "response_excerpt",
            "status_code",
            "success",
        ];
        assert_eq!(members, expected);
        assert!(
            is_id(&attempt["id"]) && is_time(&attempt["created_at"]) && attempt["duration_ms"].is_u64(),
            "{attempt}"
        );
        assert_eq!(attempt["delivery_id"], delivery["id"]);
        let same = [("event_id", json!(event)), ("event_type", json!("report_ready")), ("is_test", json!(false))];
        for (member, value) in same {
            assert_eq!(attempt[member], value, "{member}");
        }
        let formatter = json!({"name": "cef", "version": cef["version"], "digest": cef["digest"]});
        assert_eq!(attempt["formatter"], formatter);
    }
    let [second, first] = &history[..] else { panic!("two attempts: {history:?}") };
    assert_eq!((&first["attempt"], &first["success"], &first["status_code"]), (&json!(1), &json!(false), &json!(503)));
    assert!(first["error"].as_str().is_some_and(|error| error.starts_with("status")), "{first}");
    assert_eq!(first["response_excerpt"], "not now");
    assert!(is_time(&first["next_attempt_at"]), "{first}");
    assert_eq!(
        (&second["attempt"], &second["success"], &second["status_code"]),
        (&json!(2), &json!(true), &json!(200))
    );
    assert_eq!((&second["error"], &second["next_attempt_at"]), (&json!(null), &json!(null)));
    assert_eq!(destination.wait_for(2).await[1].delivery(), delivery["id"]);
}

/// The first KiB of a response body is kept, as text; without a response there is none.
async fn excerpts(admin: &Client) {
    let cut_character = [vec![b'x'; 1023], "é".as_bytes().to_vec()].concat();
    for (reply, shown) in [
        (Reply::full(200, &[], b""), json!("")),
        (Reply::full(200, &[], &[b'x'; 1024]), json!("x".repeat(1024))),
        (Reply::full(200, &[], &[b'x'; 1025]), json!("x".repeat(1024))),
        (Reply::full(200, &[], &cut_character), json!("x".repeat(1023))),
        (Reply::reset(), json!(null)),
    ] {
        let destination = Destination::always(reply).await;
        let webhook = admin.webhook(&destination.url("/"), json!({})).await;
        let attempt = admin.post(&format!("/webhooks/{webhook}/test"), &json!({})).await.expect(200).json();
        let excerpt = attempt["response_excerpt"].as_str().map(|text| text.trim_end_matches('\u{fffd}'));
        assert_eq!(json!(excerpt), shown, "{attempt}");
        assert_eq!(attempt["status_code"].is_null(), shown.is_null(), "{attempt}");
    }
}

/// A webhook with 210 attempts, a third of them failures; all of them, the newest first.
async fn long_history(admin: &Client) -> (String, Vec<Value>) {
    let destination = Destination::start().await;
    destination
        .decide(|request| Reply::status(if request.header("x-webhook-event") == "report_ready" { 500 } else { 200 }));
    let types = json!(["report_ready", "phase_changed", "monitor_alert"]);
    let webhook = admin.webhook(&destination.url("/"), json!({"event_types": types, "retry_count": 0})).await;
    let kinds = ["report_ready", "phase_changed", "monitor_alert"].into_iter().cycle().take(210);
    admin.post("/events", &json!(kinds.map(events::minimal).collect::<Vec<_>>())).await.expect(202);
    // A page has 200 attempts at most; the rest is behind a link.
    let path = format!("/webhooks/{webhook}/deliveries");
    let all = crate::support::eventually("210 attempts", async || {
        let all = follow(admin, &format!("{path}?limit=200")).await.concat();
        (all.len() == 210).then_some(all)
    })
    .await;
    let ids: Vec<&str> = all.iter().map(id).collect();
    assert!(ids.is_sorted_by(|one, next| one > next), "newest first: {ids:?}");
    (webhook, all)
}

fn id(attempt: &Value) -> &str {
    attempt["id"].as_str().expect("an id")
}

/// The path of the next page.
fn next(response: &Answer) -> Option<String> {
    let link = response.header("link");
    let (path, relation) = link.split_once(">; ")?;
    assert_eq!(relation, "rel=\"next\"", "{link}");
    let path = path.strip_prefix("</api/v1").unwrap_or_else(|| panic!("no path of the API: {link}"));
    Some(path.to_owned())
}

/// Every page from this one on.
async fn follow(admin: &Client, path: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut path = Some(path.to_owned());
    while let Some(this) = path {
        let response = admin.get(&this).await.expect(200);
        pages.push(response.list());
        path = next(&response);
        assert!(pages.len() <= 210, "pages without end");
    }
    pages
}

async fn pages(admin: &Client, webhook: &str, all: &[Value]) {
    let path = format!("/webhooks/{webhook}/deliveries");
    for (query, sizes) in [
        ("", vec![50, 50, 50, 50, 10]),
        ("?limit=200", vec![200, 10]),
        ("?limit=199", vec![199, 11]),
        // The last page is full, and has no link to another one.
        ("?limit=70", vec![70, 70, 70]),
    ] {
        let pages = follow(admin, &format!("{path}{query}")).await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{query}");
        assert_eq!(pages.concat(), all, "{query}: every attempt once, in order");
    }
    let one = admin.get(&format!("{path}?limit=1")).await.expect(200);
    assert_eq!(one.list(), all[..1]);
    assert!(next(&one).is_some());
    let rest = admin.get(&format!("{path}?before={}", id(&all[207]))).await.expect(200);
    assert_eq!((rest.list(), next(&rest)), (all[208..].to_vec(), None));
    let none = admin.get(&format!("{path}?before={}", id(&all[209]))).await.expect(200);
    assert_eq!((none.json(), next(&none)), (json!([]), None));
}

async fn filters(admin: &Client, webhook: &str, all: &[Value]) {
    let path = format!("/webhooks/{webhook}/deliveries");
    let failed = |attempt: &&Value| attempt["success"] == false;
    let alert = |attempt: &&Value| attempt["event_type"] == "monitor_alert";
    let expected = |wanted: &dyn Fn(&&Value) -> bool| all.iter().filter(wanted).cloned().collect::<Vec<_>>();
    for (query, expected) in [
        ("success=false", expected(&failed)),
        ("success=true", expected(&|attempt| !failed(attempt))),
        ("event_type=monitor_alert", expected(&alert)),
        ("event_type=monitor_alert&success=true", expected(&alert)),
        ("event_type=report_ready&success=true", Vec::new()),
        ("event_type=finding_added", Vec::new()),
    ] {
        for limit in [1, 33, 70, 200] {
            let pages = follow(admin, &format!("{path}?limit={limit}&{query}")).await;
            assert_eq!(pages.concat(), expected, "{query}, {limit} a page");
            assert!(
                pages.iter().rev().skip(1).all(|page| page.len() == limit),
                "{query}: only the last page may be short"
            );
        }
    }
    let count = |wanted: &dyn Fn(&&Value) -> bool| all.iter().filter(wanted).count();
    assert_eq!((count(&failed), count(&alert)), (70, 70));
    assert_eq!(all.iter().map(id).collect::<BTreeSet<_>>().len(), 210);
}

async fn bad_queries(admin: &Client, webhook: &str) {
    let other = admin.webhook("http://127.0.0.1:9/", json!({})).await;
    let foreign = admin.post(&format!("/webhooks/{other}/test"), &json!({})).await.expect(200).json();
    let (foreign, unknown) = (format!("before={}", id(&foreign)), format!("before={}", events::new_id()));
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=1.5",
        "limit=",
        "limit=x",
        "limit=99999999999999999999",
        "limit=1&limit=2",
        "before=",
        "before=x",
        "before=1",
        &foreign,
        &unknown,
        "success=",
        "success=1",
        "success=yes",
        "event_type=",
        "event_type=nope",
        "event_type=*",
        "page=2",
    ] {
        admin.get(&format!("/webhooks/{webhook}/deliveries?{query}")).await.problem(400, "invalid_query");
    }
    assert_eq!(admin.get(&format!("/webhooks/{other}/deliveries")).await.expect(200).list().len(), 1);
}
