//! Text of an event in Discord's Markdown: cleaned, truncated, then escaped, so that it shows verbatim.

use std::borrow::Cow;

use heraldry_formatter::link::web_url;
use heraldry_formatter::text::{ELLIPSIS, Rule, bare, is_blank, separate, tidy, utf16};

/// Characters that start markup anywhere: emphasis, code, spoilers, links, mentions, emoji, timestamps, and with the
/// colon automatic links. Discord does not show a backslash before ASCII punctuation.
const MARKUP: &[u8] = br"\`*_~|<[]@:";
/// Characters that start markup at the beginning of a line: lists, headings, quotes.
const LINE_MARKUP: &[u8] = b"-+#>";

/// The text verbatim, at most `limit` UTF-16 units, including escapes. Empty if none of it is visible.
pub(crate) fn literal(text: &str, rule: Rule, limit: usize) -> String {
    let out = escape(&tidy(bare(text), rule, limit, cost, ELLIPSIS));
    if is_blank(&out) { String::new() } else { out }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut line = Line::Start;
    // Drop noncharacters: Discord does, and then rejects a message in which a value has become empty.
    for (at, c) in text.char_indices().filter(|(_, c)| !is_noncharacter(*c)) {
        let byte = u8::try_from(c).unwrap_or_default();
        let is_markup = MARKUP.contains(&byte)
            || LINE_MARKUP.contains(&byte) && line == Line::Start
            || c == '.' && (line == Line::Number && ends_word(&text[at + 1..]) || names_discord(&text[..at]));
        if is_markup {
            out.push('\\');
        }
        out.push(c);
        line = line.after(c);
    }
    out
}

/// The content of the line so far. Non-ASCII characters count as nothing: Discord drops some of the invisible ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Start,
    Number,
    Text,
}

impl Line {
    fn after(self, c: char) -> Self {
        match self {
            _ if c == '\n' => Self::Start,
            line if !c.is_ascii_graphic() => line,
            Self::Start | Self::Number if c.is_ascii_digit() => Self::Number,
            _ => Self::Text,
        }
    }
}

/// Returns true if the word ends here, as after the number of a list item.
fn ends_word(rest: &str) -> bool {
    !rest.starts_with(|c: char| c.is_ascii_graphic())
}

fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// Returns true if a following dot could form an invite domain, for which Discord shows a card: `discord.gg`,
/// `discordapp.com`.
fn names_discord(before: &str) -> bool {
    const NAMES: [&str; 2] = ["discord", "discordapp"];
    let ascii = || before.bytes().rev().filter(u8::is_ascii).map(|b| b.to_ascii_lowercase());
    NAMES.iter().any(|name| name.bytes().rev().eq(ascii().take(name.len())))
}

/// A code block with at most `limit` UTF-16 units between its fences. Consecutive backticks are separated, so none ends
/// the fence. `None` if none of the text is visible.
pub(crate) fn code(text: &str, limit: usize) -> Option<String> {
    let cut = |text: &str| tidy(text, Rule::LINES, limit, utf16, ELLIPSIS).into_owned();
    // The separators have a length, too, so truncate again.
    let text = cut(&separate(Cow::Owned(cut(text)), '`'));
    (!is_blank(&text)).then(|| format!("```\n{text}\n```"))
}

/// A link with a fixed label. `None` if the address is not a web URL that is safe to open, or is longer than `limit`
/// bytes.
pub(crate) fn link(label: &'static str, address: &str, limit: usize) -> Option<String> {
    // A parenthesis would end the link.
    let url = web_url(address, limit)?.replace('(', "%28").replace(')', "%29");
    (url.len() <= limit).then(|| format!("[{label}]({url})"))
}

/// The maximum cost of a character once escaped.
fn cost(c: char) -> usize {
    if is_noncharacter(c) {
        return 0;
    }
    let byte = u8::try_from(c).unwrap_or_default();
    utf16(c) + usize::from(c == '.' || MARKUP.contains(&byte) || LINE_MARKUP.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_shows_as_it_is() {
        let line = |text: &str| literal(text, Rule::ONE_LINE, 100);
        let lines = |text: &str| literal(text, Rule::LINES, 100);
        assert_eq!(line("a **b** `c` & {d}"), r"a \*\*b\*\* \`c\` & {d}");
        assert_eq!(line("<@1> @here [a](https://x.y)"), r"\<\@1> \@here \[a\](https\://x.y)");
        assert_eq!(
            lines("# a\n - b #3 x-y > z\n12. c 1.2\n\u{200B}>>> q"),
            "\\# a\n \\- b #3 x-y > z\n12\\. c 1.2\n\u{200B}\\>>> q"
        );
        assert_eq!(
            line("a discord.gg/x DiscordApp.com/invite/y discord\u{200B}.gg/z"),
            "a discord\\.gg/x DiscordApp\\.com/invite/y discord\u{200B}\\.gg/z"
        );
        assert_eq!(line(r"\*"), r"\\\*");
        assert_eq!(line("7.4"), "7.4");
        assert_eq!(line(" \u{202E}\0\u{200B}\u{FFFF}\u{FDD0}"), "");
    }

    #[test]
    fn escapes_count() {
        let line = |text: &str, limit| literal(text, Rule::ONE_LINE, limit);
        assert_eq!(line("****", 8), r"\*\*\*\*");
        assert_eq!(line("*****", 9), r"\*...");
        assert_eq!(line("abcdef", 5), "abcde");
    }

    #[test]
    fn nothing_ends_a_code_block() {
        assert_eq!(code("a```b*", 100).as_deref(), Some("```\na`\u{200B}`\u{200B}`b*\n```"));
        assert_eq!(code(&"`".repeat(100), 10).map(|code| code.encode_utf16().count()), Some(10 + 8));
        assert_eq!(code(" \0\n", 100), None);
    }

    #[test]
    fn a_link_is_one_that_may_be_pressed() {
        assert_eq!(link("L", "https://a.example/x(1)", 99).as_deref(), Some("[L](https://a.example/x%281%29)"));
        assert_eq!(link("L", "javascript:alert(1)", 99), None);
        assert_eq!(link("L", "https://a.example/)", 21).as_deref(), Some("[L](https://a.example/%29)"));
        assert_eq!(link("L", "https://a.example/)", 20), None);
    }
}
