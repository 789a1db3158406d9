//! One request's events: split, checked, read. Nothing is copied before all of them passed.

use crate::api::body::{MediaType, Payload};
use crate::api::problem::{ApiError, Code};
use crate::json::fault::Fault;
use crate::json::{self, Document};
use crate::model::event::NewEvent;
use crate::model::settings::Limits;

/// How the events stand in the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Shape {
    /// One object.
    Single = 1,
    /// An array of objects.
    Array = 2,
    /// An object a line.
    Lines = 3,
}

/// A body split into its events' texts; how many and how long they are was checked.
pub(super) struct Posted<'a> {
    pub(super) shape: Shape,
    whole: &'a str,
    texts: Vec<&'a str>,
}

impl<'a> Posted<'a> {
    /// Splits a body.
    pub(super) fn split(payload: &'a Payload, limits: &Limits) -> Result<Self, ApiError> {
        let whole = payload.text()?;
        let (shape, texts, count) = match payload.media_type {
            MediaType::NdJson => {
                let texts: Vec<&str> = json::lines(whole).take(limits.max_events).collect();
                (Shape::Lines, texts, json::lines(whole).count())
            }
            MediaType::Json if json::is_array(whole) => {
                let (texts, count) = json::elements(whole, limits.max_events)?;
                (Shape::Array, texts, count)
            }
            // Anything but the two was refused before it was read.
            MediaType::Json | MediaType::Wasm => (Shape::Single, vec![whole.trim_matches([' ', '\t', '\r', '\n'])], 1),
        };
        if count > limits.max_events {
            let detail = format!("a request may have at most {} events, and has {count}", limits.max_events);
            return Err(ApiError::new(Code::TooManyEvents, detail));
        }
        let posted = Self { shape, whole, texts };
        if let Some(place) = posted.texts.iter().position(|text| text.len() > limits.max_event_bytes) {
            let (bytes, most) = (posted.texts[place].len(), limits.max_event_bytes);
            let which = if posted.is_single() { "the event".to_owned() } else { format!("the event at {place}") };
            let detail = format!("an event may have at most {most} bytes, and {which} has {bytes}");
            return Err(ApiError::new(Code::EventTooLarge, detail));
        }
        Ok(posted)
    }

    /// Whether the answer is one object.
    pub(super) fn is_single(&self) -> bool {
        self.shape == Shape::Single
    }

    /// An event's place in the body, as a JSON pointer.
    pub(super) fn pointer(&self, place: usize) -> String {
        if self.is_single() { String::new() } else { format!("/{place}") }
    }

    /// Checks that every event is JSON as we take it.
    pub(super) fn check(&self) -> Result<Vec<Document<'a>>, ApiError> {
        let depth = usize::from(self.shape == Shape::Array);
        let documents = self.texts.iter().map(|text| json::check_part(self.whole, text, depth));
        Ok(documents.collect::<Result<_, _>>()?)
    }

    /// Reads every event, or names every fault.
    pub(super) fn read(&self, documents: &[Document<'_>]) -> Result<Vec<NewEvent>, ApiError> {
        let mut events = Vec::with_capacity(documents.len());
        let mut faults = Vec::new();
        for (place, document) in documents.iter().enumerate() {
            match NewEvent::read(document, &self.pointer(place)) {
                Ok(event) => events.push(event),
                Err(wrong) => faults.extend(wrong),
            }
        }
        if documents.is_empty() {
            let detail = "there is no event in this request".to_owned();
            faults.push(Fault { pointer: String::new(), code: "empty", detail });
        }
        if faults.is_empty() { Ok(events) } else { Err(ApiError::fields(faults)) }
    }
}
