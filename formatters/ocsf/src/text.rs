//! Text in a record: without control characters, and truncated to limit the record's size. `unmapped` has the full
//! text.

use heraldry_formatter::identifier::identifier;
use heraldry_formatter::text::{ELLIPSIS, Rule, bare, bytes, is_blank, tidy};

/// The longest name, title or id, in bytes, as are all lengths below.
pub(crate) const NAME: usize = 1_000;
/// The longest sentence.
pub(crate) const MESSAGE: usize = 2_000;
/// The longest description.
pub(crate) const DESCRIPTION: usize = 32_000;
/// The longest remediation or comment.
pub(crate) const PASSAGE: usize = 8_000;
/// The longest URL.
pub(crate) const ADDRESS: usize = 2_000;

/// The text on one line; `None` if none of it is visible.
pub(crate) fn line(text: &str, limit: usize) -> Option<String> {
    seen(tidy(bare(text), Rule::ONE_LINE, limit, bytes, ELLIPSIS).into_owned())
}

/// The text with its line breaks; `None` if none of it is visible.
pub(crate) fn lines(text: &str, limit: usize) -> Option<String> {
    seen(tidy(bare(text), Rule::LINES, limit, bytes, ELLIPSIS).into_owned())
}

/// An id, the same in every record.
pub(crate) fn id(text: &str) -> Option<String> {
    identifier(text, NAME, bytes)
}

fn seen(text: String) -> Option<String> {
    (!is_blank(&text)).then_some(text)
}
