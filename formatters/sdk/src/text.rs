//! Cleaning and truncation of an event's text: unsafe characters are removed, long text is truncated with an ellipsis
//! (FORMATS, section 9). Escaping is the format's own and comes last; the cost function of [`tidy`] lets a limit
//! account for the escapes.

mod composer;

use std::borrow::Cow;

pub(crate) use composer::{Composer, Cost};

/// The truncation mark.
pub const ELLIPSIS: &str = "...";

/// The most invisible characters at the beginning of a text that is not blank, and the most characters that a rule
/// removes before a text is truncated: to read on would take a large part of a call's instructions, to no one's
/// benefit.
const UNSEEN: usize = 4096;
const REMOVED: usize = 4 * UNSEEN;

/// Breaks up character sequences that a parser would treat as markup; invisible to a reader.
const ZERO_WIDTH_SPACE: char = '\u{200B}';

/// The replacements for characters that a format does not accept. Bidirectional controls (U+202A to 202E, 2066 to 2069,
/// 200E, 200F) are always removed: they make text read as something it is not.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Replaces a control character (C0, DEL or C1) other than a line break. A tab always becomes a space.
    pub control: &'static str,
    /// Replaces a line break: CR LF, CR, LF, U+2028 or U+2029.
    pub line_break: &'static str,
}

impl Rule {
    /// For paragraphs: keeps line breaks, removes controls.
    pub const LINES: Self = Self { control: "", line_break: "\n" };
    /// For titles and table cells: one line, removes controls.
    pub const ONE_LINE: Self = Self { control: "", line_break: " " };
    /// For log lines: controls and line breaks become spaces.
    pub const SPACES: Self = Self { control: " ", line_break: " " };
}

/// The cost of a character in code points: one.
pub fn chars(_: char) -> usize {
    1
}

/// The cost of a character in UTF-8 bytes.
pub fn bytes(c: char) -> usize {
    c.len_utf8()
}

/// The cost of a character in UTF-16 code units.
pub fn utf16(c: char) -> usize {
    c.len_utf16()
}

/// Applies `rule` to the text and truncates it so that its characters cost at most `limit`. Truncated text ends with
/// `mark`, whose cost counts too (a limit below the mark's cost omits the mark). The cut falls between two characters,
/// and no space and no joiner precedes the mark. Reads no more of a long text than it keeps, and copies only if
/// something changes; after 16384 characters that the rule removes the text is truncated, too.
pub fn tidy<'a>(text: &'a str, rule: Rule, limit: usize, cost: impl Fn(char) -> usize, mark: &str) -> Cow<'a, str> {
    let mark_cost: usize = mark.chars().map(&cost).sum();
    let (mark, mark_cost) = if mark_cost > limit { ("", 0) } else { (mark, mark_cost) };
    let (mut used, mut keep) = (0, 0);
    for (at, c) in text.char_indices() {
        let now = used + cost(c);
        // Fast path: nearly all characters are printable ASCII.
        if now > limit || !(matches!(c, ' '..='~') || passes_as_is(c) || c == '\n' && rule.line_break == "\n") {
            let mut out = String::with_capacity(text.len().min(limit.saturating_mul(2)) + mark.len());
            out.push_str(&text[..at]);
            let begun = Begun { out, used, keep };
            return Cow::Owned(rebuild(begun, &text[at..], rule, limit, &cost, (mark, mark_cost)));
        }
        used = now;
        if used + mark_cost <= limit {
            keep = at + c.len_utf8();
        }
    }
    Cow::Borrowed(text)
}

/// [`tidy`] without a limit.
pub fn clean(text: &str, rule: Rule) -> Cow<'_, str> {
    tidy(text, rule, usize::MAX, |_| 0, "")
}

/// The beginning of a text, which the rule does not change.
struct Begun {
    out: String,
    /// What it costs.
    used: usize,
    /// The length of `out` that leaves room for the mark.
    keep: usize,
}

fn rebuild(
    begun: Begun,
    text: &str,
    rule: Rule,
    limit: usize,
    cost: &impl Fn(char) -> usize,
    (mark, mark_cost): (&str, usize),
) -> String {
    let Begun { mut out, mut used, mut keep } = begun;
    let mut removed = 0;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let mut own = [0; 4];
        let part = match c {
            '\r' => {
                rest.next_if_eq(&'\n');
                rule.line_break
            }
            '\n' | '\u{2028}' | '\u{2029}' => rule.line_break,
            '\t' => " ",
            c if c.is_control() => rule.control,
            c if is_bidi(c) => "",
            c => c.encode_utf8(&mut own),
        };
        removed += usize::from(part.is_empty());
        if removed > REMOVED && limit != usize::MAX {
            return cut(out, keep, mark);
        }
        for c in part.chars() {
            used += cost(c);
            if used > limit {
                return cut(out, keep, mark);
            }
            out.push(c);
            if used + mark_cost <= limit {
                keep = out.len();
            }
        }
    }
    out
}

/// The first `keep` bytes, with the mark.
fn cut(mut out: String, keep: usize, mark: &str) -> String {
    out.truncate(keep);
    let kept = out.trim_end_matches(|c: char| c.is_whitespace() || c == '\u{200D}');
    out.truncate(kept.len());
    out.push_str(mark);
    out
}

fn passes_as_is(c: char) -> bool {
    !(c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || is_bidi(c))
}

/// Returns true for a bidirectional control (FORMATS, section 9).
pub fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The text without leading and trailing space, controls and bidirectional controls.
pub fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c.is_control() || is_bidi(c))
}

/// Returns true if none of the text is visible: it consists of space, controls and zero-width characters only, or it
/// begins with more than 4096 of them.
pub fn is_blank(text: &str) -> bool {
    text.chars().take(UNSEEN).all(|c| {
        c.is_whitespace()
            || c.is_control()
            || is_bidi(c)
            || matches!(c, '\u{AD}' | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
    })
}

/// Inserts U+200B between adjacent `c`, which leaves no run of them and is invisible to a reader.
pub fn separate(text: Cow<'_, str>, c: char) -> Cow<'_, str> {
    // Fast path: most texts do not contain `c`.
    if !text.contains(c) {
        return text;
    }
    let touching = |(a, b): (char, char)| a == c && b == c;
    if !text.chars().zip(text.chars().skip(1)).any(touching) {
        return text;
    }
    let mut out = String::with_capacity(text.len() * 2);
    let mut before = None;
    for next in text.chars() {
        if before == Some(c) && next == c {
            out.push(ZERO_WIDTH_SPACE);
        }
        out.push(next);
        before = Some(next);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_are_replaced() {
        for (text, lines, one_line, spaces) in [
            ("plain", "plain", "plain", "plain"),
            ("a\0b\x1b\x7f\u{85}c", "abc", "abc", "a b   c"),
            ("a\r\nb\rc\nd\u{2028}e\u{2029}f", "a\nb\nc\nd\ne\nf", "a b c d e f", "a b c d e f"),
            ("a\u{202E}b\u{2066}\u{200F}c", "abc", "abc", "abc"),
            ("a\tb", "a b", "a b", "a b"),
            ("\u{200D}\u{FEFF}é😀", "\u{200D}\u{FEFF}é😀", "\u{200D}\u{FEFF}é😀", "\u{200D}\u{FEFF}é😀"),
        ] {
            assert_eq!(clean(text, Rule::LINES), lines, "{text:?}");
            assert_eq!(clean(text, Rule::ONE_LINE), one_line, "{text:?}");
            assert_eq!(clean(text, Rule::SPACES), spaces, "{text:?}");
        }
        assert!(matches!(clean("two\nlines", Rule::LINES), Cow::Borrowed(_)));
    }

    #[test]
    fn truncates_at_the_limit_with_an_ellipsis() {
        let cut = |text, limit| tidy(text, Rule::LINES, limit, utf16, ELLIPSIS).into_owned();
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc...");
        assert_eq!(cut("ab 😀😀", 6), "ab...");
        assert_eq!(cut("a😀😀😀", 6), "a😀...");
        assert_eq!(cut("abcdefg", 2), "ab");
        assert_eq!(cut("👩\u{200D}👩\u{200D}👧 x", 7), "👩...");
        assert_eq!(tidy("äöü", Rule::LINES, 5, bytes, ".."), "ä..");
        assert_eq!(tidy("äöü", Rule::LINES, 3, chars, ".."), "äöü");
    }

    #[test]
    fn unseen_characters_without_end_end_a_text() {
        for (count, is_seen) in [(UNSEEN - 1, true), (UNSEEN, false)] {
            assert_eq!(is_blank(&format!("{}x", " ".repeat(count))), !is_seen, "{count}");
        }
        for (count, expected) in [(REMOVED, "ab"), (REMOVED + 1, "a...")] {
            let text = format!("a{}b", "\0".repeat(count));
            assert_eq!(tidy(&text, Rule::LINES, 9, utf16, ELLIPSIS), expected, "{count}");
            assert_eq!(clean(&text, Rule::LINES), "ab");
        }
    }

    #[test]
    fn a_replacement_costs_its_own_length() {
        let double = Rule { control: "", line_break: "\n\n" };
        assert_eq!(tidy("a\nb", double, 4, utf16, ELLIPSIS), "a\n\nb");
        assert_eq!(tidy("a\nbc", double, 4, utf16, ELLIPSIS), "a...");
    }

    #[test]
    fn adjacent_characters_are_separated() {
        assert_eq!(separate("a```b".into(), '`'), "a`\u{200B}`\u{200B}`b");
        assert!(matches!(separate("a`b`".into(), '`'), Cow::Borrowed(_)));
    }

    #[test]
    fn text_is_trimmed() {
        assert_eq!(bare("\0\t a\0 b\u{202E} \u{7f}\r\n"), "a\0 b");
        assert_eq!(bare(" \0 "), "");
    }

    #[test]
    fn blank_text_is_invisible() {
        assert!(is_blank(" \0\u{202E}\u{200B}\n"));
        assert!(!is_blank("\0."));
    }
}
