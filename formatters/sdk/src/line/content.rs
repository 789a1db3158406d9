//! The content of a syslog message, independent of its header.

use std::borrow::Cow;

use super::{Field, value};
use crate::rfc5424::is_sd_name;
use crate::text::Rule;

/// The content of a syslog message: named parameters for machines, and a text for people.
/// [`rfc5424::Message`](crate::rfc5424::Message) and [`rfc3164::Header`](crate::rfc3164::Header) turn it into a line.
#[derive(Debug)]
pub struct Content<'a> {
    params: Vec<Field<'a>>,
    text: Field<'a>,
    max_bytes: usize,
}

impl<'a> Content<'a> {
    /// Empty content for a message of at most `max_bytes`, header included: the context's limit, or
    /// [`MAX_BYTES`](crate::rfc5424::MAX_BYTES).
    pub fn new(max_bytes: usize) -> Self {
        Self { params: Vec::with_capacity(24), text: field("", Cow::Borrowed(""), 0, false), max_bytes }
    }

    /// Adds a parameter, unless it would be empty. Add the most important ones first: the last ones are dropped when
    /// the message is too long. Of two parameters with one name the first wins (RFC 5424 allows repetition, but
    /// syslog-ng keeps only the last). A name that is not 1 to 32 printable ASCII characters without `=`, `]` and `"`
    /// (section 6.3.3) is left out with its value.
    pub fn param(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>) {
        self.add(name, text, false);
    }

    /// Adds a parameter that is useless when shortened, such as an id: it may be dropped as a whole, but it is never
    /// truncated.
    pub fn whole_param(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>) {
        self.add(name, text, true);
    }

    fn add(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>, atomic: bool) {
        let Some(text) = text else { return };
        let value = value(text, Rule::SPACES, self.max_bytes);
        debug_assert!(is_sd_name(name), "{name:?} is no name of a parameter");
        if value.is_empty() || !is_sd_name(name) || self.params.iter().any(|param| param.name == name) {
            return;
        }
        // Besides its value a parameter takes a space, its name, `=` and two quotes.
        self.params.push(field(name, value, name.len() + 4, atomic));
    }

    /// Appends to the text, on one line: the separator `between` if there is text already, then `text`. Does nothing if
    /// `text` is empty once cleaned.
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

    /// The text, the parameters and the limit, for a format that escapes the given bytes in both.
    pub(crate) fn parts(
        mut self,
        in_params: fn(u8) -> bool,
        in_text: fn(u8) -> bool,
    ) -> (Field<'a>, Vec<Field<'a>>, usize) {
        for param in &mut self.params {
            param.is_special = in_params;
        }
        self.text.is_special = in_text;
        (self.text, self.params, self.max_bytes)
    }
}

fn field<'a>(name: &'static str, value: Cow<'a, str>, frame_bytes: usize, atomic: bool) -> Field<'a> {
    Field { name, label: None, value, frame_bytes, is_special: |_| false, escape_bytes: 1, atomic }
}
