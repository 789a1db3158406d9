//! Text objects: cleaned, truncated, then escaped.

use std::borrow::Cow;

use serde::Serialize;

use super::{FIELD_TEXT, Mention, TEXT};
use crate::text::{Composer, Cost, ELLIPSIS, Rule, bare, is_blank, separate, tidy, utf16};

/// Text without markup: at most [`TEXT`] units once escaped. May be empty; an empty text is never sent.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename = "plain_text")]
pub struct PlainText<'a> {
    text: Cow<'a, str>,
    /// Always off: `:tada:` in an event stays `:tada:`.
    emoji: bool,
    /// The longest that the text may be, in UTF-16 units.
    #[serde(skip)]
    limit: usize,
}

/// Text with Slack's markup, limited to what the constructors of this type produce.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename = "mrkdwn")]
pub struct Mrkdwn {
    text: String,
    /// Always on: Slack turns nothing into a link or a mention by itself.
    verbatim: bool,
    #[serde(skip)]
    limit: usize,
}

/// Text of either kind.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Text<'a> {
    /// Text without markup, for everything that comes from an event.
    Plain(PlainText<'a>),
    /// Text with markup, for code, dates and mentions.
    Mrkdwn(Mrkdwn),
}

impl<'a> PlainText<'a> {
    /// One line, truncated at `limit`, trimmed.
    pub fn line(text: impl Into<Cow<'a, str>>, limit: usize) -> Self {
        Self::of(text.into(), Rule::ONE_LINE, limit)
    }

    /// Keeps line breaks.
    pub fn lines(text: impl Into<Cow<'a, str>>, limit: usize) -> Self {
        Self::of(text.into(), Rule::LINES, limit)
    }

    /// Builds a text from several parts that share one limit.
    pub fn compose(limit: usize) -> Compose {
        let limit = limit.min(TEXT);
        Compose { composer: Composer::new(limit, Rule::LINES), limit }
    }

    fn of(text: Cow<'a, str>, rule: Rule, limit: usize) -> Self {
        let limit = limit.min(TEXT);
        let text = match text {
            Cow::Borrowed(text) => escape(tidy(bare(text), rule, limit, escaped_length, ELLIPSIS)),
            Cow::Owned(text) => {
                Cow::Owned(escape(tidy(bare(&text), rule, limit, escaped_length, ELLIPSIS)).into_owned())
            }
        };
        Self { text: if is_blank(&text) { Cow::Borrowed("") } else { text }, emoji: false, limit }
    }

    /// Returns true if the text shows nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Returns true if the text may have been truncated, judged by its end.
    pub fn may_be_cut(&self) -> bool {
        self.text.ends_with(ELLIPSIS)
    }

    /// The escaped text, as it is sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Converts to a text that borrows nothing.
    pub fn into_owned(self) -> PlainText<'static> {
        PlainText { text: Cow::Owned(self.text.into_owned()), emoji: false, limit: self.limit }
    }

    /// Truncates further, for a block with a lower limit.
    pub(super) fn within(self, limit: usize) -> Self {
        if self.limit <= limit || self.text.len() <= limit {
            return self;
        }
        Self::lines(unescape(&self.text), limit)
    }
}

impl Mrkdwn {
    /// A code block of at most `limit` units, fences included. Consecutive backticks are separated, so none ends the
    /// fence.
    pub fn code(text: &str, limit: usize) -> Self {
        const FENCES: usize = "```\n\n```".len();
        let limit = limit.min(TEXT);
        let room = limit.saturating_sub(FENCES);
        let text = tidy(text, Rule::LINES, room, escaped_length, ELLIPSIS);
        let text = separate(text, '`');
        // The separators have a length, too, so truncate again.
        let text = tidy(&text, Rule::LINES, room, escaped_length, ELLIPSIS);
        let text = if is_blank(&text) { String::new() } else { format!("```\n{}\n```", escape(text)) };
        Self { text, verbatim: true, limit }
    }

    /// A date that Slack shows in the reader's time zone; clients that cannot render it show `fallback`, an RFC 3339
    /// time. Returns `None` when `fallback` holds a character that could end the markup, or for a time before 1970; the
    /// caller then sends it as text.
    pub fn date(epoch_seconds: i64, fallback: &str) -> Option<Self> {
        Self::labelled_date("", epoch_seconds, fallback)
    }

    /// [`Mrkdwn::date`] after a fixed word and a space.
    pub fn labelled_date(word: &'static str, epoch_seconds: i64, fallback: &str) -> Option<Self> {
        let word = escape(Cow::Borrowed(word));
        let space = if word.is_empty() { "" } else { " " };
        let harmless = |b: u8| b.is_ascii_digit() || b"TZ:.+-".contains(&b);
        let is_sane = epoch_seconds >= 0 && (1..=40).contains(&fallback.len()) && fallback.bytes().all(harmless);
        // Shorter than the limit of any block.
        is_sane.then(|| {
            let text = format!("{word}{space}<!date^{epoch_seconds}^{{date_short}} {{time}}|{fallback}>");
            Self { limit: text.len(), text, verbatim: true }
        })
    }

    /// All mentions in the given order, as many as fit into [`FIELD_TEXT`].
    pub fn mentions<'m>(mentions: impl IntoIterator<Item = &'m Mention>) -> Self {
        let mut text = String::new();
        for mention in mentions {
            let mention = mention.markup();
            // ASCII only, so bytes equal characters.
            if text.len() + 1 + mention.len() <= FIELD_TEXT {
                text.push_str(if text.is_empty() { "" } else { " " });
                text.push_str(&mention);
            }
        }
        Self { text, verbatim: true, limit: FIELD_TEXT }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns true if the text shows nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Only code can exceed a limit; anything else is returned as it is.
    fn within(self, limit: usize) -> Self {
        if self.limit <= limit || self.text.len() <= limit {
            return self;
        }
        let code = self.text.trim_start_matches("```\n").trim_end_matches("\n```");
        Self::code(&unescape(code), limit)
    }
}

impl Text<'_> {
    /// Returns true if the text shows nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Plain(text) => text.is_empty(),
            Self::Mrkdwn(text) => text.is_empty(),
        }
    }

    pub(super) fn within(self, limit: usize) -> Self {
        match self {
            Self::Plain(text) => Self::Plain(text.within(limit)),
            Self::Mrkdwn(text) => Self::Mrkdwn(text.within(limit)),
        }
    }
}

impl<'a> From<PlainText<'a>> for Text<'a> {
    fn from(text: PlainText<'a>) -> Self {
        Self::Plain(text)
    }
}

impl From<Mrkdwn> for Text<'_> {
    fn from(text: Mrkdwn) -> Self {
        Self::Mrkdwn(text)
    }
}

/// Builds a [`PlainText`] from parts; see [`PlainText::compose`]. Once a part had to be truncated to fit the total
/// limit, later parts are left out.
#[derive(Debug)]
pub struct Compose {
    composer: Composer<Escaped>,
    limit: usize,
}

impl Compose {
    /// Appends fixed words of the format, with their spaces and line breaks.
    #[must_use]
    pub fn words(mut self, words: &str) -> Self {
        self.composer.words(words);
        self
    }

    /// Appends a value: trimmed, on one line, truncated at `limit`.
    #[must_use]
    pub fn value(mut self, value: &str, limit: usize) -> Self {
        self.composer.value(value, limit);
        self
    }

    /// Returns the text.
    pub fn finish(self) -> PlainText<'static> {
        let text = escape(Cow::Owned(self.composer.finish()));
        PlainText { text: if is_blank(&text) { Cow::Borrowed("") } else { text }, emoji: false, limit: self.limit }
    }
}

/// Costs a character in UTF-16 units of its escaped form.
#[derive(Debug)]
struct Escaped;

impl Cost for Escaped {
    const MOST_PER_BYTE: usize = 5;

    fn of(c: char) -> usize {
        escaped_length(c)
    }
}

/// The length of a character once escaped, in UTF-16 units.
fn escaped_length(c: char) -> usize {
    match c {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        c => utf16(c),
    }
}

/// Escapes the three characters of Slack's control sequences, which disables mentions, channels and links of any kind.
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

/// The inverse of [`escape`].
fn unescape(escaped: &str) -> String {
    escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_before_escaping() {
        let line = |text, limit| PlainText::line(text, limit).as_str().to_owned();
        assert_eq!(line("<!channel> a & b\nc", 100), "&lt;!channel&gt; a &amp; b c");
        assert_eq!(line("&&&&", 20), "&amp;&amp;&amp;&amp;");
        assert_eq!(line("&&&&", 19), "&amp;&amp;&amp;...");
        assert_eq!(line("&&&&", 13), "&amp;&amp;...");
        let longer = PlainText::lines("&amp;&&&&", 100).within(19);
        assert_eq!(longer.as_str(), "&amp;amp;&amp;...");
    }

    #[test]
    fn nothing_ends_a_fence() {
        assert_eq!(Mrkdwn::code("a```b", 100).text, "```\na`\u{200B}`\u{200B}`b\n```");
        let long = Mrkdwn::code(&"`".repeat(1000), 50);
        assert_eq!(long.text.encode_utf16().count(), 50);
        assert!(long.text.ends_with("...\n```"));
        let shorter = long.within(30);
        assert_eq!(shorter.text.encode_utf16().count(), 30);
        assert!(shorter.text.starts_with("```\n`\u{200B}`"));
        assert!(Mrkdwn::code(" \0", 50).is_empty() && Mrkdwn::code("a", 3).is_empty());
    }

    #[test]
    fn dates_are_marked_up() {
        assert!(Mrkdwn::date(0, "1970-01-01T00:00:00.000Z").is_some());
        assert!(Mrkdwn::date(-1, "1969-12-31T23:59:59.000Z").is_none());
        assert!(Mrkdwn::date(1, "x|<!channel>").is_none());
        assert!(Mrkdwn::date(1, "").is_none());
        let labelled_date = Mrkdwn::labelled_date("Started", 1, "1970-01-01T00:00:01Z").expect("a date");
        assert_eq!(labelled_date.text, "Started <!date^1^{date_short} {time}|1970-01-01T00:00:01Z>");
    }
}
