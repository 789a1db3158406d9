//! The sample events (`wit/samples/`): input of a component's trial run, of test deliveries and of the demo.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::event::{Event, EventType, NewEvent};
use crate::model::id::EventId;
use crate::model::time::Timestamp;

/// One file of `wit/samples/`.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The file's stem: the event type, followed by `--VARIANT` for all but the plain sample.
    pub name: &'static str,
    /// The name of the event type: `name` without its variant.
    pub event_type: &'static str,
    /// The event as JSON, as it would be posted or derived.
    pub json: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/samples.rs"));

/// Every sample, sorted by name.
pub fn all() -> &'static [Sample] {
    SAMPLES
}

impl Sample {
    /// Returns true for an event as a platform posts it; the others are events that the host derives from one or makes of
    /// what happens to itself.
    fn is_posted(&self) -> bool {
        NewEvent::parse(self.json.trim(), "").is_ok()
    }
}

/// The samples that can be posted, sorted by name.
pub fn posted() -> Vec<&'static Sample> {
    all().iter().filter(|sample| sample.is_posted()).collect()
}

/// A sample as an accepted event; `None` if its JSON is not a valid event.
pub fn event(sample: &Sample) -> Option<Event> {
    let json = sample.json.trim();
    if let Ok(new) = NewEvent::parse_any(json, "") {
        return Some(accepted(new));
    }
    // A derived event is the posted one with its cause; the parser rejects `caused_by`, so it is taken out here.
    let mut members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
    let caused_by = members.remove("caused_by")?;
    let new = NewEvent::parse(&serde_json::to_string(&members).ok()?, "").ok()?;
    Some(Event { caused_by: caused_by.as_str()?.parse().ok(), json: json.to_owned(), ..accepted(new) })
}

/// The sample of a type without a variant.
pub fn plain(event_type: EventType) -> Option<Event> {
    all().iter().find(|sample| sample.name == event_type.as_str()).and_then(event)
}

/// The sample of a type without a variant, as JSON without an id: posted twice it is two events, unless it is a host
/// event, which cannot be posted.
pub fn without_id(event_type: EventType) -> Option<String> {
    let sample = all().iter().find(|sample| sample.name == event_type.as_str())?;
    serde_json::to_string(&serde_json::from_str::<WithoutId<'_>>(sample.json).ok()?).ok()
}

#[derive(Deserialize, Serialize)]
struct WithoutId<'a> {
    #[serde(borrow)]
    r#type: &'a RawValue,
    #[serde(borrow)]
    occurred_at: &'a RawValue,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    engagement: Option<&'a RawValue>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Turns a checked but unposted event into an accepted one, with the time of acceptance set to when it happened.
pub fn accepted(new: NewEvent) -> Event {
    let occurred_at = new.occurred_at.unwrap_or_default();
    Event {
        id: new.id.unwrap_or_else(EventId::generate),
        event_type: new.event_type,
        occurred_at,
        accepted_at: Timestamp::default().max(occurred_at),
        caused_by: None,
        json: new.json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_a_valid_event_and_every_type_has_a_plain_one() {
        for sample in all() {
            let new = NewEvent::parse_any(sample.json.trim(), "");
            assert!(event(sample).is_some(), "{}: {:?}", sample.name, new.err());
        }
        for &event_type in EventType::ALL {
            assert!(plain(event_type).is_some(), "{}", event_type.as_str());
            let json = without_id(event_type).expect("a sample");
            let read = NewEvent::parse_any(&json, "").expect("an event");
            assert_eq!((read.event_type, read.id), (event_type, None));
            assert_eq!(NewEvent::parse(&json, "").is_ok(), !event_type.is_host());
        }
    }

    #[test]
    fn samples_of_host_events_are_not_posted() {
        assert!(posted().iter().all(|sample| EventType::from_name(sample.event_type).is_some_and(|of| !of.is_host())));
        assert_eq!(posted().len(), 36, "the demo's events, as the README says");
    }
}
