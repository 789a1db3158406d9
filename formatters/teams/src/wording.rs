//! Text of an event on its way into the card: cleaned, cut, made harmless, in this order.

use std::borrow::Cow;

use heraldry_formatter::text::{MARK, Rule, separate, tidy, utf16};

/// Teams shows a line break where the text has two line feeds.
const PARAGRAPHS: Rule = Rule { control: "", line_break: "\n\n" };

/// For a text run: all on one line.
pub(crate) fn line(text: &str, limit: usize) -> Cow<'_, str> {
    without_templates(tidy(text.trim(), Rule::ONE_LINE, limit, utf16, MARK))
}

/// For a text run: lines stay lines.
pub(crate) fn paragraphs(text: &str, limit: usize) -> Cow<'_, str> {
    without_templates(tidy(text.trim(), PARAGRAPHS, limit, utf16, MARK))
}

/// For a fact: all on one line, and a backslash before whatever Markdown might read.
pub(crate) fn fact(text: &str, limit: usize) -> Cow<'_, str> {
    let text = tidy(text.trim(), Rule::ONE_LINE, limit, utf16, MARK);
    if !text.contains(is_markdown) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 32);
    for c in text.chars() {
        if is_markdown(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    Cow::Owned(escaped)
}

/// FORMATS, section 2.
fn is_markdown(c: char) -> bool {
    matches!(
        c,
        '\\' | '`'
            | '*'
            | '_'
            | '{'
            | '}'
            | '['
            | ']'
            | '('
            | ')'
            | '#'
            | '+'
            | '-'
            | '.'
            | '!'
            | '|'
            | '<'
            | '>'
            | '~'
            | '&'
    )
}

/// Some renderers expand `{{DATE(..)}}` wherever it stands.
fn without_templates(text: Cow<'_, str>) -> Cow<'_, str> {
    separate(text, '{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_and_templates_are_only_text() {
        assert_eq!(fact("9.8", 9), "9\\.8");
        assert_eq!(fact("[a](b)\n{{x}}", 99), "\\[a\\]\\(b\\) \\{\\{x\\}\\}");
        assert_eq!(line("{{{x}}", 99), "{\u{200B}{\u{200B}{x}}");
        assert_eq!(paragraphs("a\r\nb", 99), "a\n\nb");
        assert_eq!(fact("a.b.c.d.e", 6), "a\\.b\\.\\.\\.");
    }
}
