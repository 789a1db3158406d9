//! Property tests: any legal event gives records that the OCSF schema allows, or is skipped on purpose. The checker
//! below is written from the schema (ocsf/ocsf-schema, classes 2002 and 2004, version 1.4.0), independently of the
//! formatter.

use std::collections::BTreeSet;

use heraldry_format_ocsf::Ocsf;
use heraldry_formatter::testing::{manifest, samples, strategy};
use heraldry_formatter::text::is_blank;
use heraldry_formatter::{Context, Error, RawEvent, format};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

const ALL: &str = r#"{"all_events":true}"#;
const MOST_BYTES: usize = 1 << 20;

/// The attributes in use, by object: `name type`, `!` for required, `[]` for a list. Values of type `any` are not
/// checked.
const SCHEMA: &[(&str, &str)] = &[
    (
        "base_event",
        "activity_id! int, activity_name string, category_uid! int, category_name string, class_uid! int, class_name string, \
         type_uid! long, type_name string, time! timestamp, severity_id! int, severity string, status_id int, status string, \
         message string, metadata! metadata, unmapped any",
    ),
    (
        "finding",
        "activity_id! int, activity_name string, category_uid! int, category_name string, class_uid! int, class_name string, \
         type_uid! long, type_name string, time! timestamp, severity_id! int, severity string, status_id int, status string, \
         confidence_id int, confidence string, message string, comment string, metadata! metadata, \
         finding_info! finding_info, resources resource_details[], unmapped any",
    ),
    ("vulnerability_finding", "vulnerabilities! vulnerability[]"),
    ("detection_finding", "is_alert boolean"),
    (
        "metadata",
        "version! string, product! product, uid string, event_code string, original_time string, correlation_uid string",
    ),
    ("product", "name string, vendor_name string, version string"),
    (
        "finding_info",
        "uid! string, title! string, desc string, src_url url, created_time timestamp, modified_time timestamp, \
         data_sources string[], analytic analytic",
    ),
    ("analytic", "name string, uid string, type_id! int"),
    (
        "vulnerability",
        "advisory advisory, cve cve, cwe cwe, title string, severity string, is_exploit_available boolean, \
         references string[], remediation remediation",
    ),
    ("advisory", "uid! string"),
    ("cve", "uid! string, cvss cvss[]"),
    ("cwe", "uid! string"),
    ("cvss", "base_score! float, version! string, vector_string string"),
    ("remediation", "desc! string"),
    ("resource_details", "name string, uid string, type string, hostname string, ip ip, labels string[]"),
];

/// `(name, required, type, is a list)`.
fn attributes(object: &str) -> Vec<(&'static str, bool, &'static str, bool)> {
    let (_, attributes) = SCHEMA.iter().find(|(name, _)| *name == object).unwrap_or_else(|| panic!("no {object}"));
    attributes
        .split(", ")
        .map(|attribute| {
            let (name, kind) = attribute.trim().split_once(' ').expect("a name and a type");
            (name.trim_end_matches('!'), name.ends_with('!'), kind.trim_end_matches("[]"), kind.ends_with("[]"))
        })
        .collect()
}

fn check_object(names: &[&str], value: &Value, path: &str) {
    let members = value.as_object().unwrap_or_else(|| panic!("{path} is no object"));
    let allowed: Vec<_> = names.iter().flat_map(|name| attributes(name)).collect();
    for (name, required, ..) in &allowed {
        assert!(!required || members.contains_key(*name), "{path}.{name} is missing");
    }
    for (name, value) in members {
        let attribute = allowed.iter().find(|(known, ..)| known == name);
        let (.., kind, is_list) = attribute.unwrap_or_else(|| panic!("{path}.{name} is not in the schema"));
        let path = format!("{path}.{name}");
        if !is_list {
            check_type(kind, value, &path);
            continue;
        }
        let items = value.as_array().unwrap_or_else(|| panic!("{path} is no list"));
        assert!(!items.is_empty(), "{path} is empty");
        items.iter().for_each(|item| check_type(kind, item, &path));
    }
}

fn check_type(kind: &str, value: &Value, path: &str) {
    match kind {
        "any" => assert!(value.is_object(), "{path}"),
        "int" => assert!(value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()), "{path}: {value}"),
        "long" | "timestamp" => assert!(value.as_i64().is_some(), "{path}: {value}"),
        "float" => assert!(value.is_f64(), "{path}: {value}"),
        "boolean" => assert!(value.is_boolean(), "{path}: {value}"),
        "ip" => assert!(value.as_str().is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()), "{path}: {value}"),
        "string" | "url" => {
            let text = value.as_str().unwrap_or_else(|| panic!("{path}: {value}"));
            assert!(!is_blank(text), "{path} is blank");
            let is_text = path.ends_with("desc") || path.ends_with("comment");
            for c in text.chars() {
                assert!(!c.is_control() || c == '\n' && is_text, "{path}: {c:?}");
                assert!(
                    !matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}'),
                    "{path}: {c:?}"
                );
            }
            let is_web = text.starts_with("https://") || text.starts_with("http://");
            assert!(kind == "string" || is_web && text.bytes().all(|b| b.is_ascii_graphic()), "{path}: {text}");
        }
        object => check_object(&[object], value, path),
    }
    match kind {
        "vulnerability" => {
            let known = ["advisory", "cve", "cwe"].iter().filter(|name| value.get(**name).is_some()).count();
            assert_eq!(known, 1, "{path}: exactly one of advisory, cve, cwe");
        }
        "cve" => assert!(is_id(value, "CVE-", 2), "{path}: {value}"),
        "cwe" => assert!(is_id(value, "CWE-", 1), "{path}: {value}"),
        "cvss" => {
            assert!((0.0..=10.0).contains(&value["base_score"].as_f64().expect("a score")), "{path}");
            assert!(["2.0", "3.0", "3.1", "4.0"].contains(&value["version"].as_str().expect("a version")), "{path}");
        }
        "resource_details" => assert!(value.get("name").is_some() || value.get("uid").is_some(), "{path}"),
        "product" => assert!(value.get("name").is_some(), "{path}"),
        _ => {}
    }
}

/// Returns true if the id is the prefix followed by this many numbers.
fn is_id(object: &Value, prefix: &str, numbers: usize) -> bool {
    let rest = object["uid"].as_str().and_then(|uid| uid.strip_prefix(prefix)).unwrap_or_default();
    let parts: Vec<&str> = rest.split('-').collect();
    parts.len() == numbers && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// Checks one record against the schema.
fn check_record(record: &Value) {
    let number = |name: &str| record[name].as_i64().unwrap_or_else(|| panic!("{name} is a number"));
    let text = |name: &str| record[name].as_str().unwrap_or_else(|| panic!("{name} is a string"));
    let (class, activity) = (number("class_uid"), number("activity_id"));
    match class {
        0 => check_object(&["base_event"], record, "record"),
        2002 => check_object(&["finding", "vulnerability_finding"], record, "record"),
        2004 => check_object(&["finding", "detection_finding"], record, "record"),
        other => panic!("the class {other}"),
    }
    assert_eq!(number("category_uid"), class / 1000);
    assert_eq!(number("type_uid"), class * 100 + activity);
    let name = |id: i64, names: &[(i64, &'static str)]| {
        names.iter().find(|(known, _)| *known == id).unwrap_or_else(|| panic!("no {id} in {names:?}")).1
    };
    let classes = [(0, "Base Event"), (2002, "Vulnerability Finding"), (2004, "Detection Finding")];
    let activities = if class == 0 {
        &[(0, "Unknown"), (99, "Other")][..]
    } else {
        &[(1, "Create"), (2, "Update"), (3, "Close")][..]
    };
    let severities = [(0, "Unknown"), (1, "Informational"), (2, "Low"), (3, "Medium"), (4, "High"), (5, "Critical")];
    let statuses = [(1, "New"), (2, "In Progress"), (3, "Suppressed"), (4, "Resolved")];
    assert_eq!(text("class_name"), name(class, &classes));
    assert_eq!(text("activity_name"), name(activity, activities));
    assert_eq!(text("type_name"), format!("{}: {}", text("class_name"), text("activity_name")));
    assert_eq!(text("severity"), name(number("severity_id"), &severities));
    assert_eq!(record["category_name"], if class == 0 { "Uncategorized" } else { "Findings" });
    if record.get("status_id").is_some() {
        assert_eq!(text("status"), name(number("status_id"), &statuses));
    }
    if record.get("confidence_id").is_some() {
        assert_eq!(
            text("confidence"),
            name(number("confidence_id"), &[(0, "Unknown"), (1, "Low"), (2, "Medium"), (3, "High")])
        );
    }
    assert_eq!(record["metadata"]["version"], "1.4.0");
}

fn render(event: &RawEvent, options: &str) -> Result<Vec<Value>, Error> {
    let payload = format::<Ocsf>(event, &samples::http(), options)?;
    assert_eq!(payload.content_type, "application/x-ndjson");
    assert!(payload.headers.is_empty());
    assert!(payload.body.len() <= MOST_BYTES, "{}", payload.body.len());
    let body = String::from_utf8(payload.body).expect("UTF-8");
    assert!(!body.contains('\r') && !body.ends_with('\n'));
    Ok(body.split('\n').map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect())
}

fn check_event(event: &RawEvent) {
    let records = render(event, ALL).expect("all events are wanted");
    let posted: Value = serde_json::from_str(&event.json).expect("an event");
    let mut uids = BTreeSet::new();
    for record in &records {
        check_record(record);
        assert_eq!(record["metadata"]["event_code"], event.type_);
        assert_eq!(record["metadata"]["original_time"], event.occurred_at);
        assert_eq!(record["time"], 1_794_910_365_120_i64);
        let uid = record["metadata"]["uid"].as_str().expect("a uid");
        assert!(uid.starts_with(&event.id) && uids.insert(uid.to_owned()), "{uid}");
    }
    let unmapped = &records[0]["unmapped"];
    if unmapped.get("truncated").is_none() {
        assert_eq!(unmapped["data"], posted["data"]);
        assert_eq!(unmapped.get("engagement"), posted.get("engagement"));
    }
    let class = match event.type_.as_str() {
        "finding_added" | "finding_verified" | "critical_finding" => 2002,
        "monitor_alert" | "surface_changed" => 2004,
        "retest_completed" if records[0]["class_uid"] == 2002 => 2002,
        _ => 0,
    };
    assert!(records.iter().all(|record| record["class_uid"] == class), "{}", event.type_);
    assert!(records.len() == 1 || event.type_ == "retest_completed");
    let is_host = ["webhook_", "delivery_", "formatter_", "host_"].iter().any(|prefix| event.type_.starts_with(prefix));
    match render(event, "{}") {
        Ok(same) => assert!((class != 0 || is_host) && same == records),
        Err(Error::UnsupportedEvent(kind)) => assert!(class == 0 && !is_host && kind == event.type_),
        Err(other) => panic!("{other:?}"),
    }
    if class == 2002 && event.type_ != "retest_completed" {
        check_finding(&records[0], &posted);
    }
}

/// Checks the content of the posted finding, for members of the expected types.
fn check_finding(record: &Value, posted: &Value) {
    let finding = &posted["data"]["finding"];
    if let Some(word) = finding["severity"].as_str() {
        let words = ["info", "low", "medium", "high", "critical"];
        let at = words.iter().position(|known| word.eq_ignore_ascii_case(known)).expect("one of five");
        assert_eq!(record["severity_id"], json!(at + 1));
    }
    let plain = |text: &&str| (1..=1000).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let info = &record["finding_info"];
    let is_scoped = posted.get("engagement").is_some();
    if let Some(id) = finding["id"].as_str().filter(plain).filter(|id| !is_scoped && !id.contains(['%', '/', '~'])) {
        assert_eq!(info["uid"], id);
    }
    if let Some(title) = finding["title"].as_str().filter(plain) {
        assert_eq!(info["title"], title);
    }
    if let Some(target) = finding["target"].as_str().filter(plain) {
        assert_eq!(record["resources"][0]["uid"], target);
    }
    if let Some(description) = finding["description"].as_str().filter(plain) {
        assert_eq!(info["desc"], description);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_event_gives_records_that_the_schema_allows(event in strategy::legal_event()) {
        check_event(&event);
    }

    #[test]
    fn a_retest_has_a_record_for_each_finding(lists in prop::array::uniform3(vec(("F-[0-9]{1,4}", any::<bool>()), 0..8))) {
        let item = |(id, is_object): &(String, bool)| if *is_object { json!({"id": id, "title": "t"}) } else { json!(id) };
        let [fixed, still_open, regressed] = lists.each_ref().map(|list| list.iter().map(item).collect::<Vec<_>>());
        let event = event("retest_completed", json!({"retest": {"fixed": fixed, "still_open": still_open, "regressed": regressed}}));
        let all: Vec<(&str, i64, i64)> = [(&lists[0], 3, 4), (&lists[1], 2, 2), (&lists[2], 2, 1)]
            .into_iter()
            .flat_map(|(list, activity, status)| list.iter().map(move |(id, _)| (&**id, activity, status)))
            .collect();
        if all.is_empty() {
            let is_left_out = matches!(render(&event, "{}"), Err(Error::UnsupportedEvent(_)));
            prop_assert!(is_left_out);
            return Ok(());
        }
        check_event(&event);
        let records = render(&event, "{}").expect("records");
        prop_assert_eq!(records.len(), all.len().min(200));
        prop_assert!(records[0]["unmapped"].get("findings_left_out").is_none());
        for (record, (id, activity, status)) in records.iter().zip(all) {
            prop_assert_eq!(&record["finding_info"]["uid"], &json!(id));
            prop_assert_eq!(&record["vulnerabilities"][0]["advisory"]["uid"], &json!(id));
            prop_assert_eq!((&record["activity_id"], &record["status_id"]), (&json!(activity), &json!(status)));
        }
    }
}

fn event(kind: &str, data: Value) -> RawEvent {
    let id = "019a8f00-0000-7000-8000-000000000001";
    let event = json!({"type": kind, "id": id, "occurred_at": "2026-11-17T10:12:45.120Z", "data": data});
    samples::event(&event.to_string())
}

fn finding(members: Value) -> Value {
    let mut finding = json!({"title": "t", "id": "F-1"});
    finding.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    render(&event("finding_added", json!({"finding": finding})), "{}").expect("a record").remove(0)
}

#[test]
fn every_sample_gives_records_that_the_schema_allows() {
    for mut sample in samples::all() {
        sample.event.occurred_at = "2026-11-17T10:12:45.120Z".into();
        check_event(&sample.event);
    }
    let large = samples::finding_of_length(250 * 1024);
    check_event(&large);
    assert!(render(&large, "{}").expect("a record")[0]["unmapped"].get("truncated").is_none());
}

#[test]
fn a_huge_retest_counts_the_findings_left_out() {
    for (count, left_out) in [(200, json!(null)), (201, json!(1)), (250, json!(50))] {
        let ids: Vec<_> = (0..count).map(|n| format!("F-{n}")).collect();
        let event = event("retest_completed", json!({"retest": {"still_open": ids}}));
        check_event(&event);
        let records = render(&event, "{}").expect("records");
        assert_eq!((records.len(), &records[0]["unmapped"]["findings_left_out"]), (200, &left_out), "{count}");
    }
}

#[test]
fn posted_json_with_line_feeds_becomes_one_line() {
    let mut posted = event("report_ready", json!({"report": {"title": "a\nb\u{2028}c"}}));
    posted.json =
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(&posted.json).expect("JSON")).expect("JSON");
    posted.json = posted.json.replace('\n', "\r\n");
    assert_eq!(render(&posted, ALL).expect("a record").len(), 1);
    check_event(&posted);
}

#[test]
fn a_vulnerability_has_exactly_one_identifier() {
    for (members, expected) in [
        (
            json!({"cve": "2021-44228", "cwe": [89, "CWE-89", "odd"], "cvss": 9.8}),
            json!([{"cve": {"uid": "CVE-2021-44228", "cvss": [{"base_score": 9.8, "version": "3.1"}]}}, {"cwe": {"uid": "CWE-89"}}]),
        ),
        (
            json!({"cve": ["CVE-2021-1", "GHSA-5mrr-rgp6-x4gr"], "cvss": "5", "cvss_vector": "CVSS:4.0/AV:N"}),
            json!([
                {"cve": {"uid": "CVE-2021-1", "cvss": [{"base_score": 5.0, "version": "4.0", "vector_string": "CVSS:4.0/AV:N"}]}},
                {"advisory": {"uid": "GHSA-5mrr-rgp6-x4gr"}}
            ]),
        ),
        (
            json!({"cve": ["CVE-2021-1", "CVE-2021-2"], "cvss": 9.8}),
            json!([{"cve": {"uid": "CVE-2021-1"}}, {"cve": {"uid": "CVE-2021-2"}}]),
        ),
        (json!({"cwe": "path traversal"}), json!([{"advisory": {"uid": "F-1"}}])),
        (json!({"id": null}), json!([{"advisory": {"uid": "019a8f00-0000-7000-8000-000000000001"}}])),
    ] {
        let mut record = finding(members.clone());
        let vulnerabilities = record["vulnerabilities"].as_array_mut().expect("a list");
        for vulnerability in vulnerabilities.iter_mut() {
            let members = vulnerability.as_object_mut().expect("an object");
            assert_eq!(members.remove("title"), Some(json!("t")), "{members:?}");
            assert!(members.remove("severity").is_some());
        }
        assert_eq!(Value::from(vulnerabilities.clone()), expected, "{members}");
    }
}

#[test]
fn affected_resources() {
    let resources = |members: Value| finding(members)["resources"].clone();
    assert_eq!(
        resources(
            json!({"target": ["https://a.example:81/x", "a.example", "10.0.0.0/24"], "ip": ["10.0.0.1", "a.example"]})
        ),
        json!([
            {"name": "a.example", "uid": "https://a.example:81/x", "type": "URL", "hostname": "a.example"},
            {"name": "10.0.0.0/24", "uid": "10.0.0.0/24"},
            {"name": "10.0.0.1", "uid": "10.0.0.1", "type": "IP Address", "ip": "10.0.0.1"}
        ])
    );
    assert_eq!(resources(json!({"target": "2001:db8::1"}))[0]["type"], "IP Address");
    assert_eq!(resources(json!({"target": " \0"})), json!(null));
}

#[test]
fn finding_activities_and_states() {
    let of = |kind: &str, event: RawEvent| {
        let event = RawEvent { type_: kind.into(), json: event.json.replace("finding_added", kind), ..event };
        let record = render(&event, "{}").expect("a record").remove(0);
        (record["activity_id"].clone(), record["status_id"].clone(), record["confidence_id"].clone())
    };
    let added = || event("finding_added", json!({"finding": {"title": "t"}}));
    assert_eq!(of("finding_added", added()), (json!(1), json!(1), json!(null)));
    assert_eq!(of("critical_finding", added()), (json!(1), json!(1), json!(null)));
    assert_eq!(of("finding_verified", added()), (json!(2), json!(null), json!(3)));
    let mut derived = added();
    derived.json = derived.json.replacen('{', r#"{"caused_by":"x","#, 1);
    assert_eq!(of("critical_finding", derived), (json!(2), json!(null), json!(null)));
}

#[test]
fn the_longest_events_stay_below_the_limit() {
    let long = "\"".repeat(100_000);
    let many = vec!["\"\\".repeat(600); 90];
    for (kind, data) in [
        (
            "finding_added",
            json!({"finding": {"title": long, "id": long, "target": many, "ip": many, "cve": many, "description": long,
            "remediation": long, "references": many, "tool": long}}),
        ),
        ("monitor_alert", json!({"monitor": {"name": long, "id": long, "target": many, "message": long}})),
        ("surface_changed", json!({"surface": {"added": many, "removed": many, "changed": many}})),
        (
            "retest_completed",
            json!({"retest": {"fixed": many, "still_open": many, "regressed": many, "note": "x".repeat(300_000)}}),
        ),
        ("report_ready", json!({"report": {"title": "x".repeat(1_100_000)}})),
    ] {
        let event = event(kind, data);
        check_event(&event);
        // The posted JSON is left out first.
        let record = render(&event, ALL).expect("a record").remove(0);
        assert_eq!(record["unmapped"]["truncated"], true, "{kind}");
    }
}

#[test]
fn a_lower_transport_limit_is_kept() {
    let event =
        event("retest_completed", json!({"retest": {"fixed": (0..100).map(|n| format!("F-{n}")).collect::<Vec<_>>()}}));
    let render = |max: u32| format::<Ocsf>(&event, &Context { max_bytes: Some(max), ..samples::http() }, "{}");
    let body = String::from_utf8(render(20_000).expect("a payload").body).expect("UTF-8");
    let records: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    records.iter().for_each(check_record);
    assert!(body.len() <= 20_000 && records.len() > 10);
    let unmapped = &records[0]["unmapped"];
    assert_eq!((&unmapped["truncated"], &unmapped["findings_left_out"]), (&json!(true), &json!(100 - records.len())));
    assert!(matches!(render(100), Err(Error::Internal(_))));
}

#[test]
fn without_a_time_there_is_no_record() {
    let mut event = event("report_ready", json!({"report": {}}));
    for (time, expected) in [
        ("2026-11-17T11:12:45.120+01:00", Some(1_794_910_365_120_i64)),
        ("1969-12-31T23:59:59.9995Z", Some(-1)),
        ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
        ("yesterday", None),
    ] {
        event.occurred_at = time.into();
        match render(&event, ALL) {
            Ok(records) => assert_eq!(records[0]["time"].as_i64(), expected, "{time}"),
            Err(Error::InvalidEvent(problems)) => {
                assert!(expected.is_none() && problems[0].pointer == "/occurred_at", "{time}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn options_at_their_limits() {
    let event = &event("finding_added", json!({"finding": {"title": "t", "cve": "CVE-2021-1", "cvss": 5}}));
    let long = "x".repeat(255);
    let options = json!({"product_name": long, "vendor_name": "Contoso \"1\"", "cvss_version": "2.0"});
    let record = render(event, &options.to_string()).expect("a record").remove(0);
    check_record(&record);
    assert_eq!(record["metadata"]["product"]["name"], long);
    assert_eq!(record["metadata"]["product"]["vendor_name"], "Contoso \"1\"");
    assert_eq!(record["vulnerabilities"][0]["cve"]["cvss"][0]["version"], "2.0");
    for (name, bad) in [
        ("product_name", json!("")),
        ("product_name", json!("x".repeat(256))),
        ("vendor_name", json!("a\nb")),
        ("vendor_name", json!(null)),
        ("cvss_version", json!("5.0")),
        ("cvss_version", json!(3.1)),
        ("all_events", json!("yes")),
        ("version", json!("1.4.0")),
    ] {
        match render(event, &json!({name: bad.clone()}).to_string()) {
            Err(Error::InvalidOptions(problems)) => assert_eq!(problems[0].pointer, format!("/{name}"), "{bad}"),
            other => panic!("{name} {bad}: {other:?}"),
        }
    }
}

#[test]
fn the_manifest_can_be_batched() {
    manifest::assert_defaults(&manifest::checked::<Ocsf>("ocsf", "document", "newline"));
}
