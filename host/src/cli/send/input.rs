//! Parses the input of `send` into events. Their text stays byte for byte, but for an id where there is none.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::model::id::EventId;

/// An event to post.
#[derive(Debug)]
pub(crate) struct Event {
    /// Line of the input that it begins on, from 1.
    pub(crate) line: usize,
    /// The text of the input, with an id inserted as the first member if it had none.
    pub(crate) json: String,
}

/// The first error in the input.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The text is not JSON.
    #[error("line {line}, column {column}: {what}")]
    Json {
        /// From 1.
        line: usize,
        /// In bytes, from 1; 0 at the end of the input.
        column: usize,
        /// The parser's message.
        what: String,
    },
    /// A value that is not an object.
    #[error("line {line}: not a JSON object")]
    NotAnObject {
        /// Line that the value begins on, from 1.
        line: usize,
    },
    /// An object whose member names cannot be read.
    #[error("line {line}: {source}")]
    Members {
        /// Line that the object begins on, from 1.
        line: usize,
        /// The parser's error.
        source: serde_json::Error,
    },
}

/// Parses the events in a text: one object, an array of objects, or a sequence of objects.
///
/// # Errors
/// The first error in the text; nothing must be sent then.
pub(crate) fn parse(text: &str) -> Result<Vec<Event>, InputError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Lines { text, offset: 0, line: 1 };
    let mut events = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let value = value.map_err(json_error)?.get();
        if value.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(value).map_err(json_error)?;
            for item in items {
                events.push(event(item.get(), lines.line_of(item.get()))?);
            }
        } else {
            events.push(event(value, lines.line_of(value))?);
        }
    }
    Ok(events)
}

/// Line numbers of slices of one text, for slices in ascending order.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl Lines<'_> {
    fn line_of(&mut self, slice: &str) -> usize {
        let offset = (slice.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let passed = self.text.as_bytes().get(self.offset..offset).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.offset = self.offset.max(offset);
        self.line
    }
}

fn event(json: &str, line: usize) -> Result<Event, InputError> {
    if !json.starts_with('{') {
        return Err(InputError::NotAnObject { line });
    }
    let json = with_id(json).map_err(|source| InputError::Members { line, source })?;
    Ok(Event { line, json })
}

/// The object's text, with a new id (UUIDv7) as its first member unless it has an id.
pub(crate) fn with_id(object: &str) -> Result<String, serde_json::Error> {
    let members: HashMap<Cow<'_, str>, IgnoredAny> = serde_json::from_str(object)?;
    if members.contains_key("id") {
        return Ok(object.to_owned());
    }
    let comma = if members.is_empty() { "" } else { "," };
    let rest = object.trim_start().strip_prefix('{').unwrap_or_default();
    Ok(format!("{{\"id\":\"{}\"{comma}{rest}", EventId::generate()))
}

fn json_error(error: serde_json::Error) -> InputError {
    let (line, column) = (error.line(), error.column());
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or(&what).to_owned();
    InputError::Json { line, column, what }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        parse(text).expect("events").iter().map(|event| event.line).collect()
    }

    #[test]
    fn an_object_an_array_and_a_line_each_are_events() {
        assert_eq!(lines("{\n \"type\": \"x\"\n}\n"), [1]);
        assert_eq!(lines("[\n {},\n {\"a\":\n1}, {}]"), [2, 3, 4]);
        assert_eq!(lines("{}\n\n{}\r\n{}"), [1, 3, 4]);
        assert_eq!(lines("\u{feff}{}"), [1]);
        assert_eq!(lines("[]"), [0; 0]);
        assert_eq!(lines(" \n"), [0; 0]);
    }

    #[test]
    fn an_error_names_its_line() {
        for (text, message) in [
            ("{}\n{\"a\":}\n", "line 2, column 6"),
            ("{}\n42\n", "line 2: not a JSON object"),
            ("[{},\n[]]", "line 2: not a JSON object"),
            ("{\n", "line 2, column 0: EOF"),
            ("{\"\\ud800\":1}", "line 1: "),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_id_is_inserted_and_nothing_else_changes() {
        let body = "{ \"type\" : \"x\", \"data\": {\"n\": 1.50E+400, \"id\": 7, \"s\": \"\\u00e9\u{e9}\"} }";
        let sent = with_id(body).expect("an object");
        let id = &sent[7..43];
        assert_eq!(Uuid::parse_str(id).expect("a UUID").get_version_num(), 7);
        assert_eq!(sent, format!("{{\"id\":\"{id}\",{}", &body[1..]));
        assert!(with_id("{ }").expect("an object").ends_with("\" }"));
    }

    #[test]
    fn an_existing_id_stays() {
        for object in ["{\"id\":\"x\"}", "{\"type\":\"x\",\"\\u0069d\":null}"] {
            assert_eq!(with_id(object).expect("an object"), object);
        }
    }

    #[test]
    fn every_event_gets_its_own_id() {
        let events = parse("[{},{}]").expect("events");
        assert_ne!(events[0].json, events[1].json);
    }
}
