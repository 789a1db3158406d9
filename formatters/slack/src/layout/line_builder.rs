//! Builds a text of lines in which values stand side by side.

use heraldry_formatter::block_kit::{Compose, PlainText, TEXT};

/// The separator of values in a line.
pub(super) const DOT: &str = " · ";

/// A text under construction. Text beyond its limit is left out, marked by an ellipsis.
pub(super) struct LineBuilder {
    text: Compose,
    /// The separator before the next value.
    between: &'static str,
}

impl LineBuilder {
    pub(super) fn new() -> Self {
        Self { text: PlainText::compose(TEXT), between: "" }
    }

    /// Appends a value to the current line, after fixed words, truncated at `limit`.
    pub(super) fn value(self, words: &str, value: &str, limit: usize) -> Self {
        Self { text: self.text.words(self.between).words(words).value(value, limit), between: DOT }
    }

    /// Starts a new line with the next value.
    pub(super) fn line(self) -> Self {
        Self { between: if self.between.is_empty() { "" } else { "\n" }, ..self }
    }

    /// Appends a line with a labelled value.
    pub(super) fn fact(self, label: &str, value: &str, limit: usize) -> Self {
        self.line().value(&format!("{label}: "), value, limit).line()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.between.is_empty()
    }

    pub(super) fn finish(self) -> PlainText<'static> {
        self.text.finish()
    }
}
