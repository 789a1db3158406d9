//! The Markdown of messages: the part that destinations document, in three dialects.

mod inline;
mod special;

use crate::html::Html;
use inline::inline;

/// Longer texts, which no destination accepts, are drawn as they are.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Whose Markdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `mrkdwn` of blocks.
    Blocks,
    /// `TextBlock` and `Fact` of cards.
    Card,
    /// Embeds and their message.
    Embeds,
}

/// Draws a text that may have paragraphs, lists, quotes and fences.
pub(crate) fn draw(html: &mut Html, dialect: Dialect, text: &str) {
    if text.len() > MAX_TEXT_BYTES {
        html.wrap("p", "text", |html| html.text(text));
        return;
    }
    if dialect == Dialect::Card {
        lines(html, dialect, &text.replace("\r\n", "\n").replace('\r', "\n"));
        return;
    }
    let mut rest = text;
    while let Some((before, code, after)) = fence(rest) {
        lines(html, dialect, before.strip_suffix('\n').unwrap_or(before));
        html.wrap("pre", "text", |html| html.wrap("code", "", |html| plain(html, dialect, code)));
        rest = after.strip_prefix('\n').unwrap_or(after);
    }
    lines(html, dialect, rest);
}

/// Draws a text of one line, as in a title.
pub(crate) fn line(html: &mut Html, dialect: Dialect, text: &str) {
    if text.len() > MAX_TEXT_BYTES { html.text(text) } else { inline(html, dialect, text, 0) }
}

/// Draws a text of one line inside a link: its marks stay as they are, its escapes do not.
pub(crate) fn text_only(html: &mut Html, dialect: Dialect, text: &str) {
    plain(html, dialect, &inline::unescaped(text));
}

/// Draws text without Markdown; where a dialect has entities they are still decoded.
pub(crate) fn plain(html: &mut Html, dialect: Dialect, text: &str) {
    if dialect == Dialect::Embeds || !text.contains('&') {
        html.text(text);
        return;
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    let text = if dialect == Dialect::Card { text.replace("&quot;", "\"") } else { text };
    // Last, or an escaped entity would be decoded twice.
    html.text(&text.replace("&amp;", "&"));
}

/// Splits a text at its first fence.
fn fence(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("```")?;
    let (code, after) = rest.split_once("```")?;
    let code = code.strip_prefix('\n').unwrap_or(code);
    Some((before, code.strip_suffix('\n').unwrap_or(code), after))
}

/// What a line is by its beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line<'t> {
    Paragraph(&'t str),
    Quote(&'t str),
    Bullet(&'t str),
    Numbered(u32, &'t str),
    Heading(&'static str, &'t str),
    Blank,
}

fn kind(dialect: Dialect, line: &str) -> Line<'_> {
    if line.trim().is_empty() {
        return Line::Blank;
    }
    if dialect == Dialect::Blocks {
        let quote = line.strip_prefix("&gt;").or_else(|| line.strip_prefix('>'));
        return quote.map_or(Line::Paragraph(line), |rest| Line::Quote(rest.trim_start()));
    }
    let start = line.trim_start();
    if let Some(rest) = start.strip_prefix("- ").or_else(|| start.strip_prefix("* ")) {
        return Line::Bullet(rest);
    }
    if let Some((number, rest)) = start.split_once(". ")
        && number.len() <= 4
        && let Ok(number) = number.parse()
    {
        return Line::Numbered(number, rest);
    }
    if dialect == Dialect::Embeds {
        for (mark, tag) in [("# ", "h2"), ("## ", "h3"), ("### ", "h4"), ("-# ", "small")] {
            if let Some(rest) = line.strip_prefix(mark) {
                return Line::Heading(tag, rest);
            }
        }
        if let Some(rest) = line.strip_prefix("> ") {
            return Line::Quote(rest);
        }
    }
    Line::Paragraph(line)
}

fn lines(html: &mut Html, dialect: Dialect, text: &str) {
    let kinds: Vec<_> = text.split('\n').map(|line| kind(dialect, line)).collect();
    let mut at = 0;
    while at < kinds.len() {
        let from = at;
        at += 1;
        match kinds[from] {
            Line::Blank => {}
            Line::Heading(tag, rest) => html.wrap(tag, "", |html| inline(html, dialect, rest, 0)),
            Line::Paragraph(_) => {
                at = end(&kinds, from, |line| matches!(line, Line::Paragraph(_)));
                group(html, dialect, "p", &kinds[from..at]);
            }
            Line::Quote(_) => {
                at = end(&kinds, from, |line| matches!(line, Line::Quote(_)));
                group(html, dialect, "blockquote", &kinds[from..at]);
            }
            Line::Bullet(_) => {
                at = end(&kinds, from, |line| matches!(line, Line::Bullet(_)));
                html.wrap("ul", "", |html| items(html, dialect, &kinds[from..at]));
            }
            Line::Numbered(first, _) => {
                at = end(&kinds, from, |line| matches!(line, Line::Numbered(..)));
                html.with("ol", &[("start", &first.to_string())], |html| items(html, dialect, &kinds[from..at]));
            }
        }
    }
}

fn end(kinds: &[Line<'_>], from: usize, is_same: impl Fn(&Line<'_>) -> bool) -> usize {
    kinds[from..].iter().position(|line| !is_same(line)).map_or(kinds.len(), |n| from + n)
}

fn group(html: &mut Html, dialect: Dialect, tag: &'static str, lines: &[Line<'_>]) {
    // Cards join the lines of a paragraph.
    let class = if dialect == Dialect::Card { "" } else { "text" };
    html.wrap(tag, class, |html| {
        for (n, line) in lines.iter().enumerate() {
            if n > 0 {
                html.text("\n");
            }
            if let Line::Paragraph(text) | Line::Quote(text) = line {
                inline(html, dialect, text, 0);
            }
        }
    });
}

fn items(html: &mut Html, dialect: Dialect, lines: &[Line<'_>]) {
    for line in lines {
        if let Line::Bullet(text) | Line::Numbered(_, text) = line {
            html.wrap("li", "", |html| inline(html, dialect, text, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(dialect: Dialect, text: &str) -> String {
        let mut html = Html::new();
        draw(&mut html, dialect, text);
        html.finish()
    }

    #[test]
    fn paragraphs_lists_quotes_and_fences() {
        assert_eq!(
            drawn(Dialect::Embeds, "# Head\na\nb\n\n> q\n- x\n- y\n3. z\n```\n<i> **no**\n```\nend"),
            "<h2>Head</h2><p class=\"text\">a\nb</p><blockquote class=\"text\">q</blockquote><ul><li>x</li><li>y</li></ul>\
             <ol start=\"3\"><li>z</li></ol><pre class=\"text\"><code>&lt;i&gt; **no**</code></pre><p class=\"text\">end</p>"
        );
        assert_eq!(
            drawn(Dialect::Blocks, "&gt; q &lt;b&gt;\n- no list\n```\na &amp;lt; *b*\n```"),
            "<blockquote class=\"text\">q &lt;b&gt;</blockquote><p class=\"text\">- no list</p>\
             <pre class=\"text\"><code>a &amp;lt; *b*</code></pre>"
        );
        assert_eq!(drawn(Dialect::Card, "a\nb\r\n\r\n- c\r- d"), "<p>a\nb</p><ul><li>c</li><li>d</li></ul>");
        assert_eq!(drawn(Dialect::Card, "> no quote\n# no head"), "<p>&gt; no quote\n# no head</p>");
    }

    #[test]
    fn an_open_fence_and_a_long_text_are_text() {
        assert_eq!(drawn(Dialect::Blocks, "```\na"), "<p class=\"text\">```\na</p>");
        let long = "*a* ".repeat(MAX_TEXT_BYTES);
        assert!(!drawn(Dialect::Blocks, &long).contains("<strong>"));
    }
}
