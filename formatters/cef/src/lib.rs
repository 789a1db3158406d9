//! `cef`: one event as one record of the Common Event Format, version 0,
//! `CEF:0|Vendor|Product|Version|Signature|Name|Severity|key=value key=value`.
//!
//! FORMATS, section 3, has the rules and says where each part of an event goes. Over HTTP the record
//! stands alone, over syslog behind a header of RFC 5424: behind any older one relays take `CEF` for a
//! program's name and eat it.

mod extension;
mod options;

use std::borrow::Cow;
use std::fmt::Write as _;

use heraldry_formatter::line::{CONTENT_TYPE, Field, Header, LOCAL0, SYSLOG_MAX_BYTES, fit, push_escaped, value};
use heraldry_formatter::text::Rule;
use heraldry_formatter::{Context, Error, Event, EventType, Formatter, Join, Kind, Manifest, Payload, Severity};

pub use options::Options;

/// The longest Name, in bytes, so that it is not too long in any unit.
const MAX_NAME_BYTES: usize = 512;

/// The longest Device Version.
const MAX_VERSION_BYTES: usize = 31;

/// The format.
#[derive(Debug)]
pub struct Cef;

impl Formatter for Cef {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("CEF (Common Event Format)"),
            description: Some(
                "One line an event in CEF:0 for ArcSight, QRadar, Sentinel and others; over syslog with an RFC 5424 header.",
            ),
            kind: Kind::Line,
            join: Join::Newline,
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("cef", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, options: &Options) -> Result<Payload, Error> {
        let over_syslog = context.transport == "syslog";
        let unlimited = if over_syslog { SYSLOG_MAX_BYTES } else { usize::MAX };
        let max_bytes = context.max_bytes.map_or(unlimited, |max| max as usize);
        let severity = event.severity();
        let mut line = String::with_capacity(2048);
        if over_syslog {
            Header {
                facility: LOCAL0,
                severity,
                timestamp: event.occurred_at,
                host_name: &context.host_name,
                app_name: "heraldry",
                msgid: event.kind.name(),
            }
            .push_to(&mut line);
            // No structured data: MSG is the record.
            line.push_str("- ");
        }
        push_device(&mut line, &context.product_version, options);
        line.push_str(event.kind.name());
        line.push('|');
        let level = level(severity, score(event));

        let target = event.group().text("target");
        let mut fields = Vec::with_capacity(24);
        fields.push(Field {
            name: "",
            label: None,
            value: value(name(event), Rule::SPACES, MAX_NAME_BYTES),
            frame_bytes: 0,
            is_special: ends_a_field,
            atomic: false,
        });
        let mut message = extension::collect(event, target.as_deref(), &mut fields);
        // Behind the Name: two pipes and the severity.
        let head_bytes = line.len() + 4;
        let fits = max_bytes.checked_sub(head_bytes).is_some_and(|room| fit(&mut message, &mut fields, 1, room));
        if !fits {
            return Err(Error::Internal(format!(
                "the header alone has {head_bytes} bytes without the name, the transport takes {max_bytes}"
            )));
        }
        push_escaped(&mut line, &fields[0].value, ends_a_field);
        // Writing into a string does not fail.
        let _ = write!(line, "|{level}|");
        extension::push(&mut line, fields[1..].iter().chain([&message]));
        Ok(Payload { content_type: CONTENT_TYPE.into(), headers: Vec::new(), body: line.into_bytes() })
    }
}

/// What a header field escapes; `=` stays.
fn ends_a_field(byte: u8) -> bool {
    matches!(byte, b'\\' | b'|')
}

/// The prefix, Device Vendor, Device Product and Device Version.
fn push_device(line: &mut String, product_version: &str, options: &Options) {
    let version = value(product_version, Rule::SPACES, MAX_VERSION_BYTES);
    let version = if version.is_empty() { "-" } else { &version };
    line.push_str("CEF:0|");
    for field in [options.vendor.as_str(), options.product.as_str(), version] {
        push_escaped(line, field, ends_a_field);
        line.push('|');
    }
}

/// Name: the finding's title, else what happened, and of whom when nothing else in the record says so.
fn name<'a>(event: &Event<'a>) -> Cow<'a, str> {
    let phrase = event.kind.phrase();
    let who = match event.kind {
        EventType::PhaseChanged | EventType::MonitorAlert => event.group().text("name"),
        EventType::ReportReady => event.group().text("title"),
        _ => return event.title().unwrap_or(Cow::Borrowed(phrase)),
    };
    who.map_or(Cow::Borrowed(phrase), |who| Cow::Owned(format!("{phrase}: {who}")))
}

/// The finding's score, 0 to 10.
fn score(event: &Event<'_>) -> Option<f64> {
    if event.kind.is_finding() { event.cvss()?.score } else { None }
}

/// Severity, 0 to 10: the score where there is one, within what the word means.
fn level(severity: Severity, score: Option<f64>) -> u8 {
    let (lowest, highest, usual) = match severity {
        Severity::Info => (0, 1, 1),
        Severity::Low => (1, 3, 3),
        Severity::Medium => (4, 6, 5),
        Severity::High => (7, 8, 8),
        Severity::Critical => (9, 10, 10),
    };
    // The steps below a half and above are counted: no conversion that could go wrong.
    let rounded = score.map(|score| (0_u8..10).filter(|step| score >= f64::from(*step) + 0.5).count());
    rounded.and_then(|rounded| u8::try_from(rounded).ok()).map_or(usual, |rounded| rounded.clamp(lowest, highest))
}

heraldry_formatter::export_formatter!(Cef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_bounds_the_score() {
        use Severity::{Critical, High, Info, Low, Medium};
        for (severity, score, expected) in [
            (Info, None, 1),
            (Low, None, 3),
            (Medium, None, 5),
            (High, None, 8),
            (Critical, None, 10),
            (Info, Some(0.0), 0),
            (Info, Some(9.8), 1),
            (Low, Some(0.1), 1),
            (Low, Some(3.9), 3),
            (Medium, Some(4.5), 5),
            (Medium, Some(6.4), 6),
            (High, Some(7.4), 7),
            (High, Some(7.5), 8),
            (High, Some(8.9), 8),
            (Critical, Some(3.0), 9),
            (Critical, Some(9.4), 9),
            (Critical, Some(9.5), 10),
            (Critical, Some(10.0), 10),
        ] {
            assert_eq!(level(severity, score), expected, "{severity:?} {score:?}");
        }
    }
}
