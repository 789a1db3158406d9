//! One text built from several parts, within one limit.

use std::borrow::Cow;
use std::marker::PhantomData;

use super::{ELLIPSIS, Rule, bare, tidy};

/// The cost of a character, escapes included. A type instead of a function value, so that calls are inlined.
pub(crate) trait Cost {
    /// The maximum cost of a character divided by its UTF-8 length.
    const MOST_PER_BYTE: usize;

    fn of(c: char) -> usize;
}

/// Concatenates parts: each is cleaned, none makes the whole exceed its limit, and once a part had to be truncated for
/// that, later parts are left out. Escaping comes last, on the whole.
#[derive(Debug)]
pub(crate) struct Composer<C> {
    out: String,
    /// The maximum cost of the whole.
    limit: usize,
    /// The rule for parts that may have several lines.
    lines: Rule,
    /// The cost of `out[..counted]`; the rest is counted only when another part is added, which is rare.
    used: usize,
    counted: usize,
    is_full: bool,
    cost: PhantomData<C>,
}

impl<C: Cost> Composer<C> {
    pub(crate) fn new(limit: usize, lines: Rule) -> Self {
        Self { out: String::with_capacity(64), limit, lines, used: 0, counted: 0, is_full: false, cost: PhantomData }
    }

    /// Appends fixed words of the format, with their spaces and line breaks.
    pub(crate) fn words(&mut self, words: &str) {
        self.push(words, self.lines, usize::MAX);
    }

    /// Appends a value: trimmed, on one line, truncated at `limit`.
    pub(crate) fn value(&mut self, value: &str, limit: usize) {
        self.push(bare(value), Rule::ONE_LINE, limit);
    }

    fn push(&mut self, part: &str, rule: Rule, limit: usize) {
        if self.is_full {
            return;
        }
        let room = self.room(part);
        let tidied = tidy(part, rule, limit.min(room), C::of, ELLIPSIS);
        // Only a copied text can have been truncated.
        self.is_full = limit > room && matches!(&tidied, Cow::Owned(cut) if cut.ends_with(ELLIPSIS));
        self.out.push_str(&tidied);
    }

    /// The cost that is left for a part. Counted exactly only when the whole comes near its limit.
    fn room(&mut self, part: &str) -> usize {
        // No rule makes a part longer than two characters per byte.
        let most = self.out.len().saturating_add(part.len().saturating_mul(2)).saturating_mul(C::MOST_PER_BYTE);
        if most <= self.limit {
            return usize::MAX;
        }
        self.used += self.out[self.counted..].chars().map(C::of).sum::<usize>();
        self.counted = self.out.len();
        self.limit - self.used
    }

    /// Returns the whole, unescaped.
    pub(crate) fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::utf16;

    #[derive(Debug)]
    struct Utf16;

    impl Cost for Utf16 {
        const MOST_PER_BYTE: usize = 1;

        fn of(c: char) -> usize {
            utf16(c)
        }
    }

    fn compose(limit: usize, value_limit: usize) -> String {
        let mut text = Composer::<Utf16>::new(limit, Rule::LINES);
        text.words("a:\n");
        text.value(" b\nc d ", value_limit);
        text.words("\u{202E} (e)");
        text.finish()
    }

    #[test]
    fn parts_share_one_limit_and_keep_their_own() {
        assert_eq!(compose(99, 99), "a:\nb c d (e)");
        assert_eq!(compose(12, 5), "a:\nb c d (e)");
        assert_eq!(compose(11, 5), "a:\nb c d...");
        assert_eq!(compose(99, 4), "a:\nb... (e)");
        assert_eq!(compose(7, 5), "a:\nb...");
        assert_eq!(compose(2, 5), "a:");
        assert_eq!(compose(0, 5), "");
    }
}
