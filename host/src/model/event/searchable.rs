//! The members of an event that searches go by.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EventType, Severity};

/// The members of an event that searches go by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Searchable {
    /// `engagement.id`.
    pub engagement_id: Option<String>,
    /// `data.finding.id` of an event about a finding: a string, or a number by its text.
    pub finding_id: Option<String>,
    /// The severity of the finding, alert or host event.
    pub severity: Option<Severity>,
}

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    engagement: Option<Engagement<'a>>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Engagement<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    finding: Option<&'a RawValue>,
    #[serde(borrow)]
    monitor: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Group<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    severity: Option<&'a RawValue>,
}

impl Searchable {
    /// Reads them from the text of a stored event. A text that does not parse has none.
    pub fn of(event_type: EventType, json: &str) -> Self {
        let Ok(Stored { engagement, data }) = serde_json::from_str::<Stored<'_>>(json) else { return Self::default() };
        let own = match event_type.group() {
            "finding" => data.finding,
            "monitor" => data.monitor,
            _ => None,
        };
        let own = own.and_then(|own| serde_json::from_str::<Group<'_>>(own.get()).ok());
        let finding_id = own.as_ref().and_then(|own| own.id).filter(|_| event_type.group() == "finding");
        Self {
            engagement_id: engagement.and_then(|engagement| identifier(engagement.id.get())),
            finding_id: finding_id.and_then(|id| identifier(id.get())),
            severity: own.and_then(|own| own.severity).and_then(word).or_else(|| event_type.host_severity()),
        }
    }
}

/// An id: a string, or a number by its text.
pub(super) fn identifier(text: &str) -> Option<String> {
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok(),
        b'-' | b'0'..=b'9' => Some(text.to_owned()),
        _ => None,
    }
}

fn word(value: &RawValue) -> Option<Severity> {
    let word: String = serde_json::from_str(value.get()).ok()?;
    Severity::from_word(word.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::NewEvent;

    #[test]
    fn an_event_that_is_accepted_and_the_same_read_back_are_found_alike() {
        for (text, engagement_id, finding_id, severity) in [
            (
                r#"{"type":"finding_added","engagement":{"id":"e\u002d1","name":"n"},
                    "data":{"finding":{"id":"F-0407","title":"x","severity":"HIGH"}}}"#,
                Some("e-1"),
                Some("F-0407"),
                Some(Severity::High),
            ),
            (r#"{"type":"finding_added","data":{"finding":{"id":407,"title":"x"}}}"#, None, Some("407"), None),
            (r#"{"type":"finding_added","data":{"finding":{"id":["F"],"title":"x"}}}"#, None, None, None),
            (
                r#"{"type":"monitor_alert","data":{"monitor":{"severity":" low "},"finding":{"id":"F-1"}}}"#,
                None,
                None,
                Some(Severity::Low),
            ),
            (r#"{"type":"phase_changed","data":{"phase":{},"finding":"F-1"}}"#, None, None, None),
            (r#"{"type":"webhook_disabled","data":{"webhook":{}}}"#, None, None, Some(Severity::High)),
        ] {
            let expected = Searchable {
                engagement_id: engagement_id.map(Into::into),
                finding_id: finding_id.map(Into::into),
                severity,
            };
            let name = text.split('"').nth(3).expect("a type");
            let event_type = EventType::from_name(name).expect("known");
            assert_eq!(Searchable::of(event_type, text), expected, "{text}");
            if !event_type.is_host() {
                let NewEvent { engagement_id, finding_id, severity, .. } = NewEvent::parse(text, "").expect("an event");
                assert_eq!(Searchable { engagement_id, finding_id, severity }, expected, "{text}");
            }
        }
        assert_eq!(Searchable::of(EventType::PhaseChanged, "{"), Searchable::default());
    }
}
