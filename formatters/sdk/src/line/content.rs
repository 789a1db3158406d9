//! What a syslog message says, whichever header goes before it.

use std::borrow::Cow;

use super::{Field, value};
use crate::rfc5424::is_sd_name;
use crate::text::Rule;

/// What a syslog message says: facts with names for a machine, and a text to read.
/// [`rfc5424::Message`](crate::rfc5424::Message) and [`rfc3164::Header`](crate::rfc3164::Header) make a line of it.
#[derive(Debug)]
pub struct Content<'a> {
    params: Vec<Field<'a>>,
    text: Field<'a>,
    max_bytes: usize,
}

impl<'a> Content<'a> {
    /// Nothing yet, for a message of at most `max_bytes` with its header: what the context says, or
    /// [`MAX_BYTES`](crate::rfc5424::MAX_BYTES).
    pub fn new(max_bytes: usize) -> Self {
        Self { params: Vec::with_capacity(24), text: field("", Cow::Borrowed(""), 0, false), max_bytes }
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
        debug_assert!(is_sd_name(name), "{name:?} is no name of a parameter");
        if value.is_empty() || !is_sd_name(name) || self.params.iter().any(|param| param.name == name) {
            return;
        }
        // Beside its value: a space, its name, `=` and two quotes.
        self.params.push(field(name, value, name.len() + 4, atomic));
    }

    /// Adds to the text, all of which stands on one line: `text`, and before it `between` when something stands
    /// there already. Nothing, when nothing of the text is left.
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

    /// The text, the parameters and the limit, for a format that escapes these bytes in parameters and in the text.
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
