//! JSON with its members in the order in which they were written, and a reader that knows which ones were drawn.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::html::Html;
use crate::json;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Returns an object's member; the last one if the name occurs twice, as destinations read it.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().rfind(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    pub(crate) fn str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// Returns the text of a member.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.str()
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Object(_))
    }

    /// Returns the value as JSON without spaces.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Text(text) => quote(text, out),
            Self::List(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (n, (name, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    quote(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Node::Object(members))
    }
}

/// An object whose members are taken one by one as they are drawn, so that the others can be shown as JSON.
///
/// What is no object where one was expected is shown whole.
pub(crate) struct Members<'a> {
    node: &'a Node,
    members: &'a [(String, Node)],
    is_taken: Vec<bool>,
}

impl<'a> Members<'a> {
    /// Reads an object.
    pub(crate) fn of(node: &'a Node) -> Self {
        let members: &[_] = if let Node::Object(members) = node { members } else { &[] };
        Self { node, members, is_taken: vec![false; members.len()] }
    }

    fn take<T>(&mut self, name: &str, read: impl FnOnce(&'a Node) -> Option<T>) -> Option<T> {
        let place = self.members.iter().rposition(|(key, _)| key == name)?;
        let value = read(&self.members[place].1)?;
        self.is_taken[place] = true;
        Some(value)
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<&'a str> {
        self.take(name, Node::str)
    }

    pub(crate) fn list(&mut self, name: &str) -> &'a [Node] {
        self.take(name, Node::list).unwrap_or(&[])
    }

    pub(crate) fn object(&mut self, name: &str) -> Option<&'a Node> {
        self.take(name, |node| node.is_object().then_some(node))
    }

    /// Takes a colour of six hexadecimal digits, or a named one.
    pub(crate) fn color(&mut self, name: &str) -> Option<&'a str> {
        let is_color = |text: &&str| {
            let digits = text.strip_prefix('#').unwrap_or(text);
            let is_hex = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex || ["good", "warning", "danger"].contains(text)
        };
        self.take(name, |node| node.str().filter(is_color))
    }

    pub(crate) fn bool(&mut self, name: &str) -> Option<bool> {
        self.take(name, |node| if let Node::Bool(value) = node { Some(*value) } else { None })
    }

    pub(crate) fn whole(&mut self, name: &str) -> Option<u64> {
        self.take(name, |node| if let Node::Number(number) = node { number.as_u64() } else { None })
    }

    /// Passes over members that arrange or identify and show nothing, as long as they are plain values.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.take(name, |node| node.is_scalar().then_some(()));
        }
    }

    /// Shows what was not taken; null is nothing.
    pub(crate) fn rest(self, html: &mut Html) {
        if !self.node.is_object() {
            json::labelled(html, "value", self.node);
        }
        for ((name, value), is_taken) in self.members.iter().zip(&self.is_taken) {
            if !is_taken && *value != Node::Null {
                json::labelled(html, name, value);
            }
        }
    }

    /// Returns true if [`rest`](Self::rest) would show something.
    pub(crate) fn has_rest(&self) -> bool {
        let is_left = |((_, value), is_taken): (&(String, Node), &bool)| !is_taken && *value != Node::Null;
        !self.node.is_object() || self.members.iter().zip(&self.is_taken).any(is_left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_is_shown() {
        let node: Node =
            serde_json::from_str(r#"{"text":"first","z":[1,{"b":null}],"text":"second","a":5,"b":true}"#).unwrap();
        let mut members = Members::of(&node);
        assert_eq!(members.text("text"), Some("second"));
        assert_eq!(members.text("a"), None, "a number is no text");
        members.ignore(&["b", "z"]);
        let mut html = Html::new();
        members.rest(&mut html);
        let html = html.finish();
        assert!(html.contains("first") && !html.contains("second"), "{html}");
        assert!(
            html.contains("Not drawn: z") && html.contains("Not drawn: a") && !html.contains("Not drawn: b"),
            "{html}"
        );
    }

    #[test]
    fn order_and_escapes_survive() {
        let text = r#"{"b":"\"\n<","a":[1,-2,0.5,true,null]}"#;
        assert_eq!(serde_json::from_str::<Node>(text).unwrap().to_json(), text);
    }
}
