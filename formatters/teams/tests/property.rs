//! Any legal event gives a card that arrives and in which nothing of the event works as markup. The
//! validator below knows FORMATS, sections 2 and 9, and nothing of the formatter.

use heraldry_format_teams::Teams;
use heraldry_formatter::golden::is_compact;
use heraldry_formatter::testing::{samples, strategy};
use heraldry_formatter::{Context, RawEvent, describe, format};
use proptest::prelude::*;
use serde_json::{Value, json};

fn body(event: &RawEvent, context: &Context) -> String {
    let payload = format::<Teams>(event, context, "{}").expect("rendered");
    assert_eq!(payload.content_type, "application/json; charset=utf-8");
    assert!(payload.headers.is_empty());
    String::from_utf8(payload.body).expect("UTF-8")
}

fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object[member].as_str().unwrap_or_else(|| panic!("{member} is a string: {object}"))
}

fn list<'a>(object: &'a Value, member: &str) -> &'a Vec<Value> {
    let list = object[member].as_array().unwrap_or_else(|| panic!("{member} is a list: {object}"));
    assert!(!list.is_empty(), "{member} is empty: {object}");
    list
}

fn members(object: &Value, allowed: &[&str]) {
    for name in object.as_object().expect("an object").keys() {
        assert!(allowed.contains(&name.as_str()), "{name} in {object}");
    }
}

fn check_characters(text: &str) {
    assert!(!text.is_empty());
    assert!(!text.contains("{{"), "{text}");
    for c in text.chars() {
        assert!(c == '\n' || !c.is_control(), "{c:?} in {text}");
        assert!(!matches!(c, '\u{2028}' | '\u{2029}'), "{c:?} in {text}");
        assert!(
            !matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}'),
            "{c:?} in {text}"
        );
    }
}

/// Each character that Markdown may read stands behind a backslash.
fn check_escaped(text: &str) {
    check_characters(text);
    assert!(!text.contains('\n'), "{text}");
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\\' {
            let escaped = rest.next().expect("something behind the backslash");
            assert!(r"\`*_{}[]()#+-.!|<>~&".contains(escaped), "{escaped:?} in {text}");
        } else {
            assert!(!r"`*_{}[]()#+-.!|<>~&".contains(c), "{c:?} in {text}");
        }
    }
}

fn check_url(url: &str) {
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://")).expect(url);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    assert!(!authority.is_empty() && !authority.contains('@'), "{url}");
    assert!(url.bytes().all(|b| b.is_ascii_graphic() && !b"|<>\"\\{}".contains(&b)), "{url}");
}

fn check_element(element: &Value) {
    match element["type"].as_str() {
        Some("Container") => {
            members(element, &["type", "style", "bleed", "items"]);
            assert!(["default", "accent", "warning", "attention"].contains(&text(element, "style")));
            assert_eq!(element["bleed"], true);
            list(element, "items").iter().for_each(check_element);
        }
        Some("RichTextBlock") => {
            members(element, &["type", "inlines"]);
            for run in list(element, "inlines") {
                members(run, &["type", "text", "size", "weight", "fontType"]);
                assert_eq!(run["type"], "TextRun");
                check_characters(text(run, "text"));
            }
        }
        Some("FactSet") => {
            members(element, &["type", "facts"]);
            for fact in list(element, "facts") {
                members(fact, &["title", "value"]);
                check_escaped(text(fact, "title"));
                check_escaped(text(fact, "value"));
            }
        }
        other => panic!("an element of type {other:?}"),
    }
}

fn check_card(event: &RawEvent) {
    let body = body(event, &samples::http());
    assert!(body.len() <= 18_000, "{} bytes", body.len());
    assert!(is_compact(&body));
    // As a .NET writer would encode it anew, at its most careful.
    let careful: usize =
        body.chars().map(|c| if c.is_ascii() && !"<>&'+".contains(c) { 1 } else { 6 * c.len_utf16() }).sum();
    assert!(careful <= 28_672, "{careful} bytes");

    let message: Value = serde_json::from_str(&body).expect("JSON");
    members(&message, &["type", "attachments"]);
    assert_eq!(message["type"], "message");
    let attachments = list(&message, "attachments");
    assert_eq!(attachments.len(), 1);
    members(&attachments[0], &["contentType", "contentUrl", "content"]);
    assert_eq!(attachments[0]["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(attachments[0].get("contentUrl"), Some(&Value::Null));
    let card = &attachments[0]["content"];
    members(card, &["type", "$schema", "version", "msteams", "body", "actions"]);
    assert_eq!(card["type"], "AdaptiveCard");
    assert_eq!(card["$schema"], "http://adaptivecards.io/schemas/adaptive-card.json");
    assert_eq!(card["version"], "1.4");
    assert_eq!(card["msteams"], json!({"width": "Full"}));
    let elements = list(card, "body");
    assert_eq!(elements[0]["type"], "Container");
    elements.iter().for_each(check_element);
    if card.get("actions").is_some() {
        let actions = list(card, "actions");
        assert!(actions.len() <= 3);
        for action in actions {
            members(action, &["type", "title", "url"]);
            assert_eq!(action["type"], "Action.OpenUrl");
            assert!(!text(action, "title").is_empty());
            check_url(text(action, "url"));
        }
    }
    let title = text(&elements[0]["items"][0]["inlines"][0], "text");
    check_carries(event, title, &all_text(card));
}

/// All strings of a document, facts also without their backslashes, one a line.
fn all_text(document: &Value) -> String {
    match document {
        Value::String(text) => {
            let mut rest = text.chars();
            let mut plain = String::new();
            while let Some(c) = rest.next() {
                plain.extend(if c == '\\' { rest.next() } else { Some(c) });
            }
            format!("{text}\n{plain}\n")
        }
        Value::Array(items) => items.iter().map(all_text).collect(),
        Value::Object(members) => members.values().map(all_text).collect(),
        _ => String::new(),
    }
}

/// The values that every output for people must show, as far as they are strings: their beginning, up to
/// the first character that may not stay as it is.
fn check_carries(event: &RawEvent, title: &str, shown: &str) {
    let posted: Value = serde_json::from_str(&event.json).expect("an event");
    let group = |pointer: &str| pointer.split('/').nth(2).unwrap_or_default().to_owned();
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
        let belongs = match group(pointer).as_str() {
            "finding" => event.type_.contains("finding"),
            "authorization" => event.type_ == "engagement_signed",
            "name" => true,
            group => event.type_.starts_with(group),
        };
        let Some(text) = posted.pointer(pointer).and_then(Value::as_str).filter(|_| belongs) else {
            continue;
        };
        let beginning: String = text
            .trim_start()
            .chars()
            .take(14)
            .take_while(|&c| !c.is_control() && c != '{' && !matches!(c, '\u{2000}'..='\u{206F}' | '\u{FEFF}'))
            .collect();
        let beginning = beginning.trim_end();
        assert!(shown.contains(beginning), "{pointer}: {beginning:?} is not in\n{shown}");
        if pointer == "/data/finding/title" && !beginning.is_empty() {
            assert!(title.starts_with(beginning), "{beginning:?} is not the title {title:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_event_gives_a_card_that_arrives(event in strategy::legal_event()) {
        check_card(&event);
    }
}

#[test]
fn every_sample_gives_a_card_that_arrives() {
    for sample in samples::all() {
        check_card(&sample.event);
    }
    check_card(&samples::finding_of_length(200 * 1024));
}

/// Everything as long as it gets, of what takes most bytes: the last level has to hold it.
#[test]
fn the_worst_event_gives_a_card_that_arrives() {
    for piece in ["\\", "{", "<", "&", "\"", "漢", "😀", "\n", "'+"] {
        let long = piece.repeat(900);
        let links = [
            format!("https://a.example/?{}", "&".repeat(660)),
            format!("https://a.example/{}", "x".repeat(1_980)),
            long.clone(),
        ];
        for link in links {
            for kind in ["finding_verified", "retest_completed", "engagement_completed", "monitor_alert"] {
                let items = vec![long.clone(); 12];
                let group = json!({
                    "id": long, "title": long, "cvss": long, "cwe": items, "cve": items, "target": long,
                    "ip": long, "parameter": long, "description": long, "remediation": long, "evidence": long,
                    "references": items, "tags": items, "tool": long, "occurrences": long, "url": link,
                    "report_url": link, "fixed": items, "still_open": items, "regressed": items, "name": long,
                    "message": long, "started_at": long, "completed_at": long, "findings": long,
                });
                let event = json!({
                    "type": kind, "id": "i", "occurred_at": "2026-11-17T10:12:45.120Z",
                    "engagement": {"id": long, "name": long, "client": long},
                    "data": {
                        "finding": group, "retest": group, "summary": group, "monitor": group,
                        "verification": {"method": long, "verified_by": long, "poc_url": link},
                    },
                });
                check_card(&samples::event(&event.to_string()));
            }
        }
    }
}

#[test]
fn a_smaller_limit_is_kept_too() {
    let sample = samples::all().into_iter().find(|sample| sample.name == "finding_added--long");
    let event = sample.expect("the sample").event;
    let context = Context { max_bytes: Some(4_000), ..samples::http() };
    assert!(body(&event, &samples::http()).len() > 4_000);
    assert!(body(&event, &context).len() <= 4_000);
}

#[test]
fn the_manifest_says_what_it_is() {
    let manifest: Value = serde_json::from_str(&describe::<Teams>()).expect("JSON");
    assert_eq!(manifest["name"], "teams");
    assert_eq!(manifest["kind"], "document");
    assert_eq!(manifest["join"], "none");
    assert_eq!(manifest["options_schema"]["additionalProperties"], false);
}
