//! Text from an event in a record: without controls, and cut, so that a record has a size. The whole is in `unmapped`.

use heraldry_formatter::text::{MARK, Rule, bare, bytes, is_blank, tidy};

/// Of names, titles and ids, in bytes.
pub(crate) const NAME: usize = 1_000;
/// Of a sentence.
pub(crate) const MESSAGE: usize = 2_000;
/// Of a description.
pub(crate) const DESCRIPTION: usize = 32_000;
/// Of a remediation or a comment.
pub(crate) const PASSAGE: usize = 8_000;
/// Of an address.
pub(crate) const ADDRESS: usize = 2_000;

/// All on one line; `None` when nothing would be seen.
pub(crate) fn line(text: &str, limit: usize) -> Option<String> {
    seen(tidy(bare(text), Rule::ONE_LINE, limit, bytes, MARK).into_owned())
}

/// Lines stay lines; `None` when nothing would be seen.
pub(crate) fn lines(text: &str, limit: usize) -> Option<String> {
    seen(tidy(bare(text), Rule::LINES, limit, bytes, MARK).into_owned())
}

/// An id: the same wherever it comes from, so without a mark where it was cut.
pub(crate) fn id(text: &str) -> Option<String> {
    seen(tidy(bare(text), Rule::ONE_LINE, NAME, bytes, "").into_owned())
}

fn seen(text: String) -> Option<String> {
    (!is_blank(&text)).then_some(text)
}
