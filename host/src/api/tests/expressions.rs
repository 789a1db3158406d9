//! Filter expressions: saved, judged at acceptance, and shown when they fail.

use super::*;
use crate::model::id::TokenId;
use crate::store::{AcceptError, Acceptance};

fn finding(members: &str) -> String {
    format!(r#"{{"type":"finding_added","data":{{"finding":{{"title":"x",{members}}}}}}}"#)
}

impl Host {
    /// A new webhook's path, with a filter's expression.
    async fn webhook_for(&self, expression: &str) -> String {
        let body = serde_json::json!({
            "name": "n", "url": "https://hook.invalid/x", "event_types": ["finding_added", "critical_finding"],
            "filter": {"expression": expression},
        });
        let reply = self.post("/api/v1/webhooks", &body.to_string()).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.header("location").expect("a location").to_owned()
    }

    /// The number of deliveries of each posted event.
    async fn deliveries(&self, body: &str) -> Vec<u64> {
        let reply = self.call("POST /api/v1/events", &self.ingest, &[], Some(body)).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        let count = |accepted: &serde_json::Value| accepted["deliveries"].as_u64().expect("a number");
        match reply.json() {
            serde_json::Value::Array(accepted) => accepted.iter().map(count).collect(),
            accepted => vec![count(&accepted)],
        }
    }
}

#[tokio::test]
async fn an_expression_is_checked_when_it_is_saved() {
    let host = Host::start().await;
    let saved = host.webhook_for("severity >= HIGH").await;
    for (expression, detail) in [
        ("severity >=", "line 1, column 12: it ends where an operand is expected"),
        ("severity >= HIGH\n && finding.title.startswith('x')", "line 2, column 19: startswith is no function"),
        ("severity >= SEVERE", "line 1, column 13: SEVERE is not known"),
        ("finding.cvss + 1", "line 1, column 1: must be true or false"),
    ] {
        let filter = serde_json::json!({"filter": {"expression": expression}});
        let mut whole = filter.clone();
        whole["name"] = "n".into();
        whole["url"] = "https://hook.invalid/x".into();
        for reply in
            [host.post("/api/v1/webhooks", &whole.to_string()).await, host.put(&saved, &filter.to_string()).await]
        {
            assert_eq!(
                reply.problem(),
                ["422 invalid_fields", "/filter/expression invalid_expression"],
                "{expression}"
            );
            let told = reply.json()["errors"][0]["detail"].as_str().expect("words").to_owned();
            assert!(told.starts_with(detail), "{told}");
        }
    }
    assert_eq!(host.get(&saved).await.json()["filter"]["expression"], "severity >= HIGH");
    // Beside another fault of the filter.
    let filter = r#"{"filter":{"min_severity":"severe","expression":"finding.("}}"#;
    for reply in [host.put(&saved, filter).await, host.post("/api/v1/webhooks/filter-preview", filter).await] {
        let wrong = ["422 invalid_fields", "/filter/min_severity invalid", "/filter/expression invalid_expression"];
        assert_eq!(reply.problem(), wrong);
    }
}

#[tokio::test]
async fn an_expression_decides_which_events_go_to_a_webhook() {
    let host = Host::start().await;
    host.webhook_for("finding.cvss >= 9.0").await;
    host.webhook_for("finding.cvss >= 9.0").await;
    let worse = host.webhook_for("event_type == 'critical_finding' && finding.cvss < 9.0").await;
    let many = format!(
        "[{},{},{},{}]",
        finding(r#""severity":"high","cvss":8.9"#),
        finding(r#""severity":"high","cvss":9"#),
        finding(r#""severity":"critical","cvss":9.5"#),
        finding(r#""severity":"critical","cvss":5e0"#)
    );
    // What is derived from a critical finding is judged on its own.
    assert_eq!(host.deliveries(&many).await, [0, 2, 4, 1]);
    let one = finding(r#""severity":"high","cvss":9.9"#);
    assert_eq!(host.deliveries(&one).await, [2]);
    // A webhook that an admin switched off needs no verdict.
    assert_eq!(host.put(&worse, r#"{"is_active":false}"#).await.status, 200);
    assert_eq!(host.deliveries(&many).await, [0, 2, 4, 0]);
}

#[tokio::test]
async fn expressions_see_the_id_and_the_time_that_the_event_is_accepted_with() {
    let host = Host::start().await;
    let id = "0190b5a2-0000-7000-8000-000000000001";
    host.webhook_for(&format!("id == '{id}' && occurred_at == '2026-01-31T12:00:00.000Z'")).await;
    host.webhook_for("id.matches('^[0-9a-f-]{36}$') && occurred_at.matches('^20..-') && engagement.id == 'e'").await;
    let with_id = format!(
        r#"{{"id":"{id}","type":"finding_added","occurred_at":"2026-01-31T14:00:00+02:00","engagement":{{"id":"e","name":"n"}},"data":{{"finding":{{"title":"x"}}}}}}"#
    );
    assert_eq!(host.deliveries(&with_id).await, [2]);
    assert_eq!(host.deliveries(&with_id).await, [2], "a repeat gets the same answer");
    let without = r#"{"type":"finding_added","engagement":{"id":"e","name":"n"},"data":{"finding":{"title":"x"}}}"#;
    assert_eq!(host.deliveries(&format!("[{without},{without}]")).await, [1, 1]);
}

#[tokio::test]
async fn an_expression_that_fails_lets_events_pass_and_says_so() {
    let host = Host::start().await;
    let path = host.webhook_for("finding.fix > 3").await;
    assert_eq!(host.get(&path).await.json()["expression_error"], serde_json::Value::Null);
    assert_eq!(host.deliveries(&finding(r#""severity":"low""#)).await, [1]);
    assert_eq!(host.deliveries(&finding(r#""fix":1"#)).await, [0]);
    let view = host.get(&path).await.json();
    assert_eq!(view["expression_error"], "there is no member fix (test it with has())");
    assert_eq!(
        (&view["failure_count"], &view["is_active"]),
        (&0.into(), &true.into()),
        "no failure of its destination"
    );
    let id = view["id"].as_str().expect("an id");
    let metrics = host.get("/metrics").await.text;
    let line = format!("heraldry_webhook_expression_failures_total{{webhook=\"{id}\"}} 1\n");
    assert!(metrics.contains(&line), "{metrics}");
    let changed = host.put(&path, r#"{"filter":{"expression":"has(finding.fix) && finding.fix > 3"}}"#).await;
    assert_eq!(changed.json()["expression_error"], serde_json::Value::Null, "another expression has not failed");
    assert_eq!(host.deliveries(&finding(r#""severity":"low""#)).await, [0]);
}

#[tokio::test]
async fn the_store_gives_back_what_is_not_judged() {
    let host = Host::start().await;
    host.webhook_for("false").await;
    let event = crate::store::conformance::event(None, 1);
    let acceptance = |event| Acceptance {
        token: TokenId::from_bytes([1; 16]),
        idempotency: None,
        events: vec![event],
        verdicts: Vec::new(),
    };
    // Nobody subscribed to this type.
    assert!(host.store.accept(acceptance(event.clone())).await.is_ok());
    let event = crate::model::event::NewEvent { event_type: crate::model::event::EventType::FindingAdded, ..event };
    match host.store.accept(acceptance(event.clone())).await {
        Err(AcceptError::Unjudged(again)) => assert_eq!(*again, acceptance(event)),
        other => panic!("{other:?}"),
    }
}
