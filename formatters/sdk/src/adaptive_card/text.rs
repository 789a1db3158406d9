//! Text on its way into the card: cleaned, cut, made harmless, in this order.

use std::borrow::Cow;

use serde::Serialize;

use crate::line::push_escaped;
use crate::text::{Composer, Cost, MARK, Rule, bare, is_blank, separate, tidy, utf16};

/// Teams shows a line break where the text has two line feeds.
const PARAGRAPHS: Rule = Rule { control: "", line_break: "\n\n" };

/// Text that never passes a Markdown step.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename = "TextRun", rename_all = "camelCase")]
pub struct Run<'a> {
    text: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    font_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_subtle: Option<bool>,
}

impl<'a> Run<'a> {
    /// All on one line, cut at `limit`, without the space around it.
    pub fn line(text: impl Into<Cow<'a, str>>, limit: usize) -> Self {
        Self::of(text.into(), Rule::ONE_LINE, limit)
    }

    /// Lines stay lines.
    pub fn paragraphs(text: impl Into<Cow<'a, str>>, limit: usize) -> Self {
        Self::of(text.into(), PARAGRAPHS, limit)
    }

    /// Words of the format's own, with the space around them, which runs side by side need.
    pub fn words(words: &'a str) -> Self {
        Self::plain(without_templates(tidy(words, PARAGRAPHS, usize::MAX, utf16, MARK)))
    }

    /// A text of several pieces, with one limit for all of them.
    pub fn compose(limit: usize) -> Compose {
        Compose(Composer::new(limit, PARAGRAPHS))
    }

    /// Heavier than the rest.
    #[must_use]
    pub fn bold(self) -> Self {
        Self { weight: Some("Bolder"), ..self }
    }

    /// Larger than the rest.
    #[must_use]
    pub fn large(self) -> Self {
        Self { size: Some("Large"), ..self }
    }

    /// Smaller than the rest.
    #[must_use]
    pub fn small(self) -> Self {
        Self { size: Some("Small"), ..self }
    }

    /// Paler than the rest.
    #[must_use]
    pub fn subtle(self) -> Self {
        Self { is_subtle: Some(true), ..self }
    }

    /// For code.
    #[must_use]
    pub fn monospace(self) -> Self {
        Self { font_type: Some("Monospace"), ..self }
    }

    /// Whether nothing would be seen.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether the text may have been cut: it ends as a cut one does.
    pub fn may_be_cut(&self) -> bool {
        self.text.ends_with(MARK)
    }

    fn of(text: Cow<'a, str>, rule: Rule, limit: usize) -> Self {
        fn harmless(text: &str, rule: Rule, limit: usize) -> Cow<'_, str> {
            without_templates(tidy(bare(text), rule, limit, utf16, MARK))
        }
        Self::plain(match text {
            Cow::Borrowed(text) => harmless(text, rule, limit),
            Cow::Owned(text) => Cow::Owned(harmless(&text, rule, limit).into_owned()),
        })
    }

    fn plain(text: Cow<'a, str>) -> Self {
        Self { text: seen(text), size: None, weight: None, font_type: None, is_subtle: None }
    }
}

/// UTF-16 units.
#[derive(Debug)]
struct Utf16;

impl Cost for Utf16 {
    const MOST_PER_BYTE: usize = 1;

    fn of(c: char) -> usize {
        utf16(c)
    }
}

/// See [`Run::compose`]. Once a piece had to be cut for the whole, what comes after is left out.
#[derive(Debug)]
pub struct Compose(Composer<Utf16>);

impl Compose {
    /// Adds words of the format's own, with their spaces and lines.
    #[must_use]
    pub fn words(mut self, words: &str) -> Self {
        self.0.words(words);
        self
    }

    /// Adds a value: no space around it, all on one line, cut at `limit`.
    #[must_use]
    pub fn value(mut self, value: &str, limit: usize) -> Self {
        self.0.value(value, limit);
        self
    }

    /// The whole. Space at its beginning stays, since runs stand side by side.
    pub fn finish(self) -> Run<'static> {
        Run::plain(without_templates(Cow::Owned(self.0.finish())))
    }
}

/// A row of a table of two columns. Both pass a Markdown step and are escaped for it.
#[derive(Debug, Clone, Serialize)]
pub struct Fact<'a> {
    title: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl<'a> Fact<'a> {
    /// Both all on one line, each cut at `limit`. Without a value the fact is left out.
    pub fn new(title: &'a str, value: &'a str, limit: usize) -> Self {
        Self { title: escaped(title, limit), value: escaped(value, limit) }
    }

    /// Whether nothing would be seen.
    pub fn is_empty(&self) -> bool {
        self.title.is_empty() || self.value.is_empty()
    }
}

/// A run for each line, empty for an empty one: at most `limit` in all and `most` lines with something in them. What
/// was left out is a line of its own.
pub(super) fn lines(text: &str, limit: usize, most: usize) -> Vec<Run<'static>> {
    let text = tidy(bare(text), Rule::LINES, limit, utf16, MARK);
    let mut runs = Vec::new();
    let mut seen = 0;
    for line in text.split('\n') {
        let run = Run::plain(without_templates(Cow::Owned(line.trim_end().to_owned())));
        // Two empty lines are as good as one.
        if run.is_empty() && runs.last().is_none_or(Run::is_empty) {
            continue;
        }
        if !run.is_empty() {
            if seen == most {
                runs.push(Run::plain(Cow::Borrowed(MARK)));
                break;
            }
            seen += 1;
        }
        runs.push(run);
    }
    runs
}

/// For an action's title: all on one line.
pub(super) fn line(text: &str, limit: usize) -> Cow<'_, str> {
    seen(without_templates(tidy(bare(text), Rule::ONE_LINE, limit, utf16, MARK)))
}

/// All on one line, and a backslash before whatever Markdown might read.
fn escaped(text: &str, limit: usize) -> Cow<'_, str> {
    let text = seen(tidy(bare(text), Rule::ONE_LINE, limit, utf16, MARK));
    if !text.bytes().any(is_markdown) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 32);
    push_escaped(&mut escaped, &text, is_markdown);
    Cow::Owned(escaped)
}

/// The text, or nothing where nobody would see any of it.
fn seen(text: Cow<'_, str>) -> Cow<'_, str> {
    if is_blank(&text) { Cow::Borrowed("") } else { text }
}

/// FORMATS, section 2. All of them are ASCII.
fn is_markdown(byte: u8) -> bool {
    matches!(
        byte,
        b'\\'
            | b'`'
            | b'*'
            | b'_'
            | b'{'
            | b'}'
            | b'['
            | b']'
            | b'('
            | b')'
            | b'#'
            | b'+'
            | b'-'
            | b'.'
            | b'!'
            | b'|'
            | b'<'
            | b'>'
            | b'~'
            | b'&'
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
        assert_eq!(escaped("9.8", 9), "9\\.8");
        assert_eq!(escaped("[a](b)\n{{x}}", 99), "\\[a\\]\\(b\\) \\{\\{x\\}\\}");
        assert_eq!(Run::line("{{{x}}", 99).text, "{\u{200B}{\u{200B}{x}}");
        assert_eq!(Run::paragraphs("a\r\nb", 99).text, "a\n\nb");
        assert_eq!(escaped("a.b.c.d.e", 6), "a\\.b\\.\\.\\.");
        assert_eq!(Run::compose(99).words(" {").value("{x}", 9).finish().text, " {\u{200B}{x}");
    }

    #[test]
    fn lines_are_counted_and_gaps_are_one() {
        let lines = |text, limit, most| lines(text, limit, most).into_iter().map(|run| run.text).collect::<Vec<_>>();
        assert_eq!(lines("\n a\r\n\u{2028} \n\n  b \n", 99, 9), ["a", "", "  b"]);
        assert_eq!(lines("a\nb\n\nc", 99, 2), ["a", "b", "", "..."]);
        assert_eq!(lines("a\nb\n", 99, 2), ["a", "b"]);
        assert_eq!(lines("abcd\nefgh", 7, 2), ["abcd..."]);
        assert_eq!(lines("{{x\n{{", 99, 9), ["{\u{200B}{x", "{\u{200B}{"]);
        assert!(lines(" \0\n", 99, 9).is_empty());
        assert_eq!(lines("a", 99, 0), ["..."]);
    }

    #[test]
    fn what_nobody_sees_is_left_out() {
        assert!(Run::line(" \0\u{200B}", 99).is_empty() && Run::line("a", 0).is_empty());
        assert!(Fact::new("a", "\n", 99).is_empty() && Fact::new("", "a", 99).is_empty());
    }
}
