//! The events of one request: split, checked, parsed. Nothing is copied before all of them have passed.

use crate::api::body::{MediaType, Payload};
use crate::api::problem::{ApiError, Code};
use crate::json::fault::Fault;
use crate::json::fields::Field;
use crate::json::{self, Document};
use crate::model::event::{NewEvent, UnknownMembers};
use crate::model::settings::Limits;

/// Warnings listed for one event; beyond it only their number is given.
const EVENT_WARNINGS: usize = 20;
/// Warnings listed in one response.
const RESPONSE_WARNINGS: usize = 100;

/// The form of the body; also part of the digest behind an idempotency key, so the numbers must not change.
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

/// A body split into the texts of its events, within the limits on their number and size.
pub(super) struct Posted<'a> {
    pub(super) shape: Shape,
    whole: &'a str,
    texts: Vec<&'a str>,
    /// The texts, if they were checked while they were split.
    checked: Option<Vec<Document<'a>>>,
}

impl<'a> Posted<'a> {
    /// Splits a body.
    ///
    /// # Errors
    /// 400 for invalid JSON, 413 for too many events or one that is too large.
    pub(super) fn split(payload: &'a Payload, limits: &Limits) -> Result<Self, ApiError> {
        let whole = payload.text()?;
        let mut checked = None;
        let (shape, texts, count) = match payload.media_type {
            MediaType::NdJson => {
                let texts: Vec<&str> = json::lines(whole).take(limits.max_events).collect();
                (Shape::Lines, texts, json::lines(whole).count())
            }
            MediaType::Json if json::is_array(whole) => {
                let (texts, count) = match json::check_elements(whole, limits.max_events) {
                    Some((documents, count)) => {
                        let texts = documents.iter().map(Document::text).collect();
                        checked = Some(documents);
                        (texts, count)
                    }
                    None => json::elements(whole, limits.max_events)?,
                };
                (Shape::Array, texts, count)
            }
            // `Wasm` cannot occur: the handler allows only the two others.
            MediaType::Json | MediaType::Wasm => (Shape::Single, vec![whole.trim_matches([' ', '\t', '\r', '\n'])], 1),
        };
        if count > limits.max_events {
            let detail = format!("a request may have at most {} events, and has {count}", limits.max_events);
            return Err(ApiError::new(Code::TooManyEvents, detail));
        }
        let posted = Self { shape, whole, texts, checked };
        if let Some(index) = posted.texts.iter().position(|text| text.len() > limits.max_event_bytes) {
            let (bytes, most) = (posted.texts[index].len(), limits.max_event_bytes);
            let which = if posted.is_single() { "the event".to_owned() } else { format!("the event at index {index}") };
            let detail = format!("an event may have at most {most} bytes, and {which} has {bytes}");
            return Err(ApiError::new(Code::EventTooLarge, detail));
        }
        Ok(posted)
    }

    /// Returns true if the response is one object.
    pub(super) fn is_single(&self) -> bool {
        self.shape == Shape::Single
    }

    /// The JSON pointer of an event in the body.
    pub(super) fn pointer(&self, index: usize) -> String {
        if self.is_single() { String::new() } else { format!("/{index}") }
    }

    /// Checks that every event is strict JSON.
    ///
    /// # Errors
    /// 400 with the position of the first error in the body.
    pub(super) fn check(&mut self) -> Result<Vec<Document<'a>>, ApiError> {
        if let Some(documents) = self.checked.take() {
            return Ok(documents);
        }
        let depth = usize::from(self.shape == Shape::Array);
        let documents = self.texts.iter().map(|text| json::check_part(self.whole, text, depth));
        Ok(documents.collect::<Result<_, _>>()?)
    }

    /// Parses every event, and finds the members that its schema does not know.
    ///
    /// # Errors
    /// 422 with the faults of all events.
    pub(super) fn read(&self, documents: &[Document<'_>]) -> Result<(Vec<NewEvent>, Vec<UnknownMembers>), ApiError> {
        let mut events = Vec::with_capacity(documents.len());
        let mut warnings = Vec::with_capacity(documents.len());
        let mut faults = Vec::new();
        let mut left = RESPONSE_WARNINGS;
        for (index, document) in documents.iter().enumerate() {
            let mut unknown = UnknownMembers::up_to(left.min(EVENT_WARNINGS));
            let text = document.text();
            let place = if self.is_single() { Field::new(text, "") } else { Field::element(text, index) };
            match NewEvent::read_noting(document, &place, &mut unknown) {
                Ok(event) => events.push(event),
                Err(wrong) => faults.extend(wrong),
            }
            left -= unknown.listed().len();
            warnings.push(unknown);
        }
        if documents.is_empty() {
            let detail = "the request has no event; send at least one".to_owned();
            faults.push(Fault { pointer: String::new(), code: "empty", detail });
        }
        if faults.is_empty() { Ok((events, warnings)) } else { Err(ApiError::fields(faults)) }
    }
}
