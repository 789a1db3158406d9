//! Syslog messages of RFC 5424 that no receiver misreads, whatever text goes in (FORMATS, section 4).
//!
//! Nothing in a text can end a value, a message or a line: a receiver that splits lines or runs out of room
//! would believe what comes after. What does not fit is cut and says so: MSG first, then the longest values,
//! then parameters from the last one on.
//!
//! ```
//! use heraldry_formatter::Severity;
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
//! let id = SdId::default();
//! let mut message = Message::new(header, &id, 8000);
//! message.param("target", Some("a [\"x\"]"));
//! message.text("", "Two\nlines");
//! let line = String::from_utf8(message.payload()?.body).unwrap_or_default();
//! assert!(line.ends_with(r#" [heraldry@32473 target="a [\"x\"\]"] Two lines"#));
//! # Ok::<(), heraldry_formatter::Error>(())
//! ```

mod names;
#[cfg(test)]
mod property;

use std::borrow::Cow;
use std::fmt::Write as _;

pub use names::{AppName, Facility, SdId};

use crate::line::{CONTENT_TYPE, Field, fit, push_escaped, value};
use crate::text::Rule;
use crate::{Error, Payload, Severity};

/// The most bytes of a whole line over syslog when the transport names no limit of its own: what a
/// TLS receiver should take is 8192 (RFC 5425, section 4.3.1), and rsyslog reads what comes after
/// 8096 as a new message.
pub const MAX_BYTES: usize = 8000;

/// The HEADER of an RFC 5424 message and the space behind it (section 6.2). PROCID is always nil:
/// what speaks is not a process whose restarts matter to the reader.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// What kind of sender this is.
    pub facility: Facility,
    /// How bad it is (FORMATS, section 8, has the numbers).
    pub severity: Severity,
    /// The time of the event; nil goes out when it is not `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    pub timestamp: &'a str,
    /// The sender's name, at most 255 characters go out; here and below, what is no printable ASCII becomes `-`.
    pub host_name: &'a str,
    /// At most 48 characters go out.
    pub app_name: &'a str,
    /// At most 32 characters go out.
    pub msgid: &'a str,
}

impl Header<'_> {
    /// Appends the header and the space behind it.
    pub fn push_to(&self, out: &mut String) {
        let severity = match self.severity {
            Severity::Info => 6,
            Severity::Low => 5,
            Severity::Medium => 4,
            Severity::High => 3,
            Severity::Critical => 2,
        };
        let priority = self.facility.number() * 8 + severity;
        let timestamp = if is_timestamp(self.timestamp) { self.timestamp } else { "-" };
        // Writing into a string does not fail.
        let _ = write!(out, "<{priority}>1 {timestamp} ");
        push_name(out, self.host_name, 255);
        out.push(' ');
        push_name(out, self.app_name, 48);
        out.push_str(" - ");
        push_name(out, self.msgid, 32);
        out.push(' ');
    }
}

/// Appends a header field: at most `max` characters of 33 to 126, nil when there is none.
fn push_name(out: &mut String, name: &str, max: usize) {
    let name = name.trim();
    if name.is_empty() {
        out.push('-');
    }
    out.extend(name.chars().take(max).map(|c| if c.is_ascii_graphic() { c } else { '-' }));
}

/// Whether `text` is a TIMESTAMP of RFC 5424 (section 6.2.3) in the one form that the host gives:
/// milliseconds, UTC, no leap second.
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

/// One message: header, one element of structured data, text.
#[derive(Debug)]
pub struct Message<'a> {
    header: Header<'a>,
    sd_id: &'a SdId,
    params: Vec<Field<'a>>,
    text: Field<'a>,
    max_bytes: usize,
}

impl<'a> Message<'a> {
    /// A message without parameters and text, of at most `max_bytes` with its header: what the context says, or
    /// [`MAX_BYTES`].
    pub fn new(header: Header<'a>, sd_id: &'a SdId, max_bytes: usize) -> Self {
        let text = Field {
            name: "",
            label: None,
            value: Cow::Borrowed(""),
            frame_bytes: 1,
            is_special: |_| false,
            atomic: false,
        };
        Self { header, sd_id, params: Vec::with_capacity(24), text, max_bytes }
    }

    /// Adds a parameter, unless nothing of it would be left. Add first what matters most: where there is too
    /// little room the last ones go. A name stands once, the first time (RFC 5424 lets it repeat, syslog-ng
    /// keeps the last); a name that is not 1 to 32 printable ASCII characters without `=`, `]` and `"`
    /// (section 6.3.3) is left out with its value.
    pub fn param(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>) {
        self.add(name, text, false);
    }

    /// Adds a parameter that is never cut: half an id is of no use. Where there is too little room it may still go
    /// as a whole.
    pub fn whole_param(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>) {
        self.add(name, text, true);
    }

    fn add(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>, atomic: bool) {
        let Some(text) = text else { return };
        let value = value(text, Rule::SPACES, self.max_bytes);
        debug_assert!(names::is_sd_name(name), "{name:?} is no name of a parameter");
        if value.is_empty() || !names::is_sd_name(name) || self.params.iter().any(|param| param.name == name) {
            return;
        }
        // Beside its value: a space, its name, `=` and two quotes.
        let frame_bytes = name.len() + 4;
        self.params.push(Field { name, label: None, value, frame_bytes, is_special: must_be_escaped, atomic });
    }

    /// Adds to MSG, all of which stands on one line: `text`, and before it `between` when something stands there
    /// already. Nothing, when nothing of the text is left.
    pub fn text(&mut self, between: &'static str, text: impl Into<Cow<'a, str>>) {
        let text = value(text, Rule::SPACES, self.max_bytes);
        if self.text.value.is_empty() {
            self.text.value = text;
        } else if !text.is_empty() {
            debug_assert!(!between.contains(char::is_control), "what stands between is on one line");
            let whole = self.text.value.to_mut();
            whole.reserve(between.len() + text.len());
            whole.push_str(between);
            whole.push_str(&text);
        }
    }

    /// The message as what a delivery carries: one line.
    ///
    /// # Errors
    /// `internal` when the header alone is too long.
    pub fn payload(mut self) -> Result<Payload, Error> {
        let mut line = String::with_capacity(1024);
        self.header.push_to(&mut line);
        let sd_id = self.sd_id.as_str();
        let head_bytes = line.len() + sd_id.len() + 2;
        let room = self.max_bytes.checked_sub(head_bytes);
        if !room.is_some_and(|room| fit(&mut self.text, &mut self.params, 0, room)) {
            return Err(Error::Internal(format!(
                "the header of the message alone has {head_bytes} bytes, the transport takes {}",
                self.max_bytes
            )));
        }
        push_data(&mut line, sd_id, &self.params);
        if !self.text.value.is_empty() {
            line.push(' ');
            line.push_str(&self.text.value);
        }
        Ok(Payload { content_type: CONTENT_TYPE.into(), headers: Vec::new(), body: line.into_bytes() })
    }
}

/// RFC 5424, section 6.3.3: these three and nothing else.
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
