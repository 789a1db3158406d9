//! A webhook of the file as it shall be: its secrets read, its fields checked as the host checks them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::document::{Document, Fault};
use super::file::Entry;
use super::host::Formats;
use super::secrets::{Sources, Values, is_at_or_below};
use crate::cli::terminal::escape;
use crate::formatter::option_faults;
use crate::json;
use crate::json::fault::Faults;
use crate::model::webhook::WebhookConfig;
use crate::model::webhook::input::{DEFAULT_FORMAT, Draft};

/// A webhook as the file wants it.
pub(super) struct Desired {
    pub(super) name: String,
    /// Its JSON pointer in the file.
    pub(super) pointer: String,
    /// The fields that the file names, with secrets: the body of a POST.
    pub(super) fields: Map<String, Value>,
    /// Every field, with the default where the file names none.
    pub(super) config: WebhookConfig,
    /// Whether it is active, if the file says so.
    pub(super) active: Option<bool>,
    /// The references by the JSON pointer of their field.
    references: BTreeMap<String, String>,
}

/// The file's webhooks, and what was found on the way.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) webhooks: Vec<Desired>,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
    pub(super) values: Values,
}

impl Wanted {
    /// Reads the webhooks' secrets and checks their fields; everything that is wrong is in `faults`.
    pub(super) fn read(document: &Document, entries: Vec<Entry>, formats: &Formats, sources: &Sources) -> Self {
        let mut wanted = Self::default();
        for entry in entries {
            wanted.add(document, entry, formats, sources);
        }
        wanted
    }

    fn add(&mut self, document: &Document, entry: Entry, formats: &Formats, sources: &Sources) {
        let format = entry.fields.get("format").and_then(Value::as_str).unwrap_or(DEFAULT_FORMAT);
        let schema = formats.schema(format);
        let resolved = sources.resolve(&entry.fields, schema, &mut self.values);
        let at = |pointer: &str, text: &str| {
            let line = document.line(&format!("{}{pointer}", entry.pointer));
            Fault::new(line, format!("webhook `{}`: {pointer}: {text}", entry.name))
        };
        for literal in &resolved.literals {
            let text = "a credential stands in the file as text; env:NAME or file:PATH keep it out";
            self.warnings.push(at(literal, text));
        }
        let mut faults: Vec<Fault> = resolved.faults.iter().map(|(pointer, why)| at(pointer, why)).collect();
        let references = Described { references: &resolved.references };
        let mut found = Faults::new();
        if resolved.fields.contains_key("generate_secret") {
            let why = "cannot be used here, since each run would make another secret; name one by env: or file:";
            found.add("/generate_secret", "exclusive", why);
        }
        let text = Value::Object(resolved.fields.clone()).to_string();
        let draft = json::check(&text).map(|body| Draft::read_whole(&body, &mut found));
        match schema {
            None => found.add("/format", "unknown_format", formats.describe_unknown()),
            Some(schema) => {
                let options = resolved.fields.get("format_options").filter(|options| options.is_object());
                for fault in options.map(|options| option_faults(schema, options)).unwrap_or_default() {
                    found.add(format!("/format_options{}", fault.pointer), fault.code, fault.detail);
                }
            }
        }
        // What a reference leads to is not judged where it leads nowhere.
        let is_judged = |pointer: &str| !resolved.faults.iter().any(|(other, _)| is_at_or_below(pointer, other));
        for fault in found.into_inner().iter().filter(|fault| is_judged(&fault.pointer)) {
            faults.push(at(&fault.pointer, &references.describe(&fault.pointer, fault.code, &fault.detail)));
        }
        let is_good = faults.is_empty();
        self.faults.append(&mut faults);
        let Some(draft) = draft.ok().filter(|_| is_good) else { return };
        let active = draft.is_active;
        let Some((config, _)) = draft.create() else { return };
        let Entry { name, pointer, .. } = entry;
        let (fields, references) = (resolved.fields, resolved.references);
        self.webhooks.push(Desired { name, pointer, fields, config, active, references });
    }
}

/// Faults in words, without the values that references lead to.
struct Described<'a> {
    references: &'a BTreeMap<String, String>,
}

impl Described<'_> {
    fn describe(&self, pointer: &str, code: &str, detail: &str) -> String {
        // A fault of an object may quote what is in it.
        let touches = |at: &String| is_at_or_below(at, pointer) || is_at_or_below(pointer, at);
        match self.references.iter().find(|(at, _)| touches(at)) {
            Some((_, reference)) => format!("the value of {reference} is not accepted here ({code})"),
            None => escape(detail).into_owned(),
        }
    }
}

impl Desired {
    /// A fault of a field in words, without the values that references lead to.
    pub(super) fn describe(&self, pointer: &str, code: &str, detail: &str) -> String {
        Described { references: &self.references }.describe(pointer, code, detail)
    }

    /// The reference of a field, if it has one.
    pub(super) fn reference(&self, pointer: &str) -> Option<&str> {
        self.references.get(pointer).map(String::as_str)
    }

    /// The fields as the host shows them, and as a body may have them.
    pub(super) fn shown(&self) -> Map<String, Value> {
        shown(&self.config)
    }
}

/// The fields of a webhook that the host shows, in the form in which it does.
fn shown(config: &WebhookConfig) -> Map<String, Value> {
    let mut filter = Map::new();
    let mut condition = |name: &str, value: Option<Value>| filter.extend(value.map(|value| (name.to_owned(), value)));
    condition("min_severity", config.filter.min_severity.map(|severity| severity.as_str().into()));
    condition("engagement_ids", config.filter.engagement_ids.clone().map(Value::from));
    condition("expression", config.filter.expression.clone().map(Value::from));
    let tls = (!config.tls.is_empty()).then_some(&config.tls);
    let fields = json!({
        "url": config.url.expose(),
        "event_types": config.event_types.names(),
        "format": config.format,
        "format_options": serde_json::from_str::<Value>(&config.format_options).unwrap_or_default(),
        "filter": filter,
        "critical_once": config.critical_once,
        "order": config.order,
        "rate_limit": config.rate_limit,
        "tls": tls,
        "batch": config.batch,
        "digest": config.digest,
        "retry_count": config.retry_count,
        "timeout_ms": config.timeout_ms,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The fields of a webhook of which nothing but a name and a URL was given.
pub(super) fn defaults() -> Map<String, Value> {
    let mut faults = Faults::new();
    let body = json::check(r#"{"name":"-","url":"http://localhost/"}"#).ok();
    let whole = body.and_then(|body| Draft::read_whole(&body, &mut faults).create());
    whole.map(|(config, _)| shown(&config)).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::apply::file;
    use crate::model::webhook::input::{DEFAULT_FORMAT, FIELDS};

    pub(in crate::cli::apply) fn formats() -> Formats {
        let key = json!({"type": "string", "writeOnly": true, "minLength": 9});
        let options = json!({"type": "object", "properties": {"key": key, "title": {"type": "string"}}});
        Formats::with([(DEFAULT_FORMAT, json!({"type": "object"})), ("pager", options)])
    }

    /// The webhooks of a TOML text; files of secrets are looked for in the crate's folder.
    pub(in crate::cli::apply) fn wanted(text: &str) -> (Document, Wanted) {
        let document = Document::parse(Path::new("w.toml"), text).expect("a document");
        let entries = file::entries(&document).expect("webhooks");
        let sources = Sources::new(Path::new("w.toml"), None).expect("a folder");
        let wanted = Wanted::read(&document, entries, &formats(), &sources);
        (document, wanted)
    }

    #[test]
    fn every_field_of_the_api_is_compared() {
        let mut compared: Vec<String> = defaults().keys().cloned().collect();
        compared.extend(["name", "secret", "headers", "is_active", "generate_secret"].map(str::to_owned));
        let mut known: Vec<&str> = FIELDS.to_vec();
        compared.sort_unstable();
        known.sort_unstable();
        assert_eq!(compared, known);
    }

    #[test]
    fn fields_are_checked_as_the_host_does_with_their_lines() {
        let text = r#"
[[webhooks]]
name = "a"
url = "ftp://a"
timout_ms = 7
filter = { min_severity = "dire" }

[[webhooks]]
name = "b"
url = "http://a/"
format = "no-such"

[[webhooks]]
name = "c"
url = "http://a/"
format = "pager"
generate_secret = true
format_options = { title = 7, tile = "x" }
headers = { X-A = "env:NO_SUCH_VARIABLE_AT_ALL" }
"#;
        let faults: Vec<String> =
            wanted(text).1.faults.into_iter().map(|fault| format!("{}: {}", fault.line, fault.text)).collect();
        for (fault, wanted) in faults.iter().zip([
            "5: webhook `a`: /timout_ms: is not known here",
            "4: webhook `a`: /url: deliveries go over",
            "6: webhook `a`: /filter/min_severity: must be one of",
            "11: webhook `b`: /format: the host has no format of this name; it has json, pager",
            "19: webhook `c`: /headers/X-A: env:NO_SUCH_VARIABLE_AT_ALL is not set",
            "17: webhook `c`: /generate_secret: cannot be used here",
            "18: webhook `c`: /format_options/tile: the format has no option",
            "18: webhook `c`: /format_options/title: ",
        ]) {
            assert!(fault.starts_with(wanted), "{fault}\nis not\n{wanted}");
        }
        assert_eq!(faults.len(), 8, "{faults:?}");
    }

    #[test]
    fn a_value_that_was_read_is_in_no_fault() {
        // The variable has a path, which is no URL, no base64 and too short or long for the option.
        let path = env!("CARGO_MANIFEST_DIR");
        let text = r#"
[[webhooks]]
name = "a"
url = "env:CARGO_MANIFEST_DIR"
format = "pager"
format_options = { key = "env:CARGO_PKG_VERSION", title = 7 }
"#;
        let faults: Vec<String> = wanted(text).1.faults.into_iter().map(|fault| fault.text).collect();
        let found =
            faults.iter().any(|fault| fault.contains("/url: the value of env:CARGO_MANIFEST_DIR is not accepted"));
        assert!(found, "{faults:?}");
        let found =
            faults.iter().any(|fault| fault.contains("/format_options/key: the value of env:CARGO_PKG_VERSION"));
        assert!(found, "{faults:?}");
        let version = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
        assert!(faults.iter().all(|fault| !fault.contains(path) && !fault.contains(&version)), "{faults:?}");
    }

    #[test]
    fn a_field_that_is_not_named_has_its_default() {
        let (_, wanted) =
            wanted("[[webhooks]]\nname = \"a\"\nurl = \"HTTP://A:80/x\"\nevent_types = [\"*\", \"report_ready\"]\n");
        let shown = wanted.webhooks[0].shown();
        assert_eq!((&shown["url"], &shown["event_types"]), (&json!("http://a/x"), &json!(["*"])));
        let others = |fields: Map<String, Value>| {
            fields.into_iter().filter(|(name, _)| !["url", "event_types"].contains(&name.as_str())).collect::<Vec<_>>()
        };
        assert_eq!(others(shown), others(defaults()));
    }
}
