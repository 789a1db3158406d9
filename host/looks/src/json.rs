//! JSON as indented text, token by token as it was written: order, duplicates and the digits of numbers stay.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::html::Html;
use crate::node::Node;

/// Deeper levels are not indented further, or a hostile depth would make a page of spaces.
const MAX_INDENT: usize = 24;

/// Returns true if the text is one JSON value.
pub(crate) fn is_one_value(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Returns the values if the text is objects or lists, one after another.
pub(crate) fn sequence(text: &str) -> Option<Vec<&str>> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    values.map(|value| value.ok().map(RawValue::get)).collect()
}

/// Draws a body of one value.
pub(crate) fn whole(html: &mut Html, text: &str) {
    html.wrap("pre", "json", |html| html.wrap("code", "", |html| pretty(html, text)));
}

/// Draws a body of several values.
pub(crate) fn several(html: &mut Html, values: &[&str]) {
    for (n, value) in values.iter().enumerate() {
        html.wrap("section", "", |html| {
            html.wrap("h2", "", |html| html.text(&format!("Value {} of {}", n + 1, values.len())));
            whole(html, value);
        });
    }
}

/// Shows a member that has no drawing.
pub(crate) fn labelled(html: &mut Html, name: &str, value: &Node) {
    html.wrap("div", "rest", |html| {
        html.wrap("p", "note", |html| html.text(&format!("Not drawn: {name}")));
        whole(html, &value.to_json());
    });
}

/// Writes a valid JSON text with line breaks and colours.
fn pretty(html: &mut Html, text: &str) {
    let bytes = text.as_bytes();
    let mut depth = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b' ' | b'\n' | b'\r' | b'\t' => at += 1,
            b'"' => {
                let end = string_end(bytes, at);
                let next = skip_space(bytes, end);
                let class = if bytes.get(next) == Some(&b':') { "key" } else { "string" };
                html.wrap("span", class, |html| html.text(&text[at..end]));
                at = end;
            }
            open @ (b'{' | b'[') => {
                let next = skip_space(bytes, at + 1);
                let is_empty = matches!(bytes.get(next), Some(b'}' | b']'));
                html.text(if open == b'{' { "{" } else { "[" });
                at = next;
                if is_empty {
                    html.text(if open == b'{' { "}" } else { "]" });
                    at += 1;
                } else {
                    depth += 1;
                    line(html, depth);
                }
            }
            close @ (b'}' | b']') => {
                depth = depth.saturating_sub(1);
                line(html, depth);
                html.text(if close == b'}' { "}" } else { "]" });
                at += 1;
            }
            b',' => {
                html.text(",");
                line(html, depth);
                at += 1;
            }
            b':' => {
                html.text(": ");
                at += 1;
            }
            _ => {
                let end =
                    bytes[at..].iter().position(|byte| b" \n\r\t,]}".contains(byte)).map_or(bytes.len(), |n| at + n);
                html.wrap("span", "plain", |html| html.text(&text[at..end]));
                at = end;
            }
        }
    }
}

fn line(html: &mut Html, depth: usize) {
    html.text("\n");
    html.text(&"  ".repeat(depth.min(MAX_INDENT)));
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|byte| !b" \n\r\t".contains(byte)).map_or(bytes.len(), |n| from + n)
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        let mut html = Html::new();
        pretty(&mut html, text);
        let html = html.finish();
        let mut out = String::new();
        let mut is_tag = false;
        for c in html.chars() {
            match c {
                '<' => is_tag = true,
                '>' => is_tag = false,
                c if !is_tag => out.push(c),
                _ => {}
            }
        }
        out.replace("&quot;", "\"")
    }

    #[test]
    fn the_text_is_kept_token_by_token() {
        let text = r#" {"b":1.50e400, "a" : ["x\",{" , []],"b":{},"c":-0}"#;
        let expected =
            "{\n  \"b\": 1.50e400,\n  \"a\": [\n    \"x\\\",{\",\n    []\n  ],\n  \"b\": {},\n  \"c\": -0\n}";
        assert_eq!(plain(text), expected);
        assert!(is_one_value(text));
    }

    #[test]
    fn a_sequence_needs_whole_values() {
        assert_eq!(sequence("{\"a\":1}{\"b\":2}\n[3]").unwrap(), ["{\"a\":1}", "{\"b\":2}", "[3]"]);
        assert_eq!(sequence("{\"a\":1} x"), None);
        assert_eq!(sequence("1 2 3"), None);
    }

    #[test]
    fn depth_does_not_multiply_the_output() {
        let text = format!("{}1{}", "[1,".repeat(50_000), "]".repeat(50_000));
        assert!(is_one_value(&text));
        assert!(plain(&text).len() < crate::MAX_FRAGMENT_BYTES);
    }
}
