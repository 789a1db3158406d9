//! Any legal event gives a message that Slack takes and in which nothing of the event works as markup.
//! The validator below knows FORMATS, sections 1 and 9, and nothing of the formatter.

use heraldry_format_slack::Slack;
use heraldry_formatter::golden::is_compact;
use heraldry_formatter::testing::{samples, strategy};
use heraldry_formatter::{RawEvent, describe, format};
use proptest::prelude::*;
use serde_json::Value;

fn message(event: &RawEvent) -> Value {
    let payload = format::<Slack>(event, &samples::http(), "{}").expect("rendered");
    assert_eq!(payload.content_type, "application/json; charset=utf-8");
    assert!(payload.headers.is_empty());
    let body = std::str::from_utf8(&payload.body).expect("UTF-8");
    assert!(is_compact(body));
    serde_json::from_str(body).expect("JSON")
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object[member].as_str().unwrap_or_else(|| panic!("{member} is a string: {object}"))
}

fn members(object: &Value, allowed: &[&str]) {
    for name in object.as_object().expect("an object").keys() {
        assert!(allowed.contains(&name.as_str()), "{name} in {object}");
    }
}

/// No control but the line feed, no bidirectional control.
fn check_characters(text: &str) {
    for c in text.chars() {
        assert!(c == '\n' || !c.is_control(), "{c:?} in {text}");
        assert!(!matches!(c, '\u{2028}' | '\u{2029}'), "{c:?} in {text}");
        assert!(
            !matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}'),
            "{c:?} in {text}"
        );
    }
}

/// Every `<`, `>` and `&` is an entity.
fn check_escaped(text: &str) {
    check_characters(text);
    assert!(!text.contains(['<', '>']), "{text}");
    for (at, _) in text.match_indices('&') {
        let entity = &text[at..];
        assert!(["&amp;", "&lt;", "&gt;"].iter().any(|known| entity.starts_with(known)), "{text}");
    }
}

/// A text object: `plain_text` with escaped text, or `mrkdwn` that is a fence or the event's date.
fn check_text<'a>(object: &'a Value, most: usize, event: &RawEvent) -> &'a str {
    let text = text(object, "text");
    let length = units(text);
    assert!((1..=most).contains(&length), "{length} of {most}: {text}");
    match object["type"].as_str() {
        Some("plain_text") => {
            members(object, &["type", "text", "emoji"]);
            assert_eq!(object["emoji"], false);
            check_escaped(text);
        }
        Some("mrkdwn") => {
            members(object, &["type", "text", "verbatim"]);
            assert_eq!(object["verbatim"], true);
            if let Some(date) = text.strip_prefix("<!date^") {
                let (epoch, rest) = date.split_once('^').expect("a format");
                assert!(epoch.bytes().all(|b| b.is_ascii_digit()));
                assert_eq!(rest, format!("{{date_short}} {{time}}|{}>", event.occurred_at));
            } else {
                let code = text.strip_prefix("```\n").and_then(|t| t.strip_suffix("\n```"));
                let code = code.expect("a fence");
                check_escaped(code);
                assert!(!code.contains("``"), "{text}");
                assert!(length <= 500, "{length}");
            }
        }
        other => panic!("a text object of type {other:?}"),
    }
    text
}

fn check_url(url: &str) {
    assert!(units(url) <= 3000);
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://")).expect(url);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    assert!(!authority.is_empty() && !authority.contains('@'), "{url}");
    assert!(url.bytes().all(|b| b.is_ascii_graphic() && !b"|<>\"\\".contains(&b)), "{url}");
}

fn check_block(block: &Value, event: &RawEvent) {
    match block["type"].as_str() {
        Some("header") => {
            members(block, &["type", "text"]);
            assert_eq!(block["text"]["type"], "plain_text");
            assert!(!check_text(&block["text"], 150, event).contains('\n'));
        }
        Some("section") => {
            members(block, &["type", "text", "fields"]);
            assert!(block.get("text").is_some() || block.get("fields").is_some());
            if let Some(text) = block.get("text") {
                check_text(text, 3000, event);
            }
            if let Some(fields) = block.get("fields") {
                let fields = fields.as_array().expect("a list");
                assert!((1..=10).contains(&fields.len()));
                for field in fields {
                    check_text(field, 2000, event);
                }
            }
        }
        Some("actions") => {
            members(block, &["type", "elements"]);
            let buttons = block["elements"].as_array().expect("a list");
            assert!((1..=25).contains(&buttons.len()));
            let mut ids: Vec<_> = buttons.iter().map(|button| text(button, "action_id")).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), buttons.len());
            for button in buttons {
                members(button, &["type", "text", "url", "action_id"]);
                assert_eq!(button["type"], "button");
                assert_eq!(button["text"]["type"], "plain_text");
                check_text(&button["text"], 75, event);
                assert!((1..=255).contains(&units(text(button, "action_id"))));
                check_url(text(button, "url"));
            }
        }
        Some("context") => {
            members(block, &["type", "elements"]);
            let elements = block["elements"].as_array().expect("a list");
            assert!((1..=10).contains(&elements.len()));
            for element in elements {
                check_text(element, 3000, event);
            }
        }
        other => panic!("a block of type {other:?}"),
    }
}

fn check_message(event: &RawEvent) {
    let message = message(event);
    members(&message, &["text", "mrkdwn", "unfurl_links", "unfurl_media", "attachments"]);
    let fallback = text(&message, "text");
    assert!((1..=300).contains(&units(fallback)), "{fallback}");
    check_escaped(fallback);
    let word = fallback.split(':').next().unwrap_or_default();
    assert!(["INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"].contains(&word), "{fallback}");
    let attachments = message["attachments"].as_array().expect("a list");
    assert_eq!(attachments.len(), 1);
    members(&attachments[0], &["color", "blocks"]);
    let color = text(&attachments[0], "color");
    assert!(color.len() == 7 && color.starts_with('#'), "{color}");
    let blocks = attachments[0]["blocks"].as_array().expect("a list");
    assert!((1..=50).contains(&blocks.len()));
    assert_eq!(blocks[0]["type"], "header");
    for block in blocks {
        check_block(block, event);
    }
    check_carries(event, &all_text(&message["attachments"]));
}

/// All strings of a document, unescaped, one a line.
fn all_text(document: &Value) -> String {
    match document {
        Value::String(text) => text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") + "\n",
        Value::Array(items) => items.iter().map(all_text).collect(),
        Value::Object(members) => members.values().map(all_text).collect(),
        _ => String::new(),
    }
}

/// The values that every output for people must show, as far as they are strings: their beginning, up to
/// the first character that may not stay as it is.
fn check_carries(event: &RawEvent, shown: &str) {
    let event: Value = serde_json::from_str(&event.json).expect("an event");
    for pointer in [
        "/data/finding/title",
        "/data/finding/target",
        "/engagement/name",
        "/data/report/title",
        "/data/phase/name",
        "/data/monitor/name",
        "/data/monitor/message",
        "/data/monitor/target",
        "/data/authorization/signer",
    ] {
        let group = pointer.split('/').nth(2).unwrap_or_default();
        let kind = event["type"].as_str().expect("a type");
        let belongs = match group {
            "finding" => kind.contains("finding"),
            "authorization" => kind == "engagement_signed",
            "name" => true,
            group => kind.starts_with(group),
        };
        let Some(text) = event.pointer(pointer).and_then(Value::as_str).filter(|_| belongs) else {
            continue;
        };
        let text = text.trim_start();
        let beginning: String = text
            .chars()
            .take(25)
            .take_while(|&c| !c.is_control() && !matches!(c, '\u{2000}'..='\u{206F}' | '\u{FEFF}'))
            .collect();
        let beginning = beginning.trim_end();
        assert!(shown.contains(beginning), "{pointer}: {beginning:?} is not in\n{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_event_gives_a_message_that_slack_takes(event in strategy::legal_event()) {
        check_message(&event);
    }
}

#[test]
fn every_sample_gives_a_message_that_slack_takes() {
    for sample in samples::all() {
        check_message(&sample.event);
    }
    check_message(&samples::finding_of_length(200 * 1024));
}

#[test]
fn what_was_cut_says_so() {
    let sample = samples::all().into_iter().find(|sample| sample.name == "finding_added--long");
    let message = message(&sample.expect("the sample").event);
    let blocks = message["attachments"][0]["blocks"].as_array().expect("a list");
    let texts = blocks.iter().filter_map(|block| block["text"]["text"].as_str());
    let cut = texts.filter(|text| text.trim_end_matches("\n```").ends_with("...")).count();
    assert_eq!(cut, 3, "header, description, evidence");
}

#[test]
fn a_wrong_time_is_text() {
    let mut event = samples::all()[0].event.clone();
    for time in ["2026-11-17T10:12:45.120Z|<!channel>", "yesterday", "1969-12-31T23:59:59.000Z"] {
        event.occurred_at = time.into();
        let message = message(&event).to_string();
        assert!(!message.contains("<!"), "{message}");
    }
}

#[test]
fn the_manifest_says_what_it_is() {
    let manifest: Value = serde_json::from_str(&describe::<Slack>()).expect("JSON");
    assert_eq!(manifest["name"], "slack");
    assert_eq!(manifest["kind"], "document");
    assert_eq!(manifest["join"], "none");
    assert_eq!(manifest["options_schema"]["additionalProperties"], false);
}
