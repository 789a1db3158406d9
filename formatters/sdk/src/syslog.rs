//! Which of the two syslogs a line goes out in, for formats that leave the choice to the webhook's owner.

use serde::Deserialize;

use crate::rfc3164::UtcOffset;
use crate::rfc5424::Facility;
use crate::{Context, Event, rfc3164, rfc5424};

/// The two kinds of syslog; as JSON `rfc5424` and `rfc3164`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The newer one: a full time, structured data, lengths that fit our days.
    #[default]
    Rfc5424,
    /// The older one, for collectors that read nothing else.
    Rfc3164,
}

/// The header of a record that is a format of its own (CEF, LEEF), as the owner of the webhook wants it.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// Which of the two headers.
    pub protocol: Protocol,
    /// What kind of sender this is.
    pub facility: Facility,
    /// The zone of an RFC 3164 time; RFC 5424 stays at UTC.
    pub utc_offset: UtcOffset,
    /// The tag of an RFC 3164 header, where there shall be one.
    pub tag: Option<&'a str>,
}

impl<'a> Choice<'a> {
    /// The header for an event, where the context's transport is syslog at all.
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

/// What stands before a record over syslog.
#[derive(Debug, Clone, Copy)]
pub enum Head<'a> {
    /// A header of RFC 5424, without structured data: the record is MSG.
    Rfc5424(rfc5424::Header<'a>),
    /// A header of RFC 3164: the record is CONTENT behind a tag, or stands at the tag's place.
    Rfc3164(rfc3164::Header<'a>),
}

impl Head<'_> {
    /// Appends it and the space behind it.
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

/// The most bytes that a record may have with its header: what the context says; where it says nothing,
/// [`rfc5424::MAX_BYTES`] over syslog and as many as it has over HTTP.
pub fn max_bytes(context: &Context) -> usize {
    let unlimited = if context.transport == "syslog" { rfc5424::MAX_BYTES } else { usize::MAX };
    context.max_bytes.map_or(unlimited, |max| max as usize)
}
