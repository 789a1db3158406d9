//! The golden payloads of the formatters in this repository.

use std::path::{Path, PathBuf};

use heraldry_looks::{Drawing, Language, draw};
use serde_json::Value;

use crate::page;

fn folder(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../formatters").join(format)
}

/// Returns the golden payloads of a format: file name, content type, body.
pub fn payloads(format: &str) -> Vec<(String, String, Vec<u8>)> {
    let mut payloads = Vec::new();
    for part in ["golden", "golden-digest", "golden-cut"] {
        let Ok(entries) = std::fs::read_dir(folder(format).join(part)) else { continue };
        for entry in entries {
            let path = entry.expect("a folder that can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a golden file that can be read");
            if let Ok(golden) = serde_json::from_str::<Value>(&text)
                && let Some(content_type) = golden["content_type"].as_str()
            {
                payloads.push((name, content_type.to_owned(), golden["body"].to_string().into_bytes()));
            } else if let Some((head, body)) = text.split_once("\n\n") {
                let content_type = head.lines().find_map(|line| line.strip_prefix("Content-Type: "));
                payloads.push((name, content_type.unwrap_or_default().to_owned(), body.trim_end().into()));
            }
        }
    }
    payloads.sort();
    assert!(payloads.len() > 40, "{format} has {} payloads", payloads.len());
    payloads
}

fn drawn(format: &str) -> impl Iterator<Item = (String, Drawing, Vec<u8>)> {
    payloads(format).into_iter().map(|(name, content_type, body)| (name, draw(&content_type, &body), body))
}

#[test]
fn chat_messages_are_drawn_whole() {
    for (format, language) in [("teams", Language::Cards), ("slack", Language::Blocks), ("discord", Language::Embeds)] {
        for (name, drawing, _) in drawn(format) {
            assert_eq!(drawing.language, language, "{format} {name}");
            page::parse(&drawing);
            assert!(!drawing.fragment.contains("Not drawn"), "{format} {name}: {}", drawing.fragment);
            assert!(!drawing.fragment.contains("Over a limit"), "{format} {name}: {}", drawing.fragment);
        }
    }
}

#[test]
fn event_lines_are_drawn_as_tables() {
    for (format, language) in [("syslog", Language::Syslog), ("cef", Language::Cef), ("leef", Language::Leef)] {
        for (name, drawing, _) in drawn(format) {
            assert_eq!(drawing.language, language, "{format} {name}");
            page::parse(&drawing);
            assert!(drawing.fragment.contains("<table class=\"facts\">"), "{format} {name}");
            assert!(!drawing.fragment.contains("(no key)"), "{format} {name}: {}", drawing.fragment);
        }
    }
}

#[test]
fn other_formats_are_json_or_text() {
    for format in ["json", "pagerduty", "ocsf", "splunk-hec"] {
        for (name, drawing, body) in drawn(format) {
            let is_json = serde_json::from_slice::<Value>(&body).is_ok();
            let expected: &[_] =
                if is_json { &[Language::Json] } else { &[Language::JsonSequence, Language::Text, Language::Empty] };
            assert!(expected.contains(&drawing.language), "{format} {name} is {:?}", drawing.language);
            page::parse(&drawing);
        }
    }
}

/// Collects the texts of a card in the order in which they stand.
fn texts(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(members) => {
            // An element has one of these at most; serde_json sorts the names.
            for name in ["text", "title", "items", "inlines", "columns", "body", "actions"] {
                match &members.get(name) {
                    Some(Value::String(text)) => out.push_str(text),
                    Some(inner) => texts(inner, out),
                    None => {}
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_text_of_each_card_is_drawn_in_its_order() {
    for (name, drawing, body) in drawn("teams") {
        let body: Value = serde_json::from_slice(&body).unwrap();
        let mut expected = String::new();
        texts(&body["attachments"][0]["content"], &mut expected);
        assert_eq!(page::message(&drawing), page::squeezed(&expected), "{name}");
    }
}

#[test]
fn an_event_line_shows_each_value() {
    let (_, drawing, _) = drawn("cef").find(|(name, ..)| name == "finding_added--hostile-markup.txt").unwrap();
    let text = page::everything(&drawing);
    for value in [
        "StoredXSS:<script>alert(1)</script><!channel><http://evil.example|bank>[a](javascript:x){{DATE()}}|a=b\\",
        "https://shop.contoso.example/?q=\"><imgsrc=xonerror=alert(1)>&r=a|b=c\\d]",
        "a=bcs1=injected|CEF:0|x|y",
        "cs1(objectId)F-1|=]\"\\",
        "7(high)",
    ] {
        assert!(text.contains(value), "{value} in {text}");
    }
}
