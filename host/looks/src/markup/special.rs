//! What stands between angle brackets: mentions, dates, channels, links.

use super::{Dialect, plain};
use crate::html::Html;
use crate::link;
use crate::moment::Moment;

/// Characters of a card's mention, at most.
const MAX_NAME: usize = 256;

/// A construct in angle brackets.
pub(super) enum Special<'t> {
    /// Someone or something mentioned, with its sign.
    Mention(char, &'t str),
    /// A moment in words, and for machines.
    Date {
        words: String,
        iso: String,
    },
    Link {
        dialect: Dialect,
        address: String,
        label: Option<&'t str>,
    },
    Emoji(&'t str),
    /// A card's mention, which ends with a tag of its own; with the bytes behind the first tag.
    Tagged(&'t str, usize),
}

/// Reads what is between `<` and `>`; `tail` is what follows.
pub(super) fn read<'t>(dialect: Dialect, inner: &'t str, tail: &'t str) -> Option<Special<'t>> {
    match dialect {
        Dialect::Blocks => blocks(inner),
        Dialect::Embeds => embeds(inner),
        Dialect::Card => {
            if inner != "at" {
                return None;
            }
            let end = tail.char_indices().take(MAX_NAME).find(|(_, c)| *c == '<').map(|(end, _)| end)?;
            let is_name = end > 0 && tail[end..].starts_with("</at>");
            is_name.then(|| Special::Tagged(&tail[..end], end + "</at>".len()))
        }
    }
}

fn blocks(inner: &str) -> Option<Special<'_>> {
    let (target, label) = inner.split_once('|').map_or((inner, None), |(target, label)| (target, Some(label)));
    if let Some(rest) = target.strip_prefix("!date^") {
        return date(rest, label);
    }
    if let Some(group) = target.strip_prefix("!subteam^") {
        return Some(Special::Mention('@', label.unwrap_or(group).trim_start_matches('@')));
    }
    if let Some(all) = target.strip_prefix('!') {
        return Some(Special::Mention('@', label.unwrap_or(all)));
    }
    if let Some(user) = target.strip_prefix('@') {
        return is_id(user).then_some(Special::Mention('@', label.unwrap_or(user)));
    }
    if let Some(channel) = target.strip_prefix('#') {
        return is_id(channel).then_some(Special::Mention('#', label.unwrap_or(channel)));
    }
    let address = target.replace("&amp;", "&");
    let is_link = address.contains(':') && !address.contains(char::is_whitespace);
    is_link.then_some(Special::Link { dialect: Dialect::Blocks, address, label })
}

fn date<'t>(rest: &str, fallback: Option<&'t str>) -> Option<Special<'t>> {
    let (epoch, format) = rest.split_once('^')?;
    // A link may follow.
    let format = format.split_once('^').map_or(format, |(format, _)| format);
    let Some(moment) = epoch.parse().ok().and_then(Moment::from_seconds) else {
        return fallback.map(|words| Special::Date { words: words.to_owned(), iso: String::new() });
    };
    let mut words = format.to_owned();
    for (token, value) in [
        ("{date_num}", moment.day()),
        ("{date}", moment.date(true)),
        ("{date_pretty}", moment.date(true)),
        ("{date_long}", moment.date(true)),
        ("{date_long_pretty}", moment.date(true)),
        ("{date_short}", moment.date(false)),
        ("{date_short_pretty}", moment.date(false)),
        ("{time}", moment.clock(false)),
        ("{time_secs}", moment.clock(true)),
    ] {
        words = words.replace(token, &value);
    }
    Some(Special::Date { words, iso: moment.iso() })
}

fn embeds(inner: &str) -> Option<Special<'_>> {
    if let Some(rest) = inner.strip_prefix("t:") {
        let epoch = rest.split_once(':').map_or(rest, |(epoch, _)| epoch);
        let moment = Moment::from_seconds(epoch.parse().ok()?)?;
        let words = format!("{} {}", moment.date(true), moment.clock(false));
        return Some(Special::Date { words, iso: moment.iso() });
    }
    let emoji = inner.strip_prefix("a:").or_else(|| inner.strip_prefix(':'));
    if let Some((name, id)) = emoji.and_then(|rest| rest.split_once(':')) {
        return (is_id(name) && is_digits(id)).then_some(Special::Emoji(name));
    }
    for (start, sign) in [("@&", '@'), ("@!", '@'), ("@", '@'), ("#", '#')] {
        if let Some(id) = inner.strip_prefix(start) {
            return is_digits(id).then_some(Special::Mention(sign, id));
        }
    }
    let is_link = inner.starts_with("https://") && !inner.contains(char::is_whitespace);
    is_link.then(|| Special::Link { dialect: Dialect::Embeds, address: inner.to_owned(), label: None })
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Special<'_> {
    /// Draws it and returns how many bytes of the tail belong to it.
    pub(super) fn draw(self, html: &mut Html) -> usize {
        match self {
            Self::Mention(sign, name) => {
                html.wrap("span", "mention", |html| {
                    html.text(sign.encode_utf8(&mut [0; 4]));
                    plain(html, Dialect::Blocks, name);
                });
            }
            Self::Date { words, iso } if iso.is_empty() => html.text(&words),
            Self::Date { words, iso } => {
                html.with("time", &[("datetime", &iso)], |html| html.text(&format!("{words} UTC")));
            }
            Self::Link { address, label: None, .. } => link::bare(html, &address),
            Self::Link { dialect, address, label: Some(label) } => {
                link::link(html, "", &address, |html| plain(html, dialect, label));
            }
            Self::Emoji(name) => html.text(&format!(":{name}:")),
            Self::Tagged(name, length) => {
                html.wrap("span", "mention", |html| html.text(name));
                return length;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(dialect: Dialect, text: &str) -> String {
        let mut html = Html::new();
        super::super::draw(&mut html, dialect, text);
        html.finish()
    }

    #[test]
    fn mentions_and_dates() {
        let mention = |text: &str| format!("<p class=\"text\"><span class=\"mention\">{text}</span></p>");
        for (text, expected) in [
            ("<!here>", "@here"),
            ("<@U024BE7LH>", "@U024BE7LH"),
            ("<!subteam^S1|@sec>", "@sec"),
            ("<#C1|general>", "#general"),
        ] {
            assert_eq!(drawn(Dialect::Blocks, text), mention(expected));
        }
        assert_eq!(drawn(Dialect::Embeds, "<@&12>"), mention("@12"));
        assert_eq!(
            drawn(Dialect::Blocks, "<!date^1794910365^{date_short} {time}|x>"),
            "<p class=\"text\"><time datetime=\"2026-11-17T10:12:45Z\">Nov 17, 2026 10:12 AM UTC</time></p>"
        );
        assert_eq!(drawn(Dialect::Blocks, "<!date^no^{time}|later>"), "<p class=\"text\">later</p>");
        assert_eq!(drawn(Dialect::Card, "<at>A &amp; B</at>!"), "<p><span class=\"mention\">A &amp;amp; B</span>!</p>");
    }

    #[test]
    fn anything_else_is_text() {
        for (dialect, text) in [
            (Dialect::Embeds, "<script>"),
            (Dialect::Embeds, "<@x>"),
            (Dialect::Card, "<b>"),
            (Dialect::Card, "<at>no end"),
            (Dialect::Blocks, "a <b c> d"),
        ] {
            let html = drawn(dialect, text);
            assert!(html.contains("&lt;") && !html.contains("span"), "{text}: {html}");
        }
    }
}
