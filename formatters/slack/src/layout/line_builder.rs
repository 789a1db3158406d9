//! Builds a text of lines in which values stand side by side.

use heraldry_formatter::block_kit::{Compose, PlainText, TEXT};

/// The separator of values in a line.
pub(crate) const DOT: &str = " · ";

/// A text under construction. Text beyond its limit is left out, marked by an ellipsis.
pub(crate) struct LineBuilder {
    text: Compose,
    /// The separator before the next value.
    between: &'static str,
}

impl LineBuilder {
    pub(crate) fn new() -> Self {
        Self { text: PlainText::compose(TEXT), between: "" }
    }

    /// Continues a text that ends with a line.
    pub(crate) fn of(text: Compose) -> Self {
        Self { text, between: "" }
    }

    /// Appends fixed words of the format to the current line.
    pub(crate) fn words(self, words: &str) -> Self {
        if words.is_empty() {
            return self;
        }
        Self { text: self.text.words(self.between).words(words), between: DOT }
    }

    /// Appends a value to the current line, after fixed words, truncated at `limit`.
    pub(crate) fn value(self, words: &str, value: &str, limit: usize) -> Self {
        Self { text: self.text.words(self.between).words(words).value(value, limit), between: DOT }
    }

    /// Appends fixed words of the format to the last value.
    pub(crate) fn suffix(self, words: &str) -> Self {
        Self { text: self.text.words(words), ..self }
    }

    /// Starts a new line with the next value.
    pub(crate) fn line(self) -> Self {
        Self { between: if self.between.is_empty() { "" } else { "\n" }, ..self }
    }

    /// Appends a line with a labelled value.
    pub(crate) fn fact(self, label: &str, value: &str, limit: usize) -> Self {
        self.line().value(&format!("{label}: "), value, limit).line()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.between.is_empty()
    }

    pub(crate) fn finish(self) -> PlainText<'static> {
        self.text.finish()
    }
}
