//! The format `cef`: one event as one record of the Common Event Format, version 0,
//! `CEF:0|Vendor|Product|Version|Signature|Name|Severity|key=value key=value`.
//!
//! FORMATS, section 3, has the rules and the mapping. Over HTTP the record stands alone; over syslog it follows a
//! header of RFC 5424, or optionally of RFC 3164: with a tag for relays, which otherwise parse `CEF` as a program name
//! and strip it, and without one for ArcSight itself.

mod extension;
mod options;

use std::borrow::Cow;

use heraldry_formatter::cef::{Device, Record};
use heraldry_formatter::syslog::{HeaderOptions, max_bytes};
use heraldry_formatter::{Context, Error, Event, EventType, Formatter, Join, Kind, Manifest, Payload};

pub use options::Options;

/// The format `cef`; see the crate's documentation.
#[derive(Debug)]
pub struct Cef;

impl Formatter for Cef {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("CEF (Common Event Format)"),
            description: Some(
                "One line per event in CEF:0 for ArcSight, QRadar, Sentinel and others; over syslog with a header of RFC 5424 or RFC 3164.",
            ),
            kind: Kind::Line,
            join: Join::Newline,
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("cef", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, options: &Options) -> Result<Payload, Error> {
        let header_options = HeaderOptions {
            protocol: options.syslog_header,
            facility: options.facility,
            utc_offset: options.utc_offset,
            tag: options.tag.get(),
        };
        let device = Device {
            vendor: options.vendor.as_ref().map_or(options::DEVICE, |name| name.as_str()),
            product: options.product.as_ref().map_or(options::DEVICE, |name| name.as_str()),
            version: &context.product_version,
        };
        // A webhook's target is its destination.
        let target = event.target().or_else(|| event.webhook().text("url_host"));
        let mut record = Record::new(device, event.kind.name(), name(event), event.level());
        extension::fill(&mut record, event, target.as_deref(), &options.labels);
        record.payload(header_options.head(event, context), max_bytes(context))
    }
}

/// Name: the finding's title, else the event type in words, with the name of what the event is about.
fn name<'a>(event: &Event<'a>) -> Cow<'a, str> {
    let phrase = event.kind.phrase();
    let who = match event.kind {
        EventType::PhaseChanged | EventType::MonitorAlert => event.group().text("name"),
        EventType::ReportReady => event.group().text("title"),
        kind if kind.is_host() => event.subject(),
        _ => return event.title().unwrap_or(Cow::Borrowed(phrase)),
    };
    who.map_or(Cow::Borrowed(phrase), |who| Cow::Owned(format!("{phrase}: {who}")))
}

heraldry_formatter::export_formatter!(Cef);
