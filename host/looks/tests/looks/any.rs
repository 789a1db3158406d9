//! Any body: no panic, a bounded page, nothing dropped.

use heraldry_looks::{MAX_FRAGMENT_BYTES, draw};
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::page;

/// Members that are drawn somewhere; those that only arrange are not among them.
const NAMES: &[&str] = &[
    "attachments",
    "content",
    "body",
    "items",
    "columns",
    "rows",
    "cells",
    "facts",
    "inlines",
    "images",
    "actions",
    "card",
    "blocks",
    "elements",
    "fields",
    "accessory",
    "text",
    "title",
    "value",
    "url",
    "altText",
    "alt_text",
    "image_url",
    "embeds",
    "description",
    "author",
    "name",
    "footer",
    "image",
    "thumbnail",
    "timestamp",
    "allowed_mentions",
    "parse",
    "msteams",
    "entities",
    "mentioned",
    "selectAction",
    "fallback",
    "pretext",
    "author_name",
    "title_link",
    "username",
    "channel",
    "summary",
    "unknown",
];

const TYPES: &[&str] = &[
    "AdaptiveCard",
    "TextBlock",
    "RichTextBlock",
    "TextRun",
    "FactSet",
    "Container",
    "ColumnSet",
    "Column",
    "ActionSet",
    "Image",
    "ImageSet",
    "Table",
    "TableRow",
    "Action.OpenUrl",
    "Action.ShowCard",
    "Action.Submit",
    "header",
    "section",
    "context",
    "actions",
    "divider",
    "image",
    "markdown",
    "mrkdwn",
    "plain_text",
    "button",
    "message",
    "mention",
];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => "[a-z]{8}".prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 60, 5, |inner| {
        let object = (
            proptest::option::of(proptest::sample::select(TYPES)),
            proptest::collection::vec((proptest::sample::select(NAMES), inner.clone()), 0..5),
        );
        prop_oneof![
            1 => proptest::collection::vec(inner, 0..4).prop_map(Value::from),
            3 => object.prop_map(|(kind, members)| {
                let mut object: Map<_, _> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                if let Some(kind) = kind {
                    object.insert("type".to_owned(), kind.into());
                }
                Value::Object(object)
            }),
        ]
    })
}

/// A message of one of the three languages around any value.
fn message() -> impl Strategy<Value = Value> {
    let start = proptest::sample::select(&["body", "actions", "blocks", "embeds", "attachments"][..]);
    (start, proptest::collection::vec(value(), 0..5), value()).prop_map(|(name, items, other)| {
        let mut object = Map::new();
        if ["body", "actions"].contains(&name) {
            object.insert("type".to_owned(), "AdaptiveCard".into());
        }
        object.insert(name.to_owned(), items.into());
        object.insert("unknown".to_owned(), other);
        Value::Object(object)
    })
}

/// Collects the words that [`leaf`] makes.
fn words<'v>(value: &'v Value, out: &mut Vec<&'v str>) {
    match value {
        Value::String(text) if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_lowercase()) => out.push(text),
        Value::Array(items) => items.iter().for_each(|item| words(item, out)),
        Value::Object(members) => {
            members.iter().filter(|(name, _)| *name != "type").for_each(|(_, value)| words(value, out));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_word_of_a_message_is_dropped(value in message()) {
        let body = value.to_string();
        let drawing = draw("application/json", body.as_bytes());
        let text = page::everything(&drawing);
        let mut expected = Vec::new();
        words(&value, &mut expected);
        for word in expected {
            prop_assert!(text.contains(word), "{} is missing\n{}\n{}", word, body, drawing.fragment);
        }
    }

    #[test]
    fn any_text_makes_a_page(text in any::<String>(), start in proptest::sample::select(&["", "CEF:0|", "LEEF:2.0|", "<14>1 ", "{\"text\":\""][..])) {
        page::parse(&draw("text/plain", format!("{start}{text}").as_bytes()));
    }

    #[test]
    fn any_markup_makes_a_page(text in "[*_~`|<>\\[\\]()@#!a1 \n.:/&;\\\\-]{0,80}") {
        for body in [
            serde_json::json!({"text": &text, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": &text}}]}),
            serde_json::json!({"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": &text}]}),
            serde_json::json!({"embeds": [{"title": &text, "url": "https://a.example", "description": &text}]}),
        ] {
            page::parse(&draw("application/json", body.to_string().as_bytes()));
        }
    }

    #[test]
    fn any_bytes_make_a_page(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        page::parse(&draw("application/octet-stream", &bytes));
    }
}

#[test]
fn a_page_is_bounded() {
    let many = |text: &str| text.repeat(1024 * 1024 / text.len());
    for body in [
        format!("[{}1]", many("1,")),
        many("["),
        format!("{}{}", "[".repeat(500_000), "]".repeat(500_000)),
        format!("{{\"blocks\":[{}{{}}]}}", many("{},")),
        format!("{{\"embeds\":[{}{{}}]}}", many("{},")),
        format!("{{\"type\":\"AdaptiveCard\",\"body\":[{}{{}}]}}", many("{},")),
        format!("{{\"text\":\"{}\"}}", many("\\u0000")),
        format!("{{\"content\":\"{}\"}}", many("*a* ")),
        many("<14>1 - - - - - - x\n"),
        many("\0"),
        format!("CEF:0|a|b|c|d|e|5|{}", many("a=b ")),
    ] {
        let fragment = draw("application/json", body.as_bytes()).fragment;
        assert!(fragment.len() <= MAX_FRAGMENT_BYTES, "{} bytes of {}", fragment.len(), &body[..40]);
        assert!(fragment.ends_with("</article>"));
    }
}
