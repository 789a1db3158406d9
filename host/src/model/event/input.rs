//! An event as it is posted: every fault at once, and not one byte changed.

use super::schema::{Group, groups};
use super::searchable::identifier;
use super::{EventType, NewEvent, Severity, UnknownMembers};
use crate::json::fault::{Fault, Faults};
use crate::json::fields::{Field, Kind, Object, list};
use crate::json::{self, Document};
use crate::model::id::EventId;
use crate::model::time::Timestamp;

/// The members that an event may have.
const EVENT_FIELDS: &[&str] = &["type", "occurred_at", "id", "engagement", "data"];
/// The members that `engagement` may have.
const ENGAGEMENT_FIELDS: &[&str] = &["id", "name", "client"];
/// The members that only the host sets.
const READ_ONLY: &[&str] = &["caused_by", "accepted_at", "deliveries"];

/// How the type of an event is read: [`EventType::read`], or as one that can be posted.
pub(super) type ReadType = fn(&Field<'_>, &mut Faults) -> Option<EventType>;

impl NewEvent {
    /// Checks and reads one event's text, as it is posted; pointers begin with `pointer`.
    ///
    /// # Errors
    /// Every fault. A text that is not JSON as we take it ([`json::check`]) is one fault, `not_json`.
    pub fn parse(text: &str, pointer: &str) -> Result<Self, Vec<Fault>> {
        match json::check(text) {
            Ok(document) => Self::read(&document, pointer),
            Err(error) => Err(vec![Fault { pointer: pointer.to_owned(), code: "not_json", detail: error.to_string() }]),
        }
    }

    /// As [`NewEvent::parse`], also for a host event, which nobody posts: for previews and samples.
    ///
    /// # Errors
    /// Every fault, likewise.
    pub fn parse_any(text: &str, pointer: &str) -> Result<Self, Vec<Fault>> {
        match json::check(text) {
            Ok(document) => Self::read_any(&document, pointer),
            Err(error) => Err(vec![Fault { pointer: pointer.to_owned(), code: "not_json", detail: error.to_string() }]),
        }
    }

    /// As [`NewEvent::read`], also for a host event.
    ///
    /// # Errors
    /// Every fault.
    pub fn read_any(document: &Document<'_>, pointer: &str) -> Result<Self, Vec<Fault>> {
        let place = Field::new(document.text(), pointer);
        Self::read_typed(document, &place, &mut UnknownMembers::up_to(0), EventType::read)
    }

    /// Reads one event as it is posted; pointers begin with `pointer`.
    ///
    /// # Errors
    /// Every fault.
    pub fn read(document: &Document<'_>, pointer: &str) -> Result<Self, Vec<Fault>> {
        Self::read_noting(document, &Field::new(document.text(), pointer), &mut UnknownMembers::up_to(0))
    }

    /// Reads one event, which is the document's value at its place in the request, and notes the members that the schema of
    /// its type does not know.
    ///
    /// # Errors
    /// Every fault.
    pub fn read_noting(
        document: &Document<'_>,
        event: &Field<'_>,
        unknown: &mut UnknownMembers,
    ) -> Result<Self, Vec<Fault>> {
        Self::read_typed(document, event, unknown, EventType::read_posted)
    }

    pub(super) fn read_typed(
        document: &Document<'_>,
        event: &Field<'_>,
        unknown: &mut UnknownMembers,
        read_type: ReadType,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::new();
        let Some(event) = event.object(EVENT_FIELDS, READ_ONLY, &mut faults) else {
            return Err(faults.into_inner());
        };
        let event_type = event.require("type", &mut faults).and_then(|field| read_type(field, &mut faults));
        let occurred_at = event.get("occurred_at").and_then(|field| Timestamp::read(field, &mut faults));
        let id = event.get("id").and_then(|field| id(field, &mut faults));
        let engagement_id = event.get("engagement").and_then(|field| engagement_id(field, &mut faults));
        let data = event.require("data", &mut faults);
        let about = data.and_then(|field| about(field, event_type, &mut faults, unknown)).unwrap_or_default();
        match event_type {
            Some(event_type) => faults.or(|| Self {
                id,
                event_type,
                occurred_at,
                engagement_id,
                finding_id: about.finding_id,
                severity: about.severity,
                json: document.text().to_owned(),
                // It is compared where an id is posted again.
                digest: id.map_or([0; 32], |_| document.digest()),
            }),
            None => Err(faults.into_inner()),
        }
    }
}

impl EventType {
    /// Reads the name of a type. Any other value is a fault.
    pub fn read(field: &Field<'_>, faults: &mut Faults) -> Option<Self> {
        let event_type = Self::from_name(&field.characters(faults)?);
        if event_type.is_none() {
            unknown_type(field, Self::ALL.iter().copied(), faults);
        }
        event_type
    }

    /// Reads the name of a type that can be posted. A host event is a fault of its own.
    fn read_posted(field: &Field<'_>, faults: &mut Faults) -> Option<Self> {
        match Self::from_name(&field.characters(faults)?) {
            Some(event_type) if event_type.is_host() => {
                let name = event_type.as_str();
                let detail = format!("must be a platform's event: {name} is made by the host and cannot be posted");
                faults.add(field.pointer(), "host_event_type", detail);
                None
            }
            Some(event_type) => Some(event_type),
            None => {
                unknown_type(field, Self::posted(), faults);
                None
            }
        }
    }
}

fn unknown_type(field: &Field<'_>, known: impl Iterator<Item = EventType>, faults: &mut Faults) {
    let names: Vec<&str> = known.map(EventType::as_str).collect();
    faults.add(field.pointer(), "unknown_event_type", format!("must be one of {}", list(&names)));
}

fn id(field: &Field<'_>, faults: &mut Faults) -> Option<EventId> {
    let text = field.characters(faults)?;
    let id = text.parse().ok();
    if id.is_none() {
        faults.add(field.pointer(), "invalid", "must be a UUID, as in 01890a5d-ac96-774b-bcce-b302099a8057");
    }
    id
}

fn engagement_id(field: &Field<'_>, faults: &mut Faults) -> Option<String> {
    let engagement = field.object(ENGAGEMENT_FIELDS, &[], faults)?;
    let id = engagement.require("id", faults).and_then(|field| field.string(faults));
    engagement.require("name", faults).and_then(|field| field.characters(faults));
    engagement.get("client").and_then(|field| field.characters(faults));
    id
}

/// The finding or monitor that an event is about.
#[derive(Default)]
struct About {
    finding_id: Option<String>,
    severity: Option<Severity>,
}

/// Checks `data` and finds what filters and searches go by: the severity of the finding or monitor that the event is
/// about, which is also what formats show, and the finding's id. Other events have none.
fn about(
    data: &Field<'_>,
    event_type: Option<EventType>,
    faults: &mut Faults,
    unknown: &mut UnknownMembers,
) -> Option<About> {
    let described = event_type.map_or(&[][..], groups);
    let wanted: Vec<&str> = described.iter().map(|described| described.name.as_str()).collect();
    let data = data.open_object(&wanted, faults)?;
    let own = event_type?.group();
    data.require(own, faults);
    let mut about = About::default();
    for described in described {
        let Some(field) = data.get(&described.name) else { continue };
        if described.name != own {
            // Only the type's own group must be an object.
            if field.kind() == Kind::Object {
                open_group(field, &[], described, faults, unknown);
            }
            continue;
        }
        match own {
            "finding" => about = finding(field, described, faults, unknown).unwrap_or_default(),
            "monitor" => about.severity = monitor_severity(field, described, faults, unknown),
            _ => drop(open_group(field, &[], described, faults, unknown)),
        }
    }
    Some(about)
}

/// The members of a group that are in `names`; those that its schema does not know are noted.
fn open_group<'a>(
    field: &Field<'a>,
    names: &[&str],
    group: &Group,
    faults: &mut Faults,
    unknown: &mut UnknownMembers,
) -> Option<Object<'a>> {
    field.open_object_noting(names, faults, |name| {
        if !group.knows(name) {
            unknown.add(group, &field.pointer(), name);
        }
    })
}

fn finding(field: &Field<'_>, group: &Group, faults: &mut Faults, unknown: &mut UnknownMembers) -> Option<About> {
    let finding = open_group(field, &["id", "title", "severity"], group, faults, unknown)?;
    let finding_id = finding.get("id").and_then(|id| identifier(id.text()));
    if let Some(field) = finding.require("title", faults)
        && field.characters(faults).is_some_and(|title| title.is_empty())
    {
        faults.add(field.pointer(), "empty", "must not be empty");
    }
    let mut severity = None;
    if let Some(field) = finding.get("severity")
        && let Some(word) = field.characters(faults)
    {
        severity = Severity::from_word(&word);
        if severity.is_none() {
            let words = list(&Severity::ALL.map(Severity::as_str));
            faults.add(field.pointer(), "invalid", format!("must be one of {words}, in any case"));
        }
    }
    Some(About { finding_id, severity })
}

/// The severity of a monitor's alert, in any case and with space around it: a platform passes on what monitors say. Any
/// other value is not a fault, but no severity.
fn monitor_severity(
    field: &Field<'_>,
    group: &Group,
    faults: &mut Faults,
    unknown: &mut UnknownMembers,
) -> Option<Severity> {
    let monitor = open_group(field, &["severity"], group, faults, unknown)?;
    let word = monitor.get("severity")?.characters(&mut Faults::new())?;
    Severity::from_word(word.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of an event as `pointer code`, in order.
    fn faults(text: &str) -> Vec<String> {
        match NewEvent::parse(text, "/3") {
            Ok(_) => Vec::new(),
            Err(faults) => faults.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.code)).collect(),
        }
    }

    fn phase(members: &str) -> String {
        format!(r#"{{"type":"phase_changed","data":{{"phase":{{}}}}{members}}}"#)
    }

    fn finding(members: &str) -> String {
        format!(r#"{{"type":"finding_added","data":{{"finding":{{{members}}}}}}}"#)
    }

    #[test]
    fn the_text_is_kept_byte_for_byte() {
        let text = "{ \"type\":\"finding_added\",\"data\" : {\"finding\":{\"title\":\"\\u0041\",\"n\":1.50}} }";
        let event = NewEvent::parse(&format!(" {text}\n"), "").expect("an event");
        assert_eq!(event.json, text);
        assert_eq!(event.event_type, EventType::FindingAdded);
        assert_eq!((event.id, event.occurred_at, event.engagement_id, event.severity), (None, None, None, None));
    }

    #[test]
    fn every_type_wants_its_group_as_an_object() {
        for event_type in EventType::posted() {
            let (name, group) = (event_type.as_str(), event_type.group());
            let event = |data: &str| format!(r#"{{"type":"{name}","data":{data}}}"#);
            assert_eq!(faults(&event("{}")), [format!("/3/data/{group} required")]);
            assert_eq!(faults(&event(&format!(r#"{{"{group}":null}}"#))), [format!("/3/data/{group} wrong_type")]);
            assert!(faults(&event(&format!(r#"{{"{group}":{{"title":"x"}},"more":[1]}}"#))).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_host_event_cannot_be_posted_and_can_be_read_for_a_preview() {
        for event_type in EventType::hosts() {
            let (name, group) = (event_type.as_str(), event_type.group());
            let event = |data: &str| format!(r#"{{"type":"{name}","data":{data}}}"#);
            let whole = event(&format!(r#"{{"{group}":{{"reason":"r"}}}}"#));
            let wrong = NewEvent::parse(&whole, "/3").expect_err("refused");
            assert_eq!((&*wrong[0].pointer, wrong[0].code, wrong.len()), ("/3/type", "host_event_type", 1));
            assert!(wrong[0].detail.ends_with(&format!("{name} is made by the host and cannot be posted")));
            let read = NewEvent::parse_any(&whole, "").expect("an event");
            assert_eq!((read.event_type, read.severity, read.json), (event_type, None, whole));
            let wrong = NewEvent::parse_any(&event("{}"), "/event").expect_err("no group");
            assert_eq!((&*wrong[0].pointer, wrong[0].code), (&*format!("/event/data/{group}"), "required"));
        }
        let unknown = NewEvent::parse(r#"{"type":"nope","data":{}}"#, "").expect_err("refused");
        assert!(!unknown[0].detail.contains("webhook_failing"), "{}", unknown[0].detail);
        assert!(NewEvent::parse_any("{", "").is_err_and(|faults| faults[0].code == "not_json"));
    }

    #[test]
    fn all_faults_come_at_once_with_their_places() {
        let text = r#"{"type":"all","occurred_at":"yesterday","id":"7","engagement":{"name":1,"x":0},"more":1,"caused_by":"y"}"#;
        assert_eq!(
            faults(text),
            [
                "/3/more unknown_field",
                "/3/caused_by read_only",
                "/3/type unknown_event_type",
                "/3/occurred_at invalid",
                "/3/id invalid",
                "/3/engagement/x unknown_field",
                "/3/engagement/id required",
                "/3/engagement/name wrong_type",
                "/3/data required",
            ]
        );
    }

    #[test]
    fn each_member_is_checked() {
        for (text, expected) in [
            ("[]".to_owned(), "/3 wrong_type"),
            ("{".to_owned(), "/3 not_json"),
            (r#"{"data":{"phase":{}}}"#.to_owned(), "/3/type required"),
            (r#"{"type":7,"data":{}}"#.to_owned(), "/3/type wrong_type"),
            (r#"{"type":"*","data":{}}"#.to_owned(), "/3/type unknown_event_type"),
            (r#"{"type":"phase_changed","data":[]}"#.to_owned(), "/3/data wrong_type"),
            (phase(r#","occurred_at":null"#), "/3/occurred_at wrong_type"),
            (phase(r#","occurred_at":1700000000"#), "/3/occurred_at wrong_type"),
            (phase(r#","occurred_at":"2026-01-31512:00:00Z""#), "/3/occurred_at invalid"),
            (phase(r#","occurred_at":"2026-01-31 12:00:00Z""#), "/3/occurred_at invalid"),
            (phase(r#","id":null"#), "/3/id wrong_type"),
            (phase(r#","id":"01890a5dac96774bbcceb302099a8057""#), "/3/id invalid"),
            (phase(r#","engagement":null"#), "/3/engagement wrong_type"),
            (phase(r#","engagement":{"id":"e","name":"n","client":null}"#), "/3/engagement/client wrong_type"),
            (phase(r#","accepted_at":"2026-01-01T00:00:00Z""#), "/3/accepted_at read_only"),
            (finding(""), "/3/data/finding/title required"),
            (finding(r#""title":"""#), "/3/data/finding/title empty"),
            (finding(r#""title":7"#), "/3/data/finding/title wrong_type"),
            (finding(r#""title":"x","severity":"urgent""#), "/3/data/finding/severity invalid"),
            (finding(r#""title":"x","severity":"high ""#), "/3/data/finding/severity invalid"),
            (finding(r#""title":"x","severity":null"#), "/3/data/finding/severity wrong_type"),
            (finding(r#""title":"x","severity":4"#), "/3/data/finding/severity wrong_type"),
        ] {
            assert_eq!(faults(&text), [expected], "{text}");
        }
    }

    #[test]
    fn filters_go_by_the_severity_of_the_events_own_group_and_by_the_engagement() {
        let read = |text: &str| NewEvent::parse(text, "").expect(text);
        assert_eq!(read(&finding(r#""title":"x","severity":"CRITICAL""#)).severity, Some(Severity::Critical));
        for (data, expected) in [
            (r#"{"monitor":{"severity":"Low"}}"#, Some(Severity::Low)),
            (r#"{"monitor":{"severity":" low "}}"#, Some(Severity::Low)),
            (r#"{"monitor":{"severity":"\tHIGH\n\u00a0"}}"#, Some(Severity::High)),
            (r#"{"monitor":{"severity":"l ow"}}"#, None),
            (r#"{"monitor":{"severity":"strange"}}"#, None),
            (r#"{"monitor":{"severity":4}}"#, None),
            (r#"{"monitor":{"severity":[]},"finding":7}"#, None),
            (r#"{"monitor":{"severity":"low"},"finding":{"severity":"high"}}"#, Some(Severity::Low)),
            (r#"{"monitor":{},"finding":{"severity":"high"}}"#, None),
        ] {
            assert_eq!(read(&format!(r#"{{"type":"monitor_alert","data":{data}}}"#)).severity, expected, "{data}");
        }
        // No severity is made of a score, and none is taken from a group that is not the event's own.
        assert_eq!(read(&finding(r#""title":"x","cvss":9.8"#)).severity, None);
        let phase_with = r#"{"type":"phase_changed","data":{"phase":{"severity":"low"},"finding":{"severity":"low"}}}"#;
        assert_eq!(read(phase_with).severity, None);
        let engaged = read(&phase(r#","engagement":{"id":"e-1","name":"n"}"#));
        assert_eq!(engaged.engagement_id.as_deref(), Some("e-1"));
    }

    #[test]
    fn numbers_in_data_are_kept_whatever_their_size() {
        let long = "9".repeat(400);
        for number in ["1e400", "-1e400", "1e-400", "1e999999999", &long] {
            let text = finding(&format!(r#""title":"x","severity":"high","cvss":{number},"n":[{number}]"#));
            let event = NewEvent::parse(&text, "").expect("an event");
            assert_eq!((event.json, event.severity), (text, Some(Severity::High)));
        }
        assert_eq!(faults(&finding(r#""title":"x","severity":1e400"#)), ["/3/data/finding/severity wrong_type"]);
    }

    #[test]
    fn id_and_time_are_read() {
        let event = NewEvent::parse(
            &phase(r#","id":"01890A5D-AC96-774B-BCCE-B302099A8057","occurred_at":"2026-01-31T14:00:00+02:00""#),
            "",
        )
        .expect("an event");
        assert_eq!(event.id.map(|id| id.to_string()).as_deref(), Some("01890a5d-ac96-774b-bcce-b302099a8057"));
        assert_eq!(event.occurred_at.map(|at| at.to_string()).as_deref(), Some("2026-01-31T12:00:00.000Z"));
    }
}
