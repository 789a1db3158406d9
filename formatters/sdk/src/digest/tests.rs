use super::*;
use crate::{EventType, Manifest, NoOptions};

/// Shows what a digest is made of, one line for each part.
struct Parts;

impl Formatter for Parts {
    type Options = NoOptions;

    fn manifest() -> Manifest {
        Manifest::new("parts", "1.0.0")
    }

    fn render(_: &Event<'_>, _: &crate::Context, _: &NoOptions) -> Result<Payload, Error> {
        Err(Error::Internal("not asked for".into()))
    }
}

impl Digester for Parts {
    fn takes(event: &Event<'_>, _: &NoOptions) -> bool {
        event.kind != EventType::SurfaceChanged
    }

    fn digest(digest: &Digest<'_, '_>, _: &NoOptions) -> Result<Payload, Error> {
        let mut lines = vec![format!("{}: {}", digest.headline(), digest.counts().words())];
        lines.extend(digest.part_words());
        lines.extend(digest.groups().iter().map(|group| {
            let names: Vec<_> = group.names().collect();
            format!("[{}] {}", names.join(" / "), group.counts.words())
        }));
        lines.push(digest.worst().map(Event::headline).collect::<Vec<_>>().join(" > "));
        lines.extend(digest.rest_words(1));
        lines.extend(digest.command());
        let body = lines.join("\n").into_bytes();
        Ok(Payload { content_type: "text/plain".into(), headers: Vec::new(), body })
    }
}

fn event(kind: &str, id: &str, more: &str, group: &str) -> RawEvent {
    let name = EventType::parse(kind).map_or("finding", EventType::group);
    RawEvent {
        id: id.into(),
        type_: kind.into(),
        occurred_at: format!("2026-11-17T10:12:{:02}.000Z", id.len()),
        json: format!(r#"{{{more}"data":{{"{name}":{{{group}}}}}}}"#),
    }
}

fn finding(title: &str, severity: &str, engagement: &str) -> RawEvent {
    let more = if engagement.is_empty() { String::new() } else { format!(r#""engagement":{{{engagement}}},"#) };
    event("finding_added", title, &more, &format!(r#""title":"{title}","severity":"{severity}""#))
}

fn made(events: Vec<RawEvent>, context: &Context) -> (String, Vec<u32>) {
    let message = digest::<Parts>(events, context, "{}").expect("a message");
    (String::from_utf8(message.body).expect("text"), message.unsupported)
}

#[test]
fn the_worst_come_first_and_each_engagement_is_counted() {
    let (portal, bank) = (r#""id":"e1","name":"Portal","client":"Contoso""#, r#""id":"e2","name":"Bank""#);
    let scored = |title: &str, score: &str| {
        event("finding_added", title, "", &format!(r#""title":"{title}","severity":"low","cvss":{score}"#))
    };
    let events = vec![
        finding("a", "medium", bank),
        finding("bb", "info", portal),
        event("report_ready", "ccc", &format!(r#""engagement":{{{portal}}},"#), r#""title":"Final""#),
        finding("dddd", "critical", portal),
        scored("e", "1.5"),
        scored("f", "3.5"),
        event("surface_changed", "g", "", ""),
        event("not_known", "h", "", ""),
    ];
    let (text, unsupported) = made(events, &Context { part: 2, parts: 3, total: 2345, ..Context::alone(8) });
    assert_eq!(unsupported, [6, 7]);
    assert_eq!(
        text,
        "6 events: 1 critical, 1 medium, 2 low, 1 info, 1 other\n\
         part 2 of 3, 2345 events in all\n\
         [Contoso / Portal] 1 critical, 1 info, 1 other\n\
         [Bank] 1 medium\n\
         [] 2 low\n\
         dddd > Report ready: Final > a > f > e > bb\n\
         and 5 more: 1 medium, 2 low, 1 info, 1 other\n\
         heraldry event list --since 2026-11-17T10:12:01.000Z"
    );
}

#[test]
fn a_finding_with_its_critical_event_is_one() {
    let derived = event("critical_finding", "bb", r#""caused_by":"a","#, r#""title":"a","severity":"critical""#);
    let (text, _) = made(vec![finding("a", "critical", ""), derived], &Context::alone(2));
    assert!(text.starts_with("1 finding: 1 critical\n"), "{text}");
    // Two that cause each other are not lost.
    let odd = |id: &str, cause: &str| {
        event("critical_finding", id, &format!(r#""caused_by":"{cause}","#), r#""title":"t","severity":"high""#)
    };
    let (text, _) = made(vec![odd("a", "bb"), odd("bb", "a")], &Context::alone(2));
    assert!(text.starts_with("2 findings: 2 high\n"), "{text}");
}

#[test]
fn the_same_title_stands_once_with_its_number() {
    let raw: Vec<crate::RawEvent> =
        [("c", "high"), ("a", "low"), ("b", "low"), ("a", "low"), ("a", "medium"), ("a", "low")]
            .into_iter()
            .map(|(title, severity)| finding(title, severity, "").into())
            .collect();
    let events: Vec<_> = raw.iter().map(|raw| Event::parse(raw).expect("an event")).collect();
    let context = Context::alone(6);
    let digest = Digest::of(&events, &context);
    let titles: Vec<_> =
        digest.titles(1).into_iter().map(|(event, count)| (event.severity().word(), event.headline(), count)).collect();
    assert_eq!(titles, [("medium", "a".into(), 1), ("low", "a".into(), 3), ("low", "b".into(), 1)]);
    assert!(digest.titles(6).is_empty() && digest.titles(7).is_empty());
}

#[test]
fn news_alone_are_counted_without_a_severity() {
    let report = |id: &str| event("report_ready", id, "", r#""title":"Final""#);
    let (text, _) = made(vec![report("a"), report("b")], &Context::alone(2));
    assert!(text.starts_with("2 events: none with a severity\n"), "{text}");
}

#[test]
fn a_command_has_times_only() {
    let mut odd = finding("a", "low", "");
    odd.occurred_at = "2026-11-17T10:12:01Z; rm -rf /".into();
    let (text, _) = made(vec![finding("b", "low", ""), odd], &Context::alone(2));
    assert!(!text.contains("heraldry event list"), "{text}");
}

#[test]
fn events_without_a_message_are_all_left_out() {
    let events = vec![event("surface_changed", "a", "", ""), event("not_known", "b", "", "")];
    assert_eq!(made(events, &Context::alone(2)), (String::new(), vec![0, 1]));
}

#[test]
fn errors_are_sentences() {
    let error = |events, options| digest::<Parts>(events, &Context::alone(1), options).expect_err("an error");
    let broken = RawEvent { json: "[]".into(), ..finding("a", "low", "") };
    assert_eq!(error(vec![broken], "{}"), "event a: the event is invalid: not an event: one JSON object is expected");
    let message = error(vec![finding("a", "low", "")], r#"{"x":1}"#);
    assert!(message.starts_with("the options are invalid: /x unknown field `x`"), "{message}");
}

/// A thousand engagements whose names differ at their end only.
#[test]
fn many_long_engagements_are_told_apart() {
    let long = "x".repeat(2000);
    let events = (0..1000).map(|n| finding("t", "low", &format!(r#""id":"{long}{n}","name":"N{n}""#))).collect();
    let (text, _) = made(events, &Context::alone(1000));
    assert_eq!(text.lines().filter(|line| line.starts_with("[N")).count(), 1000);
    // Equally bad ones stand in order of acceptance.
    assert_eq!(text.lines().nth(1), Some("[N0] 1 low"));
}
