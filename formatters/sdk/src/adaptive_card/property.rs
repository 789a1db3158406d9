//! Property tests: any text gives a card that Teams accepts, and the text can be read back. The reader is written from
//! FORMATS, sections 2 and 9, independently of the builder.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::testing::cleaned::{assert_whole_or_cut, cleaned};
use crate::testing::strategy::{text, url};

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A run's text as a reader sees it.
fn read(run: &Value) -> String {
    let text = run["text"].as_str().expect("a string");
    assert!(!text.is_empty() && !text.contains("{{"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    text.replace('\u{200B}', "")
}

/// A fact's text after Markdown processing.
fn unescaped(text: &Value) -> String {
    let mut out = String::new();
    let mut rest = text.as_str().expect("a string").chars();
    while let Some(c) = rest.next() {
        let special = |c: char| r"\`*_{}[]()#+-.!|<>~&".contains(c);
        if c == '\\' {
            out.extend(rest.next().filter(|c| special(*c)));
        } else {
            assert!(!special(c) && !c.is_control(), "{c:?} in {text}");
            out.push(c);
        }
    }
    out
}

fn check(read: Option<&str>, text: &str, line_break: &str, limit: usize) {
    let clean = cleaned(text, "", line_break);
    let clean = clean.trim();
    match read {
        None => assert!(crate::text::is_blank(clean) || units(clean) > limit, "{text:?} is missing"),
        Some(read) => {
            let without = |text: &str| text.replace('\u{200B}', "");
            assert_whole_or_cut(&without(clean), &without(read), units(clean) <= limit, "...");
        }
    }
}

fn json(card: &Card<'_>) -> Value {
    serde_json::to_value(card).expect("JSON")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_comes_back(text in text(), limit in prop_oneof![0_usize..40, 100_usize..5_000]) {
        for (runs, line_break) in [([Run::line(&*text, limit).bold()], " "), ([Run::paragraphs(&*text, limit)], "\n\n")] {
            let mut card = Card::new(Width::Full);
            card.push(Element::container(Style::Attention, [Element::text(runs)]));
            let card = json(&card);
            let run = card.pointer("/attachments/0/content/body/0/items/0/inlines/0").map(read);
            check(run.as_deref(), &text, line_break, limit);
        }
        let mut card = Card::new(Width::Full);
        card.push(Element::row(Run::line("name", 9), Run::line(&*text, limit)));
        let shown = json(&card);
        let shown = shown.pointer("/attachments/0/content/body/0/columns/1/items/0/inlines/0").map(read);
        check(shown.as_deref(), &text, " ", limit);
        let mut card = Card::new(Width::Full);
        card.push(Element::facts([Fact::new(&text, &text, limit)]));
        let card = json(&card);
        let fact = card.pointer("/attachments/0/content/body/0/facts/0");
        for member in ["title", "value"] {
            check(fact.map(|fact| unescaped(&fact[member])).as_deref(), &text, " ", limit);
        }
    }

    #[test]
    fn a_text_of_lines_comes_back_line_by_line(text in text(), limit in 3_usize..5_000, most in 1_usize..20) {
        let mut card = Card::new(Width::Default);
        card.extend(Element::lines(&text, limit, most, Run::monospace));
        let card = json(&card);
        let body = card["attachments"][0]["content"]["body"].as_array().expect("a list");
        prop_assert!(body.len() <= most + 1);
        let shown: Vec<_> = body.iter().map(|block| read(&block["inlines"][0])).collect();
        prop_assert!(shown.iter().all(|line| !line.contains('\n')));
        // Invisible characters may have been read as an empty line, or truncated.
        let visible = |text: &str| text.replace(|c: char| c != '\n' && !c.is_whitespace() && crate::text::is_blank(c.encode_utf8(&mut [0; 4])), "");
        let clean = visible(&cleaned(&text, "", "\n"));
        let sent: Vec<_> = clean.trim().lines().map(str::trim).filter(|line| !crate::text::is_blank(line)).collect();
        let shown: Vec<_> = shown.iter().map(|line| visible(line).trim().to_owned()).collect();
        let whole = units(cleaned(&text, "", "\n").trim()) <= limit && sent.len() <= most;
        assert_whole_or_cut(&sent.join("\n"), &shown.join("\n"), whole, "...");
    }

    #[test]
    fn parts_share_one_limit(text in text(), most in 0_usize..300, limit in 0_usize..400) {
        let run = Run::compose(limit).words("{").value(&text, most).words("{\n").value(&text, most).finish();
        let run = serde_json::to_value(&run).expect("JSON");
        if run["text"] != "" {
            prop_assert!(units(&read(&run)) <= limit);
        }
    }

    #[test]
    fn only_web_urls_become_buttons(title in text(), address in url()) {
        if let Some(action) = Action::open(&title, &address, 500) {
            let action = serde_json::to_value(&action).expect("JSON");
            prop_assert_eq!(&action["type"], "Action.OpenUrl");
            let url = action["url"].as_str().expect("a string");
            prop_assert!(url.starts_with("https://") || url.starts_with("http://"));
            assert!(url.len() <= 500 && url.bytes().all(|b| b.is_ascii_graphic() && !b"|<>\"\\{}".contains(&b)));
            let shown = action["title"].as_str().expect("a string");
            assert!(!shown.contains("{{"));
            check(Some(shown), &title, " ", 80);
        }
    }

    #[test]
    fn a_payload_is_within_the_limits(text in text(), max in prop::option::of(300_u32..20_000)) {
        let sent = payload(max, &[100_000, 4_000, 500, 10], |&limit| {
            let mut card = Card::new(Width::Full);
            card.push(Element::text([Run::paragraphs(&text, limit)]));
            card
        });
        match sent {
            Ok(payload) => {
                prop_assert!(payload.body.len() <= max.unwrap_or(18_000).min(18_000) as usize);
                let worst: usize = String::from_utf8(payload.body).expect("UTF-8").chars()
                    .map(|c| if c.is_ascii() && !"<>&'+".contains(c) { 1 } else { 6 * c.len_utf16() }).sum();
                prop_assert!(worst <= 28_672);
            }
            Err(error) => prop_assert!(max.is_some_and(|max| max < 500), "{:?}", error),
        }
    }
}

#[test]
fn a_card_has_six_buttons_and_no_empty_part() {
    let mut card = Card::new(Width::Full);
    let action = || Action::open("Open", "https://a.example/", 99);
    assert!((0..6).all(|_| card.add_action(action())));
    assert!(!card.add_action(action()) && !card.add_action(None));
    card.push(Element::container(Style::Default, [Element::text([Run::line("\0", 9)]), Element::facts([])]));
    card.push(Element::text([]));
    card.push(Element::panel([Element::row(Run::line("name", 9), Run::line("\u{202E}", 9))]));
    card.push(Element::columns([vec![], vec![Element::text([])]]).wide_spacing());
    card.extend(Element::lines(" \n", 9, 9, |run| run));
    let card = json(&card);
    let content = &card["attachments"][0]["content"];
    assert_eq!(content["actions"].as_array().map(Vec::len), Some(6));
    assert_eq!(content["body"], Value::Array(vec![]));
}

#[test]
fn only_a_full_width_is_serialized() {
    let msteams = |width| json(&Card::new(width))["attachments"][0]["content"].get("msteams").cloned();
    assert_eq!(msteams(Width::Full), Some(serde_json::json!({"width": "Full"})));
    assert_eq!(msteams(Width::Default), None);
    let read: Vec<Width> = serde_json::from_str(r#"["full","default"]"#).expect("widths");
    assert_eq!(read, [Width::Full, Width::Default]);
    assert!(serde_json::from_str::<Width>(r#""Full""#).is_err());
}
