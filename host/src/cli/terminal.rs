//! What reaches the terminal: data on standard output, everything else on standard error, and no control
//! character that somebody else wrote.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};

use super::failure::Failure;

/// For headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// For what can be skipped while reading.
pub(crate) const DIM: Style = Style::new().dimmed();
/// For what is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// For what needs somebody.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// For what is worth a look.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// For names.
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();

/// Prints one line of data.
///
/// # Errors
/// When standard output is closed or cannot be written.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::output_closed(),
        _ => Failure::failed(anyhow::Error::new(error).context("standard output"), "is the disk full?"),
    })
}

/// Says something to the person, on standard error; nobody listening is no error.
pub(crate) fn note(text: impl Display) {
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

/// Says why the command stops.
pub(crate) fn complain(failure: &Failure) {
    if let Some((message, hint)) = failure.message() {
        let message = escape_lines(&message);
        note(format_args!("{BAD}error:{BAD:#} {message}\n{NAME}hint:{NAME:#} {}", escape_lines(hint)));
    }
}

/// A foreign text as one line: what could steer the terminal, or show one text as another, is written out
/// (`\n`, `\u{1b}`).
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_but(text, &[])
}

/// As [`escape`], but lines stay lines and tabs stay tabs.
pub(crate) fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_but(text, &['\n', '\t'])
}

fn escape_but<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    if !text.chars().any(|c| steers(c) && !kept.contains(&c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) && !kept.contains(&c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// JSON text that cannot steer a terminal and means the same: control characters that JSON allows in a
/// string as they are (DEL, C1, direction marks) become `\u` escapes. Outside strings JSON has none.
pub(crate) fn escape_json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c >= '\x7f' && steers(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c >= '\x7f' && steers(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Whether a character moves the cursor, starts a control sequence, ends a line, turns the reading
/// direction or is not seen at all.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Cuts a text to so many characters, showing that it did.
pub(crate) fn cut(text: &str, characters: usize) -> Cow<'_, str> {
    if text.chars().count() <= characters {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    Cow::Owned(format!("{kept}…"))
}

/// Prints rows under a heading, columns aligned, each row in its style. Cells are escaped here.
///
/// # Errors
/// As [`line`].
pub(crate) fn table(heading: &[&str], rows: &[(Style, Vec<String>)]) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading.iter().copied());
    for (_, cells) in rows {
        table.add_row(cells.iter().map(|cell| escape(cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let styles = std::iter::once(BOLD).chain(rows.iter().map(|(style, _)| *style));
    for (text, style) in table.lines().zip(styles) {
        line(format_args!("{style}{}{style:#}", text.trim_end()))?;
    }
    Ok(())
}

/// Prints names with their values, one a line, aligned. Values are escaped here.
///
/// # Errors
/// As [`line`].
pub(crate) fn facts(rows: &[(&str, String)]) -> Result<(), Failure> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        line(format_args!("{DIM}{name:width$}{DIM:#}  {}", escape(value)))?;
    }
    Ok(())
}

/// A number with its noun.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_steers_the_terminal() {
        for (hostile, shown) in [
            ("plain é 漢字 😀", "plain é 漢字 😀"),
            ("\x1b[2J\x1b]0;owned\x07", "\\u{1b}[2J\\u{1b}]0;owned\\u{7}"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}", "\\u{7f}"),
            ("invoice\u{202e}fdp.exe", "invoice\\u{202e}fdp.exe"),
            ("a\u{200b}b\u{2028}", "a\\u{200b}b\\u{2028}"),
        ] {
            assert_eq!(escape(hostile), shown);
        }
        assert_eq!(escape_lines("a\n\tb\r"), "a\n\tb\\r");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let text = "{\"a\":\"\u{9b}31m\u{202e}\u{e0001}\u{7f} é\"}";
        let safe = escape_json(text);
        assert!(!safe.chars().any(steers), "{safe}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(value(&safe), value(text));
    }

    #[test]
    fn a_cut_shows() {
        assert_eq!(cut("webhook", 7), "webhook");
        assert_eq!(cut("webhooks", 7), "webhoo…");
    }

    #[test]
    fn nouns_follow_their_number() {
        assert_eq!(plural(1, "delivery"), "1 delivery");
        assert_eq!(plural(2, "delivery"), "2 deliveries");
        assert_eq!(plural(0, "event"), "0 events");
    }
}
