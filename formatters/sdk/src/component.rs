//! Between the WIT's types and a formatter written in Rust: the trait, the manifest, the glue.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{Context, Error, Event, Level, Payload, Problem, RawEvent};

/// A format: what it is called and how it turns one event into one payload.
pub trait Formatter {
    /// The webhook's `format_options`. Give every member a default: what the webhook does not set is
    /// absent. `#[serde(deny_unknown_fields)]`, as the host refuses what the schema does not name.
    type Options: DeserializeOwned;

    /// What the formatter tells the host about itself.
    fn manifest() -> Manifest;

    /// Turns one event into what one delivery carries. The same arguments give the same bytes.
    ///
    /// # Errors
    /// Whatever of [`Error`] fits; unknown event types, unreadable events and unreadable options never
    /// come this far.
    fn render(event: &Event<'_>, context: &Context, options: &Self::Options) -> Result<Payload, Error>;
}

/// The manifest that `describe` answers with; the WIT says what each member means.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// The format's name, `[a-z][a-z0-9-]{0,62}`.
    pub name: &'static str,
    /// The formatter's own version, semantic.
    pub version: &'static str,
    /// A person's name for the format, at most 80 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<&'static str>,
    /// One sentence, at most 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'static str>,
    /// Document or line.
    pub kind: Kind,
    /// How several payloads make one.
    pub join: Join,
    /// The sandbox that the component needs. What is written in Rust is small.
    #[serde(skip_serializing_if = "Size::is_small")]
    pub size: Size,
    /// The JSON Schema (2020-12) of the options, as JSON text. `None`: the format has no options.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json_as_it_is")]
    pub options_schema: Option<&'static str>,
}

impl Manifest {
    /// A document that cannot be joined and has no options: the WIT's defaults.
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

/// What a payload is to a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A body for HTTP.
    Document,
    /// One line of text without a line feed, for HTTP and for syslog.
    Line,
}

/// How several payloads make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// Not at all.
    None,
    /// With a line feed between them.
    Newline,
    /// One after the other.
    Concatenate,
}

/// How much of a sandbox the component needs (since contract 1.1.0).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// What every host gives.
    #[default]
    Small,
    /// For a component that carries an interpreter (JavaScript, Python): more memory, tables and instances. An
    /// operator may have switched it off.
    Large,
}

impl Size {
    const fn is_small(&self) -> bool {
        matches!(self, Self::Small)
    }
}

/// The options of a format that has none; its schema is [`NoOptions::SCHEMA`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

impl NoOptions {
    /// An object without members.
    pub const SCHEMA: &'static str = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,"properties":{}}"#;
}

/// What the component answers to `describe`: the manifest as JSON.
///
/// # Panics
/// When `options_schema` is not JSON; the shared tests call this, so a formatter finds out at home.
pub fn describe<F: Formatter>() -> String {
    serde_json::to_string(&F::manifest()).expect("options_schema is JSON")
}

/// What the component answers to `format`: reads the options and the event, renders, and holds the
/// payload against the transport's limit. The sandbox runs exactly this and nothing else.
///
/// # Errors
/// `invalid-options` with a pointer to the member; `invalid-event` for what is no event;
/// `unsupported-event` for a type that the SDK does not know; `internal` for a body over
/// `context.max-bytes`; and what `render` returns.
pub fn format<F: Formatter>(event: &RawEvent, context: &Context, options: &str) -> Result<Payload, Error> {
    let options = parse_options::<F::Options>(options)?;
    let event = Event::parse(event)?;
    let payload = F::render(&event, context, &options)?;
    match context.max_bytes {
        Some(max) if payload.body.len() > max as usize => Err(Error::Internal(format!(
            "the shortest payload has {} bytes, the transport takes {max}",
            payload.body.len()
        ))),
        _ => Ok(payload),
    }
}

/// Adds a line to the call's log, which only a preview shows. Outside of a component it goes nowhere.
/// A formatter that never calls this imports nothing at all.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::heraldry::formatter::log::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (level, message);
}

fn parse_options<T: DeserializeOwned>(options: &str) -> Result<T, Error> {
    if let Ok(options) = serde_json::from_str(options) {
        return Ok(options);
    }
    // Once more, slowly, to say where.
    let mut reader = serde_json::Deserializer::from_str(options);
    let problem = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Ok(_) => Problem { pointer: String::new(), message: "the options are not one JSON object".into() },
        Err(error) => Problem { pointer: pointer(error.path()), message: error.inner().to_string() },
    };
    Err(Error::InvalidOptions(vec![problem]))
}

/// RFC 6901, sections 3 and 4.
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

/// Makes the type, a [`Formatter`], what the crate exports as a component. Only where components are
/// built: natively the crate stays an ordinary library, of which one program may hold several.
#[macro_export]
macro_rules! export_formatter {
    ($formatter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl $crate::bindings::exports::heraldry::formatter::format::Guest for Component {
                fn describe() -> ::std::string::String {
                    $crate::describe::<$formatter>()
                }

                fn format(
                    event: $crate::RawEvent,
                    context: $crate::Context,
                    options: ::std::string::String,
                ) -> ::std::result::Result<$crate::Payload, $crate::Error> {
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
    fn bad_options_say_where() {
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
