//! Property tests: any text gives a message that Slack accepts, and the text can be read back. The reader is written
//! from FORMATS, sections 1 and 9, independently of the builder.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::testing::cleaned::{assert_whole_or_cut, cleaned};
use crate::testing::strategy::{text, url};

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn sent(message: Message<'_>) -> Value {
    let payload = message.payload().expect("a payload");
    assert_eq!(payload.content_type, "application/json; charset=utf-8");
    serde_json::from_slice(&payload.body).expect("JSON")
}

/// The text that a reader sees, from escaped text of at most `most` units.
fn read(escaped: &Value, most: usize) -> String {
    let escaped = escaped.as_str().expect("a string");
    assert!((1..=most).contains(&units(escaped)), "{} of {most}: {escaped}", units(escaped));
    let mut out = String::new();
    let mut rest = escaped;
    while let Some(c) = rest.chars().next() {
        assert!(c == '\n' || !c.is_control(), "{c:?}");
        assert!(!matches!(c, '<' | '>'), "{escaped}");
        let entity = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')].into_iter().find(|(e, _)| rest.starts_with(e));
        assert!(c != '&' || entity.is_some(), "{escaped}");
        let (token, shown) = entity.map_or((c.len_utf8(), c), |(token, shown)| (token.len(), shown));
        out.push(shown);
        rest = &rest[token..];
    }
    out
}

/// The length of a text once escaped.
fn escaped(text: &str) -> usize {
    text.chars()
        .map(|c| {
            if c == '&' {
                5
            } else if matches!(c, '<' | '>') {
                4
            } else {
                c.len_utf16()
            }
        })
        .sum()
}

/// Compares a text object with its source; `None` if it was left out.
fn check(object: Option<&Value>, text: &str, line_break: &str, most: usize) {
    let clean = cleaned(text, "", line_break);
    let clean = clean.trim();
    match object {
        None => assert!(crate::text::is_blank(clean) || escaped(clean) > most, "{text:?} is missing"),
        Some(object) => {
            assert_eq!((&object["type"], &object["emoji"]), (&"plain_text".into(), &false.into()));
            let read = read(&object["text"], most);
            assert_whole_or_cut(clean, &read, escaped(clean) <= most, "...");
        }
    }
}

fn blocks(message: &Value) -> &Vec<Value> {
    message["attachments"][0]["blocks"].as_array().expect("a list")
}

const BLACK: Color = Color::rgb(0);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_comes_back(text in text(), limit in prop_oneof![0_usize..40, 100_usize..5_000]) {
        let mut message = Message::new(PlainText::line(&*text, limit));
        for is_colored in [false, true] {
            let blocks = if is_colored { message.colored(BLACK) } else { message.blocks() };
            blocks.header(PlainText::line(&*text, limit));
            blocks.section(PlainText::lines(&*text, limit));
            blocks.fields([PlainText::line(&*text, limit)]);
            blocks.context([PlainText::line(&*text, limit)]);
        }
        let message = sent(message);
        read(&message["text"], 3000);
        let lists = [&message["blocks"], &message["attachments"][0]["blocks"]].map(|list| list.as_array().cloned().unwrap_or_default());
        for blocks in lists {
            let of = |kind: &str, pointer: &str| {
                let block = blocks.iter().find(|block| block["type"] == kind && block.pointer(pointer).is_some());
                block.and_then(|block| block.pointer(pointer))
            };
            check(of("header", "/text"), &text, " ", limit.min(150));
            check(of("section", "/text"), &text, "\n", limit.min(3000));
            check(of("section", "/fields/0"), &text, " ", limit.min(2000));
            check(of("context", "/elements/0"), &text, " ", limit.min(3000));
        }
    }

    #[test]
    fn nothing_ends_a_code_block(text in text(), limit in 0_usize..5_000) {
        let mut message = Message::new(PlainText::line("t", 9));
        message.colored(BLACK).section(Mrkdwn::code(&text, limit));
        message.colored(BLACK).fields([Mrkdwn::code(&text, limit)]);
        let message = sent(message);
        let blocks = message["attachments"][0]["blocks"].as_array().cloned().unwrap_or_default();
        for (block, most) in blocks.iter().zip([3000, 2000]) {
            let object = block.get("text").unwrap_or(&block["fields"][0]);
            prop_assert_eq!(&object["verbatim"], &Value::from(true));
            let most = most.min(limit);
            let whole = object["text"].as_str().expect("a string");
            prop_assert!(units(whole) <= most);
            let code = whole.strip_prefix("```\n").and_then(|code| code.strip_suffix("\n```")).expect("a fence");
            prop_assert!(!code.contains("``"));
            let shown = read(&code.into(), most).replace('\u{200B}', "");
            assert_whole_or_cut(&cleaned(&text, "", "\n").replace('\u{200B}', ""), &shown, false, "...");
        }
    }

    #[test]
    fn parts_share_one_limit(parts in vec((text(), 0_usize..300), 0..6), limit in 0_usize..400) {
        let mut compose = PlainText::compose(limit);
        for (text, most) in &parts {
            compose = compose.words("<b>\n").value(text, *most);
        }
        let mut message = Message::new(PlainText::line("t", 9));
        message.blocks().section(compose.finish());
        if let Some(block) = sent(message).pointer("/blocks/0") {
            read(&block["text"]["text"], limit);
        }
    }

    #[test]
    fn only_web_urls_become_buttons(label in text(), address in url()) {
        if let Some(button) = Button::open(&label, &address) {
            let button = serde_json::to_value(&button).expect("JSON");
            check(Some(&button["text"]), &label, " ", 75);
            let url = button["url"].as_str().expect("a string");
            prop_assert!(url.starts_with("https://") || url.starts_with("http://"));
            prop_assert!(url.len() <= 3000 && url.bytes().all(|b| b.is_ascii_graphic() && !b"|<>\"\\".contains(&b)));
        }
    }
}

fn button() -> Button {
    Button::open("Open", "https://a.example/").expect("a button")
}

#[test]
fn a_message_is_within_slacks_limits() {
    let mut message = Message::new(PlainText::line("", 9));
    let colored = message.colored(Color::rgb(0x12_AB_EF));
    colored.actions((0..26).map(|_| button()));
    colored.actions([button()]);
    colored.fields((0..11).map(|n| PlainText::line(n.to_string(), 9)));
    colored.context((0..11).map(|n| PlainText::line(n.to_string(), 9)));
    colored.section(PlainText::line(" \u{202E}", 9));
    colored.header(PlainText::lines("\0", 9));
    message.blocks().summary(PlainText::line("t", 9), None, Some(button()));
    message.blocks().actions([button(), button()]);
    let value = sent(message);
    assert_eq!((&value["text"], &value["attachments"][0]["color"]), (&"-".into(), &"#12ABEF".into()));
    let lengths: Vec<_> = blocks(&value)
        .iter()
        .map(|block| block.get("elements").unwrap_or(&block["fields"]).as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(lengths, [25, 1, 1, 10, 1, 10, 1]);
    let top = value["blocks"].as_array().expect("a list");
    let ids: std::collections::BTreeSet<_> = blocks(&value)[..3]
        .iter()
        .chain([&top[1]])
        .flat_map(|block| block["elements"].as_array().expect("a list"))
        .chain([&top[0]["accessory"]])
        .map(|button| button["action_id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids.len(), 30);
}

#[test]
fn excess_blocks_are_left_out_and_the_last_says_so() {
    let mut message = Message::new(PlainText::line("t", 9));
    for _ in 0..60 {
        message.blocks().section(PlainText::line("more", 9));
        message.colored(BLACK).section(PlainText::line("more", 9));
    }
    let value = sent(message);
    for (blocks, most) in [(value["blocks"].as_array().expect("a list"), 50), (blocks(&value), 20)] {
        assert_eq!(blocks.len(), most);
        assert_eq!(blocks[most - 1]["elements"][0]["text"], "...");
    }
}

#[test]
fn empty_blocks_are_left_out() {
    let mut message = Message::new(PlainText::line("t", 9));
    message.colored(BLACK).section(PlainText::line("", 9));
    message.blocks().summary(PlainText::line(" ", 9), None, Some(button()));
    message.mention(Mrkdwn::mentions([]));
    let expected = r#"{"text":"t","mrkdwn":false,"unfurl_links":false,"unfurl_media":false}"#;
    assert_eq!(message.payload().expect("a payload").body, expected.as_bytes());
}

#[test]
fn mentions_are_repeated_in_the_notification() {
    let mention = |name: &str| Mention::try_from(name.to_owned()).expect("a mention");
    let (here, group) = (mention("here"), mention("S0614TZR7"));
    let mentions = Mrkdwn::mentions([&here, &group]);
    let mut message = Message::new(PlainText::line("<!channel>", 99));
    message.mention(mentions.clone());
    message.blocks().summary(PlainText::line("t", 9), Some(mentions), None);
    let value = sent(message);
    assert_eq!(value["text"], "&lt;!channel&gt; <!here> <!subteam^S0614TZR7>");
    assert_eq!(value.get("mrkdwn"), None);
    assert_eq!(value["blocks"][0]["fields"][0]["text"], "<!here> <!subteam^S0614TZR7>");
    let many = Mrkdwn::mentions(std::iter::repeat_n(&group, 500));
    let most = serde_json::to_value(&many).expect("JSON")["text"].as_str().map(units);
    assert!(most.is_some_and(|most| (1900..=2000).contains(&most)), "{most:?}");
}
