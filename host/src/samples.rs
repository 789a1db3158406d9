//! The project's sample events (`wit/samples/`): what a new formatter is tried on, what a test delivery
//! carries, what the demo sends.

use crate::model::event::{Event, EventType, NewEvent};
use crate::model::id::EventId;
use crate::model::time::Timestamp;

/// One file of `wit/samples/`.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The file's stem: the event type, and `--variant` unless it is the plain one.
    pub name: &'static str,
    /// The event type.
    pub event_type: &'static str,
    /// The event.
    pub json: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/samples.rs"));

/// Every sample, by name.
pub fn all() -> &'static [Sample] {
    SAMPLES
}

impl Sample {
    /// Whether it looks like what a platform posts; the others look like what the host derives.
    fn is_posted(&self) -> bool {
        NewEvent::parse(self.json.trim(), "").is_ok()
    }
}

/// The samples that can be posted, by name.
pub fn posted() -> Vec<&'static Sample> {
    all().iter().filter(|sample| sample.is_posted()).collect()
}

/// A sample as an accepted event.
pub fn event(sample: &Sample) -> Option<Event> {
    let json = sample.json.trim();
    if let Ok(new) = NewEvent::parse(json, "") {
        return Some(accepted(new));
    }
    // As the host would have derived it: the same event, with its cause.
    let mut members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
    let caused_by = members.remove("caused_by")?;
    let new = NewEvent::parse(&serde_json::to_string(&members).ok()?, "").ok()?;
    Some(Event { caused_by: caused_by.as_str()?.parse().ok(), json: json.to_owned(), ..accepted(new) })
}

/// The plain sample of a type.
pub fn plain(event_type: EventType) -> Option<Event> {
    all().iter().find(|sample| sample.name == event_type.as_str()).and_then(event)
}

/// An event that was checked but not posted, as if it had been accepted when it happened.
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
    fn every_sample_is_a_legal_event_and_every_type_has_a_plain_one() {
        for sample in all() {
            let new = NewEvent::parse(sample.json.trim(), "");
            assert!(event(sample).is_some(), "{}: {:?}", sample.name, new.err());
        }
        for &event_type in EventType::ALL {
            assert!(plain(event_type).is_some(), "{}", event_type.as_str());
        }
    }
}
