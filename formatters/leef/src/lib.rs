//! The format `leef`: one event as one record of IBM's Log Event Extended Format 2.0, for QRadar:
//! `LEEF:2.0|Vendor|Product|Version|EventID|x09|key=value<TAB>key=value`.
//!
//! FORMATS, section 11, has the rules and the mapping. Over HTTP the record stands alone; over syslog it follows a
//! header whose host name identifies the log source to QRadar.

mod attributes;
mod options;

use heraldry_formatter::leef::{Device, Headline, Record};
use heraldry_formatter::syslog::{Head, HeaderOptions, max_bytes};
use heraldry_formatter::{Context, Error, Event, Formatter, Join, Kind, Manifest, Payload, rfc5424};

pub use options::Options;

/// The format `leef`; see the crate's documentation.
#[derive(Debug)]
pub struct Leef;

impl Formatter for Leef {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("LEEF 2.0 (IBM QRadar)"),
            description: Some(
                "One line per event in LEEF 2.0 for IBM QRadar; over syslog with a header of RFC 3164 or RFC 5424.",
            ),
            kind: Kind::Line,
            join: Join::Newline,
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("leef", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, options: &Options) -> Result<Payload, Error> {
        let header_options = HeaderOptions {
            protocol: options.syslog_header,
            facility: options.facility,
            utc_offset: options.utc_offset,
            tag: None,
        };
        let head = header_options.head(event, context).map(without_ipv6);
        let limit = if head.is_some() { options.max_bytes.get() } else { usize::MAX };
        let device = Device {
            vendor: options.vendor.as_str(),
            product: options.product.as_str(),
            version: &context.product_version,
        };
        let headline = Headline {
            event_id: event.kind.name(),
            category: event.kind.group(),
            severity: event.level(),
            time: event.occurred_at,
        };
        // A webhook's target is its destination.
        let target = event.target().or_else(|| event.webhook().text("url_host"));
        let mut record = Record::new(device, headline, options.delimiter);
        attributes::fill(&mut record, event, target.as_deref());
        record.payload(head, max_bytes(context).min(limit))
    }
}

/// QRadar cannot route an event by an IPv6 address; without a host name it uses the address that the event came from.
/// (An RFC 3164 header never contains an IPv6 address.)
fn without_ipv6(head: Head<'_>) -> Head<'_> {
    match head {
        Head::Rfc5424(header) if header.host_name.contains(':') => {
            Head::Rfc5424(rfc5424::Header { host_name: "", ..header })
        }
        other => other,
    }
}

heraldry_formatter::export_formatter!(Leef);
