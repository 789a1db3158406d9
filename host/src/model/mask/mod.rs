//! Masking: a webhook's secrets in what its destination responds.
//!
//! A destination may quote the request in its response, header by header. Everything of a response that is kept or handed
//! on (the history's excerpt and error, the formatter that interprets it) goes through a [`Mask`] first. It knows the
//! webhook's secrets ([`secrets`]) and looks for them as they are, in base64, and behind escapes ([`view`]).

mod secrets;
mod view;
mod write_only;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use serde_json::Value;

use super::webhook::Webhook;
use view::View;

pub use write_only::write_only;

/// The replacement of a secret.
const MASKED: &str = "[redacted]";
/// The least characters of a secret: shorter texts occur by chance. As many are masked of one that the text's end cuts off.
const SHORTEST: usize = 8;
/// Bytes that one byte of a secret may take up in a text: `\u002f`, each of its six characters written as `&#x75;`.
const LONGEST_ESCAPE: usize = 36;

/// Masks the secrets of one webhook. Making one costs nothing: the secrets are collected when there is a text to search.
/// The default masks nothing.
#[derive(Default)]
pub struct Mask<'a> {
    /// The webhook, and the JSON Schema of its format's options.
    of: Option<(&'a Webhook, &'a Value)>,
    needles: Cow<'a, Needles>,
}

/// What is searched for, collected when there is first a text to search. Serves every mask of one webhook and schema.
#[derive(Clone, Default)]
pub struct Needles(OnceLock<Texts>);

#[derive(Clone)]
struct Texts {
    texts: Vec<Vec<u8>>,
    /// Bytes of the longest.
    longest: usize,
}

impl<'a> Mask<'a> {
    /// A mask of a webhook's secrets: values of headers, signing secrets, credentials in the URL, and the options that
    /// their schema marks `writeOnly`.
    pub fn new(webhook: &'a Webhook, options_schema: &'a Value) -> Self {
        Self { of: Some((webhook, options_schema)), needles: Cow::default() }
    }

    /// The same, with needles that an earlier mask of the same webhook and schema may have collected.
    pub fn with(webhook: &'a Webhook, options_schema: &'a Value, needles: &'a Needles) -> Self {
        Self { of: Some((webhook, options_schema)), needles: Cow::Borrowed(needles) }
    }

    /// The first `most` bytes of a text, its secrets masked, also one that `most` cuts in two.
    pub fn bytes(&self, text: &[u8], most: usize) -> Vec<u8> {
        let Some((webhook, options_schema)) = self.of.filter(|_| text.len() >= SHORTEST) else {
            return text[..text.len().min(most)].to_vec();
        };
        let needles = self.needles.0.get_or_init(|| Texts::new(secrets::needles(webhook, options_schema)));
        let searched = most.saturating_add(needles.longest.saturating_mul(LONGEST_ESCAPE)).min(text.len());
        let text = &text[..searched];
        let (mut masked, mut at) = (Vec::with_capacity(most.min(text.len())), 0);
        for secret in needles.find(text).into_iter().take_while(|secret| secret.start < most) {
            masked.extend_from_slice(&text[at..secret.start]);
            masked.extend_from_slice(MASKED.as_bytes());
            at = secret.end;
        }
        masked.extend_from_slice(&text[at..most.clamp(at, text.len())]);
        masked.truncate(most);
        masked
    }

    /// A text, its secrets masked.
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes(), usize::MAX)).into_owned()
    }
}

impl Texts {
    fn new(texts: Vec<Vec<u8>>) -> Self {
        let longest = texts.iter().map(Vec::len).max().unwrap_or_default();
        Self { texts, longest }
    }

    /// The places of secrets in a text, in order and apart from each other.
    fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let views = view::views(text);
        let pairs = Pairs::of(&views);
        // Most texts quote no secret, and then there is nothing to build. What ends the text may be a part.
        let likely: Vec<&Vec<u8>> = self.texts.iter().filter(|needle| pairs.has(&needle[..SHORTEST])).collect();
        if likely.is_empty() {
            return Vec::new();
        }
        let mut automaton = AhoCorasick::builder();
        // Overlapping matches, so that of two secrets that share some bytes no rest is left.
        automaton.match_kind(MatchKind::Standard).kind(Some(AhoCorasickKind::NoncontiguousNFA));
        let mut found = Vec::new();
        let Ok(automaton) = automaton.build(&likely) else {
            // There are fewer needles than an automaton can have; if not, all is masked.
            found.push(0..text.len());
            return found;
        };
        for view in &views {
            let matches = automaton.find_overlapping_iter(view.bytes());
            found.extend(matches.map(|one| view.source(one.range())));
            found.extend(cut_off(&likely, view));
        }
        found.sort_unstable_by_key(|range| range.start);
        found.dedup_by(|next, before| {
            let touches = next.start <= before.end;
            if touches {
                before.end = before.end.max(next.end);
            }
            touches
        });
        found
    }
}

/// The beginning of a secret at the text's end: the destination or a time limit cut the text there.
fn cut_off(needles: &[&Vec<u8>], view: &View<'_>) -> Option<Range<usize>> {
    let text = view.bytes();
    let cut = |needle: &&Vec<u8>| {
        let lengths = SHORTEST..needle.len().min(text.len() + 1);
        lengths.rev().find(|length| text.ends_with(&needle[..*length]))
    };
    let length = needles.iter().filter_map(cut).max()?;
    Some(view.source(text.len() - length..text.len()))
}

/// The pairs of neighbouring bytes in some texts: a set of 65,536 bits.
struct Pairs(Vec<u64>);

impl Pairs {
    fn of(views: &[View<'_>]) -> Self {
        let mut bits = vec![0; 65_536 / 64];
        for pair in views.iter().flat_map(|view| view.bytes().windows(2)) {
            let (word, bit) = Self::place(pair);
            bits[word] |= bit;
        }
        Self(bits)
    }

    /// False if none of the texts contains this one.
    fn has(&self, text: &[u8]) -> bool {
        text.windows(2).all(|pair| {
            let (word, bit) = Self::place(pair);
            self.0[word] & bit != 0
        })
    }

    fn place(pair: &[u8]) -> (usize, u64) {
        let pair = usize::from(pair[0]) << 8 | usize::from(pair[1]);
        (pair / 64, 1 << (pair % 64))
    }
}

#[cfg(test)]
mod tests;
