//! `cef`: one event as one record of the Common Event Format, version 0,
//! `CEF:0|Vendor|Product|Version|Signature|Name|Severity|key=value key=value`.
//!
//! FORMATS, section 3, has the rules and says where each part of an event goes. Over HTTP the record
//! stands alone, over syslog behind a header of RFC 5424: behind any older one relays take `CEF` for a
//! program's name and eat it.

mod extension;
mod options;

use std::borrow::Cow;

use heraldry_formatter::cef::{Device, Record};
use heraldry_formatter::rfc5424::{Facility, Header, MAX_BYTES};
use heraldry_formatter::{Context, Error, Event, EventType, Formatter, Join, Kind, Manifest, Payload, Severity};

pub use options::Options;

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
        let unlimited = if over_syslog { MAX_BYTES } else { usize::MAX };
        let max_bytes = context.max_bytes.map_or(unlimited, |max| max as usize);
        let severity = event.severity();
        let head = over_syslog.then(|| Header {
            facility: Facility::LOCAL0,
            severity,
            timestamp: event.occurred_at,
            host_name: &context.host_name,
            app_name: "heraldry",
            msgid: event.kind.name(),
        });
        let device = Device {
            vendor: options.vendor.as_str(),
            product: options.product.as_str(),
            version: &context.product_version,
        };
        let target = event.group().text("target");
        let mut record = Record::new(device, event.kind.name(), name(event), level(severity, score(event)));
        extension::fill(&mut record, event, target.as_deref());
        record.payload(head, max_bytes)
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
