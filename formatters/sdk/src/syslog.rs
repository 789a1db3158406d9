//! The choice of the syslog protocol, for formats that leave it to the webhook's options.

use serde::Deserialize;

use crate::rfc3164::UtcOffset;
use crate::rfc5424::Facility;
use crate::{Context, Event, rfc3164, rfc5424};

/// The syslog protocol; as JSON `rfc5424` and `rfc3164`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The current protocol: full timestamps, structured data, sensible length limits.
    #[default]
    Rfc5424,
    /// The legacy protocol, for collectors that read nothing else.
    Rfc3164,
}

/// The options for the syslog header of a record with a format of its own (CEF, LEEF).
#[derive(Debug, Clone, Copy)]
pub struct HeaderOptions<'a> {
    /// The protocol of the header.
    pub protocol: Protocol,
    /// The syslog facility.
    pub facility: Facility,
    /// The time zone of an RFC 3164 timestamp; RFC 5424 always uses UTC.
    pub utc_offset: UtcOffset,
    /// The tag of an RFC 3164 header, if any.
    pub tag: Option<&'a str>,
}

impl<'a> HeaderOptions<'a> {
    /// The header for an event; `None` if the context's transport is not syslog.
    pub fn head(self, event: &'a Event<'_>, context: &'a Context) -> Option<Head<'a>> {
        let Self { protocol, facility, utc_offset, tag } = self;
        let (severity, timestamp, host_name) = (event.severity(), event.occurred_at, &*context.host_name);
        (context.transport == "syslog").then(|| match protocol {
            Protocol::Rfc5424 => Head::Rfc5424(rfc5424::Header {
                facility,
                severity,
                timestamp,
                host_name,
                app_name: "heraldry",
                msgid: event.kind.name(),
            }),
            Protocol::Rfc3164 => {
                Head::Rfc3164(rfc3164::Header { facility, severity, timestamp, utc_offset, host_name, tag })
            }
        })
    }
}

/// The header before a record over syslog.
#[derive(Debug, Clone, Copy)]
pub enum Head<'a> {
    /// An RFC 5424 header without structured data: the record is MSG.
    Rfc5424(rfc5424::Header<'a>),
    /// An RFC 3164 header: the record is CONTENT after a tag, or takes the tag's place.
    Rfc3164(rfc3164::Header<'a>),
}

impl Head<'_> {
    /// Appends the header and a trailing space.
    pub fn push_to(&self, out: &mut String) {
        match self {
            Self::Rfc5424(header) => {
                header.push_to(out);
                out.push_str("- ");
            }
            Self::Rfc3164(header) => header.push_to(out),
        }
    }
}

/// The most bytes of a record with its header: the context's limit; without one, [`rfc5424::MAX_BYTES`] over syslog and
/// unlimited over HTTP.
pub fn max_bytes(context: &Context) -> usize {
    let unlimited = if context.transport == "syslog" { rfc5424::MAX_BYTES } else { usize::MAX };
    context.max_bytes.map_or(unlimited, |max| max as usize)
}
