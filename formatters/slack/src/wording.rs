//! Text of an event on its way into a text object: cleaned, cut, escaped, in this order. Lengths are
//! UTF-16 units of the escaped text: no way of counting that Slack may use gives more.

use std::borrow::Cow;

use heraldry_formatter::text::{MARK, Rule, separate, tidy, utf16};

/// All on one line.
pub(crate) fn line(text: &str, limit: usize) -> Cow<'_, str> {
    escape(tidy(text.trim(), Rule::ONE_LINE, limit, escaped_length, MARK))
}

/// Lines stay lines.
pub(crate) fn paragraphs(text: &str, limit: usize) -> Cow<'_, str> {
    escape(tidy(text.trim(), Rule::LINES, limit, escaped_length, MARK))
}

/// A code block in `mrkdwn`, of `limit` with its fences. No backticks in it touch, so none ends it.
pub(crate) fn fenced(text: &str, limit: usize) -> String {
    const FENCES: usize = "```\n\n```".len();
    let limit = limit - FENCES;
    let text = tidy(text, Rule::LINES, limit, escaped_length, MARK);
    let text = separate(text, '`');
    // What separates has a length, too.
    let text = tidy(&text, Rule::LINES, limit, escaped_length, MARK);
    format!("```\n{}\n```", escape(text))
}

/// How long a character is once it is escaped.
fn escaped_length(c: char) -> usize {
    match c {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        c => utf16(c),
    }
}

/// The three characters that Slack reads as control sequences, and no others; that ends mentions,
/// channels and links, whatever they are.
fn escape(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.bytes().any(|b| matches!(b, b'&' | b'<' | b'>')) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_first_and_escaped_then() {
        assert_eq!(line("<!channel> a & b\nc", 100), "&lt;!channel&gt; a &amp; b c");
        assert_eq!(line("&&&&", 20), "&amp;&amp;&amp;&amp;");
        assert_eq!(line("&&&&", 19), "&amp;&amp;&amp;...");
        assert_eq!(line("&&&&", 13), "&amp;&amp;...");
    }

    #[test]
    fn nothing_ends_a_fence() {
        assert_eq!(fenced("a```b", 100), "```\na`\u{200B}`\u{200B}`b\n```");
        let long = fenced(&"`".repeat(1000), 50);
        assert_eq!(long.encode_utf16().count(), 50);
        assert!(long.ends_with("...\n```"));
    }
}
