//! A formatter's manifest, and the schema of its options.

use jsonschema::{Draft, Validator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::formatter::runtime::Size;
use crate::json::fault::{Fault, token};

/// A checked manifest; `wit/formatter.wit` has the rules, at `describe`.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The format's name, `[a-z][a-z0-9-]{0,62}`.
    pub name: String,
    /// The formatter's own version, a semantic version.
    pub version: String,
    /// A name for people, at most 80 characters.
    pub title: Option<String>,
    /// One sentence on the purpose, at most 500 characters.
    pub description: Option<String>,
    /// The shape of its payloads.
    pub kind: Kind,
    /// The way to join the payloads of a batch.
    pub join: Join,
    /// The sandbox that it asks for.
    pub size: Size,
    /// JSON Schema (2020-12) of a webhook's `format_options`.
    pub options_schema: Value,
}

/// The shape of a formatter's payloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A document, for HTTP only.
    #[default]
    Document,
    /// One line of text, for HTTP and syslog.
    Line,
}

/// The way to join several payloads into one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// Each payload is a request of its own.
    #[default]
    None,
    /// With a line feed between them.
    Newline,
    /// One after another, with nothing between them.
    Concatenate,
}

/// The manifest's JSON object; members that this host does not know are ignored.
#[derive(Deserialize)]
struct RawManifest {
    name: String,
    version: String,
    title: Option<String>,
    description: Option<String>,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    join: Join,
    #[serde(default)]
    size: Size,
    options_schema: Option<Value>,
}

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// All faults, one sentence each.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let raw: RawManifest = serde_json::from_str(text)
            .map_err(|error| vec![format!("it is not the JSON object that is expected: {error}")])?;
        let mut faults = Vec::new();
        if !is_name(&raw.name) {
            faults.push(format!("name {:?} does not match [a-z][a-z0-9-]{{0,62}}", raw.name));
        }
        if !is_version(&raw.version) {
            faults.push(format!("version {:?} is not a semantic version such as 1.2.0", raw.version));
        }
        for (member, text, most) in [("title", &raw.title, 80), ("description", &raw.description, 500)] {
            if text.as_ref().is_some_and(|text| text.chars().count() > most) {
                faults.push(format!("{member} is longer than {most} characters"));
            }
        }
        let schema = raw.options_schema.unwrap_or_else(|| serde_json::json!({ "type": "object" }));
        if let Err(error) = Options::new(&schema) {
            faults.push(format!("options_schema: {error}"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            name: raw.name,
            version: raw.version,
            title: raw.title,
            description: raw.description,
            kind: raw.kind,
            join: raw.join,
            size: raw.size,
            options_schema: schema,
        })
    }
}

/// True if a text may be a formatter's name: `[a-z][a-z0-9-]{0,62}`.
pub fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_version(text: &str) -> bool {
    let (core, rest) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let numbers: Vec<_> = core.split('.').collect();
    let number = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part.len() == 1 || !part.starts_with('0'))
    };
    numbers.len() == 3
        && numbers.iter().all(number)
        && rest.len() <= 64
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+.".contains(&byte))
}

/// A manifest's schema, ready to check a webhook's options.
pub(in crate::formatter) struct Options {
    validator: Validator,
    /// Names of the top-level properties; every other option is rejected.
    known: Vec<String>,
}

impl Options {
    /// # Errors
    /// When it is not a schema, or refers to something outside itself.
    pub(in crate::formatter) fn new(schema: &Value) -> Result<Self, String> {
        if let Some(reference) = foreign_reference(schema) {
            return Err(format!("$ref {reference:?} points outside the schema; only #… is allowed"));
        }
        let validator =
            jsonschema::options().with_draft(Draft::Draft202012).build(schema).map_err(|error| error.to_string())?;
        let known = schema.get("properties").and_then(Value::as_object);
        Ok(Self { validator, known: known.map(|known| known.keys().cloned().collect()).unwrap_or_default() })
    }

    /// All faults of the options; pointers are relative to them.
    pub(in crate::formatter) fn check(&self, options: &Value) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let Some(members) = options.as_object() else {
            return vec![fault(String::new(), "wrong_type", "expected an object".into())];
        };
        for name in members.keys().filter(|name| !self.known.contains(name)) {
            let known = if self.known.is_empty() { "it has none".into() } else { self.known.join(", ") };
            faults.push(fault(
                format!("/{}", token(name)),
                "unknown_option",
                format!("the format has no option of this name; its options: {known}"),
            ));
        }
        for error in self.validator.iter_errors(options) {
            let pointer = error.instance_path().to_string();
            // `additionalProperties` reports the unknown options again, less clearly.
            if pointer.is_empty() && !faults.is_empty() {
                continue;
            }
            faults.push(fault(pointer, "invalid_option", error.to_string()));
        }
        faults
    }
}

/// All faults of a webhook's options by the schema that a host shows of a format; pointers are relative to the options. A
/// schema that this version cannot read finds none: the host judges too.
pub fn option_faults(schema: &Value, options: &Value) -> Vec<Fault> {
    Options::new(schema).map(|schema| schema.check(options)).unwrap_or_default()
}

fn fault(pointer: String, code: &'static str, detail: String) -> Fault {
    Fault { pointer, code, detail }
}

/// The first `$ref` (or `$dynamicRef`) that does not stay within the schema.
fn foreign_reference(schema: &Value) -> Option<String> {
    match schema {
        Value::Object(members) => members.iter().find_map(|(name, value)| match (name.as_str(), value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(target)) if !target.starts_with('#') => {
                Some(target.clone())
            }
            ("$schema" | "$id", _) => None,
            _ => foreign_reference(value),
        }),
        Value::Array(items) => items.iter().find_map(foreign_reference),
        _ => None,
    }
}

/// Properties that [`crate::fuzzing::manifest`] checks.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    /// Reads a manifest, and checks options against its schema.
    pub(crate) fn check(text: &str, options: &str) {
        let Ok(manifest) = Manifest::parse(text) else { return };
        assert!(is_name(&manifest.name) && is_version(&manifest.version));
        let schema = Options::new(&manifest.options_schema).expect("a schema that was checked");
        let Ok(options) = serde_json::from_str::<Value>(options) else { return };
        for fault in schema.check(&options) {
            assert!(options.pointer(&fault.pointer).is_some() || fault.code == "unknown_option", "{fault:?}");
        }
    }
}
