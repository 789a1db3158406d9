//! Property tests of the options: after any header follows exactly the record that goes over HTTP, and the owner's
//! labels replace the defaults. Read back by strict parsers of RFC 5424, RFC 3164 and CEF.

use heraldry_format_cef::Cef;
use heraldry_formatter::testing::cef_reader;
use heraldry_formatter::testing::strategy::{legal_event, text};
use heraldry_formatter::testing::{rfc3164_reader, rfc5424_reader, samples};
use heraldry_formatter::{Context, Error, RawEvent, format};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const TRUNCATED: &str = "[truncated]";
const LABELLED: [&str; 9] = ["cs1", "cs2", "cs3", "cs4", "cs5", "cs6", "cn1", "cfp1", "deviceCustomDate1"];

fn render(event: &RawEvent, context: &Context, options: &Value) -> String {
    let payload = format::<Cef>(event, context, &options.to_string()).expect("a payload");
    String::from_utf8(payload.body).expect("UTF-8")
}

/// Facility and severity of PRI, TIMESTAMP, HOSTNAME, tag, and the record after them.
#[derive(Debug, PartialEq)]
struct Read<'a> {
    priority: (u8, u8),
    timestamp: &'a str,
    host_name: &'a str,
    tag: Option<&'a str>,
    record: &'a str,
}

fn read_rfc5424(line: &str) -> Read<'_> {
    let message = rfc5424_reader::read(line.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{line}"));
    assert!(message.elements.is_empty(), "the structured data is nil");
    Read {
        priority: (message.facility, message.severity),
        timestamp: message.timestamp,
        host_name: message.host_name,
        tag: None,
        record: message.msg.expect("a record"),
    }
}

fn read_rfc3164(line: &str, tagged: bool) -> Read<'_> {
    let message = rfc3164_reader::read(line.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{line}"));
    let (tag, record) = if tagged {
        let (tag, record) = message.tagged().unwrap_or_else(|e| panic!("{e}\n{line}"));
        (Some(tag), record)
    } else {
        (None, message.content)
    };
    Read {
        priority: (message.facility, message.severity),
        timestamp: message.timestamp.expect("a time"),
        host_name: message.host_name,
        tag,
        record,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_header_stands_before_the_same_record(
        event in legal_event(),
        facility in 0_u8..24,
        tag in prop::option::of("[A-Za-z0-9]{1,32}"),
        host in text(),
        is_rfc3164: bool,
    ) {
        let mut options = json!({"syslog_header": if is_rfc3164 { "rfc3164" } else { "rfc5424" }, "facility": facility});
        if let Some(tag) = &tag {
            options["tag"] = json!(tag);
        }
        let context = Context { host_name: host, ..samples::syslog(1 << 24) };
        let line = render(&event, &context, &options);
        let read = if is_rfc3164 { read_rfc3164(&line, tag.is_some()) } else { read_rfc5424(&line) };
        let bare = render(&event, &samples::http(), &options);
        prop_assert_eq!(read.record, &bare);
        prop_assert_eq!(read.priority.0, facility);
        prop_assert!((2..=6).contains(&read.priority.1));
        prop_assert_eq!(read.timestamp, if is_rfc3164 { "Nov 17 10:12:45" } else { "2026-11-17T10:12:45.120Z" });
        prop_assert_eq!(read.tag, tag.as_deref().filter(|_| is_rfc3164));
    }

    #[test]
    fn any_limit_is_kept_or_rejected(event in legal_event(), max in prop_oneof![Just(2048_u32), Just(8000), 0_u32..3000], tag in "(heraldry)?") {
        let options = json!({"syslog_header": "rfc3164", "tag": tag});
        let context = samples::syslog(max);
        match format::<Cef>(&event, &context, &options.to_string()) {
            Ok(payload) => {
                prop_assert!(payload.body.len() <= max as usize);
                let line = String::from_utf8(payload.body).expect("UTF-8");
                let record = read_rfc3164(&line, !tag.is_empty()).record;
                cef_reader::read(record).unwrap_or_else(|e| panic!("{e}\n{line}"));
                let bare = render(&event, &samples::http(), &options);
                // A shortened record contains a truncation mark.
                prop_assert!(record == bare || max < 400 || record.contains(TRUNCATED), "{}", line);
            }
            Err(Error::Internal(_)) => prop_assert!(max < 180, "refused at {}", max),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_label_is_kept_and_changes_nothing_else(
        event in legal_event(),
        labels in prop::collection::vec(prop::option::of("[!-~]([ -~]{0,60}[!-~])?"), LABELLED.len()),
        max in prop_oneof![Just(2048_u32), Just(8000), Just(1 << 24)],
    ) {
        let given = LABELLED.iter().zip(&labels).filter_map(|(key, label)| Some(((*key).to_owned(), json!(label.as_ref()?))));
        let options = json!({"labels": given.collect::<Map<_, _>>()});
        let ours = cef_reader::read(&render(&event, &samples::http(), &json!({}))).expect("a record");
        let line = render(&event, &samples::syslog(max), &options);
        prop_assert!(line.len() <= max as usize);
        let mut record = cef_reader::read(read_rfc5424(&line).record).unwrap_or_else(|e| panic!("{e}\n{line}"));
        for (key, label) in LABELLED.iter().zip(labels) {
            let name = format!("{key}Label");
            prop_assert_eq!(record.get(key).is_some(), record.get(&name).is_some());
            if let (Some(label), Some(read)) = (label, record.extension.get_mut(&name)) {
                prop_assert_eq!(&*read, &label);
                *read = ours.get(&name).expect("ours, too").to_owned();
            }
        }
        if max > 8000 {
            prop_assert_eq!(record.extension, ours.extension);
        }
    }

    #[test]
    fn any_option_is_legal_or_rejected(text in text()) {
        let event = &samples::all()[0].event;
        for options in [
            json!({"syslog_header": text}), json!({"utc_offset": text}), json!({"tag": text}), json!({"facility": text}),
            json!({"labels": {"cs1": text}}), json!({"labels": {text.clone(): "x"}}), json!({"labels": text}),
        ] {
            match format::<Cef>(event, &samples::syslog(8000), &options.to_string()) {
                Ok(payload) => prop_assert!(payload.body.starts_with(b"<")),
                Err(Error::InvalidOptions(problems)) => prop_assert!(!problems[0].pointer.is_empty() && !problems[0].message.is_empty()),
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

#[test]
fn the_forms_of_the_header() {
    let json = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-07T23:12:45.120Z",
        "data": {"finding": {"title": "T", "severity": "high"}}});
    let event = samples::event(&json.to_string());
    let record = "CEF:0|Heraldry|Heraldry|0.1.0|finding_added|T|8|rt=1794093165120 externalId=019a8f00-0000-7000-8000-000000000001 cat=finding_added";
    for (options, head) in [
        (json!({}), "<131>1 2026-11-07T23:12:45.120Z heraldry.example heraldry - finding_added - "),
        (json!({"syslog_header": "rfc3164"}), "<131>Nov  7 23:12:45 heraldry "),
        (json!({"syslog_header": "rfc3164", "tag": "heraldry"}), "<131>Nov  7 23:12:45 heraldry heraldry: "),
        (
            json!({"syslog_header": "rfc3164", "utc_offset": "+05:30", "facility": "auth"}),
            "<35>Nov  8 04:42:45 heraldry ",
        ),
    ] {
        assert_eq!(render(&event, &samples::syslog(2048), &options), format!("{head}{record}"));
        assert_eq!(render(&event, &samples::http(), &options), record);
    }
}

#[test]
fn labels_and_headers_at_their_limits() {
    let event = &samples::all()[0].event;
    let pointer = |options: Value| match format::<Cef>(event, &samples::syslog(8000), &options.to_string()) {
        Ok(_) => None,
        Err(Error::InvalidOptions(problems)) => Some(problems[0].pointer.clone()),
        Err(other) => panic!("{other:?}"),
    };
    for key in LABELLED {
        for good in ["x", "a = b \\ c | d", &"x".repeat(1023)] {
            assert_eq!(pointer(json!({"labels": {key: good}})), None, "{key} {good}");
        }
        for bad in [json!(""), json!("x".repeat(1024)), json!(" a"), json!("a\nb"), json!("ä"), json!(null), json!(1)]
        {
            assert_eq!(pointer(json!({"labels": {key: bad}})), Some(format!("/labels/{key}")), "{key} {bad}");
        }
    }
    for (name, bad, at) in [
        ("labels", json!({"cs7": "x"}), "/labels/cs7"),
        ("labels", json!("x"), "/labels"),
        ("labels", json!(null), "/labels"),
        ("tag", json!("x".repeat(33)), "/tag"),
        ("tag", json!("a-b"), "/tag"),
        ("tag", json!(null), "/tag"),
        ("utc_offset", json!("+15:00"), "/utc_offset"),
        ("syslog_header", json!("none"), "/syslog_header"),
        ("facility", json!(24), "/facility"),
    ] {
        let found = pointer(json!({name: bad.clone()}));
        assert_eq!(found.as_deref(), Some(at), "{name} {bad}");
    }
}

#[test]
fn the_longest_labels_leave_a_legal_record() {
    let labels: Map<_, _> = LABELLED.iter().map(|key| ((*key).to_owned(), json!("=".repeat(1023)))).collect();
    for sample in samples::all() {
        for max in [700, 2048, 8000] {
            let line = render(&sample.event, &samples::syslog(max), &json!({"labels": labels}));
            assert!(line.len() <= max as usize);
            cef_reader::read(read_rfc5424(&line).record).unwrap_or_else(|e| panic!("{e}\n{line}"));
        }
    }
}
