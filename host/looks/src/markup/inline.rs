//! Marks within a line: emphasis, code, links, escapes. Each search that fails is remembered, so the work grows with the
//! text's length and not with its square.

use super::{Dialect, plain, special};
use crate::html::Html;
use crate::link;

/// Emphasis within emphasis, at most.
const MAX_DEPTH: usize = 6;
const MAX_LINK_BYTES: usize = 4096;

/// A dialect's marks of emphasis, longer ones first, with their elements.
const fn emphases(dialect: Dialect) -> &'static [(&'static str, &'static str)] {
    match dialect {
        Dialect::Blocks => &[("*", "strong"), ("_", "em"), ("~", "s")],
        Dialect::Card => &[("**", "strong"), ("__", "strong"), ("*", "em"), ("_", "em")],
        Dialect::Embeds => &[("**", "strong"), ("__", "u"), ("~~", "s"), ("||", "mark"), ("*", "em"), ("_", "em")],
    }
}

/// Draws a line.
pub(super) fn inline(html: &mut Html, dialect: Dialect, text: &str, depth: usize) {
    Inline { text, dialect, depth, at: 0, from: 0, dead: Vec::new(), brackets: [0; 3] }.draw(html);
}

struct Inline<'t> {
    text: &'t str,
    dialect: Dialect,
    depth: usize,
    /// Where the next mark is looked for.
    at: usize,
    /// Where the text that is not written yet begins.
    from: usize,
    /// Marks that have no closing partner in the rest.
    dead: Vec<&'static str>,
    /// The next `>`, `]` and `)` as far as known: none of each before this place.
    brackets: [usize; 3],
}

impl<'t> Inline<'t> {
    fn draw(mut self, html: &mut Html) {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() {
            let is_drawn = match bytes[self.at] {
                b'\\' if self.escapes(self.at) => {
                    self.flush(html, self.at);
                    self.from = self.at + 1;
                    self.at += 2;
                    continue;
                }
                b'`' => self.code(html),
                b'<' => self.angle(html),
                b'[' if self.dialect != Dialect::Blocks => self.link(html),
                b'h' if self.dialect != Dialect::Card => self.bare(html),
                b'*' | b'_' | b'~' | b'|' => self.emphasis(html),
                _ => false,
            };
            if !is_drawn {
                self.at += 1;
            }
        }
        self.flush(html, bytes.len());
    }

    fn flush(&mut self, html: &mut Html, until: usize) {
        if self.from < until {
            plain(html, self.dialect, &self.text[self.from..until]);
        }
        self.from = until;
    }

    /// Goes on behind what was drawn.
    fn pass(&mut self, to: usize) -> bool {
        self.at = to;
        self.from = to;
        true
    }

    /// Returns true if the backslash at this place escapes what follows.
    fn escapes(&self, at: usize) -> bool {
        self.dialect != Dialect::Blocks && self.text.as_bytes().get(at + 1).is_some_and(u8::is_ascii_punctuation)
    }

    /// Returns the place of a closing bracket at or after a place.
    fn bracket(&mut self, which: usize, from: usize) -> Option<usize> {
        let bracket = b">])"[which];
        let bytes = self.text.as_bytes();
        let mut at = self.brackets[which].max(from);
        while at < bytes.len() && bytes[at] != bracket {
            at += if self.escapes_here(bytes[at], at) { 2 } else { 1 };
        }
        self.brackets[which] = at;
        (at < bytes.len()).then_some(at)
    }

    fn escapes_here(&self, byte: u8, at: usize) -> bool {
        byte == b'\\' && self.escapes(at)
    }

    fn code(&mut self, html: &mut Html) -> bool {
        let rest = &self.text[self.at..];
        let run = rest.bytes().take_while(|byte| *byte == b'`').count();
        let mark = match (run, self.dialect) {
            (1, _) => "`",
            (2, Dialect::Card | Dialect::Embeds) => "``",
            _ => {
                self.at += run - 1;
                return false;
            }
        };
        // Cards show code as it is written.
        if self.dialect == Dialect::Card || self.dead.contains(&mark) {
            self.at += run - 1;
            return false;
        }
        let Some(length) = rest[run..].find(mark).filter(|length| *length > 0) else {
            self.dead.push(mark);
            self.at += run - 1;
            return false;
        };
        self.flush(html, self.at);
        html.wrap("code", "", |html| plain(html, self.dialect, &rest[run..run + length]));
        self.pass(self.at + run + length + run)
    }

    fn angle(&mut self, html: &mut Html) -> bool {
        let Some(end) = self.bracket(0, self.at + 1) else { return false };
        if end - self.at > MAX_LINK_BYTES {
            return false;
        }
        let inner = &self.text[self.at + 1..end];
        if inner.contains(['<', '\n']) {
            return false;
        }
        let (dialect, at, from) = (self.dialect, self.at, self.from);
        let tail = &self.text[end + 1..];
        let Some(special) = special::read(dialect, inner, tail) else { return false };
        plain(html, dialect, &self.text[from..at]);
        let length = special.draw(html);
        self.pass(end + 1 + length)
    }

    fn link(&mut self, html: &mut Html) -> bool {
        let Some(close) = self.bracket(1, self.at + 1) else { return false };
        if !self.text[close + 1..].starts_with('(') || close - self.at > MAX_LINK_BYTES {
            return false;
        }
        let Some(end) = self.bracket(2, close + 2) else { return false };
        let address = &self.text[close + 2..end];
        if address.len() > MAX_LINK_BYTES || address.contains(char::is_whitespace) {
            return false;
        }
        let label = &self.text[self.at + 1..close];
        self.flush(html, self.at);
        let address = unescaped(address.trim_start_matches('<').trim_end_matches('>'));
        let (dialect, depth) = (self.dialect, self.depth + 1);
        link::link(html, "", &address, |html| {
            if depth < MAX_DEPTH { inline_text(html, dialect, label, depth) } else { plain(html, dialect, label) }
        });
        self.pass(end + 1)
    }

    fn bare(&mut self, html: &mut Html) -> bool {
        let rest = &self.text[self.at..];
        let is_start = self.text[..self.at].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        if !rest.starts_with("https://") || !is_start {
            return false;
        }
        let end = rest.find(|c: char| c.is_whitespace() || "<>|\"`*".contains(c)).unwrap_or(rest.len());
        let address = rest[..end].trim_end_matches(['.', ',', ':', ';', '!', '?', ')', ']', '\'', '_', '~']);
        if address.len() <= "https://".len() {
            return false;
        }
        self.flush(html, self.at);
        let written = if self.dialect == Dialect::Blocks { address.replace("&amp;", "&") } else { unescaped(address) };
        link::bare(html, &written);
        self.pass(self.at + address.len())
    }

    fn emphasis(&mut self, html: &mut Html) -> bool {
        if self.depth >= MAX_DEPTH {
            return false;
        }
        let rest = &self.text[self.at..];
        for (mark, tag) in emphases(self.dialect) {
            if !rest.starts_with(mark) || self.dead.contains(mark) || !self.opens(mark) {
                continue;
            }
            let Some(end) = self.closes(mark, self.at + mark.len()) else {
                self.dead.push(mark);
                continue;
            };
            let inner = &self.text[self.at + mark.len()..end];
            if inner.is_empty() {
                continue;
            }
            self.flush(html, self.at);
            html.wrap(tag, "", |html| inline(html, self.dialect, inner, self.depth + 1));
            return self.pass(end + mark.len());
        }
        // A run that opens nothing is text as a whole: `**` is not twice `*`.
        let run = rest.bytes().take_while(|byte| *byte == rest.as_bytes()[0]).count();
        self.at += run - 1;
        false
    }

    fn opens(&self, mark: &str) -> bool {
        let before = self.text[..self.at].chars().next_back();
        let after = self.text[self.at + mark.len()..].chars().next();
        let is_bound = self.dialect == Dialect::Blocks || mark.starts_with('_');
        after.is_some_and(|c| !c.is_whitespace()) && !(is_bound && before.is_some_and(char::is_alphanumeric))
    }

    /// Returns the place of the mark that closes.
    fn closes(&self, mark: &str, from: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let first = mark.as_bytes()[0];
        let is_bound = self.dialect == Dialect::Blocks || first == b'_';
        let mut at = from;
        while at < bytes.len() {
            if self.escapes_here(bytes[at], at) {
                at += 2;
                continue;
            }
            if bytes[at] != first {
                at += 1;
                continue;
            }
            let run = bytes[at..].iter().take_while(|byte| **byte == first).count();
            // A single mark inside a double one belongs to that.
            let is_whole = run >= mark.len() && (mark.len() == 2 || run % 2 == 1 || self.dialect == Dialect::Blocks);
            let place = at + run - mark.len().min(run);
            let is_after_word = self.text[..at].chars().next_back().is_some_and(|c| !c.is_whitespace());
            let is_at_end = self.text[at + run..].chars().next().is_none_or(|c| !c.is_alphanumeric());
            if is_whole && is_after_word && (!is_bound || is_at_end) && at >= from {
                return Some(place);
            }
            at += run;
        }
        None
    }
}

fn inline_text(html: &mut Html, dialect: Dialect, text: &str, depth: usize) {
    // A link within a link is no HTML.
    if text.contains("](") || text.contains("https://") || text.contains('<') {
        plain(html, dialect, &unescaped(text));
    } else {
        inline(html, dialect, text, depth);
    }
}

/// Takes the backslashes away that escape punctuation.
pub(super) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '\\' && characters.peek().is_some_and(char::is_ascii_punctuation) {
            out.extend(characters.next());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(dialect: Dialect, text: &str) -> String {
        let mut html = Html::new();
        inline(&mut html, dialect, text, 0);
        html.finish()
    }

    #[test]
    fn emphasis_in_each_dialect() {
        for (dialect, text, expected) in [
            (Dialect::Blocks, "*b* _i_ ~s~ `c*c`", "<strong>b</strong> <em>i</em> <s>s</s> <code>c*c</code>"),
            (Dialect::Blocks, "a*b*c 2 * 3 * 4 snake_case_x", "a*b*c 2 * 3 * 4 snake_case_x"),
            (Dialect::Blocks, "*a _b_ c*", "<strong>a <em>b</em> c</strong>"),
            (
                Dialect::Card,
                "**b** __b__ *i* _i_ ~~n~~ `n`",
                "<strong>b</strong> <strong>b</strong> <em>i</em> <em>i</em> ~~n~~ `n`",
            ),
            (
                Dialect::Embeds,
                "**b** __u__ *i* ~~s~~ ||p||",
                "<strong>b</strong> <u>u</u> <em>i</em> <s>s</s> <mark>p</mark>",
            ),
            (Dialect::Embeds, "***x***", "<strong><em>x</em></strong>"),
            (Dialect::Embeds, "**a *b* c**", "<strong>a <em>b</em> c</strong>"),
            (Dialect::Embeds, "\\*a\\* \\\\ \\x", "*a* \\ \\x"),
            (Dialect::Embeds, "**open and *closed*", "**open and <em>closed</em>"),
        ] {
            assert_eq!(drawn(dialect, text), expected, "{dialect:?} {text}");
        }
    }

    #[test]
    fn links() {
        let link = "<a href=\"https://a.example/x\" rel=\"noreferrer noopener\">";
        let host = "</a><span class=\"host\"> (a.example)</span>";
        assert_eq!(drawn(Dialect::Embeds, "[t](https://a.example/x)"), format!("{link}t{host}"));
        assert_eq!(drawn(Dialect::Card, "[**t**](https://a.example/x)"), format!("{link}<strong>t</strong>{host}"));
        assert_eq!(drawn(Dialect::Blocks, "<https://a.example/x|t &amp; u>"), format!("{link}t &amp; u{host}"));
        assert_eq!(drawn(Dialect::Blocks, "[t](https://a.example/x)."), format!("[t]({link}https://a.example/x</a>)."));
        assert_eq!(
            drawn(Dialect::Embeds, "[t](javascript:alert(1))"),
            "<span>t</span><span class=\"host\"> (not a link: javascript:alert(1)</span>)"
        );
        assert_eq!(drawn(Dialect::Embeds, "[a] (b) [c]"), "[a] (b) [c]");
    }

    #[test]
    fn marks_without_partners_cost_no_more_than_their_length() {
        for text in ["*a ", "[](", "<", "[", "`", "**_~~||", "<@", "](", "\\"] {
            let html = drawn(Dialect::Embeds, &text.repeat(20_000));
            assert!(html.len() >= 10_000, "{text}");
            drawn(Dialect::Blocks, &text.repeat(20_000));
            drawn(Dialect::Card, &text.repeat(20_000));
        }
    }
}
