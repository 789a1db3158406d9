use super::*;
use crate::RawEvent;

fn with_outline<T>(kind: &str, data: &str, check: impl FnOnce(&Outline<'_>) -> T) -> T {
    let raw = RawEvent {
        id: "019a".into(),
        type_: kind.into(),
        occurred_at: "2026-11-17T10:12:45.120Z".into(),
        json: format!(r#"{{"type":"{kind}","engagement":{{"id":"e","name":"Portal"}},"data":{data}}}"#),
    };
    check(&Event::parse(&raw).expect("an event").outline())
}

#[test]
fn each_event_type_has_its_symbol() {
    for (kind, data, symbol, is_good_news) in [
        ("finding_added", r#"{"finding":{"title":"t","severity":"high"}}"#, "🟠", false),
        ("critical_finding", r#"{"finding":{"title":"t","severity":"critical"}}"#, "🔴", false),
        ("monitor_alert", r#"{"monitor":{"severity":"low"}}"#, "🔵", false),
        ("phase_changed", r#"{"phase":{"status":" Started"}}"#, "▶️", false),
        ("phase_changed", r#"{"phase":{"status":"completed"}}"#, "✅", true),
        ("phase_changed", r#"{"phase":{"status":"paused"}}"#, "🔁", false),
        ("phase_changed", r#"{"phase":[]}"#, "🔁", false),
        ("engagement_completed", r#"{"summary":{"findings":{"low":1}}}"#, "🏁", false),
        ("engagement_completed", r#"{"summary":{"findings":{"low":0,"high":"0"}}}"#, "🏁", true),
        ("engagement_completed", r#"{"summary":{}}"#, "🏁", false),
        ("engagement_signed", r#"{"authorization":{}}"#, "✍️", true),
        ("retest_completed", r#"{"retest":{"fixed":["F-1"],"still_open":[],"regressed":0}}"#, "✅", true),
        ("retest_completed", r#"{"retest":{"fixed":["F-1"],"still_open":["F-2"]}}"#, "🔁", false),
        ("retest_completed", r#"{"retest":{"fixed":3,"regressed":1}}"#, "⚠️", false),
        ("retest_completed", r#"{"retest":{}}"#, "🔁", false),
        ("report_ready", r#"{"report":{}}"#, "📄", false),
        ("surface_changed", r#"{"surface":{}}"#, "🌐", false),
        ("webhook_failing", r#"{"webhook":{}}"#, "🟡", false),
        ("webhook_disabled", r#"{"webhook":{}}"#, "🟠", false),
        ("webhook_recovered", r#"{"webhook":{}}"#, "✅", true),
        ("delivery_failed", r#"{"delivery":{}}"#, "🟡", false),
        ("formatter_rejected", r#"{"formatter":{}}"#, "🟡", false),
        ("formatter_rolled_back", r#"{"formatter":{}}"#, "🟡", false),
        ("host_degraded", r#"{"host":{}}"#, "🟠", false),
    ] {
        with_outline(kind, data, |outline| {
            assert_eq!((outline.symbol, outline.is_good_news), (symbol, is_good_news), "{kind} {data}");
        });
    }
}

fn said<'a>(outline: &'a Outline<'_>) -> Vec<&'a str> {
    outline.summary.iter().map(|brief| brief.text.as_ref()).collect()
}

/// Everything in the summary of a chat format must have a label in a table.
#[test]
fn a_table_has_every_value_once_with_a_label() {
    for (kind, data, expected) in [
        (
            "finding_added",
            r#"{"finding":{"id":"F","title":"t","cvss":3.1,"cwe":[79],"cve":"2021-44228","ip":"i","parameter":"p","tool":"x","occurrences":2}}"#,
            "CVSS=3.1 CWE=CWE-79 CVE=CVE-2021-44228 Parameter=p IP=i Finding=F Tool=x Occurrences=2",
        ),
        ("phase_changed", r#"{"phase":{"name":"n","status":"started","index":1,"total":5}}"#, "Step=1 of 5"),
        ("engagement_completed", r#"{"summary":{"findings":{"critical":1,"low":2}}}"#, "Findings=1 critical, 2 low"),
        ("engagement_completed", r#"{"summary":{"findings":{"critical":0}}}"#, "Findings=none"),
        ("engagement_signed", r#"{"authorization":{"signer":"s","role":"r"}}"#, "Role=r"),
        ("retest_completed", r#"{"retest":{"id":"RT"}}"#, "Retest=RT"),
        (
            "report_ready",
            r#"{"report":{"id":"R","title":"t","kind":"k","framework":"f","format":"pdf","pages":3}}"#,
            "Kind=k Framework=f Format=pdf Pages=3 Report id=R",
        ),
        ("monitor_alert", r#"{"monitor":{"id":"M","name":"n","severity":"low"}}"#, "Monitor id=M"),
        (
            "webhook_failing",
            r#"{"webhook":{"id":"W","name":"n","url_host":"h.example","format":"slack","reason":"r","count":2}}"#,
            "Times=2 Destination=h.example Format=slack Webhook id=W",
        ),
        (
            "delivery_failed",
            r#"{"delivery":{"id":"D","event_id":"E","event_type":"report_ready","webhook":{"id":"W","name":"n"},"count":3}}"#,
            "Event type=report_ready Webhook id=W Delivery=D Undelivered event=E",
        ),
        (
            "formatter_rejected",
            r#"{"formatter":{"name":"n","version":"1.2.3","digest":"x"}}"#,
            "Version=1.2.3 Digest=x",
        ),
        ("host_degraded", r#"{"host":{"kind":"disk","reason":"r","count":1}}"#, ""),
    ] {
        with_outline(kind, data, |outline| {
            let rows = outline.table();
            let shown: Vec<_> = rows.iter().map(|fact| format!("{}={}", fact.label, fact.value)).collect();
            assert_eq!(shown.join(" "), expected, "{kind}");
            let mut names: Vec<_> = outline.title_facts.iter().chain(&rows).map(|fact| fact.label).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), outline.title_facts.len() + rows.len(), "{kind}: {names:?}");
        });
    }
}

#[test]
fn a_host_event_says_what_happened_to_what_and_why() {
    for (kind, data, expected) in [
        (
            "webhook_disabled",
            r#"{"webhook":{"name":"SOC","reason":"gone"}}"#,
            "Webhook switched off: SOC | High severity | gone",
        ),
        ("webhook_recovered", r#"{"webhook":{"name":"SOC","reason":"back"}}"#, "Webhook recovered: SOC |  | back"),
        (
            "delivery_failed",
            r#"{"delivery":{"webhook":{"name":"SOC"},"reason":"timeout"}}"#,
            "Delivery failed: SOC | Medium severity | timeout",
        ),
        (
            "delivery_failed",
            r#"{"delivery":{"webhook":{"name":"SOC"},"count":12}}"#,
            "12 deliveries failed: SOC | Medium severity | ",
        ),
        ("delivery_failed", r#"{"delivery":{"count":12}}"#, "12 deliveries failed | Medium severity | "),
        ("host_degraded", r#"{"host":{"kind":"disk"}}"#, "Heraldry needs attention: disk | High severity | "),
        ("host_degraded", r#"{"host":7}"#, "Heraldry needs attention | High severity | "),
    ] {
        with_outline(kind, data, |outline| {
            let shown = [outline.title.to_string(), said(outline).join(", "), outline.passages.join("\n")];
            assert_eq!(shown.join(" | "), expected, "{kind} {data}");
            assert!(outline.passage_is_news);
        });
    }
}

#[test]
fn short_values_need_no_label() {
    let finding = |members: &str, check: &dyn Fn(&Outline<'_>)| {
        with_outline("finding_added", &format!(r#"{{"finding":{{"title":"t","severity":"low"{members}}}}}"#), check);
    };
    finding(r#","cvss":3.1,"cwe":[79,"20"],"cve":"2021-44228""#, &|outline| {
        assert_eq!(said(outline), ["New finding", "Low", "CVSS 3.1", "CWE-79, CWE-20", "CVE-2021-44228"]);
        assert!(outline.facts.is_empty());
    });
    let many = ["79"; 12].join(",");
    finding(&format!(r#","cvss":"{}","cwe":[{many}],"cve":"none yet""#, "9".repeat(61)), &|outline| {
        assert_eq!(said(outline), ["New finding", "Low"]);
        let labels: Vec<_> = outline.facts.iter().map(|fact| fact.label).collect();
        assert_eq!(labels, ["CVSS", "CWE", "CVE"]);
    });
}

#[test]
fn a_long_status_is_not_in_the_title() {
    let title = |status: &str| {
        let data = format!(r#"{{"phase":{{"status":"{status}","name":"recon"}}}}"#);
        with_outline("phase_changed", &data, |outline| (outline.title.to_string(), outline.facts.len()))
    };
    let most = "s".repeat(60);
    assert_eq!(title(&most), (format!("Phase {most}: recon"), 0));
    assert_eq!(title(&(most + "s")), ("Testing phase changed: recon".to_owned(), 1));
}

#[test]
fn a_valid_step_has_a_progress_bar() {
    let step = |members: &str| {
        with_outline("phase_changed", &format!(r#"{{"phase":{{{members}}}}}"#), |outline| {
            (
                outline.step.and_then(Step::dots),
                outline.facts.iter().map(|fact| fact.value.to_string()).collect::<Vec<_>>(),
            )
        })
    };
    let dots = |text: &str| (Some(text.to_owned()), vec![]);
    let said = |text: &str| (None, vec![text.to_owned()]);
    assert_eq!(step(r#""index":2,"total":5,"status":"started""#), dots("●◐○○○"));
    assert_eq!(step(r#""index":"2","total":5,"status":"completed""#), dots("●●○○○"));
    assert_eq!(step(r#""index":12,"total":12"#), dots("●●●●●●●●●●●◐"));
    assert_eq!(step(r#""index":1,"total":13"#), (None, vec![]));
    assert_eq!(step(r#""index":6,"total":5"#), said("6 of 5"));
    assert_eq!(step(r#""index":0,"total":5"#), said("0 of 5"));
    assert_eq!(step(r#""index":"two","total":5"#), said("two of 5"));
    assert_eq!(step(r#""index":2"#), said("2"));
}

#[test]
fn a_time_equal_to_the_event_time_is_not_repeated() {
    let facts = |completed: &str| {
        let data = format!(r#"{{"summary":{{"started_at":"2026-11-16T10:12:45Z","completed_at":"{completed}"}}}}"#);
        with_outline("engagement_completed", &data, |outline| {
            outline.facts.iter().map(|fact| (fact.label, fact.time.is_some())).collect::<Vec<_>>()
        })
    };
    assert_eq!(facts("2026-11-17T11:13:44+01:00"), [("Started", true)]);
    assert_eq!(facts("2026-11-17T10:13:46Z"), [("Started", true), ("Completed", true)]);
    assert_eq!(facts("today"), [("Started", true), ("Completed", false)]);
}

#[test]
fn a_short_list_is_one_line() {
    let short = |items: &str| {
        let data = format!(r#"{{"retest":{{"fixed":{items}}}}}"#);
        with_outline("retest_completed", &data, |outline| outline.lists[0].is_short())
    };
    assert!(short(r#"["F-1","F-2"]"#) && short(&format!(r#"["{}"]"#, "x".repeat(100))));
    assert!(!short(&format!(r#"["{}"]"#, "x".repeat(101))) && !short(r#"["a b"]"#) && !short(r#"["a,b"]"#));
}

#[test]
fn evidence_and_the_details_of_a_request_can_be_left_out() {
    use crate::options::Evidence;
    let data = r#"{"finding":{"title":"t","target":"https://a.example/x?id=1#y","parameter":"id","evidence":"GET /","ip":"10.0.0.1"},
        "verification":{"method":"UNION SELECT","verified_by":"m.okafor"}}"#;
    let raw = RawEvent {
        id: "019a".into(),
        type_: "finding_verified".into(),
        occurred_at: "2026-11-17T10:12:45.120Z".into(),
        json: format!(r#"{{"data":{data}}}"#),
    };
    let event = Event::parse(&raw).expect("an event");
    let shown = |outline: &Outline<'_>| {
        let facts: Vec<_> = outline.facts.iter().map(|fact| format!("{}={}", fact.label, fact.value)).collect();
        let target = outline.target.clone().unwrap_or_default();
        format!("{target} {} {:?} {}", facts.join(" "), outline.passages, outline.evidence.is_some())
    };
    assert_eq!(
        shown(&event.outline().showing(Evidence::Shown)),
        r#"https://a.example/x?id=1#y Parameter=id IP=10.0.0.1 ["Verified by m.okafor: UNION SELECT"] true"#
    );
    let without = event.outline().showing(Evidence::None);
    assert_eq!(shown(&without), r#"https://a.example/x IP=10.0.0.1 Verified by=m.okafor [] false"#);
    // Nothing is left of a target that is only a query.
    with_outline("monitor_alert", r#"{"monitor":{"target":"?id=1"}}"#, |outline| {
        assert_eq!(outline.target.as_deref(), Some("?id=1"));
    });
}
