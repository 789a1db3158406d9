//! One text made of several, within one limit.

use std::borrow::Cow;

use super::{MARK, Rule, tidy};

/// Puts one text together from pieces: each is cleaned, none makes the whole longer than its limit, and once
/// one had to be cut for that, what comes after is left out. Escaping comes last, on the whole: the cost
/// function counts what it will add.
#[derive(Debug)]
pub(crate) struct Composer<C> {
    out: String,
    /// What the whole may cost.
    limit: usize,
    cost: C,
    /// For pieces that may have several lines.
    lines: Rule,
    /// What `out[..counted]` costs; the rest is counted when another piece comes, which is seldom.
    used: usize,
    counted: usize,
    is_full: bool,
}

impl<C: Fn(char) -> usize + Copy> Composer<C> {
    pub(crate) fn new(limit: usize, cost: C, lines: Rule) -> Self {
        Self { out: String::new(), limit, cost, lines, used: 0, counted: 0, is_full: false }
    }

    /// Adds words of the format's own, with their spaces and lines.
    pub(crate) fn words(&mut self, words: &str) {
        self.push(words, self.lines, usize::MAX);
    }

    /// Adds a value: no space around it, all on one line, cut at `limit`.
    pub(crate) fn value(&mut self, value: &str, limit: usize) {
        self.push(value.trim(), Rule::ONE_LINE, limit);
    }

    fn push(&mut self, piece: &str, rule: Rule, limit: usize) {
        if self.is_full {
            return;
        }
        self.used += self.out[self.counted..].chars().map(self.cost).sum::<usize>();
        self.counted = self.out.len();
        let room = self.limit - self.used;
        let tidied = tidy(piece, rule, limit.min(room), self.cost, MARK);
        // Only a copy can have been cut.
        self.is_full = limit > room && matches!(&tidied, Cow::Owned(cut) if cut.ends_with(MARK));
        self.out.push_str(&tidied);
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

    fn compose(limit: usize, value_limit: usize) -> String {
        let mut text = Composer::new(limit, utf16, Rule::LINES);
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
