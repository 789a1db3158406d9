//! The format `{{name}}`: one line of text for each event. Change `render` to make it yours, and `digest` for messages of
//! many events.

use std::borrow::Cow;

use heraldry_formatter::value::{Object, Value};
use heraldry_formatter::{
    Context, Digest, Digester, Error, Event, EventType, Formatter, Join, Kind, Level, Manifest, Payload, Severity, log,
};
use serde::Deserialize;

/// The format `{{name}}`.
#[derive(Debug)]
pub struct Format;

/// The webhook's `format_options`. Give each option a default: an option that the webhook does not set is absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Text before each line.
    #[serde(default)]
    pub prefix: String,
}

/// The schema against which the host validates the options before it calls `render`.
const OPTIONS_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "prefix": { "type": "string", "maxLength": 40, "default": "", "description": "Text before each line." }
  }
}"#;

impl Formatter for Format {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("{{name}}"),
            description: Some("One line of text for each event."),
            // A line can go over HTTP and syslog; a document (such as a JSON body) over HTTP only.
            kind: Kind::Line,
            join: Join::Newline,
            options_schema: Some(OPTIONS_SCHEMA),
            ..Manifest::new("{{name}}", env!("CARGO_PKG_VERSION"))
        }
    }

    /// Turns one event into the payload of one delivery. The same arguments must give the same bytes; there is no
    /// clock and no network. To skip an event type, return `Error::UnsupportedEvent`.
    fn render(event: &Event<'_>, _: &Context, options: &Options) -> Result<Payload, Error> {
        let line = line(event, options);
        // Shown by `heraldry formatter preview` only. Never log content of the event: it is confidential.
        log(Level::Debug, &format!("rendered {} bytes", line.len()));
        Ok(Payload { content_type: "text/plain; charset=utf-8".into(), headers: Vec::new(), body: line.into() })
    }
}

heraldry_formatter::export_formatter!(Format);

/// The events of a digest that have a line; the others are counted.
const SHOWN: usize = 10;

/// One message of many events, for webhooks that collect them (their field `digest`). A format need not have it: delete this
/// and its export, and such webhooks are rejected.
impl Digester for Format {
    /// `digest` knows how many events there are of each severity, of which engagements they are, and which are the worst.
    fn digest(digest: &Digest<'_, '_>, options: &Options) -> Result<Payload, Error> {
        let mut lines = vec![format!("{}: {}", digest.headline(), digest.counts().words())];
        lines.extend(digest.part_words());
        lines.extend(digest.worst().take(SHOWN).map(|event| line(event, options)));
        lines.extend(digest.rest_words(SHOWN));
        let body = lines.join("\n").into_bytes();
        Ok(Payload { content_type: "text/plain; charset=utf-8".into(), headers: Vec::new(), body })
    }
}

heraldry_formatter::export_digester!(Format);

fn line(event: &Event<'_>, options: &Options) -> String {
    let group = event.group();
    let mut line = String::new();
    if !options.prefix.is_empty() {
        line.push_str(&options.prefix);
        line.push(' ');
    }
    line.push_str(&format!("[{}] {}", severity(event, group), what(event, group)));
    if let Some(engagement) = event.engagement_name().map(clean).filter(|name| !name.is_empty()) {
        line.push_str(&format!(" ({engagement})"));
    }
    if let Some(link) = string(group, "url").or_else(|| string(group, "report_url")).filter(|link| is_link(link)) {
        line.push(' ');
        line.push_str(&link);
    }
    line
}

/// A member of the event's group, if it is a string. Members may be absent or of another type.
fn string<'a>(group: &Object<'a>, name: &str) -> Option<Cow<'a, str>> {
    group.get(name).and_then(Value::string)
}

fn severity(event: &Event<'_>, group: &Object<'_>) -> String {
    let rated = event.kind.is_finding() || event.kind == EventType::MonitorAlert;
    let given = string(group, "severity").filter(|_| rated).map(|word| word.trim().to_ascii_uppercase());
    let known = ["INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"];
    let usual = match event.kind {
        EventType::CriticalFinding => Severity::Critical,
        // What happened to Heraldry itself has the severity of its type.
        kind if kind.is_host() => event.severity(),
        _ => Severity::Info,
    };
    given.filter(|word| known.contains(&word.as_str())).unwrap_or_else(|| usual.upper().to_owned())
}

/// The finding's title; for other events the type in words, with the title, name, message or reason.
fn what(event: &Event<'_>, group: &Object<'_>) -> String {
    let text = |name| string(group, name).map(|text| clean(&text)).filter(|text| !text.is_empty());
    if event.kind.is_finding() {
        return text("title").unwrap_or_default();
    }
    let words = event.kind.name().replace('_', " ");
    match ["title", "name", "message", "reason"].into_iter().find_map(text) {
        Some(about) => format!("{words}: {about}"),
        None => words,
    }
}

fn is_link(text: &str) -> bool {
    (text.starts_with("http://") || text.starts_with("https://")) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The text on one line, at most 200 characters, without control and bidirectional formatting characters.
fn clean(text: &str) -> String {
    const MAX_LENGTH: usize = 200;
    let is_control = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let spaced: String = text.chars().map(|c| if is_control(c) { ' ' } else { c }).collect();
    let trimmed = spaced.trim_matches(' ');
    if trimmed.chars().count() <= MAX_LENGTH {
        return trimmed.to_owned();
    }
    let kept: String = trimmed.chars().take(MAX_LENGTH - 3).collect();
    kept + "..."
}
