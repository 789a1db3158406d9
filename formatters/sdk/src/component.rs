//! The layer between the WIT's types and a formatter written in Rust: trait, manifest, glue code.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{Context, Error, Event, Level, Payload, Problem, RawEvent};

/// A format: its manifest, and the function that turns one event into one payload.
pub trait Formatter {
    /// The webhook's `format_options`. Give every member a default: an option that the webhook does not set is absent.
    /// Use `#[serde(deny_unknown_fields)]`: the host rejects options that the schema does not name.
    type Options: DeserializeOwned;

    /// The levels of objects below the envelope that are read in the same pass as the envelope. 0 is for a format that
    /// copies `data` and reads nothing, or little, of it: what it asks for is then read in a pass of its own.
    const LEVELS: usize = crate::event::LEVELS;

    /// The manifest, which describes the formatter to the host.
    fn manifest() -> Manifest;

    /// Turns one event into the payload of one delivery. The same arguments give the same bytes.
    ///
    /// # Errors
    /// Any [`Error`]. Unknown event types, unreadable events and invalid options are rejected before this is called.
    fn render(event: &Event<'_>, context: &Context, options: &Self::Options) -> Result<Payload, Error>;
}

/// The manifest that `describe` returns; the WIT defines each member.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// The format's name, `[a-z][a-z0-9-]{0,62}`.
    pub name: &'static str,
    /// The formatter's own version, semantic.
    pub version: &'static str,
    /// A display name for the format, at most 80 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<&'static str>,
    /// A description in one sentence, at most 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'static str>,
    /// The transports that the payload is made for.
    pub kind: Kind,
    /// The joining of a batch's payloads.
    pub join: Join,
    /// The sandbox size that the component needs; Rust formatters fit the small one.
    #[serde(skip_serializing_if = "Size::is_small")]
    pub size: Size,
    /// The JSON Schema (2020-12) of the options, as JSON text. `None`: the format has no options.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json_as_it_is")]
    pub options_schema: Option<&'static str>,
}

impl Manifest {
    /// A manifest with the WIT's defaults: a document that cannot be joined and has no options.
    pub const fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            version,
            title: None,
            description: None,
            kind: Kind::Document,
            join: Join::None,
            size: Size::Small,
            options_schema: None,
        }
    }
}

fn json_as_it_is<S: Serializer>(schema: &Option<&str>, to: S) -> Result<S::Ok, S::Error> {
    schema.map(serde_json::from_str::<&RawValue>).transpose().map_err(serde::ser::Error::custom)?.serialize(to)
}

/// The transports that a payload is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A body for HTTP only.
    Document,
    /// One line of text without a line feed, for HTTP and syslog.
    Line,
}

/// The rule that makes one request body of a batch's payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// They do not: each payload is a request of its own.
    None,
    /// Joined with a line feed.
    Newline,
    /// Concatenated without a separator.
    Concatenate,
}

/// The sandbox that the component needs (since contract 1.1.0).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// The standard sandbox, which every host has.
    #[default]
    Small,
    /// A sandbox with more memory, tables and instances, for a component that carries an interpreter (JavaScript,
    /// Python). An operator can disable it.
    Large,
}

impl Size {
    const fn is_small(&self) -> bool {
        matches!(self, Self::Small)
    }
}

/// The options of a format without options; its schema is [`NoOptions::SCHEMA`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

impl NoOptions {
    /// The schema of an object without members.
    pub const SCHEMA: &'static str = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,"properties":{}}"#;
}

/// The component's `describe`: the manifest as JSON.
///
/// # Panics
/// When `options_schema` is not valid JSON. The shared tests call this, so the error shows before a component is built.
pub fn describe<F: Formatter>() -> String {
    serde_json::to_string(&F::manifest()).expect("options_schema is JSON")
}

/// The component's `format`: parses the options and the event, renders, and enforces the transport's size limit. The
/// sandbox runs exactly this function.
///
/// # Errors
/// `invalid-options` with a pointer to the member; `invalid-event` for an event that cannot be parsed;
/// `unsupported-event` for a type that the SDK does not know; `internal` for a body over `context.max-bytes`; and any
/// error of `render`.
pub fn format<F: Formatter>(event: &RawEvent, context: &Context, options: &str) -> Result<Payload, Error> {
    let options = parse_options::<F::Options>(options)?;
    let event = Event::parse_to(event, F::LEVELS)?;
    let payload = F::render(&event, context, &options)?;
    match context.max_bytes {
        Some(max) if payload.body.len() > max as usize => Err(Error::Internal(format!(
            "the shortest payload has {} bytes, the transport takes {max}",
            payload.body.len()
        ))),
        _ => Ok(payload),
    }
}

/// Makes a panic log its message and place, as the last thing before it ends the call: a component has no standard
/// error, and a panic cannot be caught. The exports call this. Does nothing outside of a component.
pub fn log_panics() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".into(), ToString::to_string);
        // The host recognises the line by its beginning.
        log(Level::Error, &format!("panicked at {place}: {}", panic.payload_as_str().unwrap_or("no message")));
    }));
}

/// Adds a line to the call's log, for the formatter's author; a preview shows it. Does nothing outside of a component.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::heraldry::formatter::log::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (level, message);
}

pub(crate) fn parse_options<T: DeserializeOwned>(options: &str) -> Result<T, Error> {
    if let Ok(options) = serde_json::from_str(options) {
        return Ok(options);
    }
    // Parse again with the slower deserializer that tracks the path of the error.
    let mut reader = serde_json::Deserializer::from_str(options);
    let problem = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Ok(_) => Problem { pointer: String::new(), message: "the options are not one JSON object".into() },
        Err(error) => Problem { pointer: pointer(error.path()), message: error.inner().to_string() },
    };
    Err(Error::InvalidOptions(vec![problem]))
}

/// The path as a JSON pointer (RFC 6901, sections 3 and 4).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// Exports the type, a [`Formatter`], as the crate's component. Has an effect only when a component is built: natively
/// the crate stays an ordinary library, several of which can be linked into one program.
#[macro_export]
macro_rules! export_formatter {
    ($formatter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl $crate::bindings::exports::heraldry::formatter::format::Guest for Component {
                fn describe() -> ::std::string::String {
                    $crate::component::log_panics();
                    $crate::describe::<$formatter>()
                }

                fn format(
                    event: $crate::RawEvent,
                    context: $crate::Context,
                    options: ::std::string::String,
                ) -> ::std::result::Result<$crate::Payload, $crate::Error> {
                    $crate::component::log_panics();
                    $crate::format::<$formatter>(&event, &context, &options)
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() -> $crate::Manifest = <$formatter as $crate::Formatter>::manifest;
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Options {
        #[serde(default)]
        _list: Vec<u8>,
    }

    fn pointer_of(options: &str) -> String {
        match parse_options::<Options>(options) {
            Err(Error::InvalidOptions(problems)) => problems[0].pointer.clone(),
            other => panic!("{options} gave {other:?}"),
        }
    }

    #[test]
    fn invalid_options_are_located() {
        assert!(parse_options::<Options>(r#"{"_list":[1]}"#).is_ok());
        assert_eq!(pointer_of(r#"{"_list":[1,"x"]}"#), "/_list/1");
        assert_eq!(pointer_of(r#"{"a/b~c":1}"#), "/a~1b~0c");
        assert_eq!(pointer_of("[]x"), "");
        assert_eq!(pointer_of("{}{}"), "");
    }

    #[test]
    fn a_manifest_is_one_json_object() {
        let manifest = Manifest { options_schema: Some(NoOptions::SCHEMA), ..Manifest::new("a", "1.0.0") };
        let text = serde_json::to_string(&manifest).expect("serialises");
        assert_eq!(
            text,
            format!(
                r#"{{"name":"a","version":"1.0.0","kind":"document","join":"none","options_schema":{}}}"#,
                NoOptions::SCHEMA
            )
        );
        let large = Manifest { size: Size::Large, ..Manifest::new("a", "1.0.0") };
        assert_eq!(
            serde_json::to_string(&large).expect("serialises"),
            r#"{"name":"a","version":"1.0.0","kind":"document","join":"none","size":"large"}"#
        );
    }
}
