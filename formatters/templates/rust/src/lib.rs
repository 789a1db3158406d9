//! The format `{{name}}`: one line of text for each event. Change `render` to make it yours.

use std::borrow::Cow;

use heraldry_formatter::value::{Object, Value};
use heraldry_formatter::{
    Context, Error, Event, EventType, Formatter, Join, Kind, Level, Manifest, Payload, Severity, log,
};
use serde::Deserialize;

/// The format.
#[derive(Debug)]
pub struct Format;

/// A webhook's `format_options`. Give each a default: what a webhook does not set is absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Stands in front of each line.
    #[serde(default)]
    pub prefix: String,
}

/// What the host checks the options against before it calls.
const OPTIONS_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "prefix": { "type": "string", "maxLength": 40, "default": "", "description": "Stands in front of each line." }
  }
}"#;

impl Formatter for Format {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("{{name}}"),
            description: Some("One line of text for each event."),
            // A line may also go over syslog; a document (a JSON body, say) may not.
            kind: Kind::Line,
            join: Join::Newline,
            options_schema: Some(OPTIONS_SCHEMA),
            ..Manifest::new("{{name}}", env!("CARGO_PKG_VERSION"))
        }
    }

    /// Turns one event into what one delivery carries. The same arguments must give the same bytes; there is no
    /// clock and no network to ask. To leave an event type out, return `Error::UnsupportedEvent`.
    fn render(event: &Event<'_>, _: &Context, options: &Options) -> Result<Payload, Error> {
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
        // Only you see this, in `heraldry formatter preview`. Never log what is in the event.
        log(Level::Debug, &format!("rendered {} bytes", line.len()));
        Ok(Payload { content_type: "text/plain; charset=utf-8".into(), headers: Vec::new(), body: line.into() })
    }
}

heraldry_formatter::export_formatter!(Format);

/// A member of the event's group, if it is a string: platforms differ, so expect nothing.
fn string<'a>(group: &Object<'a>, name: &str) -> Option<Cow<'a, str>> {
    group.get(name).and_then(Value::string)
}

fn severity(event: &Event<'_>, group: &Object<'_>) -> String {
    let rated = event.kind.is_finding() || event.kind == EventType::MonitorAlert;
    let given = string(group, "severity").filter(|_| rated).map(|word| word.to_ascii_uppercase());
    let known = ["INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"];
    let usual = if event.kind == EventType::CriticalFinding { Severity::Critical } else { Severity::Info };
    given.filter(|word| known.contains(&word.as_str())).unwrap_or_else(|| usual.upper().to_owned())
}

/// The finding's title; of other events their type in words and what they are about.
fn what(event: &Event<'_>, group: &Object<'_>) -> String {
    let text = |name| string(group, name).map(|text| clean(&text)).filter(|text| !text.is_empty());
    if event.kind.is_finding() {
        return text("title").unwrap_or_default();
    }
    let words = event.kind.name().replace('_', " ");
    match text("title").or_else(|| text("name")).or_else(|| text("message")) {
        Some(about) => format!("{words}: {about}"),
        None => words,
    }
}

fn is_link(text: &str) -> bool {
    (text.starts_with("http://") || text.starts_with("https://")) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// At most 200 characters, none of which ends the line, moves a cursor or turns the reading direction.
fn clean(text: &str) -> String {
    const MOST: usize = 200;
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let spaced: String = text.chars().map(|c| if steers(c) { ' ' } else { c }).collect();
    let trimmed = spaced.trim_matches(' ');
    if trimmed.chars().count() <= MOST {
        return trimmed.to_owned();
    }
    let kept: String = trimmed.chars().take(MOST - 3).collect();
    kept + "..."
}
