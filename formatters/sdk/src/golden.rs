//! The golden file format, for formatters in any language: `cargo test` in a formatter's crate (`testing::golden`) and
//! the host's `heraldry formatter test` write identical files.
//!
//! The file of sample `SAMPLE` in case `CASE` is `SAMPLE--CASE.EXT`, or `SAMPLE.EXT` when the case has no name. Files
//! are UTF-8 and end with a line feed.
//!
//! A payload whose content type contains `json` and whose body is one JSON document is written as `.json`: one object
//! with the members `content_type` (a string), `headers` (a list of strings, `NAME: VALUE`) and `body` (the document),
//! laid out by [`indent`]. Only the white space between tokens changes: members keep their order, numbers and strings
//! their spelling.
//!
//! Every other payload is written as `.txt`: a line `Content-Type: ` with the content type, a line `NAME: VALUE` for
//! each header, an empty line, the exact body, and a line feed. A body that is not UTF-8 is replaced by a line
//! `body-base64: ` with its base64 (RFC 4648, section 4, with padding).
//!
//! An error is written as `.txt`, too, in one of these forms:
//!
//! ```text
//! error: unsupported-event TYPE
//! error: invalid-options
//!   POINTER: MESSAGE
//! error: invalid-event
//!   POINTER: MESSAGE
//! error: internal: MESSAGE
//! ```
//!
//! A digest is written in the same way. Events that it leaves out stand, by their places, in a list `unsupported` before
//! `body`, or in a line `unsupported: 3, 7` after the headers; its error is a line `error: MESSAGE`. The files are in a
//! folder of their own, `golden-digest`, and named after their events: `scan-11` has those of [`digests::scan`],
//! `samples-100` those of [`digests::cycled`].
//!
//! Each problem has a line: two spaces, pointer and message, in the given order. Line breaks and other control
//! characters in a type, a pointer or a message are escaped as in JSON (`\n`, `\u0007`).

pub mod digests;

use std::fmt::Write as _;

use crate::digest::Message;
use crate::{Error, Header, Payload};

/// The extension and the text of a golden file, in the format described in this module.
pub fn show(output: &Result<Payload, Error>) -> (&'static str, String) {
    match output {
        Ok(payload) => show_payload(payload, &[]),
        Err(error) => ("txt", show_error(error)),
    }
}

/// As [`show`], of a digest.
pub fn show_digest(output: &Result<Message, String>) -> (&'static str, String) {
    let message = match output {
        Ok(message) => message,
        Err(error) => return ("txt", format!("error: {}\n", one_line(error))),
    };
    let headers =
        message.headers.iter().map(|header| Header { name: header.name.clone(), value: header.value.clone() });
    let payload =
        Payload { content_type: message.content_type.clone(), headers: headers.collect(), body: message.body.clone() };
    show_payload(&payload, &message.unsupported)
}

fn show_payload(payload: &Payload, unsupported: &[u32]) -> (&'static str, String) {
    let places: Vec<_> = unsupported.iter().map(u32::to_string).collect();
    let body = std::str::from_utf8(&payload.body);
    let is_json = |body: &&str| {
        payload.content_type.contains("json") && serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok()
    };
    if let Some(body) = body.ok().filter(is_json) {
        let headers: Vec<_> =
            payload.headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect();
        let content_type = serde_json::to_string(&payload.content_type).expect("a string");
        let headers = serde_json::to_string(&headers).expect("strings");
        // One JSON document, so that standard tools can read it.
        let places =
            if places.is_empty() { String::new() } else { format!(r#""unsupported":[{}],"#, places.join(",")) };
        let document = format!(r#"{{"content_type":{content_type},"headers":{headers},{places}"body":{body}}}"#);
        return ("json", indent(&document) + "\n");
    }
    let mut text = String::new();
    writeln!(text, "Content-Type: {}", payload.content_type).expect("a string");
    for header in &payload.headers {
        writeln!(text, "{}: {}", header.name, header.value).expect("a string");
    }
    if !places.is_empty() {
        writeln!(text, "unsupported: {}", places.join(", ")).expect("a string");
    }
    text.push('\n');
    match body {
        Ok(body) => text.push_str(body),
        Err(_) => text.push_str(&format!("body-base64: {}", base64(&payload.body))),
    }
    text.push('\n');
    ("txt", text)
}

fn show_error(error: &Error) -> String {
    let (name, problems) = match error {
        Error::UnsupportedEvent(event_type) => return format!("error: unsupported-event {}\n", one_line(event_type)),
        Error::Internal(message) => return format!("error: internal: {}\n", one_line(message)),
        Error::InvalidOptions(problems) => ("invalid-options", problems),
        Error::InvalidEvent(problems) => ("invalid-event", problems),
    };
    let mut text = format!("error: {name}\n");
    for problem in problems {
        writeln!(text, "  {}: {}", one_line(&problem.pointer), one_line(&problem.message)).expect("a string");
    }
    text
}

/// Escapes control characters as JSON does, and nothing else.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("a string");
            }
            c => out.push(c),
        }
    }
    out
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(chunk.get(at).copied().unwrap_or_default()));
        for digit in 0..4 {
            let is_padding = digit > chunk.len();
            out.push(if is_padding { '=' } else { char::from(ALPHABET[bits >> (18 - 6 * digit) & 63]) });
        }
    }
    out
}

/// Lays out JSON text with one member or item per line. Only white space outside of strings changes.
pub fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut rest = json.chars().filter(kept_outside_strings()).peekable();
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                out.push('"');
                let mut escaped = false;
                for c in rest.by_ref() {
                    out.push(c);
                    match c {
                        _ if escaped => escaped = false,
                        '\\' => escaped = true,
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                if let Some(close) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => out.push(c),
        }
    }
    out
}

/// A filter that drops white space between tokens and keeps it inside strings.
fn kept_outside_strings() -> impl FnMut(&char) -> bool {
    let mut in_string = false;
    let mut escaped = false;
    move |&c| {
        if in_string {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            return true;
        }
        in_string = c == '"';
        !c.is_ascii_whitespace()
    }
}

/// Returns true if the JSON text has no white space between its tokens.
pub fn is_compact(json: &str) -> bool {
    let mut kept = kept_outside_strings();
    json.chars().all(|c| kept(&c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Problem;

    #[test]
    fn indented_json_is_the_same_json() {
        assert_eq!(
            indent(r#"{"a": [1, {}],"b":"x, \" y"}"#),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"x, \\\" y\"\n}"
        );
        assert!(is_compact(r#"{"a":" , "}"#));
        assert!(!is_compact(r#"{"a": 1}"#));
    }

    fn payload(content_type: &str, body: &[u8]) -> Result<Payload, Error> {
        let header = Header { name: "X-A".into(), value: "b \"c\"".into() };
        Ok(Payload { content_type: content_type.into(), headers: vec![header], body: body.into() })
    }

    #[test]
    fn golden_files_do_not_depend_on_rust() {
        let problem = |pointer: &str, message: &str| Problem { pointer: pointer.into(), message: message.into() };
        let rows = [
            (
                payload("application/json", br#"{"b": 1.50,"a":[]}"#),
                "json",
                "{\n  \"content_type\": \"application/json\",\n  \"headers\": [\n    \"X-A: b \\\"c\\\"\"\n  ],\n  \"body\": {\n    \"b\": 1.50,\n    \"a\": []\n  }\n}\n",
            ),
            (payload("application/json", b"{"), "txt", "Content-Type: application/json\nX-A: b \"c\"\n\n{\n"),
            (payload("text/plain", b"a\nb\n"), "txt", "Content-Type: text/plain\nX-A: b \"c\"\n\na\nb\n\n"),
            (payload("x/y", b"\xFF\xFE"), "txt", "Content-Type: x/y\nX-A: b \"c\"\n\nbody-base64: //4=\n"),
            (Err(Error::UnsupportedEvent("a\nb".into())), "txt", "error: unsupported-event a\\nb\n"),
            (
                Err(Error::InvalidOptions(vec![problem("/a", "no"), problem("", "never\u{7}")])),
                "txt",
                "error: invalid-options\n  /a: no\n  : never\\u0007\n",
            ),
            (Err(Error::InvalidEvent(vec![])), "txt", "error: invalid-event\n"),
            (Err(Error::Internal("it \"broke\"".into())), "txt", "error: internal: it \"broke\"\n"),
        ];
        for (output, extension, text) in rows {
            assert_eq!(show(&output), (extension, text.to_owned()));
        }
    }

    #[test]
    fn digests_name_what_they_leave_out() {
        let message = |content_type: &str, body: &str, unsupported: &[u32]| {
            let (content_type, body) = (content_type.into(), body.into());
            Ok(Message { content_type, headers: Vec::new(), body, unsupported: unsupported.into() })
        };
        for (output, extension, text) in [
            (
                message("application/json", "1", &[3, 7]),
                "json",
                "{\n  \"content_type\": \"application/json\",\n  \"headers\": [],\n  \"unsupported\": [\n    3,\n    7\n  ],\n  \"body\": 1\n}\n",
            ),
            (message("text/plain", "a", &[3, 7]), "txt", "Content-Type: text/plain\nunsupported: 3, 7\n\na\n"),
            (message("text/plain", "a", &[]), "txt", "Content-Type: text/plain\n\na\n"),
            (Err("it\nbroke".into()), "txt", "error: it\\nbroke\n"),
        ] {
            assert_eq!(show_digest(&output), (extension, text.to_owned()));
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xFB, 0xFF, 0xBF]), "+/+/");
    }
}
