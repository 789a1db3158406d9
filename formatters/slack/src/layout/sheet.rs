//! A text of lines, in which values stand side by side.

use heraldry_formatter::block_kit::{Compose, PlainText, TEXT};

/// Between values in a line.
pub(super) const DOT: &str = " · ";

/// A text in the making. What comes after its limit is left out, and it says so.
pub(super) struct Sheet {
    text: Compose,
    /// Goes before the next value.
    between: &'static str,
}

impl Sheet {
    pub(super) fn new() -> Self {
        Self { text: PlainText::compose(TEXT), between: "" }
    }

    /// Adds a value to the line, behind words of our own, cut at `limit`.
    pub(super) fn piece(self, words: &str, value: &str, limit: usize) -> Self {
        Self { text: self.text.words(self.between).words(words).value(value, limit), between: DOT }
    }

    /// What comes next stands in a line of its own.
    pub(super) fn line(self) -> Self {
        Self { between: if self.between.is_empty() { "" } else { "\n" }, ..self }
    }

    /// Adds a line with a value and its name.
    pub(super) fn fact(self, label: &str, value: &str, limit: usize) -> Self {
        self.line().piece(&format!("{label}: "), value, limit).line()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.between.is_empty()
    }

    pub(super) fn finish(self) -> PlainText<'static> {
        self.text.finish()
    }
}
