//! Why an event goes to a webhook or not: explain, dry runs and previews of filters, and that they agree with what is then
//! delivered.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::*;

/// A webhook of a random case.
#[derive(Clone, Debug)]
struct Hook {
    /// A mask over [`TYPES`]; all of them: `*`.
    types: u8,
    least: Option<usize>,
    engagements: Vec<&'static str>,
    /// One of [`EXPRESSIONS`].
    expression: Option<usize>,
    critical_once: bool,
    is_active: bool,
}

/// An event of a random case.
#[derive(Clone, Debug)]
struct Posted {
    event_type: usize,
    severity: Option<usize>,
    engagement: Option<&'static str>,
}

const TYPES: [&str; 4] = ["finding_added", "critical_finding", "monitor_alert", "phase_changed"];
const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];
const ENGAGEMENTS: [&str; 3] = ["e-1", "e-2", "e-3"];

/// Whether an event passes, of the type of this number.
type Passes = fn(usize, &Posted) -> bool;

/// Expressions, and whether an event of a type passes.
const EXPRESSIONS: [(&str, Passes); 4] = [
    ("severity >= HIGH", |event_type, event| TYPES[event_type] != "phase_changed" && event.severity >= Some(3)),
    ("event_type != 'critical_finding'", |event_type, _| TYPES[event_type] != "critical_finding"),
    ("has(finding.title)", |event_type, _| event_type < 2),
    // It fails on every event, and so lets it pass.
    ("finding.nope == 1", |_, _| true),
];

fn hook() -> impl Strategy<Value = Hook> {
    let engagements = prop_oneof![
        2 => Just(Vec::new()),
        1 => proptest::sample::subsequence(ENGAGEMENTS.to_vec(), 1..3),
    ];
    let least = proptest::option::weighted(0.4, 0..SEVERITIES.len());
    let expression = proptest::option::weighted(0.4, 0..EXPRESSIONS.len());
    (1..16_u8, least, engagements, expression, any::<bool>(), proptest::bool::weighted(0.8)).prop_map(
        |(types, least, engagements, expression, critical_once, is_active)| Hook {
            types,
            least,
            engagements,
            expression,
            critical_once,
            is_active,
        },
    )
}

fn posted() -> impl Strategy<Value = Posted> {
    // Critical findings are what most rules are about.
    let event_type = prop_oneof![3 => Just(0), 3 => 0..TYPES.len()];
    let severity = prop_oneof![2 => Just(Some(4)), 3 => proptest::option::weighted(0.8, 0..SEVERITIES.len())];
    let engagement = proptest::option::weighted(0.7, proptest::sample::select(ENGAGEMENTS.to_vec()));
    (event_type, severity, engagement).prop_map(|(event_type, severity, engagement)| Posted {
        event_type,
        severity,
        engagement,
    })
}

impl Hook {
    fn body(&self, name: &str) -> Value {
        let names: Vec<&str> = match self.types {
            15 => vec!["*"],
            types => {
                TYPES.iter().enumerate().filter(|(bit, _)| types & (1 << bit) != 0).map(|(_, name)| *name).collect()
            }
        };
        let mut body = json!({
            "name": name, "url": "https://hook.invalid/x", "event_types": names, "filter": self.filter(),
            "critical_once": self.critical_once, "is_active": self.is_active,
        });
        if self.types == 15 {
            body["event_types"] = json!(["*"]);
        }
        body
    }

    fn filter(&self) -> Value {
        let mut filter = json!({});
        if let Some(least) = self.least {
            filter["min_severity"] = json!(SEVERITIES[least]);
        }
        if !self.engagements.is_empty() {
            filter["engagement_ids"] = json!(self.engagements);
        }
        if let Some(expression) = self.expression {
            filter["expression"] = json!(EXPRESSIONS[expression].0);
        }
        filter
    }

    /// True if an event of this type passes, by the words of the contract.
    fn wants(&self, event_type: usize, event: &Posted) -> bool {
        let severity = event.severity.filter(|_| TYPES[event_type] != "phase_changed");
        self.types & (1 << event_type) != 0
            && severity.is_none_or(|severity| self.least.is_none_or(|least| severity >= least))
            && (self.engagements.is_empty() || event.engagement.is_some_and(|id| self.engagements.contains(&id)))
            && self.expression.is_none_or(|expression| EXPRESSIONS[expression].1(event_type, event))
    }

    /// The deliveries of an event and of the one that is derived from it.
    fn gets(&self, event: &Posted) -> (bool, bool) {
        let derived = event.is_derived_from() && self.is_active && self.wants(1, event);
        let own = self.is_active && self.wants(event.event_type, event);
        (own && !(derived && self.critical_once), derived)
    }
}

impl Posted {
    fn is_derived_from(&self) -> bool {
        TYPES[self.event_type] == "finding_added" && self.severity == Some(4)
    }

    fn body(&self) -> Value {
        let group = ["finding", "finding", "monitor", "phase"][self.event_type];
        let mut members = json!({"title": "x"});
        if let Some(severity) = self.severity {
            members["severity"] = json!(SEVERITIES[severity]);
        }
        let mut body = json!({"type": TYPES[self.event_type], "data": { group: members }});
        if let Some(id) = self.engagement {
            body["engagement"] = json!({"id": id, "name": "n"});
        }
        body
    }
}

/// What an explanation says: by webhook, if it matched and why.
fn lines(explained: &Value) -> BTreeMap<String, (bool, String)> {
    let lines = explained.as_array().expect("lines").iter();
    lines
        .map(|line| {
            let reason = line["reason"].as_str().expect("a reason").to_owned();
            assert!(!reason.is_empty(), "{line}");
            (line["webhook_id"].as_str().expect("an id").to_owned(), (line["matched"] == true, reason))
        })
        .collect()
}

/// The reason without the id of a derived event, which a dry run does not know.
fn without_id(reason: &str) -> &str {
    match reason.strip_prefix("critical_once") {
        Some(_) => reason.split(" (").next().unwrap_or(reason),
        None => reason,
    }
}

async fn explained(host: &Host, id: &str) -> Value {
    let reply = host.get(&format!("/api/v1/events/{id}/explain")).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

/// What was made: the webhooks of the deliveries of an event, with the deliveries.
async fn made(host: &Host, id: &str) -> BTreeMap<String, String> {
    let event = host.get(&format!("/api/v1/events/{id}")).await.json();
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    let deliveries = event["deliveries"].as_array().expect("deliveries").iter();
    deliveries.map(|delivery| (text(&delivery["webhook_id"]), text(&delivery["id"]))).collect()
}

async fn agree(host: &Host, hooks: &[Hook], events: &[Posted]) {
    let mut ids = Vec::new();
    for (number, hook) in hooks.iter().enumerate() {
        let reply = host.post("/api/v1/webhooks", &hook.body(&format!("hook {number}")).to_string()).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        ids.push(reply.json()["id"].as_str().expect("an id").to_owned());
    }
    let body = Value::Array(events.iter().map(Posted::body).collect()).to_string();
    let path = "/api/v1/events?dry_run=true";
    let dry = host.post(path, &body).await;
    assert_eq!(dry.status, 200, "{}", dry.text);
    let counted = host.call(&format!("POST {path}"), &host.ingest, &[], Some(&body)).await.json();
    assert_eq!(host.get("/api/v1/events").await.json(), json!([]), "nothing was accepted");
    let real = host.post("/api/v1/events", &body).await;
    assert_eq!(real.status, 202, "{}", real.text);

    let (dry, real) = (dry.json(), real.json());
    for (number, event) in events.iter().enumerate() {
        let (dry, counted, real) = (&dry[number], &counted[number], &real[number]);
        let id = real["id"].as_str().expect("an id");
        let derived = real["derived"][0].as_str();
        assert_eq!(derived.is_some(), event.is_derived_from());
        let types: &[&str] = if derived.is_some() { &["critical_finding"] } else { &[] };
        assert_eq!(counted, &json!({"deliveries": real["deliveries"], "derived": types}), "{event:?}");

        let (rehearsed, told) = (lines(dry), lines(&explained(host, id).await));
        let made_own = made(host, id).await;
        let made_derived = match derived {
            Some(derived) => made(host, derived).await,
            None => BTreeMap::new(),
        };
        assert_eq!(real["deliveries"], made_own.len() + made_derived.len());
        for (hook, webhook) in hooks.iter().zip(&ids) {
            let expected = hook.gets(event);
            let found = (made_own.contains_key(webhook), made_derived.contains_key(webhook));
            assert_eq!(found, expected, "{hook:?} {event:?}");
            let ((was_told, why), (was_rehearsed, dry_why)) = (&told[webhook], &rehearsed[webhook]);
            assert_eq!((*was_told, *was_rehearsed), (expected.0, expected.0), "{hook:?} {event:?}: {why}, {dry_why}");
            if !expected.0 {
                assert_eq!(without_id(why), dry_why, "{hook:?} {event:?}");
            }
        }
        for line in dry.as_array().expect("lines") {
            assert_eq!(line.get("derived").is_some(), derived.is_some());
            let webhook = line["webhook_id"].as_str().expect("an id");
            assert_eq!(line["derived"][0]["matched"] == true, made_derived.contains_key(webhook), "{line}");
        }
        if let Some(derived) = derived {
            let told = lines(&explained(host, derived).await);
            for line in dry.as_array().expect("lines") {
                let (was_told, why) = &told[line["webhook_id"].as_str().expect("an id")];
                if !was_told {
                    assert_eq!(line["derived"][0]["reason"], **why);
                }
            }
        }
    }
    previews(host, hooks, events).await;
}

/// A filter's preview finds of the kept events what the filter's webhook would get, were it on and without `critical_once`.
async fn previews(host: &Host, hooks: &[Hook], events: &[Posted]) {
    let derived: Vec<Posted> = events
        .iter()
        .filter(|event| event.is_derived_from())
        .map(|event| Posted { event_type: 1, ..event.clone() })
        .collect();
    for hook in hooks {
        let body = json!({"filter": hook.filter(), "event_types": hook.body("n")["event_types"]});
        let preview = host.post("/api/v1/webhooks/filter-preview", &body.to_string()).await;
        assert_eq!(preview.status, 200, "{}", preview.text);
        let kept = || events.iter().chain(&derived);
        let matched = kept().filter(|event| hook.wants(event.event_type, event)).count();
        let preview = preview.json();
        assert_eq!((&preview["seen"], &preview["matched"]), (&json!(kept().count()), &json!(matched)), "{hook:?}");
        assert_eq!(preview["examples"].as_array().map(Vec::len), Some(matched.min(10)));
    }
}

#[test]
fn explain_dry_run_and_what_is_made_agree() {
    agree_in(24);
}

#[test]
#[ignore = "minutes: the long run of the one above"]
fn explain_dry_run_and_what_is_made_agree_for_long() {
    agree_in(200);
}

fn agree_in(cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let case = (proptest::collection::vec(hook(), 1..8), proptest::collection::vec(posted(), 1..8));
    let outcome = runner.run(&case, |(hooks, events)| {
        runtime.block_on(async {
            let host = Host::start().await;
            agree(&host, &hooks, &events).await;
        });
        Ok(())
    });
    outcome.expect("they agree");
}

const FINDING: &str = r#"{"type":"finding_added","data":{"finding":{"title":"x","severity":"medium"}}}"#;

impl Host {
    async fn created(&self, name: &str, fields: Value) -> String {
        let mut body = json!({"name": name, "url": "https://hook.invalid/x", "event_types": ["*"]});
        let members = fields.as_object().expect("an object").clone();
        body.as_object_mut().expect("an object").extend(members);
        let reply = self.post("/api/v1/webhooks", &body.to_string()).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.json()["id"].as_str().expect("an id").to_owned()
    }
}

#[tokio::test]
async fn explain_says_what_was_changed_since_and_what_came_later() {
    let host = Host::start().await;
    let gets = host.created("gets", json!({})).await;
    let severe = host.created("severe", json!({"filter": {"min_severity": "high"}})).await;
    let off = host.created("off", json!({"is_active": false})).await;
    let loosened = host.created("loosened", json!({"event_types": ["report_ready"]})).await;
    let tightened = host.created("tightened", json!({"filter": {"min_severity": "critical"}})).await;
    let switched_off = host.created("switched off", json!({"event_types": ["report_ready"]})).await;
    let deleted = host.created("deleted", json!({})).await;
    let event = host.post("/api/v1/events", FINDING).await.json()["id"].as_str().expect("an id").to_owned();
    // Another millisecond, by which the host knows the order.
    let accepted = host.get(&format!("/api/v1/events/{event}")).await.json()["accepted_at"].clone();
    let clock = SystemClock::start();
    while clock.now().to_string() == accepted {
        tokio::task::yield_now().await;
    }
    host.put(&format!("/api/v1/webhooks/{loosened}"), r#"{"event_types":["*"]}"#).await;
    host.put(&format!("/api/v1/webhooks/{tightened}"), r#"{"filter":{"min_severity":"high"}}"#).await;
    host.put(&format!("/api/v1/webhooks/{switched_off}"), r#"{"is_active":false}"#).await;
    host.call(&format!("DELETE /api/v1/webhooks/{deleted}"), &host.admin, &[], None).await;
    let later = host.created("later", json!({})).await;

    let reply = host.call(&format!("GET /api/v1/events/{event}/explain"), &host.operator, &[], None).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let told = lines(&reply.json());
    assert_eq!(told.len(), 7, "a webhook that was deleted is not listed");
    let since = host.get(&format!("/api/v1/webhooks/{off}")).await.json()["updated_at"].clone();
    let since = since.as_str().expect("a time");
    assert_eq!(told[&severe], (false, "severity medium is below high".to_owned()));
    assert_eq!(told[&off], (false, format!("off since {since}")));
    for (webhook, matched, begins) in [
        (&gets, true, "a delivery was made; its status is "),
        (&loosened, false, "changed since: the settings of now would match; they were last changed at "),
        (
            &tightened,
            false,
            "severity medium is below high; these are the settings of now, last changed after the event",
        ),
        (&switched_off, false, "changed since: the webhook is off now, and was last changed after the event, at "),
        (&later, false, "made later: "),
    ] {
        let (was_matched, reason) = &told[webhook];
        assert!(*was_matched == matched && reason.starts_with(begins), "{begins}: {reason}");
    }
    let order: Vec<Value> = reply.json().as_array().expect("lines").iter().map(|line| line["name"].clone()).collect();
    assert_eq!((&order[0], &order[6]), (&json!("later"), &json!("gets")), "newest first");
    let own = reply.json().as_array().expect("lines")[6].clone();
    assert_eq!(Some(&json!(made(&host, &event).await[&gets])), own.get("delivery_id"));
}

#[tokio::test]
async fn explain_has_no_parameters_and_is_not_for_everybody() {
    let host = Host::start().await;
    let event = host.post("/api/v1/events", FINDING).await.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("GET /api/v1/events/{event}/explain");
    for token in [&host.ingest, &host.pentester] {
        assert_eq!(host.call(&path, token, &[], None).await.problem(), ["403 forbidden"]);
    }
    assert_eq!(host.call(&path, "", &[], None).await.status, 401);
    assert_eq!(host.get(&format!("/api/v1/events/{event}/explain?x=1")).await.problem(), ["400 invalid_query"]);
    for unknown in [UNKNOWN_ID, "nope"] {
        let reply = host.get(&format!("/api/v1/events/{unknown}/explain?x=1")).await;
        assert_eq!(reply.problem(), ["404 not_found"], "before the query is looked at");
    }
    assert_eq!(explained(&host, &event).await, json!([]));
}

#[tokio::test]
async fn a_dry_run_rejects_what_a_post_rejects_and_uses_nothing_up() {
    let host = Host::with(Limits { max_events: 3, ..Limits::default() }).await;
    host.created("all", json!({})).await;
    let dry = async |token: &str, headers: &[&str], body: &str| {
        host.call("POST /api/v1/events?dry_run=true", token, headers, Some(body)).await
    };
    assert_eq!(dry(&host.operator, &[], FINDING).await.problem(), ["403 forbidden"]);
    assert_eq!(dry(&host.pentester, &[], FINDING).await.problem(), ["403 forbidden"]);
    assert_eq!(dry(&host.admin, &["Content-Type: text/plain"], FINDING).await.status, 415);
    assert_eq!(dry(&host.admin, &[], "{").await.problem(), ["400 invalid_json"]);
    assert_eq!(dry(&host.admin, &["Idempotency-Key: é"], FINDING).await.problem(), ["400 invalid_header"]);
    assert_eq!(dry(&host.admin, &[], "[1,2,3,4]").await.problem(), ["413 too_many_events"]);
    assert_eq!(dry(&host.admin, &[], r#"{"type":"x"}"#).await.problem()[1], "/type unknown_event_type");
    for query in ["dry_run=yes", "dryrun=true", "dry_run=true&dry_run=true"] {
        let reply = host.post(&format!("/api/v1/events?{query}"), FINDING).await;
        assert_eq!(reply.problem(), ["400 invalid_query"], "{query}");
    }
    assert_eq!(host.get("/api/v1/events").await.json(), json!([]), "nothing was accepted");

    let named = FINDING.replacen('{', &format!("{{\"id\":\"{UNKNOWN_ID}\","), 1);
    let other = named.replace("medium", "low");
    let key = ["Idempotency-Key: k"];
    for body in [&named, &other] {
        assert_eq!(dry(&host.ingest, &key, body).await.json(), json!({"deliveries": 1, "derived": []}));
    }
    let post = "POST /api/v1/events";
    let posted = host.call(post, &host.ingest, &key, Some(&named)).await;
    assert_eq!(posted.status, 202, "neither the id nor the key was used up: {}", posted.text);
    assert_eq!(dry(&host.ingest, &[], &other).await.problem(), ["422 event_id_taken", "/id event_id_taken"]);
    assert_eq!(dry(&host.admin, &[], &format!("[{named}]")).await.problem()[1], "/0/id event_id_taken");
    assert_eq!(dry(&host.ingest, &key, &other).await.problem()[0], "422 idempotency_key_reused");
    // What was accepted before is answered by what became of it.
    host.created("later", json!({})).await;
    assert_eq!(dry(&host.ingest, &key, &named).await.json(), json!({"deliveries": 1, "derived": []}));
    let listed = host.get("/api/v1/events").await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_answer_of_a_dry_run_has_the_shape_of_its_request() {
    let host = Host::start().await;
    let critical = FINDING.replace("medium", "critical");
    assert_eq!(host.post("/api/v1/events?dry_run=true", FINDING).await.json(), json!([]));
    let once = host.created("once", json!({"critical_once": true})).await;
    let goes = "a delivery would be made";
    let line = json!([{
        "webhook_id": once, "name": "once", "matched": false,
        "reason": "critical_once: the critical_finding derived from it goes instead",
        "derived": [{"type": "critical_finding", "matched": true, "reason": goes}],
    }]);
    let plain = json!([{"webhook_id": once, "name": "once", "matched": true, "reason": goes}]);
    assert_eq!(host.post("/api/v1/events?dry_run=true", &critical).await.json(), line);
    let both = host.post("/api/v1/events?dry_run=true", &format!("[{critical},{FINDING}]")).await;
    assert_eq!(both.json(), json!([line, plain]));
    assert_eq!(host.post("/api/v1/events?dry_run=true", &format!("[{FINDING}]")).await.json(), json!([plain]));
    let lines = host
        .call(
            "POST /api/v1/events?dry_run=true",
            &host.ingest,
            &["Content-Type: application/x-ndjson"],
            Some(&format!("{critical}\n")),
        )
        .await;
    assert_eq!(lines.json(), json!([{"deliveries": 1, "derived": ["critical_finding"]}]));
    assert_eq!(host.post("/api/v1/events?dry_run=false", FINDING).await.status, 202);
}

#[tokio::test]
async fn a_dry_run_counts_for_the_rate_of_its_token() {
    let host = Host::with(Limits { token_rate: 2, ..Limits::default() }).await;
    let two = format!("[{FINDING},{FINDING}]");
    assert_eq!(host.post("/api/v1/events?dry_run=true", &two).await.status, 200);
    assert_eq!(host.post("/api/v1/events?dry_run=true", FINDING).await.problem(), ["429 too_many_requests"]);
}

#[tokio::test]
async fn a_preview_of_a_filter_shows_the_newest_events_that_pass() {
    let host = Host::start().await;
    let path = "/api/v1/webhooks/filter-preview";
    for number in 0..14 {
        let severity = if number % 2 == 0 { "high" } else { "low" };
        let event = FINDING.replace("medium", severity).replace("\"x\"", &format!("\"finding {number}\""));
        assert_eq!(host.post("/api/v1/events", &event).await.status, 202);
    }
    for number in 0..12 {
        let phase = format!(r#"{{"type":"phase_changed","data":{{"phase":{{"name":"{number}","n":1.50}}}}}}"#);
        assert_eq!(host.post("/api/v1/events", &phase).await.status, 202);
    }
    let preview = async |body: Value| host.post(path, &body.to_string()).await;
    let all = preview(json!({"filter": {}})).await.json();
    assert_eq!((&all["seen"], &all["matched"], &all["errors"]), (&json!(26), &json!(26), &json!(0)));
    assert_eq!(all["examples"].as_array().map(Vec::len), Some(10));
    assert!(all.get("error").is_none(), "{all}");
    assert_eq!(all["examples"][0]["data"]["phase"]["name"], "11");

    let body = json!({"filter": {"min_severity": "high"}, "event_types": ["finding_added"]});
    let severe = preview(body.clone()).await;
    assert_eq!((&severe.json()["seen"], &severe.json()["matched"]), (&json!(26), &json!(7)));
    let example = severe.json()["examples"][0].clone();
    let id = example["id"].as_str().expect("an id");
    let mut read = host.get(&format!("/api/v1/events/{id}")).await.json();
    read.as_object_mut().expect("an object").remove("deliveries");
    assert_eq!(example, read, "as the event is shown, without its deliveries");
    assert_eq!(example["data"]["finding"]["title"], "finding 12");
    assert!(
        preview(json!({"filter": {}, "event_types": ["phase_changed"]})).await.text.contains("1.50"),
        "byte for byte"
    );

    let reply = host.call(&format!("POST {path}"), &host.operator, &[], Some(&body.to_string())).await;
    assert_eq!(reply.json(), severe.json());
    let since = json!({"filter": {}, "since": "2999-01-01T00:00:00Z"});
    assert_eq!(preview(since).await.json(), json!({"seen": 0, "matched": 0, "errors": 0, "examples": []}));
}

#[tokio::test]
async fn a_wrong_filter_is_rejected_as_when_it_is_saved() {
    let host = Host::start().await;
    let path = "/api/v1/webhooks/filter-preview";
    for (body, expected) in [
        (
            r#"{"filter":{"min_severity":"dire","x":1}}"#,
            &["/filter/x unknown_field", "/filter/min_severity invalid"][..],
        ),
        (r#"{"filter":{"engagement_ids":[]}}"#, &["/filter/engagement_ids empty"]),
        (r#"{"filter":{"expression":""}}"#, &["/filter/expression empty"]),
        (r#"{"filter":7}"#, &["/filter wrong_type"]),
        (
            r#"{"event_types":["x"],"since":"now"}"#,
            &["/filter required", "/event_types/0 unknown_event_type", "/since invalid"],
        ),
        (r#"{"filter":{},"limit":1}"#, &["/limit unknown_field"]),
    ] {
        let problem = host.post(path, body).await.problem();
        let mut found: Vec<&str> = problem.iter().skip(1).map(String::as_str).collect();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!((problem[0].as_str(), found), ("422 invalid_fields", expected), "{body}");
        if body.contains("\"filter\":{") && !body.contains("limit") {
            let saved = host.created("n", json!({})).await;
            let put = host.put(&format!("/api/v1/webhooks/{saved}"), body).await.problem();
            assert_eq!(put, problem, "{body}");
        }
    }
    for token in [&host.ingest, &host.pentester] {
        let reply = host.call(&format!("POST {path}"), token, &[], Some(r#"{"filter":{}}"#)).await;
        assert_eq!(reply.problem(), ["403 forbidden"]);
    }
}
