//! Property tests: any legal event gives a message that Discord accepts and in which no text of the event acts as
//! markup. The reader below is written from Discord's limits and Markdown, independently of the formatter.

#[path = "property/digest.rs"]
mod digest;

use heraldry_format_discord::Discord;
use heraldry_formatter::golden::is_compact;
use heraldry_formatter::testing::cleaned::{assert_whole_or_cut, cleaned};
use heraldry_formatter::testing::{manifest, samples, strategy};
use heraldry_formatter::text::is_blank;
use heraldry_formatter::{Answer, Context, Error, Interpreter, RawEvent, Verdict, format};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

const COMPACT: &str = r#"{"compact":true}"#;
const EMOJI: [&str; 6] = ["⚪", "🔵", "🟡", "🟠", "🔴", "✅"];
const COLORS: [u64; 6] = [0x6B_72_80, 0x25_63_EB, 0xD9_77_06, 0xEA_58_0C, 0xB0_00_20, 0x15_80_3D];
/// Types whose compact message has a second line.
const TWO_LINES: [&str; 8] = [
    "monitor_alert",
    "webhook_failing",
    "webhook_disabled",
    "webhook_recovered",
    "delivery_failed",
    "formatter_rejected",
    "formatter_rolled_back",
    "host_degraded",
];
const LINKS: [&str; 8] = [
    "Open finding",
    "Open proof of concept",
    "Open report",
    "Open authorization",
    "Open retest",
    "Open surface",
    "Open monitor",
    "Open phase",
];

fn message(event: &RawEvent, options: &str) -> Value {
    let payload = format::<Discord>(event, &samples::http(), options).expect("rendered");
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

/// No control except for the line feed, no bidirectional control, no noncharacter, and at least one visible character.
fn check_characters(text: &str) {
    assert!(!text.trim().is_empty(), "blank");
    for c in text.chars() {
        assert!(c == '\n' || !c.is_control(), "{c:?} in {text}");
        assert!(!matches!(c, '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}'), "{c:?} in {text}");
        assert!(!matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'), "{c:?} in {text}");
    }
}

fn check_url(url: &str) {
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://")).expect(url);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    assert!(!authority.is_empty() && !authority.contains('@'), "{url}");
    assert!(url.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\|`".contains(&b)), "{url}");
}

/// The text that a reader sees. The only markup allowed is code blocks on lines of their own and links with a label of
/// [`LINKS`].
fn read(markdown: &str) -> String {
    check_characters(markdown);
    let mut shown = String::new();
    let mut lines = markdown.split('\n');
    while let Some(line) = lines.next() {
        if line == "```" {
            let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let code = code.join("\n");
            assert!(!code.contains("``") && !code.trim().is_empty(), "{markdown}");
            shown.push_str(&code.replace("`\u{200B}`", "``").replace("`\u{200B}`", "``"));
        } else {
            read_line(line, &mut shown);
        }
        shown.push('\n');
    }
    assert_eq!(markdown.lines().filter(|line| *line == "```").count() % 2, 0, "{markdown}");
    shown.pop();
    shown
}

fn read_line(line: &str, shown: &mut String) {
    // Lists, headings, quotes, small print: also after invisible characters that Discord drops.
    let start = line.trim_start_matches(|c: char| !c.is_ascii_graphic());
    assert!(!start.starts_with(['-', '+', '#', '>']), "{line}");
    let behind_number = start.trim_start_matches(|c: char| c.is_ascii_digit());
    assert!(behind_number == start || !behind_number.starts_with(". "), "{line}");
    let ascii: String = line.to_lowercase().chars().filter(char::is_ascii).collect();
    for invitation in ["discord.gg", "discord.com/invite", "discordapp.com/invite"] {
        assert!(!ascii.contains(invitation), "{line}");
    }
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if c == '\\' {
            let escaped = rest[1..].chars().next().expect("something behind the backslash");
            assert!(escaped.is_ascii_punctuation(), "{line}");
            shown.push(escaped);
            rest = &rest[2..];
        } else if c == '[' {
            let (label, behind) = rest[1..].split_once("](").unwrap_or_else(|| panic!("{line}"));
            assert!(LINKS.contains(&label), "{line}");
            let (url, behind) = behind.split_once(')').expect("the end of a link");
            check_url(url);
            assert!(!url.contains('('), "{url}");
            shown.push_str(label);
            rest = behind;
        } else {
            // A colon before a space starts neither an emoji nor a URL.
            let is_markup = "`*_~|<]@:".contains(c) && !rest.starts_with(": ");
            assert!(!is_markup, "{c} works as markup in {line}");
            shown.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
}

/// The text as a reader sees it if Discord drops nothing.
fn sent(text: &str) -> String {
    let is_character = |c: &char| {
        let code = u32::from(*c);
        !(0xFDD0..=0xFDEF).contains(&code) && code & 0xFFFE != 0xFFFE
    };
    cleaned(text, "", " ").trim().chars().filter(is_character).collect()
}

/// The longest that a text may be once escaped.
fn escaped(text: &str) -> usize {
    units(text) + text.chars().filter(char::is_ascii_punctuation).count()
}

fn check_embed(event: &RawEvent) {
    let message = message(event, "{}");
    members(&message, &["embeds", "allowed_mentions"]);
    assert_eq!(message["allowed_mentions"], json!({"parse": []}));
    let embeds = message["embeds"].as_array().expect("a list");
    assert_eq!(embeds.len(), 1);
    let embed = &embeds[0];
    members(embed, &["author", "title", "url", "description", "color", "fields", "footer", "timestamp"]);
    let title = text(embed, "title");
    assert!(units(title) <= 256 && !title.contains('\n'), "{title}");
    let emoji = EMOJI.iter().position(|emoji| title.starts_with(emoji)).expect("an emoji");
    assert_eq!(embed["color"], json!(COLORS[emoji]));
    assert_eq!(EMOJI[emoji] == "✅", event.type_ == "webhook_recovered", "{title}");
    let mut total = units(title);
    let mut shown = read(title) + "\n";
    if let Some(posted) = posted_title(event) {
        let title = title.strip_prefix(EMOJI[emoji]).and_then(|title| title.strip_prefix(' ')).expect("a space");
        let sent = sent(&posted);
        let fits = escaped(&sent) <= 256 - 3;
        if is_blank(&sent) {
            assert!(["New finding", "Finding verified", "Critical finding"].contains(&title), "{title}");
        } else {
            assert_whole_or_cut(&sent, &read(title), fits, "...");
        }
    }
    if embed.get("url").is_some() {
        check_url(text(embed, "url"));
        assert!(text(embed, "url").len() <= 2048);
    }
    if embed.get("description").is_some() {
        let description = text(embed, "description");
        assert!((1..=4096).contains(&units(description)));
        total += units(description);
        shown += &(read(description) + "\n");
    }
    let none = Vec::new();
    let fields = embed.get("fields").map_or(&none, |fields| fields.as_array().expect("a list"));
    assert!(embed.get("fields").is_none() || (1..=25).contains(&fields.len()));
    for field in fields {
        members(field, &["name", "value", "inline"]);
        assert!(field["inline"].is_boolean());
        let (name, value) = (text(field, "name"), text(field, "value"));
        assert!((1..=256).contains(&units(name)) && (1..=1024).contains(&units(value)), "{field}");
        total += units(name) + units(value);
        shown += &(read(name) + ": " + &read(value) + "\n");
    }
    if embed.get("author").is_some() {
        members(&embed["author"], &["name"]);
        let author = text(&embed["author"], "name");
        assert!((1..=256).contains(&units(author)));
        check_characters(author);
        total += units(author);
        shown += &(author.to_owned() + "\n");
    }
    members(&embed["footer"], &["text"]);
    let footer = text(&embed["footer"], "text");
    assert!((1..=2048).contains(&units(footer)));
    check_characters(footer);
    total += units(footer);
    shown += footer;
    assert!(total <= 6000, "{total}");
    assert_eq!(text(embed, "timestamp"), event.occurred_at);
    check_carries(event, &shown);
}

fn check_line(event: &RawEvent) {
    let message = message(event, COMPACT);
    members(&message, &["content", "flags", "allowed_mentions"]);
    assert_eq!((&message["allowed_mentions"], &message["flags"]), (&json!({"parse": []}), &json!(4)));
    let content = text(&message, "content");
    assert!((1..=2000).contains(&units(content)));
    assert!(content.lines().count() <= if TWO_LINES.contains(&&*event.type_) { 2 } else { 1 }, "{content}");
    let emoji = EMOJI.iter().find(|emoji| content.starts_with(*emoji)).expect("an emoji");
    let (word, rest) =
        content[emoji.len()..].strip_prefix(" **").and_then(|rest| rest.split_once("**")).expect("a bold word");
    assert!(["INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"].contains(&word), "{content}");
    if !rest.trim().is_empty() {
        check_carries(event, &read(rest));
    }
}

fn posted_title(event: &RawEvent) -> Option<String> {
    let posted: Value = serde_json::from_str(&event.json).expect("an event");
    if event.type_.contains("finding") { posted["data"]["finding"]["title"].as_str().map(str::to_owned) } else { None }
}

/// The string values that every output for people must contain: each up to its first character that may have to be
/// changed.
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
        "/data/webhook/name",
        "/data/webhook/reason",
        "/data/delivery/webhook/name",
        "/data/delivery/reason",
        "/data/formatter/name",
        "/data/formatter/reason",
        "/data/host/reason",
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
        let beginning: String = text
            .trim_start()
            .chars()
            .take(25)
            .take_while(|&c| {
                !c.is_control() && !matches!(c, '\u{2000}'..='\u{206F}' | '\u{FEFF}' | '\u{FDD0}'..='\u{FDEF}')
            })
            .take_while(|&c| u32::from(c) & 0xFFFE != 0xFFFE)
            .collect();
        let beginning = beginning.trim_end();
        assert!(shown.contains(beginning), "{pointer}: {beginning:?} is not in\n{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_event_gives_a_message_that_discord_accepts(event in strategy::legal_event()) {
        check_embed(&event);
        check_line(&event);
    }

    /// All texts long: the worst case for the budgets.
    #[test]
    fn the_longest_event_fits(part in strategy::text(), verified in any::<bool>()) {
        let long = part.repeat(3000 / part.len().max(1) + 1);
        let names = ["title", "cvss", "cwe", "cve", "target", "parameter", "ip", "tool", "occurrences", "id", "description",
            "evidence", "remediation"];
        let mut finding: serde_json::Map<String, Value> = names.iter().map(|name| ((*name).into(), json!(long))).collect();
        for list in ["references", "tags"] {
            finding.insert(list.into(), json!(vec![&long; 40]));
        }
        finding.insert("title".into(), json!(format!("t{long}")));
        let data = json!({"finding": finding, "verification": {"verified_by": long, "method": long, "poc_url": long}});
        let kind = if verified { "finding_verified" } else { "finding_added" };
        let event = json!({"type": kind, "id": "i", "occurred_at": "2026-11-17T10:12:45.120Z", "data": data,
            "engagement": {"id": long, "name": long, "client": long}});
        check_embed(&samples::event(&event.to_string()));
        check_line(&samples::event(&event.to_string()));
    }

    #[test]
    fn any_response_has_a_verdict(
        status in 200_u16..600,
        body in prop_oneof![
            vec(any::<u8>(), 0..200),
            strategy::any_json().prop_map(|any| any.to_string().into_bytes()),
            (strategy::text(), strategy::any_json(), strategy::any_json()).prop_map(|(message, code, errors)| {
                json!({"message": message, "code": code, "errors": errors, "retry_after": code}).to_string().into_bytes()
            }),
        ],
    ) {
        let answer = Answer::new(status, body);
        let verdict = Discord::interpret(&answer);
        prop_assert_eq!(&verdict, &Discord::interpret(&answer));
        let reason = match verdict {
            Verdict::ByStatus => return Ok(()),
            Verdict::Delivered => panic!("the status says that"),
            Verdict::Retry(again) => again.reason,
            Verdict::Failed(refusal) => { prop_assert!(!refusal.deactivate); refusal.reason }
        };
        prop_assert!(!answer.is_success());
        prop_assert!(units(&reason) <= 450, "{}", reason);
        prop_assert!(!reason.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{202E}')), "{:?}", reason);
    }
}

#[test]
fn every_sample_gives_a_message_that_discord_accepts() {
    for sample in samples::all() {
        check_embed(&sample.event);
        check_line(&sample.event);
    }
    check_embed(&samples::finding_of_length(200 * 1024));
    check_line(&samples::finding_of_length(200 * 1024));
}

#[test]
fn short_text_is_complete() {
    let sample = samples::all().into_iter().find(|sample| sample.name == "finding_verified").expect("the sample");
    let shown = read(text(&message(&sample.event, "{}")["embeds"][0], "description"));
    assert_eq!(
        shown,
        "Verified by m.okafor: Three rows of the customers table were read through the search, then deleted from our notes\n\nOpen finding · Open proof of concept"
    );
    let shown = read(text(&message(&sample.event, COMPACT), "content").trim_start_matches("🔴 **CRITICAL** "));
    assert_eq!(
        shown,
        "SQL injection in the order search · Contoso Retail · Customer portal, autumn test · https://shop.contoso.example/orders/search?status=open · Open finding"
    );
}

#[test]
fn truncated_text_ends_with_an_ellipsis() {
    let sample = samples::all().into_iter().find(|sample| sample.name == "finding_added--long");
    let message = message(&sample.expect("the sample").event, "{}");
    let embed = &message["embeds"][0];
    assert!(text(embed, "title").ends_with("..."));
    let description = text(embed, "description");
    assert!(description.contains("...\n\n```\n") && description.contains("...\n```"), "{description}");
}

#[test]
fn an_invalid_time_is_shown_as_text() {
    let mut event = samples::all()[0].event.clone();
    event.occurred_at = "<@1> yesterday".into();
    let message = message(&event, "{}");
    let embed = &message["embeds"][0];
    assert!(embed.get("timestamp").is_none());
    let at = embed["fields"].as_array().expect("a list").iter().find(|field| field["name"] == "At").expect("the time");
    assert_eq!(read(text(at, "value")), "<@1> yesterday");
}

#[test]
fn a_lower_transport_limit_is_kept() {
    let sample = samples::all().into_iter().find(|sample| sample.name == "finding_added--long").expect("the sample");
    let bytes = |max: Option<u32>| {
        let context = Context { max_bytes: max, ..samples::http() };
        format::<Discord>(&sample.event, &context, "{}").map(|payload| payload.body.len())
    };
    let whole = bytes(None).expect("a payload");
    let less = bytes(Some(whole as u32 - 1)).expect("a payload");
    assert!(less < whole);
    assert!(matches!(bytes(Some(100)), Err(Error::Internal(_))));
}

#[test]
fn options_at_their_limits() {
    let event = &samples::all()[0].event;
    let render = |options: Value| format::<Discord>(event, &samples::http(), &options.to_string());
    for name in ["x", "Größe 漢字", &"x".repeat(80), &"😀".repeat(40)] {
        let body = render(json!({"username": name})).expect("legal").body;
        assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["username"], name);
    }
    for (name, bad) in [
        ("username", json!("")),
        ("username", json!("x".repeat(81))),
        ("username", json!("😀".repeat(41))),
        ("username", json!(" a")),
        ("username", json!("a ")),
        ("username", json!("a\nb")),
        ("username", json!("a\u{202E}b")),
        ("username", json!("\u{200B}")),
        ("username", json!("My DisCord bot")),
        ("username", json!("clyde2")),
        ("username", json!(null)),
        ("compact", json!("yes")),
        ("compact", json!(null)),
        ("thread", json!("1")),
    ] {
        match render(json!({name: bad.clone()})) {
            Err(Error::InvalidOptions(problems)) => assert_eq!(problems[0].pointer, format!("/{name}"), "{bad}"),
            other => panic!("{name} {bad}: {other:?}"),
        }
    }
}

#[test]
fn the_manifest_is_complete() {
    manifest::checked::<Discord>("discord", "document", "none");
}
