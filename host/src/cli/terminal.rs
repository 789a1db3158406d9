//! Output: data on standard output, everything else on standard error, and no control characters from
//! untrusted text.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};

use super::failure::{Failure, OrHint as _};

/// For headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// For details that a reader may skip.
pub(crate) const DIM: Style = Style::new().dimmed();
/// For success.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// For failures.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// For warnings.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// For names of headers, commands and formats.
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();

/// Prints one line of data.
///
/// # Errors
/// When standard output is closed or cannot be written.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(not_written)
}

fn not_written(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::output_closed(),
        _ => Failure::failed(
            anyhow::Error::new(error).context("cannot write to standard output"),
            "check that the disk is not full",
        ),
    }
}

/// Clears the screen if standard output is a terminal; elsewhere an empty line parts what was printed from what follows.
///
/// # Errors
/// As [`fn@line`].
pub(crate) fn clear() -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return line("");
    }
    // Not through anstream, which removes control sequences where colours are not wanted.
    let mut out = io::stdout().lock();
    out.write_all(b"\x1b[H\x1b[2J\x1b[3J").and_then(|()| out.flush()).map_err(not_written)
}

/// Prints a line for people on standard error; a closed standard error is ignored.
pub(crate) fn note(text: impl Display) {
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

/// A webhook's `disabled_reason` without the name and the host at its end, where these are shown beside it.
pub(super) fn reason_alone(reason: &str) -> &str {
    match reason.rfind(" (webhook \"") {
        Some(end) if reason.ends_with(')') => &reason[..end],
        _ => reason,
    }
}

/// Prints the failure and its hint on standard error, unless they have been printed already.
pub(crate) fn print_failure(failure: &Failure) {
    if let Some((message, hint)) = failure.message() {
        let message = escape_lines(&message);
        note(format_args!("{BAD}error:{BAD:#} {message}\n{NAME}hint:{NAME:#} {}", escape_lines(hint)));
    }
}

/// Untrusted text as one line: characters that could control the terminal, or disguise the text, are escaped
/// (`\n`, `\u{1b}`).
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_except(text, &[])
}

/// As [`escape`], but line feeds and tabs stay.
pub(crate) fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_except(text, &['\n', '\t'])
}

fn escape_except<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    if !text.chars().any(|c| controls_terminal(c) && !kept.contains(&c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if controls_terminal(c) && !kept.contains(&c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// JSON text with the same meaning that cannot control a terminal: the control characters that JSON allows
/// unescaped in strings (DEL, C1, bidirectional marks) become `\u` escapes. JSON has none outside strings.
pub(crate) fn escape_json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c >= '\x7f' && controls_terminal(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c >= '\x7f' && controls_terminal(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// True if a character moves the cursor, starts a control sequence, ends a line, changes the reading
/// direction or is invisible.
fn controls_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Truncates a text to so many characters; the last one is then `…`.
pub(crate) fn cut(text: &str, characters: usize) -> Cow<'_, str> {
    if text.chars().count() <= characters {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    Cow::Owned(format!("{kept}…"))
}

/// As [`cut`] if standard output is a terminal; in a pipe or a file the text stays whole.
pub(crate) fn cut_on_terminal(text: &str, characters: usize) -> Cow<'_, str> {
    if io::stdout().is_terminal() { cut(text, characters) } else { Cow::Borrowed(text) }
}

/// True if there is a person to ask: standard input and standard error are terminals.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks before something is deleted; anything but `y` or `yes` means no.
///
/// # Errors
/// When the answer is no, or cannot be read.
pub(crate) fn confirm_deletion(question: &str) -> Result<(), Failure> {
    drop(write!(anstream::stderr().lock(), "{} [y/N] ", escape(question)));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).or_hint("answer on a terminal, or give --yes")?;
    if is_yes(&answer) {
        return Ok(());
    }
    note("nothing was deleted");
    Err(Failure::already_printed())
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Prints a table with aligned columns, each row in its style. Cells are escaped here.
///
/// # Errors
/// As [`fn@line`].
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

/// As [`facts`], without those that have no value.
///
/// # Errors
/// As [`fn@line`].
pub(crate) fn known_facts<const N: usize>(rows: [(&str, Option<String>); N]) -> Result<(), Failure> {
    let known: Vec<_> = rows.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect();
    facts(&known)
}

/// Prints names and values, one pair a line, aligned. Values are escaped here.
///
/// # Errors
/// As [`fn@line`].
pub(crate) fn facts(rows: &[(&str, String)]) -> Result<(), Failure> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        line(format_args!("{DIM}{name:width$}{DIM:#}  {}", escape(value)))?;
    }
    Ok(())
}

/// A number with its noun in singular or plural.
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
    fn a_reason_is_shown_without_what_stands_beside_it() {
        let whole = "5 deliveries in a row failed; the last: status: 503 (busy) (webhook \"a (b)\", host x)";
        assert_eq!(reason_alone(whole), "5 deliveries in a row failed; the last: status: 503 (busy)");
        assert_eq!(reason_alone("status: 503 (busy)"), "status: 503 (busy)");
    }

    #[test]
    fn untrusted_text_cannot_control_the_terminal() {
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
        assert!(!safe.chars().any(controls_terminal), "{safe}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(value(&safe), value(text));
    }

    #[test]
    fn a_truncated_text_ends_with_an_ellipsis() {
        assert_eq!(cut("webhook", 7), "webhook");
        assert_eq!(cut("webhooks", 7), "webhoo…");
    }

    #[test]
    fn only_yes_means_yes() {
        assert!(["y\n", "Y", " yes \n", "YES"].iter().all(|answer| is_yes(answer)));
        assert!(["", "\n", "n", "no", "yy", "yes please"].iter().all(|answer| !is_yes(answer)));
    }

    #[test]
    fn nouns_agree_with_their_number() {
        assert_eq!(plural(1, "delivery"), "1 delivery");
        assert_eq!(plural(2, "delivery"), "2 deliveries");
        assert_eq!(plural(0, "event"), "0 events");
    }
}
