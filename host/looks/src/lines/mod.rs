//! Lines of events: syslog, CEF, LEEF, each as a table of its fields.

mod cef;
mod leef;
mod syslog;

use crate::Language;
use crate::html::Html;
use crate::limits::Limits;
use crate::moment::Moment;

/// More messages of one body are shown as text.
const MAX_MESSAGES: usize = 100;

/// A name and a value of a table.
type Row = (String, String);

/// A message of a body.
struct Frame<'t> {
    text: &'t str,
    /// What is wrong with its framing.
    fault: Option<String>,
}

/// Draws a body of event lines; none if its beginning is no such line.
pub(crate) fn draw(html: &mut Html, limits: &mut Limits, text: &str) -> Option<Language> {
    let frames = frames(text);
    let language = language(frames.first()?.text)?;
    let count = frames.len();
    for (n, frame) in frames.iter().enumerate().take(MAX_MESSAGES) {
        html.wrap("section", "", |html| {
            if count > 1 {
                html.wrap("h2", "", |html| html.text(&format!("Message {} of {count}", n + 1)));
            }
            if let Some(fault) = &frame.fault {
                html.wrap("p", "over", |html| html.text(fault));
            }
            message(html, limits, frame.text);
        });
    }
    if count > MAX_MESSAGES {
        html.wrap("h2", "", |html| html.text("Further messages"));
        for frame in &frames[MAX_MESSAGES..] {
            html.wrap("pre", "text", |html| html.text(frame.text));
        }
    }
    Some(language)
}

fn language(line: &str) -> Option<Language> {
    if line.starts_with("CEF:") {
        return cef::read(line).map(|_| Language::Cef);
    }
    if line.starts_with("LEEF:") {
        return leef::read(line).map(|_| Language::Leef);
    }
    syslog::read(line).map(|line| match line.message {
        message if cef::read(message).is_some() => Language::Cef,
        message if leef::read(message).is_some() => Language::Leef,
        _ => Language::Syslog,
    })
}

/// Splits a body into messages, by the lengths before them (RFC 6587 3.4.1) or by lines.
fn frames(text: &str) -> Vec<Frame<'_>> {
    if counted(text).is_some() {
        return counted_frames(text);
    }
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    lines.filter(|line| !line.is_empty()).map(|text| Frame { text, fault: None }).collect()
}

/// Reads the length before a message.
fn counted(text: &str) -> Option<(usize, &str)> {
    let (length, rest) = text.split_once(' ')?;
    let is_length = length.len() <= 7 && !length.starts_with('0') && length.bytes().all(|byte| byte.is_ascii_digit());
    (is_length && rest.starts_with('<')).then_some((length.parse().ok()?, rest))
}

fn counted_frames(text: &str) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut rest = text;
    while let Some((length, behind)) = counted(rest) {
        let (message, next) = behind.split_at_checked(length).unwrap_or((behind, ""));
        let fault = (message.len() != length).then(|| {
            format!(
                "The length says {length} bytes, which do not end where this message does: {} bytes follow.",
                behind.len()
            )
        });
        frames.push(Frame { text: message, fault });
        rest = next;
    }
    if !rest.trim_end().is_empty() {
        frames.push(Frame { text: rest, fault: Some("No length stands before this.".to_owned()) });
    }
    frames
}

fn message(html: &mut Html, limits: &mut Limits, text: &str) {
    let Some(line) = syslog::read(text) else {
        payload(html, limits, text);
        return;
    };
    // What a receiver over TLS should take, RFC 5425 4.3.1; one over UDP should take 2048.
    limits.add("syslog message", text.len(), 8192, "bytes");
    table(html, "Syslog header", &line.header);
    for (id, rows) in &line.data {
        table(html, &format!("Structured data {id}"), rows);
    }
    if !line.message.is_empty() {
        payload(html, limits, line.message);
    }
}

fn payload(html: &mut Html, limits: &mut Limits, text: &str) {
    let parts = cef::read(text).map(|event| (cef::limits(&event, limits), event.tables()));
    if let Some((_, tables)) = parts {
        for (caption, rows) in tables {
            table(html, caption, &rows);
        }
        return;
    }
    if let Some(event) = leef::read(text) {
        limits.add("LEEF event id", event.id.len(), 255, "bytes");
        table(html, "LEEF header", &event.header);
        table(html, "Attributes", &event.attributes);
        return;
    }
    html.wrap("pre", "text", |html| html.text(text));
}

fn table(html: &mut Html, caption: &str, rows: &[Row]) {
    html.wrap("table", "facts", |html| {
        html.wrap("caption", "", |html| html.text(caption));
        html.wrap("tbody", "", |html| {
            for (name, value) in rows {
                html.wrap("tr", "", |html| {
                    html.with("th", &[("scope", "row")], |html| html.text(name));
                    html.wrap("td", "text", |html| html.text(value));
                });
            }
        });
    });
}

/// Adds the moment in words to milliseconds since 1970.
fn with_moment(value: &str) -> String {
    match value.parse::<i64>().ok().and_then(|ms| Moment::from_seconds(ms.div_euclid(1000))) {
        Some(moment) => format!("{value} ({})", moment.iso()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> (Option<Language>, String) {
        let mut html = Html::new();
        let language = draw(&mut html, &mut Limits::default(), text);
        (language, html.finish())
    }

    #[test]
    fn counted_messages_are_split_by_their_bytes() {
        let one = "<14>1 - - - - - - é\nx";
        let (language, html) = drawn(&format!("{} {one}24 <14>1 - - - - - - second", one.len()));
        assert_eq!(language, Some(Language::Syslog));
        assert!(html.contains("Message 1 of 2") && html.contains("é\nx</pre>"), "{html}");
        assert!(html.contains("second</pre>") && !html.contains("length"), "{html}");
        let (_, html) = drawn("999 <14>1 - - - - - - short");
        assert!(html.contains("The length says 999 bytes"), "{html}");
        // In the middle of a character.
        let (_, html) = drawn("21 <14>1 - - - - - - é");
        assert!(html.contains("The length says 21 bytes"), "{html}");
    }

    #[test]
    fn lines_that_are_no_events_are_left_to_others() {
        for text in ["hello", "<b>1 x", "CEF:0|a", "12 monkeys", "<200>1 - - - - - - x", "<14>2 x", "LEEF:2.0|x", "<1"]
        {
            assert_eq!(drawn(text).0, None, "{text}");
        }
    }

    #[test]
    fn many_messages_are_text_at_last() {
        let (_, html) = drawn(&"<14>1 - - - - - - x\n".repeat(MAX_MESSAGES + 5));
        assert!(html.contains("Message 100 of 105") && html.contains("Further messages"));
        assert_eq!(html.matches("<pre").count(), MAX_MESSAGES + 5);
    }
}
