//! Syslog messages of RFC 5424 that no receiver misreads, regardless of the input text (FORMATS, section 4).
//!
//! No text can end a value, a message or a line: a receiver that splits at lines or has a shorter limit would read the
//! rest as another message. A message over its limit is truncated visibly: first MSG, then the longest values, then
//! whole parameters from the last one on.
//!
//! ```
//! use heraldry_formatter::Severity;
//! use heraldry_formatter::line::Content;
//! use heraldry_formatter::rfc5424::{Facility, Header, Message, SdId};
//!
//! let header = Header {
//!     facility: Facility::LOCAL0,
//!     severity: Severity::High,
//!     timestamp: "2026-11-17T10:12:45.120Z",
//!     host_name: "heraldry.example",
//!     app_name: "heraldry",
//!     msgid: "finding_added",
//! };
//! let mut content = Content::new(8000);
//! content.param("target", Some("a [\"x\"]"));
//! content.text("", "Two\nlines");
//! let message = Message { header, sd_id: &SdId::default(), bom: false };
//! let line = String::from_utf8(message.payload(content)?.body).unwrap_or_default();
//! assert!(line.ends_with(r#" [heraldry@32473 target="a [\"x\"\]"] Two lines"#));
//! # Ok::<(), heraldry_formatter::Error>(())
//! ```

mod names;
#[cfg(test)]
mod property;

use std::fmt::Write as _;

pub(crate) use names::is_sd_name;
pub use names::{AppName, Facility, SdId};

use crate::line::{Content, Field, fit, line_payload, push_escaped, too_long};
use crate::{Error, Payload, Severity};

/// The most bytes of a line over syslog when the transport names no limit. A TLS receiver should accept 8192 (RFC 5425,
/// section 4.3.1), but rsyslog reads everything after 8096 as a new message.
pub const MAX_BYTES: usize = 8000;

/// The HEADER of an RFC 5424 message with the trailing space (section 6.2). PROCID is always nil: a restart of this
/// host means nothing to the reader of a finding.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// The syslog facility.
    pub facility: Facility,
    /// The severity, which becomes part of PRI (FORMATS, section 8).
    pub severity: Severity,
    /// The time of the event; sent as nil unless it is `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    pub timestamp: &'a str,
    /// The sender's name, truncated at 255 characters. Here and below, characters that are not printable ASCII become
    /// `-`.
    pub host_name: &'a str,
    /// APP-NAME, truncated at 48 characters.
    pub app_name: &'a str,
    /// MSGID, truncated at 32 characters.
    pub msgid: &'a str,
}

impl Header<'_> {
    /// Appends the header and a trailing space.
    pub fn push_to(&self, out: &mut String) {
        let priority = self.facility.priority(self.severity);
        let timestamp = if is_timestamp(self.timestamp) { self.timestamp } else { "-" };
        // Writing into a `String` cannot fail.
        let _ = write!(out, "<{priority}>1 {timestamp} ");
        push_name(out, self.host_name, 255);
        out.push(' ');
        push_name(out, self.app_name, 48);
        out.push_str(" - ");
        push_name(out, self.msgid, 32);
        out.push(' ');
    }
}

/// Appends a header field: at most `max` characters from 33 to 126, or nil if it is empty.
fn push_name(out: &mut String, name: &str, max: usize) {
    let name = name.trim();
    if name.is_empty() {
        out.push('-');
    }
    out.extend(name.chars().take(max).map(|c| if c.is_ascii_graphic() { c } else { '-' }));
}

/// Returns true for a TIMESTAMP of RFC 5424 (section 6.2.3) in the form that the host sends: milliseconds, UTC, no leap
/// second.
fn is_timestamp(text: &str) -> bool {
    const FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
    let bytes = text.as_bytes();
    let in_form = bytes.len() == FORM.len()
        && bytes.iter().zip(FORM).all(|(b, form)| if *form == b'0' { b.is_ascii_digit() } else { b == form });
    if !in_form {
        return false;
    }
    let number = |at: usize| (bytes[at] - b'0') * 10 + (bytes[at + 1] - b'0');
    (1..=12).contains(&number(5))
        && (1..=31).contains(&number(8))
        && number(11) <= 23
        && number(14) <= 59
        && number(17) <= 59
}

/// The byte order mark before a UTF-8 MSG (section 6.4).
const BOM: &str = "\u{FEFF}";

/// One message: header, one element of structured data, text.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The message's HEADER.
    pub header: Header<'a>,
    /// SD-ID: the name of the element.
    pub sd_id: &'a SdId,
    /// True to start a non-empty MSG with the byte order mark that section 6.4 requires for UTF-8. Most receivers do
    /// not expect it: some keep it as part of the text.
    pub bom: bool,
}

impl Message<'_> {
    /// The message as a delivery's payload: one line.
    ///
    /// # Errors
    /// `internal` when the header alone is too long.
    pub fn payload(&self, content: Content<'_>) -> Result<Payload, Error> {
        let mut line = String::with_capacity(1024);
        self.header.push_to(&mut line);
        let (mut text, mut params, max_bytes) = content.parts(must_be_escaped, |_| false);
        let bom = if self.bom { BOM } else { "" };
        // The space before MSG.
        text.frame_bytes = 1 + bom.len();
        let sd_id = self.sd_id.as_str();
        let head_bytes = line.len() + sd_id.len() + 2;
        let room = max_bytes.checked_sub(head_bytes);
        if !room.is_some_and(|room| fit(&mut text, &mut params, 0, room)) {
            return Err(too_long(head_bytes, max_bytes));
        }
        push_data(&mut line, sd_id, &params);
        if !text.value.is_empty() {
            line.push(' ');
            line.push_str(bom);
            line.push_str(&text.value);
        }
        Ok(line_payload(line))
    }
}

/// The bytes to escape in a value (RFC 5424, section 6.3.3).
fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b']')
}

/// STRUCTURED-DATA (RFC 5424, section 6.3).
fn push_data(line: &mut String, sd_id: &str, params: &[Field<'_>]) {
    if params.iter().all(|param| param.value.is_empty()) {
        line.push('-');
        return;
    }
    line.push('[');
    line.push_str(sd_id);
    for param in params.iter().filter(|param| !param.value.is_empty()) {
        line.push(' ');
        line.push_str(param.name);
        line.push_str("=\"");
        push_escaped(line, &param.value, must_be_escaped);
        line.push('"');
    }
    line.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_sanitises_every_field() {
        let mut out = String::new();
        let host_name = format!(" my höst\n{}", "x".repeat(300));
        let header = Header {
            facility: Facility::LOCAL0,
            severity: Severity::Critical,
            timestamp: "2026-11-17T10:12:45.120Z",
            host_name: &host_name,
            app_name: "heraldry",
            msgid: "finding_added",
        };
        header.push_to(&mut out);
        let expected = format!("<130>1 2026-11-17T10:12:45.120Z my-h-st-{} heraldry - finding_added ", "x".repeat(247));
        assert_eq!(out, expected);

        out.clear();
        Header { facility: Facility::default(), severity: Severity::Info, timestamp: "now", host_name: "", ..header }
            .push_to(&mut out);
        assert_eq!(out, "<134>1 - - heraldry - finding_added ");
    }

    #[test]
    fn timestamps() {
        let good = ["2026-11-17T10:12:45.120Z", "0001-01-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z"];
        assert!(good.into_iter().all(is_timestamp));
        let bad = [
            "",
            "2026-11-17T10:12:45Z",
            "2026-11-17t10:12:45.120Z",
            "2026-11-17T10:12:60.120Z",
            "2026-13-17T10:12:45.120Z",
            "2026-11-00T10:12:45.120Z",
            "2026-11-17T24:12:45.120Z",
            "2026-11-17T10:12:45.120+",
            "2026-11-17T10:12:45.120123Z",
        ];
        assert!(!bad.into_iter().any(is_timestamp));
    }
}
