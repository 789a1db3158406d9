//! Text for a card: cleaned, truncated, then escaped.

use std::borrow::Cow;

use serde::Serialize;

use crate::line::push_escaped;
use crate::text::{Composer, Cost, ELLIPSIS, Rule, bare, is_blank, separate, tidy, utf16};

/// Teams shows a line break where the text has two line feeds.
const PARAGRAPHS: Rule = Rule { control: "", line_break: "\n\n" };

/// Text with one style. It never goes through Markdown.
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
    /// One line, truncated at `limit`, trimmed.
    pub fn line(text: impl Into<Cow<'a, str>>, limit: usize) -> Self {
        Self::of(text.into(), Rule::ONE_LINE, limit)
    }

    /// Keeps line breaks.
    pub fn paragraphs(text: impl Into<Cow<'a, str>>, limit: usize) -> Self {
        Self::of(text.into(), PARAGRAPHS, limit)
    }

    /// Fixed words of the format, with the spaces that adjacent runs need.
    pub fn words(words: &'a str) -> Self {
        Self::plain(without_templates(tidy(words, PARAGRAPHS, usize::MAX, utf16, ELLIPSIS)))
    }

    /// Builds a run from several parts that share one limit.
    pub fn compose(limit: usize) -> Compose {
        Compose(Composer::new(limit, PARAGRAPHS))
    }

    /// Sets a bolder weight.
    #[must_use]
    pub fn bold(self) -> Self {
        Self { weight: Some("Bolder"), ..self }
    }

    /// Sets a larger size.
    #[must_use]
    pub fn large(self) -> Self {
        Self { size: Some("Large"), ..self }
    }

    /// Sets a smaller size.
    #[must_use]
    pub fn small(self) -> Self {
        Self { size: Some("Small"), ..self }
    }

    /// Sets a paler colour.
    #[must_use]
    pub fn subtle(self) -> Self {
        Self { is_subtle: Some(true), ..self }
    }

    /// Sets a fixed-width font, for code.
    #[must_use]
    pub fn monospace(self) -> Self {
        Self { font_type: Some("Monospace"), ..self }
    }

    /// Returns true if the text shows nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Returns true if the text may have been truncated, judged by its end.
    pub fn may_be_cut(&self) -> bool {
        self.text.ends_with(ELLIPSIS)
    }

    fn of(text: Cow<'a, str>, rule: Rule, limit: usize) -> Self {
        fn harmless(text: &str, rule: Rule, limit: usize) -> Cow<'_, str> {
            without_templates(tidy(bare(text), rule, limit, utf16, ELLIPSIS))
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

/// Costs a character in UTF-16 units.
#[derive(Debug)]
struct Utf16;

impl Cost for Utf16 {
    const MOST_PER_BYTE: usize = 1;

    fn of(c: char) -> usize {
        utf16(c)
    }
}

/// Builds a [`Run`] from parts; see [`Run::compose`]. Once a part had to be truncated to fit the total limit, later
/// parts are left out.
#[derive(Debug)]
pub struct Compose(Composer<Utf16>);

impl Compose {
    /// Appends fixed words of the format, with their spaces and line breaks.
    #[must_use]
    pub fn words(mut self, words: &str) -> Self {
        self.0.words(words);
        self
    }

    /// Appends a value: trimmed, on one line, truncated at `limit`.
    #[must_use]
    pub fn value(mut self, value: &str, limit: usize) -> Self {
        self.0.value(value, limit);
        self
    }

    /// Returns the run. Leading space stays, because runs stand side by side.
    pub fn finish(self) -> Run<'static> {
        Run::plain(without_templates(Cow::Owned(self.0.finish())))
    }
}

/// One row of a two-column table. Both cells go through Markdown and are escaped for it.
#[derive(Debug, Clone, Serialize)]
pub struct Fact<'a> {
    title: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl<'a> Fact<'a> {
    /// Both cells on one line, each truncated at `limit`. A fact without a value is left out.
    pub fn new(title: &'a str, value: &'a str, limit: usize) -> Self {
        Self { title: escaped(title, limit), value: escaped(value, limit) }
    }

    /// Returns true if the row shows nothing.
    pub fn is_empty(&self) -> bool {
        self.title.is_empty() || self.value.is_empty()
    }
}

/// One run per line, empty for an empty line: at most `limit` units in total and `most` non-empty lines. A last run
/// with the ellipsis stands for lines that were left out.
pub(super) fn lines(text: &str, limit: usize, most: usize) -> Vec<Run<'static>> {
    let text = tidy(bare(text), Rule::LINES, limit, utf16, ELLIPSIS);
    let mut runs = Vec::new();
    let mut seen = 0;
    for line in text.split('\n') {
        let run = Run::plain(without_templates(Cow::Owned(line.trim_end().to_owned())));
        // Consecutive empty lines make one gap.
        if run.is_empty() && runs.last().is_none_or(Run::is_empty) {
            continue;
        }
        if !run.is_empty() {
            if seen == most {
                runs.push(Run::plain(Cow::Borrowed(ELLIPSIS)));
                break;
            }
            seen += 1;
        }
        runs.push(run);
    }
    runs
}

/// One line, for an action's title.
pub(super) fn line(text: &str, limit: usize) -> Cow<'_, str> {
    seen(without_templates(tidy(bare(text), Rule::ONE_LINE, limit, utf16, ELLIPSIS)))
}

/// One line, with a backslash before every character that Markdown may interpret.
fn escaped(text: &str, limit: usize) -> Cow<'_, str> {
    let text = seen(tidy(bare(text), Rule::ONE_LINE, limit, utf16, ELLIPSIS));
    if !text.bytes().any(is_markdown) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 32);
    push_escaped(&mut escaped, &text, is_markdown);
    Cow::Owned(escaped)
}

/// The text, or the empty string if none of it is visible.
fn seen(text: Cow<'_, str>) -> Cow<'_, str> {
    if is_blank(&text) { Cow::Borrowed("") } else { text }
}

/// The characters that Markdown may interpret (FORMATS, section 2), all of them ASCII.
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

/// Breaks up `{{`: some renderers expand `{{DATE(..)}}` wherever it stands.
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
    fn invisible_text_is_left_out() {
        assert!(Run::line(" \0\u{200B}", 99).is_empty() && Run::line("a", 0).is_empty());
        assert!(Fact::new("a", "\n", 99).is_empty() && Fact::new("", "a", 99).is_empty());
    }
}
