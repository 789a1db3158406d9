//! Events: accepted and rejected input, error positions, and reading back. Repeats are in `idempotency.rs`.

use serde_json::{Value, json};

use crate::support::{Answer, Client, Destination, Host, events, is_id, is_time};

/// Event types, each with the required member of `data`.
const GROUPS: [(&str, &str); 10] = [
    ("finding_added", "finding"),
    ("finding_verified", "finding"),
    ("phase_changed", "phase"),
    ("engagement_completed", "summary"),
    ("engagement_signed", "authorization"),
    ("critical_finding", "finding"),
    ("retest_completed", "retest"),
    ("report_ready", "report"),
    ("surface_changed", "surface"),
    ("monitor_alert", "monitor"),
];

/// A host with an admin and two ingest clients.
struct Cast {
    admin: Client,
    ingest: Client,
    other: Client,
    /// Keeps the host alive.
    _host: Host,
}

impl Cast {
    async fn start() -> Self {
        let host = Host::start().await;
        let admin = host.admin();
        let (ingest, other) = (admin.new_token("ingest").await, admin.new_token("ingest").await);
        Self { admin, ingest, other, _host: host }
    }
}

fn id_of(accepted: &Value) -> String {
    accepted["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn an_event_is_accepted_and_reads_back_as_posted() {
    let cast = Cast::start().await;
    every_type(&cast).await;
    byte_for_byte(&cast).await;
    times_and_ids(&cast).await;
    warnings(&cast).await;
    numbers(&cast).await;
    one_or_many(&cast).await;
    derived(&cast).await;
    readers(&cast).await;
    counted(&cast).await;
}

async fn every_type(cast: &Cast) {
    for (name, group) in GROUPS {
        let data = if group == "finding" { json!({"finding": {"title": "t"}}) } else { json!({ group: {} }) };
        let response = cast.ingest.post("/events", &json!({"type": name, "data": data})).await.expect(202);
        let accepted = response.json();
        let members: Vec<&String> = accepted.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["deliveries", "derived", "id"]);
        assert!(is_id(&accepted["id"]), "{response}");
        assert_eq!((&accepted["deliveries"], &accepted["derived"]), (&json!(0), &json!([])));
        let read = cast.ingest.get(&format!("/events/{}", id_of(&accepted))).await.expect(200).json();
        let members: Vec<&String> = read.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["accepted_at", "data", "deliveries", "id", "occurred_at", "type"]);
        assert_eq!((&read["type"], &read["data"], &read["deliveries"]), (&json!(name), &data, &json!([])));
        assert_eq!((&read["id"], &read["occurred_at"]), (&accepted["id"], &read["accepted_at"]));
        assert!(is_time(&read["accepted_at"]), "{read}");
    }
}

async fn byte_for_byte(cast: &Cast) {
    // Every sample, hostile ones too, byte for byte.
    for sample in heraldry::samples::all() {
        let text = sample.json.trim_end();
        let response = cast.ingest.post_text("/events", text).await;
        if text.contains("\"caused_by\"") {
            response.fault("/caused_by", "read_only");
            continue;
        }
        if !heraldry::samples::posted().iter().any(|posted| posted.name == sample.name) {
            response.fault("/type", "host_event_type");
            continue;
        }
        let read = cast.ingest.get(&format!("/events/{}", id_of(&response.expect(202).json()))).await.expect(200);
        let posted: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(read.json()["data"], posted["data"], "{}", sample.name);
        assert_eq!(read.json()["engagement"], posted["engagement"], "{}", sample.name);
        let data = &text[text.find("\"data\":").expect("data")..text.len() - 1];
        assert!(read.text().contains(data), "{}: {read}", sample.name);
    }
    // JSON that no serialiser would write.
    let data = "{ \"phase\" :\t{\"n\":1.50e+2, \"big\":123456789012345678901234567890,\"s\":\"\\u0041\\/\\ud83d\\uDE00\" , \
                \"z\":-0.0},\"extra\":[ 1 ,{ } ] }";
    let engagement = "{ \"name\" : \"N\\u00e9\",\"id\":\"e\" }";
    let event = format!("{{\"data\" : {data}, \"engagement\": {engagement} ,\"type\":\"phase_changed\"}}");
    for text in [event.clone(), format!(" \n{event}\t\r\n")] {
        let accepted = cast.ingest.post_text("/events", text).await.expect(202).json();
        let read = cast.ingest.get(&format!("/events/{}", id_of(&accepted))).await.expect(200);
        assert!(read.text().contains(&format!("\"data\":{data}")), "{read}");
        assert!(read.text().contains(&format!("\"engagement\":{engagement}")), "{read}");
    }
}

/// Members that a schema does not know are kept, with a warning that names what was meant.
async fn warnings(cast: &Cast) {
    let data = json!({"finding": {
        "title": "t", "desc": "d", "host": "h", "cvss_score": 9.8, "link": "l", "colour": {"description": 1},
    }, "more": {"desc": 1}});
    let event = json!({"type": "finding_added", "id": events::new_id(), "data": data});
    let first = cast.ingest.post("/events", &event).await.expect(202).json();
    let id = id_of(&first);
    let listed = |accepted: &Value| {
        let warnings = accepted["warnings"].as_array().expect("warnings").iter();
        warnings.map(|warning| warning["pointer"].as_str().expect("a pointer").to_owned()).collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    for warning in first["warnings"].as_array().expect("warnings") {
        assert_eq!(warning["code"], "unknown_member");
        let detail = warning["detail"].as_str().expect("a sentence");
        found.push((warning["pointer"].as_str().expect("a pointer"), detail.rsplit("; ").next().expect("a part")));
    }
    found.sort_unstable();
    assert_eq!(found[0].0, "/data/finding/colour");
    assert!(found[0].1.starts_with("usual are "), "{found:?}");
    assert_eq!(
        found[1..],
        [
            ("/data/finding/cvss_score", "did you mean cvss?"),
            ("/data/finding/desc", "did you mean description?"),
            ("/data/finding/host", "did you mean target?"),
            ("/data/finding/link", "did you mean url?"),
        ]
    );
    assert!(first.get("more_warnings").is_none(), "{first}");
    assert_eq!(cast.ingest.get(&format!("/events/{id}")).await.json()["data"], data);
    // A repeat is answered as the first time, by id and by key.
    assert_eq!(cast.ingest.post("/events", &event).await.expect(202).json(), first);
    let keyed = json!({"type": "phase_changed", "data": {"phase": {"a/b~": 1}}}).to_string();
    let send = || {
        let request = cast.ingest.request("POST", "/events").header("idempotency-key", "warned");
        request.body("application/json", keyed.clone()).send()
    };
    let once = send().await.expect(202).json();
    assert_eq!(listed(&once), ["/data/phase/a~1b~0"]);
    assert_eq!(send().await.expect(202).json(), once);
    // At most 20 of an event and 100 in a response; the rest is counted.
    let many = |count: usize| {
        let members: serde_json::Map<_, _> = (0..count).map(|index| (format!("k{index}"), json!(1))).collect();
        json!({"type": "phase_changed", "data": {"phase": members}})
    };
    let accepted = cast.ingest.post("/events", &many(20)).await.expect(202).json();
    assert_eq!((listed(&accepted).len(), accepted.get("more_warnings")), (20, None));
    let accepted = cast.ingest.post("/events", &many(21)).await.expect(202).json();
    assert_eq!((listed(&accepted).len(), &accepted["more_warnings"]), (20, &json!(1)));
    let body = json!([many(15), many(0), many(30), many(30), many(30), many(30), many(30)]);
    let accepted = cast.ingest.post("/events", &body).await.expect(202).list();
    assert_eq!(listed(&accepted[0])[0], "/0/data/phase/k0");
    let counts: Vec<(usize, &Value)> = accepted
        .iter()
        .map(|event| (event["warnings"].as_array().map_or(0, Vec::len), &event["more_warnings"]))
        .collect();
    let ten = json!(10);
    let expected =
        [(15, &Value::Null), (0, &Value::Null), (20, &ten), (20, &ten), (20, &ten), (20, &ten), (5, &json!(25))];
    assert_eq!(counts, expected);
    let long = json!({"type": "phase_changed", "data": {"phase": {"k".repeat(10_000): 1}}});
    let accepted = cast.ingest.post("/events", &long).await.expect(202).json();
    assert_eq!(listed(&accepted)[0].chars().count(), 200);
}

/// Numbers beyond a double pass as they are, and are compared exactly.
async fn numbers(cast: &Cast) {
    let long = "7".repeat(400);
    let data = format!(
        "{{\"finding\":{{\"title\":\"t\",\"severity\":\"critical\",\"cvss\":1e400,\"n\":[-1E+999999999,{long}]}}}}"
    );
    let id = events::new_id();
    let event = |data: &str| format!("{{\"type\":\"finding_added\",\"id\":\"{id}\",\"data\":{data}}}");
    let first = cast.ingest.post_text("/events", event(&data)).await.expect(202).json();
    let derived = first["derived"][0].as_str().expect("a derived event").to_owned();
    for read in [&id, &derived] {
        let read = cast.ingest.get(&format!("/events/{read}")).await.expect(200);
        assert!(read.text().contains(&format!("\"data\":{data}")), "{}", read.text());
    }
    let respelled = data.replace("1e400", "10E0399").replace("-1E+999999999", "-10e999999998");
    assert_eq!(cast.ingest.post_text("/events", event(&respelled)).await.expect(202).json(), first);
    for other in [data.replace("1e400", "1e401"), data.replace(&long, &format!("{}8", &long[1..]))] {
        cast.ingest.post_text("/events", event(&other)).await.problem(422, "event_id_taken");
    }
    // The host's own fields have ranges.
    cast.admin
        .post_text("/webhooks", "{\"name\":\"n\",\"url\":\"http://127.0.0.1:9/\",\"retry_count\":1e400}")
        .await
        .errors(&[("/retry_count", "out_of_range")]);
    let options = "{\"name\":\"n\",\"url\":\"http://127.0.0.1:9/\",\"format\":\"syslog\",\"format_options\":{\"facility\":1e400}}";
    cast.admin.post_text("/webhooks", options).await.errors(&[("/format_options", "out_of_range")]);
    let preview = format!("{{\"event\":{},\"options\":{{\"facility\":1e400}}}}", event(&data));
    cast.admin.post_text("/formatters/syslog/preview", preview).await.errors(&[("/options", "out_of_range")]);
    let preview = format!("{{\"event\":{}}}", event(&data));
    let shown = cast.admin.post_text("/formatters/json/preview", preview).await.expect(200).json();
    assert!(shown["body"].as_str().is_some_and(|body| body.contains("1e400") && body.contains(&long)), "{shown}");
}

async fn times_and_ids(cast: &Cast) {
    for (given, shown) in [
        ("2026-11-18T08:00:00Z", "2026-11-18T08:00:00.000Z"),
        ("2026-11-18T10:30:00.123456+02:30", "2026-11-18T08:00:00.123Z"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("2026-11-18t08:00:00.1234567891z", "2026-11-18T08:00:00.123Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999Z"),
    ] {
        let event = json!({"type": "phase_changed", "occurred_at": given, "data": {"phase": {}}});
        let id = cast.ingest.event(&event).await;
        assert_eq!(cast.ingest.get(&format!("/events/{id}")).await.json()["occurred_at"], shown, "{given}");
    }
    // Any UUID is a valid id, in upper or lower case; it is shown in lower case.
    for given in ["6BA7B810-9dad-11d1-80b4-00c04fd430c8", "00000000-0000-0000-0000-000000000001", &events::new_id()] {
        let event = json!({"type": "phase_changed", "id": given, "data": {"phase": {}}});
        assert_eq!(cast.ingest.event(&event).await, given.to_ascii_lowercase());
        cast.ingest.get(&format!("/events/{given}")).await.expect(200);
    }
    let whole = json!({
        "type": "phase_changed", "engagement": {"id": "", "name": "", "client": ""}, "data": {"phase": {}, "more": null},
    });
    let id = cast.ingest.event(&whole).await;
    assert_eq!(cast.ingest.get(&format!("/events/{id}")).await.json()["engagement"], whole["engagement"]);
}

async fn one_or_many(cast: &Cast) {
    let event = || json!({"type": "phase_changed", "data": {"phase": {}}}).to_string();
    let lines = |response: Answer, count: usize| {
        let accepted = response.expect(202).list();
        assert_eq!(accepted.len(), count);
        assert!(accepted.iter().all(|one| is_id(&one["id"]) && one["deliveries"] == 0 && one["derived"] == json!([])));
    };
    assert!(cast.ingest.post_text("/events", event()).await.expect(202).json().is_object());
    lines(cast.ingest.post_text("/events", format!("[{}]", event())).await, 1);
    lines(cast.ingest.post_text("/events", format!(" [ {} ,\n{} ] ", event(), event())).await, 2);
    lines(cast.ingest.post_lines("/events", event()).await, 1);
    lines(cast.ingest.post_lines("/events", format!("{}\r\n\n  \n{}\n", event(), event())).await, 2);
    // Each line is one event: an object over two lines is rejected, and so is a line with an array.
    cast.ingest.post_lines("/events", event().replace(",", ",\n")).await.problem(400, "invalid_json");
    cast.ingest.post_lines("/events", format!("[{}]", event())).await.fault("/0", "wrong_type");
    // Results are in the order of the events.
    let many: Vec<Value> = (0..10).map(|_| events::minimal("phase_changed")).collect();
    let results = cast.ingest.post("/events", &json!(many)).await.expect(202).list();
    let ids = |events: &[Value]| events.iter().map(id_of).collect::<Vec<_>>();
    assert_eq!(ids(&results), ids(&many));
    // An empty body is rejected.
    cast.ingest.post_text("/events", "[]").await.fault("", "empty");
    cast.ingest.post_lines("/events", "\n \n").await.fault("", "empty");
}

async fn derived(cast: &Cast) {
    for severity in ["critical", "CRITICAL", "Critical"] {
        let posted = events::in_engagement(events::finding("a leak", severity), "e-derived");
        let accepted = cast.ingest.post("/events", &posted).await.expect(202).json();
        let derived = accepted["derived"].as_array().expect("a list");
        assert_eq!(derived.len(), 1, "{accepted}");
        assert!(is_id(&derived[0]) && derived[0] != accepted["id"]);
        for reader in [&cast.ingest, &cast.admin] {
            let read = reader.get(&format!("/events/{}", derived[0].as_str().expect("an id"))).await.expect(200).json();
            assert_eq!((&read["type"], &read["caused_by"]), (&json!("critical_finding"), &posted["id"]));
            for member in ["data", "engagement", "occurred_at"] {
                assert_eq!(read[member], posted[member], "{member}");
            }
        }
        let cause = cast.ingest.get(&format!("/events/{}", id_of(&accepted))).await.expect(200).json();
        assert!(cause.get("caused_by").is_none(), "{cause}");
        // The derived id is reserved: no client can post with it.
        let mut reserved = events::minimal("phase_changed");
        reserved["id"] = derived[0].clone();
        cast.ingest
            .post("/events", &reserved)
            .await
            .problem(422, "event_id_taken")
            .errors(&[("/id", "event_id_taken")]);
    }
    for event in [
        events::finding("no leak", "high"),
        events::finding("no severity", ""),
        sample_with_severity("finding_verified"),
        sample_with_severity("critical_finding"),
    ] {
        let accepted = cast.ingest.post("/events", &event).await.expect(202).json();
        assert_eq!(accepted["derived"], json!([]), "{event}");
    }
}

fn sample_with_severity(name: &str) -> Value {
    let mut event = events::sample(name);
    event["data"]["finding"]["severity"] = json!("critical");
    event
}

async fn readers(cast: &Cast) {
    let accepted = cast.ingest.post("/events", &events::finding("mine", "critical")).await.expect(202).json();
    let derived = accepted["derived"][0].as_str().expect("an id").to_owned();
    for id in [id_of(&accepted), derived] {
        let path = format!("/events/{id}");
        cast.ingest.get(&path).await.expect(200);
        cast.admin.get(&path).await.expect(200);
        let other_tokens = cast.other.get(&path).await;
        let missing = cast.other.get(&format!("/events/{}", events::new_id())).await;
        other_tokens.problem(404, "not_found");
        assert_eq!(other_tokens.text(), missing.text(), "an event of another token must look as if it did not exist");
    }
    // An event that the admin posted is not readable with the ingest token.
    let id = cast.admin.event(&events::minimal("phase_changed")).await;
    cast.ingest.get(&format!("/events/{id}")).await.problem(404, "not_found");
    cast.admin.get(&format!("/events/{id}")).await.expect(200);
}

/// `deliveries` counts all deliveries created by the post, including held ones and those of derived events.
async fn counted(cast: &Cast) {
    let destination = Destination::start().await;
    let severe = json!({"event_types": ["finding_added"], "filter": {"min_severity": "medium"}});
    let engaged =
        json!({"event_types": ["finding_added", "phase_changed"], "filter": {"engagement_ids": ["e-1", "e-2"]}});
    let both = json!({"event_types": ["*"], "filter": {"min_severity": "high", "engagement_ids": ["e-2"]}});
    for (path, fields) in [("/severe", severe), ("/engaged", engaged), ("/both", both)] {
        cast.admin.webhook(&destination.url(path), fields).await;
    }
    cast.admin.webhook(&destination.url("/derived"), json!({"event_types": ["critical_finding"]})).await;
    cast.admin.webhook(&destination.url("/off"), json!({"is_active": false})).await;
    let finding = |severity: &str| events::finding("a finding", severity);
    let alert = |severity: &str| {
        let alert = json!({"type": "monitor_alert", "data": {"monitor": {"name": "m", "severity": severity}}});
        events::in_engagement(alert, "e-2")
    };
    for (what, event, expected) in [
        ("a severe alert, as its monitor writes it", alert(" HIGH\n"), 1),
        ("a harmless alert, as its monitor writes it", alert("low "), 0),
        ("an alert whose severity is no word of ours, that passes", alert("urgent"), 1),
        ("too harmless", finding("low"), 0),
        ("severe enough", finding("medium"), 1),
        ("in any case", finding("MEDIUM"), 1),
        ("without a severity, that passes", finding(""), 1),
        ("of an engagement", events::in_engagement(finding("info"), "e-1"), 1),
        ("of an engagement, and severe", events::in_engagement(finding("medium"), "e-1"), 2),
        ("of another engagement", events::in_engagement(finding("low"), "e-3"), 0),
        ("for both conditions", events::in_engagement(finding("high"), "e-2"), 3),
        ("for one of both conditions", events::in_engagement(finding("medium"), "e-2"), 2),
        ("of a type without a filter", events::in_engagement(events::minimal("phase_changed"), "e-2"), 2),
        ("of a type that no webhook selects", events::minimal("report_ready"), 0),
        ("critical: the derived one too", finding("critical"), 2),
        ("critical, in an engagement", events::in_engagement(finding("critical"), "e-2"), 5),
    ] {
        let accepted = cast.ingest.post("/events", &event).await.expect(202).json();
        assert_eq!(accepted["deliveries"], expected, "{what}");
        let mut made = cast.ingest.settled(&id_of(&accepted)).await;
        if let Some(derived) = accepted["derived"][0].as_str() {
            made.extend(cast.ingest.settled(derived).await);
        }
        assert_eq!(made.len(), expected, "{what}");
        for delivery in made {
            let members: Vec<&String> = delivery.as_object().expect("an object").keys().collect();
            assert_eq!(members, ["attempts", "id", "next_attempt_at", "status", "webhook_id"]);
            assert!(is_id(&delivery["id"]) && is_id(&delivery["webhook_id"]), "{delivery}");
            assert_eq!(
                (&delivery["status"], &delivery["attempts"], &delivery["next_attempt_at"]),
                (&json!("delivered"), &json!(1), &json!(null))
            );
        }
    }
}

#[tokio::test]
async fn every_fault_of_an_event_is_reported_at_its_pointer_and_nothing_is_accepted() {
    let cast = Cast::start().await;
    let destination = Destination::start().await;
    cast.admin.webhook(&destination.url("/"), json!({})).await;
    let good = || events::minimal("phase_changed");
    for (event, faults) in faulty() {
        let expected = |prefix: &str| -> Vec<(String, &str)> {
            faults.iter().map(|(pointer, code)| (format!("{prefix}{pointer}"), *code)).collect()
        };
        let check = |response: Answer, prefix: &str| {
            let expected = expected(prefix);
            let expected: Vec<(&str, &str)> =
                expected.iter().map(|(pointer, code)| (pointer.as_str(), *code)).collect();
            response.faults(&expected);
        };
        check(cast.ingest.post("/events", &event).await, "");
        check(cast.ingest.post("/events", &json!([good(), event])).await, "/1");
        check(cast.ingest.post_lines("/events", format!("{}\n\n{}\n{event}\n", good(), good())).await, "/2");
        let preview = cast.ingest.post("/formatters/json/preview", &json!({ "event": event })).await;
        check(preview, "/event");
    }
    // A host event is nobody's to post, and may be previewed.
    let host = json!({"type": "host_degraded", "data": {"host": {}}});
    cast.ingest.post("/events", &json!([good(), host])).await.fault("/1/type", "host_event_type");
    cast.ingest.post("/formatters/json/preview", &json!({ "event": host })).await.expect(200);
    // All faults of all events are reported at once.
    let response =
        cast.ingest.post("/events", &json!([{"type": "nope", "data": {}}, good(), 7, {"data": 1, "x": 1}])).await;
    response.faults(&[
        ("/0/type", "unknown_event_type"),
        ("/2", "wrong_type"),
        ("/3/type", "required"),
        ("/3/data", "wrong_type"),
        ("/3/x", "unknown_field"),
    ]);
    whole_or_not_at_all(&cast, &destination).await;
    limits(&cast).await;
}

/// Invalid events, with the expected pointers and codes.
fn faulty() -> Vec<(Value, Vec<(&'static str, &'static str)>)> {
    let phase = |member: &str, value: Value| {
        let mut event = json!({"type": "phase_changed", "data": {"phase": {}}});
        event[member] = value;
        event
    };
    let finding = |finding: Value| json!({"type": "finding_added", "data": {"finding": finding}});
    let mut rows = vec![
        (json!(7), vec![("", "wrong_type")]),
        (json!(null), vec![("", "wrong_type")]),
        (json!("finding_added"), vec![("", "wrong_type")]),
        (json!({}), vec![("/type", "required"), ("/data", "required")]),
        (json!({"data": {"phase": {}}}), vec![("/type", "required")]),
        (json!({"type": "phase_changed"}), vec![("/data", "required")]),
        (phase("type", json!(null)), vec![("/type", "wrong_type")]),
        (phase("type", json!("nope")), vec![("/type", "unknown_event_type")]),
        (phase("type", json!("*")), vec![("/type", "unknown_event_type")]),
        (phase("type", json!("Phase_changed")), vec![("/type", "unknown_event_type")]),
        (phase("data", json!(null)), vec![("/data", "wrong_type")]),
        (phase("data", json!([])), vec![("/data", "wrong_type")]),
        (phase("occurred_at", json!(null)), vec![("/occurred_at", "wrong_type")]),
        (phase("occurred_at", json!(1_700_000_000)), vec![("/occurred_at", "wrong_type")]),
        (phase("occurred_at", json!("")), vec![("/occurred_at", "invalid")]),
        (phase("occurred_at", json!("2026-11-18")), vec![("/occurred_at", "invalid")]),
        (phase("occurred_at", json!("2026-11-18T08:00:00")), vec![("/occurred_at", "invalid")]),
        (phase("occurred_at", json!("2026-02-30T08:00:00Z")), vec![("/occurred_at", "invalid")]),
        (phase("occurred_at", json!("2026-01-31512:00:00Z")), vec![("/occurred_at", "invalid")]),
        (phase("occurred_at", json!("2026-01-31Q12:00:00Z")), vec![("/occurred_at", "invalid")]),
        (phase("occurred_at", json!("2026-01-31\n12:00:00Z")), vec![("/occurred_at", "invalid")]),
        (phase("occurred_at", json!("2026-01-31 12:00:00Z")), vec![("/occurred_at", "invalid")]),
        (phase("occurred_at", json!("2026-01-31T12:00:00+24:00")), vec![("/occurred_at", "invalid")]),
        (phase("occurred_at", json!("9999-12-31T23:59:59-00:01")), vec![("/occurred_at", "invalid")]),
        (phase("id", json!(null)), vec![("/id", "wrong_type")]),
        (phase("id", json!(7)), vec![("/id", "wrong_type")]),
        (phase("id", json!("")), vec![("/id", "invalid")]),
        (phase("id", json!("F-0412")), vec![("/id", "invalid")]),
        (phase("engagement", json!(null)), vec![("/engagement", "wrong_type")]),
        (phase("engagement", json!("e")), vec![("/engagement", "wrong_type")]),
        (phase("engagement", json!({})), vec![("/engagement/id", "required"), ("/engagement/name", "required")]),
        (phase("engagement", json!({"id": 1, "name": "n"})), vec![("/engagement/id", "wrong_type")]),
        (phase("engagement", json!({"id": "e", "name": null})), vec![("/engagement/name", "wrong_type")]),
        (phase("engagement", json!({"id": "e", "name": "n", "client": 1})), vec![("/engagement/client", "wrong_type")]),
        (
            phase("engagement", json!({"id": "e", "name": "n", "team": "t"})),
            vec![("/engagement/team", "unknown_field")],
        ),
        (phase("severity", json!("high")), vec![("/severity", "unknown_field")]),
        (phase("caused_by", json!("x")), vec![("/caused_by", "read_only")]),
        (phase("a/b~c", json!(1)), vec![("/a~1b~0c", "unknown_field")]),
        (finding(json!({})), vec![("/data/finding/title", "required")]),
        (finding(json!({"title": ""})), vec![("/data/finding/title", "empty")]),
        (finding(json!({"title": 7})), vec![("/data/finding/title", "wrong_type")]),
        (finding(json!({"title": "t", "severity": ""})), vec![("/data/finding/severity", "invalid")]),
        (finding(json!({"title": "t", "severity": "urgent"})), vec![("/data/finding/severity", "invalid")]),
        (finding(json!({"title": "t", "severity": null})), vec![("/data/finding/severity", "wrong_type")]),
        (finding(json!({"title": "t", "severity": 9.8})), vec![("/data/finding/severity", "wrong_type")]),
        (
            json!({"type": "finding_added", "id": "x", "engagement": {"id": 1}, "data": {"finding": {"severity": 1}}, "y": 1}),
            vec![
                ("/id", "invalid"),
                ("/engagement/id", "wrong_type"),
                ("/engagement/name", "required"),
                ("/data/finding/title", "required"),
                ("/data/finding/severity", "wrong_type"),
                ("/y", "unknown_field"),
            ],
        ),
    ];
    for (name, group) in GROUPS {
        let pointer: &'static str = match group {
            "finding" => "/data/finding",
            "phase" => "/data/phase",
            "summary" => "/data/summary",
            "authorization" => "/data/authorization",
            "retest" => "/data/retest",
            "report" => "/data/report",
            "surface" => "/data/surface",
            _ => "/data/monitor",
        };
        rows.push((json!({"type": name, "data": {}}), vec![(pointer, "required")]));
        rows.push((json!({"type": name, "data": { group: null }}), vec![(pointer, "wrong_type")]));
        rows.push((json!({"type": name, "data": { group: [1] }}), vec![(pointer, "wrong_type")]));
    }
    rows
}

async fn whole_or_not_at_all(cast: &Cast, destination: &Destination) {
    let good: Vec<Value> = (0..3).map(|_| events::minimal("phase_changed")).collect();
    let bad = json!({"type": "phase_changed", "data": {"phase": {}}, "x": 1});
    let text = good.iter().map(|event| format!("{event}\n")).collect::<String>();
    cast.ingest.post("/events", &json!([good[0], good[1], good[2], bad])).await.fault("/3/x", "unknown_field");
    cast.ingest.post_lines("/events", format!("{text}{bad}")).await.fault("/3/x", "unknown_field");
    cast.ingest.post_lines("/events", format!("{text}{{")).await.problem(400, "invalid_json");
    let doubled = format!("[{},{},{{\"type\":\"x\",\"type\":\"y\"}}]", good[0], good[1]);
    cast.ingest.post_text("/events", doubled).await.problem(400, "invalid_json");
    for event in &good {
        cast.ingest.get(&format!("/events/{}", id_of(event))).await.problem(404, "not_found");
    }
    // The corrected events are accepted under the same ids, and nothing else was ever sent.
    cast.ingest.post("/events", &json!(good)).await.expect(202);
    for event in &good {
        cast.ingest.settled(&id_of(event)).await;
    }
    assert_eq!(destination.received().len(), 3);
}

/// An event whose text has this many bytes.
fn event_of(bytes: usize) -> String {
    let empty = "{\"type\":\"phase_changed\",\"data\":{\"phase\":{\"name\":\"\"}}}";
    let padding = "x".repeat(bytes - empty.len());
    empty.replace("\"name\":\"\"", &format!("\"name\":\"{padding}\""))
}

async fn limits(cast: &Cast) {
    let post = async |text: String| cast.ingest.post_text("/events", text).await;
    let rejected = |response: Answer, code: &str, limit: &str| {
        response.problem(413, code);
        assert!(response.text().contains(limit), "{code} names its limit: {response}");
    };
    // One event: 256 KiB, white space around it not counted.
    let most = 256 * 1024;
    post(event_of(most)).await.expect(202);
    post(format!("  {}\n", event_of(most))).await.expect(202);
    rejected(post(event_of(most + 1)).await, "event_too_large", "262144");
    rejected(post(format!("[{},{}]", event_of(100), event_of(most + 1))).await, "event_too_large", "262144");
    let lines = format!("{}\n{}", event_of(100), event_of(most + 1));
    rejected(cast.ingest.post_lines("/events", lines).await, "event_too_large", "262144");
    let preview = format!("{{\"event\":{}}}", event_of(most + 1));
    rejected(cast.ingest.post_text("/formatters/json/preview", preview).await, "event_too_large", "262144");
    // One request: 1,000 events.
    let many = |count: usize| vec![event_of(100); count];
    assert_eq!(post(format!("[{}]", many(1000).join(","))).await.expect(202).list().len(), 1000);
    rejected(post(format!("[{}]", many(1001).join(","))).await, "too_many_events", "1000");
    assert_eq!(cast.ingest.post_lines("/events", many(1000).join("\n")).await.expect(202).list().len(), 1000);
    rejected(cast.ingest.post_lines("/events", many(1001).join("\n")).await, "too_many_events", "1000");
    // One body: 4 MiB.
    let body = |bytes: usize| {
        let text = format!("[{}]", vec![event_of(most - 1); 15].join(","));
        format!("{text}{}", " ".repeat(bytes - text.len()))
    };
    assert_eq!(post(body(4 * 1024 * 1024)).await.expect(202).list().len(), 15);
    rejected(post(body(4 * 1024 * 1024 + 1)).await, "body_too_large", "4194304");
}

#[tokio::test]
async fn the_limits_of_a_request_are_settings() {
    let limits = ["--max-event-bytes", "1KiB", "--max-body-bytes", "4KiB", "--max-events", "3"];
    let host = Host::with(|options| options.args(limits)).await;
    let admin = host.admin();
    let post = async |text: String| admin.post_text("/events", text).await;
    post(event_of(1024)).await.expect(202);
    post(event_of(1025)).await.problem(413, "event_too_large");
    post(format!("[{}]", vec![event_of(100); 3].join(","))).await.expect(202);
    post(format!("[{}]", vec![event_of(100); 4].join(","))).await.problem(413, "too_many_events");
    post(format!("{:4096}", event_of(100))).await.expect(202);
    post(format!("{:4097}", event_of(100))).await.problem(413, "body_too_large");
}

#[tokio::test]
async fn a_token_over_its_rate_gets_retry_after_and_others_are_unaffected() {
    let host = Host::with(|options| options.args(["--token-rate", "20"])).await;
    let admin = host.admin();
    let (eager, other) = (admin.new_token("ingest").await, admin.new_token("ingest").await);
    let (mut accepted, mut rejected) = (Vec::new(), 0);
    for _ in 0..200 {
        let response = eager.post("/events", &events::minimal("report_ready")).await;
        if response.status() == 202 {
            accepted.push(response.json()["id"].as_str().expect("an id").to_owned());
        } else {
            let problem = response.problem(429, "too_many_requests");
            let wait: u64 = problem.header("retry-after").parse().expect("seconds");
            assert!((1..=2).contains(&wait), "{wait}");
            rejected += 1;
        }
    }
    assert!(accepted.len() >= 20 && rejected > 0, "{} accepted, {rejected} rejected", accepted.len());
    other.post("/events", &events::minimal("report_ready")).await.expect(202);
    for event in accepted {
        eager.get(&format!("/events/{event}")).await.expect(200);
    }
}
