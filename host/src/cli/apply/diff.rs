//! The differences between a webhook of the file and the host's, field by field, without any credential.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::Url;

use super::desired::{Desired, defaults};
use super::host::{Current, Formats};
use crate::cli::terminal::{cut, escape};

/// The longest value that is shown, in characters.
const SHOWN: usize = 200;
/// How the members of `filter` are called.
const FILTER: [&str; 3] = ["min_severity", "engagement_ids", "expression"];

/// A field that changes.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Change {
    /// Its name; of a member, with a dot before it.
    pub(super) field: String,
    pub(super) how: How,
}

/// How a field changes.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum How {
    /// From one value to another; null is none.
    Values { from: Value, to: Value },
    /// In words: the values are not shown.
    Words(String),
    /// Perhaps: the host does not show the value, and says whether it is another when it gets it.
    Perhaps,
}

impl Change {
    fn values(field: impl Into<String>, from: &Value, to: &Value) -> Option<Self> {
        let how = How::Values { from: from.clone(), to: to.clone() };
        (from != to).then(|| Self { field: field.into(), how })
    }

    fn words(field: impl Into<String>, words: impl Into<String>) -> Self {
        Self { field: field.into(), how: How::Words(words.into()) }
    }

    fn perhaps(field: &str) -> Self {
        Self { field: field.to_owned(), how: How::Perhaps }
    }

    /// True if the host decides whether it is a change.
    pub(super) fn is_perhaps(&self) -> bool {
        self.how == How::Perhaps
    }

    /// The field of the API that it belongs to.
    pub(super) fn api_field(&self) -> &str {
        self.field.split_once('.').map_or(&self.field, |(field, _)| field)
    }

    /// The change in words, safe for a terminal.
    pub(super) fn words_for_people(&self) -> String {
        match &self.how {
            How::Values { from: Value::Null, to } => shown(to),
            How::Values { from, to } => format!("{} → {}", shown(from), shown(to)),
            How::Words(words) => escape(words).into_owned(),
            How::Perhaps => "may change (write-only: the host does not show it)".to_owned(),
        }
    }

    /// The change for programs.
    pub(super) fn to_json(&self) -> Value {
        match &self.how {
            How::Values { from, to } => serde_json::json!({"field": self.field, "from": from, "to": to}),
            How::Words(words) => serde_json::json!({"field": self.field, "words": words}),
            How::Perhaps => serde_json::json!({"field": self.field, "may_change": true}),
        }
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    escape(&cut(&text, SHOWN)).into_owned()
}

/// What a new webhook is given, beside defaults.
pub(super) fn of_new(desired: &Desired, formats: &Formats) -> Vec<Change> {
    let mut nothing = defaults();
    nothing.remove("url");
    let mut changes = of(desired, &Current::with_fields(nothing), formats);
    for change in &mut changes {
        if let How::Values { from, .. } = &mut change.how {
            // There is nothing that it changes from.
            *from = Value::Null;
        }
    }
    changes
}

/// What changes of a webhook that the host has.
pub(super) fn of(desired: &Desired, current: &Current, formats: &Formats) -> Vec<Change> {
    let (new, defaults) = (desired.shown(), defaults());
    // An older host does not show every field: it behaves as the default says.
    let old = |field: &str| current.get(field).or(defaults.get(field)).unwrap_or(&Value::Null);
    let mut changes = Vec::new();
    changes.extend(url(desired, current));
    for (field, value) in &new {
        match field.as_str() {
            "url" => {}
            "filter" => {
                for name in FILTER {
                    let member = |filter: &Value| filter.get(name).cloned().unwrap_or_default();
                    changes.extend(Change::values(format!("filter.{name}"), &member(old(field)), &member(value)));
                }
            }
            "format_options" => changes.extend(options(desired, current, old(field), value, formats)),
            _ => changes.extend(Change::values(field, old(field), value)),
        }
    }
    changes.extend(secret(desired, current));
    changes.extend(headers(desired, current));
    changes.extend(activity(desired, current));
    changes
}

/// Path and query of a URL may be a credential; of a URL that is a secret, nothing is shown.
fn url(desired: &Desired, current: &Current) -> Option<Change> {
    let (old, new) = (current.url(), desired.config.url.expose());
    if old == new {
        return None;
    }
    if let Some(reference) = desired.reference("/url") {
        return Some(Change::words("url", format!("another one, of {reference}")));
    }
    let words = match (origin(old), origin(new)) {
        (None, Some(new)) => new,
        (Some(old), Some(new)) if old != new => format!("{old} → {new}"),
        (_, Some(new)) => format!("another path or query on {new}"),
        (_, None) => "another one".to_owned(),
    };
    Some(Change::words("url", words))
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{}{port}", url.scheme(), url.host_str()?))
}

fn options(desired: &Desired, current: &Current, old: &Value, new: &Value, formats: &Formats) -> Vec<Change> {
    let none = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let (from, to) = (old.get(name), new.get(name));
        if from == to {
            continue;
        }
        let field = format!("format_options.{name}");
        let is_hidden = from.is_some_and(|value| formats.hides(current.format(), name, value))
            || to.is_some_and(|value| formats.hides(&desired.config.format, name, value));
        let change = match (from, to) {
            (None, Some(_)) if is_hidden => Some(Change::words(field, "set (write-only)")),
            (Some(_), None) if is_hidden => Some(Change::words(field, "removed")),
            _ if is_hidden => Some(Change::words(field, "another value (write-only)")),
            _ => Change::values(field, from.unwrap_or(&Value::Null), to.unwrap_or(&Value::Null)),
        };
        changes.extend(change);
    }
    changes
}

fn secret(desired: &Desired, current: &Current) -> Option<Change> {
    match (current.has_secret(), desired.config.secret.is_some()) {
        (false, false) => None,
        (false, true) => Some(Change::words("secret", "set")),
        (true, false) => Some(Change::words("secret", "removed: deliveries go unsigned")),
        (true, true) => Some(Change::perhaps("secret")),
    }
}

fn headers(desired: &Desired, current: &Current) -> Option<Change> {
    let old = current.header_names();
    let new: BTreeSet<&str> = desired.config.headers.iter().map(|(name, _)| name.as_str()).collect();
    if old == new {
        return (!new.is_empty()).then(|| Change::perhaps("headers"));
    }
    let added = new.difference(&old).map(|name| format!("+ {name}"));
    let removed = old.difference(&new).map(|name| format!("- {name}"));
    Some(Change::words("headers", added.chain(removed).collect::<Vec<_>>().join(", ")))
}

/// What the circuit breaker switched off stays so unless the file says otherwise: it is the destination's state, and no setting.
fn activity(desired: &Desired, current: &Current) -> Option<Change> {
    match (current.is_active(), current.disabled_reason(), desired.active) {
        (true, _, Some(false)) => Change::values("is_active", &Value::Bool(true), &Value::Bool(false)),
        (false, Some(_), Some(false)) => Some(Change::words("is_active", "off by the host → off by an admin")),
        (false, Some(_), Some(true)) => Some(Change::words("is_active", "off by the host → on")),
        (false, None, None | Some(true)) => Change::values("is_active", &Value::Bool(false), &Value::Bool(true)),
        (true, _, None | Some(true)) | (false, None, Some(false)) | (false, Some(_), None) => None,
    }
}

/// The body of a PUT that makes the changes.
pub(super) fn body(desired: &Desired, changes: &[Change]) -> Map<String, Value> {
    let shown = desired.shown();
    let mut body = Map::new();
    for field in changes.iter().map(Change::api_field) {
        let value = match field {
            "secret" | "headers" => {
                let none = if field == "secret" { Value::Null } else { Value::Object(Map::new()) };
                desired.fields.get(field).cloned().unwrap_or(none)
            }
            "is_active" => Value::Bool(desired.active.unwrap_or(true)),
            _ => shown.get(field).cloned().unwrap_or_default(),
        };
        body.insert(field.to_owned(), value);
    }
    body
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::apply::desired::tests::{formats, wanted};

    /// The host's webhook with these fields beside defaults.
    fn current(fields: Value) -> Current {
        let mut shown = defaults();
        let base = json!({"id": "1", "name": "a", "url": "http://a/x", "has_secret": false, "header_names": [],
            "is_active": true, "disabled_reason": null});
        shown.extend(base.as_object().expect("fields").clone());
        shown.extend(fields.as_object().expect("fields").clone());
        Current::with_fields(shown)
    }

    fn desired(fields: &str) -> Desired {
        let text = format!("[[webhooks]]\nname = \"a\"\n{fields}\n");
        let (_, mut wanted) = wanted(&text);
        assert!(wanted.faults.is_empty(), "{text}: {:?}", wanted.faults);
        wanted.webhooks.remove(0)
    }

    /// The changes in words, as `field: words`, and the fields of the body.
    fn diff(fields: &str, host: Value) -> (Vec<String>, Value) {
        let desired = desired(fields);
        let changes = of(&desired, &current(host), &formats());
        let body = body(&desired, &changes);
        let words = changes.iter().map(|change| format!("{}: {}", change.field, change.words_for_people()));
        (words.collect(), Value::Object(body))
    }

    #[test]
    fn equal_values_are_no_change() {
        for (file, host) in [
            ("url = \"HTTP://a:80/x\"", json!({})),
            ("url = \"http://a/x\"\nfilter = {}\nheaders = {}\nformat_options = {}\nis_active = true", json!({})),
            ("url = \"http://a/x\"\nfilter.min_severity = \"HIGH\"", json!({"filter": {"min_severity": "high"}})),
            (
                "url = \"http://a/x\"\nrate_limit = { per_seconds = 1, count = 2 }",
                json!({"rate_limit": {"count": 2, "per_seconds": 1}}),
            ),
            ("url = \"http://a/x\"\nis_active = false", json!({"is_active": false})),
            // The circuit breaker's doing is not the file's.
            ("url = \"http://a/x\"", json!({"is_active": false, "disabled_reason": "it failed"})),
        ] {
            assert_eq!(diff(file, host), (Vec::new(), json!({})), "{file}");
        }
    }

    #[test]
    fn changes_are_named_field_by_field() {
        let file =
            "url = \"http://b:81/y\"\ntimeout_ms = 10000\nfilter = { min_severity = \"high\" }\nis_active = true";
        let host = json!({"filter": {"expression": "severity >= HIGH"}, "rate_limit": {"count": 1, "per_seconds": 1},
            "has_secret": true, "header_names": ["X-A"], "is_active": false});
        let (words, body) = diff(file, host);
        let wanted = [
            "url: http://a → http://b:81",
            "filter.min_severity: high",
            "filter.expression: severity >= HIGH → none",
            "rate_limit: {\"count\":1,\"per_seconds\":1} → none",
            "timeout_ms: 5000 → 10000",
            "secret: removed: deliveries go unsigned",
            "headers: - X-A",
            "is_active: false → true",
        ];
        assert_eq!(words, wanted);
        let wanted = json!({"url": "http://b:81/y", "filter": {"min_severity": "high"}, "rate_limit": null,
            "timeout_ms": 10000, "secret": null, "headers": {}, "is_active": true});
        assert_eq!(body, wanted);
    }

    #[test]
    fn credentials_are_never_shown() {
        let file = "url = \"http://a/hush\"\nsecret = \"hush\"\nheaders = { X-A = \"hush\" }\n\
            format = \"pager\"\nformat_options = { key = \"hush hush\", title = \"t\" }";
        let host = json!({"has_secret": true, "header_names": ["X-A"], "format": "pager", "url": "http://a/old-hush",
            "format_options": {"key": "old hush!", "title": "s"}});
        let (words, body) = diff(file, host);
        let wanted = [
            "url: another path or query on http://a",
            "format_options.key: another value (write-only)",
            "format_options.title: s → t",
            "secret: may change (write-only: the host does not show it)",
            "headers: may change (write-only: the host does not show it)",
        ];
        assert_eq!(words, wanted);
        assert_eq!((&body["secret"], &body["headers"]["X-A"]), (&json!("hush"), &json!("hush")));
        // A format that the host no longer has: nobody knows which of its options were credentials.
        let (words, _) = diff("url = \"http://a/x\"", json!({"format": "gone", "format_options": {"any": "hush"}}));
        assert_eq!(words, ["format: gone → json", "format_options.any: removed"]);
    }

    #[test]
    fn what_the_breaker_switched_off_is_the_files_business_only_if_it_says_so() {
        let off = json!({"is_active": false, "disabled_reason": "it failed"});
        let (words, body) = diff("url = \"http://a/x\"\nis_active = true", off.clone());
        assert_eq!((words, body), (vec!["is_active: off by the host → on".to_owned()], json!({"is_active": true})));
        let (words, body) = diff("url = \"http://a/x\"\nis_active = false", off);
        let wanted = vec!["is_active: off by the host → off by an admin".to_owned()];
        assert_eq!((words, body), (wanted, json!({"is_active": false})));
    }

    #[test]
    fn a_new_webhook_shows_what_is_not_a_default() {
        let desired =
            desired("url = \"http://a/x\"\nretry_count = 3\ntimeout_ms = 9000\nsecret = \"hush\"\nis_active = false");
        let changes = of_new(&desired, &formats());
        let words: Vec<String> =
            changes.iter().map(|change| format!("{}: {}", change.field, change.words_for_people())).collect();
        assert_eq!(words, ["url: http://a", "timeout_ms: 9000", "secret: set", "is_active: false"]);
    }
}
