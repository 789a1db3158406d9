//! One text made of several, within one limit.

use std::borrow::Cow;
use std::marker::PhantomData;

use super::{MARK, Rule, bare, tidy};

/// What one character counts, with what escaping will add; a type, so that no call is left of it.
pub(crate) trait Cost {
    /// The most that any character costs for each of its bytes in UTF-8.
    const MOST_PER_BYTE: usize;

    fn of(c: char) -> usize;
}

/// Puts one text together from pieces: each is cleaned, none makes the whole longer than its limit, and once
/// one had to be cut for that, what comes after is left out. Escaping comes last, on the whole.
#[derive(Debug)]
pub(crate) struct Composer<C> {
    out: String,
    /// What the whole may cost.
    limit: usize,
    /// For pieces that may have several lines.
    lines: Rule,
    /// What `out[..counted]` costs; the rest is counted when another piece comes, which is seldom.
    used: usize,
    counted: usize,
    is_full: bool,
    cost: PhantomData<C>,
}

impl<C: Cost> Composer<C> {
    pub(crate) fn new(limit: usize, lines: Rule) -> Self {
        Self { out: String::with_capacity(64), limit, lines, used: 0, counted: 0, is_full: false, cost: PhantomData }
    }

    /// Adds words of the format's own, with their spaces and lines.
    pub(crate) fn words(&mut self, words: &str) {
        self.push(words, self.lines, usize::MAX);
    }

    /// Adds a value: no space around it, all on one line, cut at `limit`.
    pub(crate) fn value(&mut self, value: &str, limit: usize) {
        self.push(bare(value), Rule::ONE_LINE, limit);
    }

    fn push(&mut self, piece: &str, rule: Rule, limit: usize) {
        if self.is_full {
            return;
        }
        let room = self.room(piece);
        let tidied = tidy(piece, rule, limit.min(room), C::of, MARK);
        // Only a copy can have been cut.
        self.is_full = limit > room && matches!(&tidied, Cow::Owned(cut) if cut.ends_with(MARK));
        self.out.push_str(&tidied);
    }

    /// What the piece may cost. Counted only where the whole comes near its limit.
    fn room(&mut self, piece: &str) -> usize {
        // No rule makes a piece longer than two characters for each of its bytes.
        let most = self.out.len().saturating_add(piece.len().saturating_mul(2)).saturating_mul(C::MOST_PER_BYTE);
        if most <= self.limit {
            return usize::MAX;
        }
        self.used += self.out[self.counted..].chars().map(C::of).sum::<usize>();
        self.counted = self.out.len();
        self.limit - self.used
    }

    /// The whole; not escaped yet.
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
    fn pieces_share_one_limit_and_keep_their_own() {
        assert_eq!(compose(99, 99), "a:\nb c d (e)");
        assert_eq!(compose(12, 5), "a:\nb c d (e)");
        assert_eq!(compose(11, 5), "a:\nb c d...");
        assert_eq!(compose(99, 4), "a:\nb... (e)");
        assert_eq!(compose(7, 5), "a:\nb...");
        assert_eq!(compose(2, 5), "a:");
        assert_eq!(compose(0, 5), "");
    }
}
