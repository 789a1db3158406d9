//! A JSON pretty-printer that works on tokens: no number, member order or escape changes.

/// Lays out a JSON document; a value that fits into `width` columns stays on one line. None if the text is
/// not JSON or is nested deeper than [`MAX_DEPTH`].
pub(crate) fn json(text: &str, width: usize) -> Option<String> {
    // Not parsed into a `Value`, which cannot hold numbers beyond f64.
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut rest = text.trim_start();
    let node = Node::parse(&mut rest, MAX_DEPTH)?;
    let mut out = String::with_capacity(text.len() * 2);
    node.write(&mut out, 0, 0, width);
    Some(out)
}

const INDENT: usize = 2;
/// Nesting limit: a hostile body could otherwise overflow the stack.
const MAX_DEPTH: usize = 128;

enum Node<'a> {
    Leaf(&'a str),
    List(Vec<Node<'a>>),
    Members(Vec<(&'a str, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Parses one value off the front of a text that is known to be JSON.
    fn parse(rest: &mut &'a str, depth: usize) -> Option<Self> {
        let inside = depth.checked_sub(1)?;
        match rest.as_bytes().first()? {
            b'{' => {
                let mut members = Vec::new();
                while !Self::closes(rest, '}') {
                    let name = Self::leaf(rest)?;
                    *rest = rest.trim_start().strip_prefix(':')?.trim_start();
                    members.push((name, Self::parse(rest, inside)?));
                }
                Some(Self::Members(members))
            }
            b'[' => {
                let mut items = Vec::new();
                while !Self::closes(rest, ']') {
                    items.push(Self::parse(rest, inside)?);
                }
                Some(Self::List(items))
            }
            _ => Self::leaf(rest).map(Self::Leaf),
        }
    }

    /// Skips the opening bracket or the comma, and the closing bracket if it follows. True at the closing bracket.
    fn closes(rest: &mut &'a str, bracket: char) -> bool {
        *rest = rest.trim_start();
        let closed = rest.starts_with(bracket);
        if closed || rest.starts_with(['{', '[', ',']) {
            *rest = rest[1..].trim_start();
        }
        if !closed && rest.starts_with(bracket) {
            *rest = &rest[1..];
            return true;
        }
        closed
    }

    fn leaf(rest: &mut &'a str) -> Option<&'a str> {
        let end = if rest.starts_with('"') {
            let mut escaped = false;
            let closing = rest.bytes().skip(1).position(|b| {
                let closes = b == b'"' && !escaped;
                escaped = b == b'\\' && !escaped;
                closes
            })?;
            closing + 2
        } else {
            rest.find([',', ']', '}', ' ', '\n', '\r', '\t']).unwrap_or(rest.len())
        };
        let (leaf, tail) = rest.split_at_checked(end)?;
        *rest = tail;
        Some(leaf)
    }

    fn write(&self, out: &mut String, depth: usize, before: usize, width: usize) {
        let room = width.saturating_sub(depth * INDENT + before);
        if self.columns(room).is_some() {
            return self.write_flat(out);
        }
        match self {
            Self::Leaf(text) => out.push_str(text),
            Self::List(items) => {
                Self::write_tall(out, depth, ['[', ']'], items, |out, item| item.write(out, depth + 1, 0, width));
            }
            Self::Members(members) => Self::write_tall(out, depth, ['{', '}'], members, |out, (name, value)| {
                out.push_str(name);
                out.push_str(": ");
                value.write(out, depth + 1, name.chars().count() + 2, width);
            }),
        }
    }

    fn write_tall<T>(out: &mut String, depth: usize, ends: [char; 2], parts: &[T], write: impl Fn(&mut String, &T)) {
        out.push(ends[0]);
        for (index, part) in parts.iter().enumerate() {
            out.push_str(if index == 0 { "\n" } else { ",\n" });
            out.extend(std::iter::repeat_n(' ', (depth + 1) * INDENT));
            write(out, part);
        }
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', depth * INDENT));
        out.push(ends[1]);
    }

    fn write_flat(&self, out: &mut String) {
        match self {
            Self::Leaf(text) => out.push_str(text),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.write_flat(out);
                }
                out.push(']');
            }
            Self::Members(members) => {
                out.push_str(if members.is_empty() { "{" } else { "{ " });
                for (index, (name, value)) in members.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    out.push_str(name);
                    out.push_str(": ");
                    value.write_flat(out);
                }
                out.push_str(if members.is_empty() { "}" } else { " }" });
            }
        }
    }

    /// The width of the value on one line, or None if it is more than `room`.
    fn columns(&self, room: usize) -> Option<usize> {
        let mut used = 0;
        match self {
            Self::Leaf(text) => used = text.chars().count(),
            Self::List(items) => {
                used += 2;
                for item in items {
                    used += item.columns(room.checked_sub(used)?)? + 2;
                }
            }
            Self::Members(members) => {
                used += 4;
                for (name, value) in members {
                    used += name.chars().count() + 4;
                    used += value.columns(room.checked_sub(used)?)?;
                }
            }
        }
        (used <= room).then_some(used)
    }
}

#[cfg(test)]
mod tests {
    use super::json;

    #[test]
    fn a_value_that_fits_stays_on_one_line() {
        assert_eq!(
            json(r#" {"b":1.50e+400,"a":[ ],"c":{}} "#, 80).as_deref(),
            Some(r#"{ "b": 1.50e+400, "a": [], "c": {} }"#)
        );
        assert_eq!(json("7", 80).as_deref(), Some("7"));
        assert_eq!(json(r#""a\\\"b""#, 80).as_deref(), Some(r#""a\\\"b""#));
    }

    #[test]
    fn a_value_that_does_not_fit_is_broken_into_lines() {
        let laid = json(r#"{"title":"a, ] } title","list":[1,{"x":"y"}],"n":null}"#, 24).expect("JSON");
        assert_eq!(
            laid,
            "{\n  \"title\": \"a, ] } title\",\n  \"list\": [\n    1,\n    { \"x\": \"y\" }\n  ],\n  \"n\": null\n}"
        );
    }

    #[test]
    fn only_whitespace_changes() {
        let text = r#"[ {"a" : [1 ,2, {"b":"\u001b \\"}]} , [[]], "é" ,true]"#;
        for width in [0, 5, 20, 100] {
            let laid = json(text, width).expect("JSON");
            let squeezed = |text: &str| text.replace([' ', '\n'], "");
            assert_eq!(squeezed(&laid), squeezed(text), "{width}");
        }
    }

    #[test]
    fn text_that_is_not_json_is_left_to_the_caller() {
        for text in ["", "{", "{\"a\"}", "a|b", &format!("{}{}", "[".repeat(500), "]".repeat(500))] {
            assert_eq!(json(text, 80), None, "{text}");
        }
    }
}
