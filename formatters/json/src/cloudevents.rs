//! The shape `cloudevents`: CloudEvents 1.0 in JSON, structured mode.

use std::borrow::Cow;
use std::fmt::Write as _;

use heraldry_formatter::identifier::identifier;
use heraldry_formatter::text::{ELLIPSIS, Rule, is_blank, tidy};
use heraldry_formatter::{Event, EventType};
use serde::{Serialize, Serializer};

/// The longest text of an attribute, in bytes: intermediaries must forward an event of 64 KiB (section "Size Limits").
const ATTRIBUTE: usize = 16 * 1024;
/// The longest identifier in an attribute, in bytes.
const IDENTIFIER: usize = 1000;

/// An event's attributes; `data` follows as it was posted (CloudEvents 1.0.2, "Context Attributes"). The last three are
/// extensions: their names consist of `a-z0-9`, at most 20 characters.
#[derive(Serialize)]
pub(crate) struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type", serialize_with = "reverse_dns")]
    kind: EventType,
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    causedby: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engagementname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engagementclient: Option<String>,
}

impl<'a> CloudEvent<'a> {
    pub(crate) fn of(event: &'a Event<'_>) -> Self {
        Self {
            specversion: "1.0",
            id: event.id,
            source: source(event),
            kind: event.kind,
            time: event.occurred_at,
            // The id of the finding, report, retest, monitor, webhook or delivery; other groups have none. Parts of the
            // host are known by their names.
            subject: event.group().text("id").or_else(|| event.subject()).and_then(short).and_then(attribute),
            datacontenttype: "application/json",
            causedby: event.caused_by.clone().and_then(attribute),
            engagementname: event.engagement_name().and_then(attribute),
            engagementclient: event.engagement_client().and_then(attribute),
        }
    }
}

fn reverse_dns<S: Serializer>(kind: &EventType, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("com.heraldry.{}", kind.name()))
}

/// The source: a URI reference that is the same for all events of an engagement, or of the host itself.
fn source(event: &Event<'_>) -> String {
    if event.kind.is_host() {
        return String::from("/host");
    }
    let mut source = String::from("/engagements");
    if let Some(id) = event.engagement_id().and_then(|id| short(id.into())) {
        source.push('/');
        for byte in id.bytes() {
            // Unreserved characters need no encoding (RFC 3986, section 2.3).
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                source.push(char::from(byte));
            } else {
                write!(source, "%{byte:02X}").expect("a String takes everything");
            }
        }
    }
    source
}

/// An id as it is, or with its digest if it is too long.
fn short(id: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if id.len() <= IDENTIFIER { Some(id) } else { identifier(&id, IDENTIFIER, char::len_utf8).map(Cow::Owned) }
}

/// A text as an attribute's value: the section "Type System" forbids control characters and noncharacters, and an
/// attribute must not be empty.
fn attribute<'a>(text: impl Into<Cow<'a, str>>) -> Option<String> {
    let text = text.into();
    let mut text = tidy(&text, Rule::ONE_LINE, ATTRIBUTE, char::len_utf8, ELLIPSIS).into_owned();
    text.retain(|c| !is_noncharacter(c));
    (!is_blank(&text)).then_some(text)
}

fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}
