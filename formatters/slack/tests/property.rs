//! Property tests: any legal event gives a message that Slack accepts and in which no text of the event acts as markup.
//! The validator below is written from FORMATS, sections 1 and 9, independently of the formatter.

#[path = "property/digest.rs"]
mod digest;

use heraldry_format_slack::Slack;
use heraldry_formatter::golden::is_compact;
use heraldry_formatter::testing::{manifest, samples, strategy};
use heraldry_formatter::{Error, RawEvent, format};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The options of a webhook, and their effect on one event.
#[derive(Debug)]
struct Chosen {
    options: String,
    compact: bool,
    /// The mentions expected in the message for each severity, mildest first.
    mentions: [Vec<&'static str>; 5],
}

/// A name in the options with its markup (Slack, "Formatting text").
const MENTIONS: [(&str, &str); 5] = [
    ("here", "<!here>"),
    ("channel", "<!channel>"),
    ("U024BE7LH", "<@U024BE7LH>"),
    ("W012A3CDE", "<@W012A3CDE>"),
    ("S0614TZR7", "<!subteam^S0614TZR7>"),
];

const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

impl Chosen {
    fn new(compact: Option<bool>, lists: &[Vec<usize>]) -> Self {
        let mut options = json!({});
        if let Some(compact) = compact {
            options["compact"] = compact.into();
        }
        let mut mentions: [Vec<&str>; 5] = Default::default();
        for ((severity, markup), list) in SEVERITIES.iter().zip(&mut mentions).zip(lists) {
            let names: Vec<_> = list.iter().map(|&n| MENTIONS[n].0).collect();
            *markup = list.iter().map(|&n| MENTIONS[n].1).collect();
            options["mentions"][severity] = names.into();
        }
        Self { options: options.to_string(), compact: compact.unwrap_or(false), mentions }
    }

    /// No options.
    fn defaults() -> Self {
        Self::new(None, &[])
    }

    /// Each layout with all mentions, some, and none.
    fn all() -> Vec<Self> {
        let lists = [vec![vec![0, 1, 2, 3, 4]; 5], vec![vec![], vec![0], vec![1], vec![2], vec![3, 4]], vec![]];
        let each = |compact| lists.iter().map(move |lists| Self::new(compact, lists));
        [None, Some(false), Some(true)].into_iter().flat_map(each).collect()
    }

    fn any() -> impl Strategy<Value = Self> {
        let list = proptest::sample::subsequence(vec![0_usize, 1, 2, 3, 4], 0..=5);
        (any::<Option<bool>>(), proptest::collection::vec(list, 0..=5))
            .prop_map(|(compact, lists)| Self::new(compact, &lists))
    }

    fn message(&self, event: &RawEvent) -> Value {
        message(event, &self.options)
    }
}

fn message(event: &RawEvent, options: &str) -> Value {
    let payload = format::<Slack>(event, &samples::http(), options).expect("rendered");
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

/// No control except for the line feed, no bidirectional control.
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

/// A text object: `plain_text` with escaped text, or `mrkdwn` that is a code fence, a date after fixed words, or
/// mentions.
fn check_text<'a>(object: &'a Value, most: usize, mentions: &str) -> &'a str {
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
            let date_markup = text
                .split_once("<!date^")
                .filter(|(word, _)| ["", "· ", "Started ", "Completed ", "Signed "].contains(word));
            if let Some((_, date)) = date_markup {
                let (epoch, rest) = date.split_once('^').expect("a format");
                assert!(epoch.bytes().all(|b| b.is_ascii_digit()));
                let fallback =
                    rest.strip_prefix("{date_short} {time}|").and_then(|rest| rest.strip_suffix('>')).expect(text);
                assert!(fallback.bytes().all(|b| b.is_ascii_digit() || b"TZ:.+-".contains(&b)), "{text}");
            } else if let Some(code) = text.strip_prefix("```\n") {
                let code = code.strip_suffix("\n```").expect("the fence's end");
                check_escaped(code);
                assert!(!code.contains("``"), "{text}");
                assert!(length <= 500, "{length}");
            } else {
                assert_eq!(text, mentions);
                assert!(!mentions.is_empty());
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

fn check_button<'a>(button: &'a Value, ids: &mut Vec<&'a str>) {
    members(button, &["type", "text", "url", "action_id"]);
    assert_eq!(button["type"], "button");
    assert_eq!(button["text"]["type"], "plain_text");
    check_text(&button["text"], 75, "");
    let id = text(button, "action_id");
    assert!((1..=255).contains(&units(id)));
    assert!(!ids.contains(&id), "{id} twice");
    ids.push(id);
    check_url(text(button, "url"));
}

fn check_block<'a>(block: &'a Value, mentions: &str, ids: &mut Vec<&'a str>) {
    match block["type"].as_str() {
        Some("header") => {
            members(block, &["type", "text"]);
            assert_eq!(block["text"]["type"], "plain_text");
            assert!(!check_text(&block["text"], 150, "").contains('\n'));
        }
        Some("section") => {
            members(block, &["type", "text", "fields", "accessory"]);
            assert!(block.get("text").is_some() || block.get("fields").is_some());
            if let Some(text) = block.get("text") {
                check_text(text, 3000, mentions);
            }
            if let Some(fields) = block.get("fields") {
                let fields = fields.as_array().expect("a list");
                assert!((1..=10).contains(&fields.len()));
                for field in fields {
                    check_text(field, 2000, mentions);
                }
            }
            if let Some(button) = block.get("accessory") {
                check_button(button, ids);
            }
        }
        Some("actions") => {
            members(block, &["type", "elements"]);
            let buttons = block["elements"].as_array().expect("a list");
            assert!((1..=25).contains(&buttons.len()));
            for button in buttons {
                check_button(button, ids);
            }
        }
        Some("context") => {
            members(block, &["type", "elements"]);
            let elements = block["elements"].as_array().expect("a list");
            assert!((1..=10).contains(&elements.len()));
            for element in elements {
                check_text(element, 3000, "");
            }
        }
        other => panic!("a block of type {other:?}"),
    }
}

fn check_message(event: &RawEvent, chosen: &Chosen) {
    let message = chosen.message(event);
    members(&message, &["text", "mrkdwn", "unfurl_links", "unfurl_media", "blocks", "attachments"]);
    let fallback = text(&message, "text");
    let word = fallback.split(':').next().unwrap_or_default();
    let severity = SEVERITIES.iter().position(|severity| severity.to_uppercase() == word).expect(fallback);
    let mentions = chosen.mentions[severity].join(" ");
    // Its only markup is the mentions of the options.
    let words = if mentions.is_empty() {
        assert_eq!(message["mrkdwn"], false);
        fallback
    } else {
        fallback.strip_suffix(&mentions).and_then(|words| words.strip_suffix(' ')).expect("the mentions")
    };
    assert!((1..=300).contains(&units(words)), "{fallback}");
    check_escaped(words);

    let mut ids = Vec::new();
    let blocks = message["blocks"].as_array().expect("a list");
    assert!((1..=50).contains(&blocks.len()));
    for block in blocks {
        check_block(block, &mentions, &mut ids);
    }
    let called =
        |document: &Value| document.to_string().matches("<!").count() - document.to_string().matches("<!date^").count();
    let many = chosen.mentions[severity].iter().filter(|mention| mention.starts_with("<!")).count();
    assert_eq!(called(&message["blocks"]), many, "{message}");
    assert!(ids.len() <= 2);
    if chosen.compact {
        assert!(blocks.len() == 1 && message.get("attachments").is_none(), "{message}");
        let block = text(&blocks[0]["text"], "text");
        assert!(units(block) <= 1_500 && block.lines().count() <= 4, "{block}");
    } else {
        assert_eq!(blocks[0]["type"], "header");
        let attachments = message["attachments"].as_array().expect("a list");
        assert_eq!(attachments.len(), 1);
        members(&attachments[0], &["color", "blocks"]);
        let color = text(&attachments[0], "color");
        assert!(color.len() == 7 && color.starts_with('#'), "{color}");
        let blocks = attachments[0]["blocks"].as_array().expect("a list");
        assert!((1..=20).contains(&blocks.len()));
        for block in blocks {
            check_block(block, "", &mut ids);
        }
        let last = &blocks[blocks.len() - 1]["elements"];
        let date = last.as_array().and_then(|elements| elements.last()).expect("a date");
        assert!(text(date, "text").ends_with(&format!("|{}>", event.occurred_at)), "{date}");
    }
    check_carries(event, &(all_text(&message["blocks"]) + &all_text(&message["attachments"])));
}

/// All strings of a document, unescaped, one per line.
fn all_text(document: &Value) -> String {
    match document {
        Value::String(text) => text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") + "\n",
        Value::Array(items) => items.iter().map(all_text).collect(),
        Value::Object(members) => members.values().map(all_text).collect(),
        _ => String::new(),
    }
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
    fn any_event_gives_a_message_that_slack_accepts(event in strategy::legal_event(), chosen in Chosen::any()) {
        check_message(&event, &chosen);
    }
}

#[test]
fn every_sample_gives_a_message_that_slack_accepts() {
    for chosen in Chosen::all() {
        for sample in samples::all() {
            check_message(&sample.event, &chosen);
        }
        check_message(&samples::finding_of_length(200 * 1024), &chosen);
    }
}

fn sample(name: &str) -> RawEvent {
    samples::all().into_iter().find(|sample| sample.name == name).expect("the sample").event
}

#[test]
fn truncated_text_ends_with_an_ellipsis() {
    let message = Chosen::defaults().message(&sample("finding_added--long"));
    let texts = |blocks: &Value| -> Vec<String> {
        let blocks = blocks.as_array().expect("a list");
        blocks.iter().filter_map(|block| block["text"]["text"].as_str().map(str::to_owned)).collect()
    };
    let is_cut = |text: &&String| text.trim_end_matches("\n```").ends_with("...");
    assert_eq!(texts(&message["blocks"]).iter().filter(is_cut).count(), 1, "header");
    let details = texts(&message["attachments"][0]["blocks"]);
    assert_eq!(details.iter().filter(is_cut).count(), 2, "description, evidence");
    // The part of the title that the header had no room for.
    assert!(details[0].starts_with("Title: A title that does not end & goes on".replace('&', "&amp;").as_str()));
}

#[test]
fn nothing_is_repeated() {
    for (name, once) in [
        ("phase_changed", "reconnaissance"),
        ("engagement_completed", "Customer portal, autumn test"),
        ("engagement_completed", "1 critical"),
        ("engagement_signed", "Ingrid Solheim"),
        ("report_ready", "final report"),
        ("monitor_alert", "Nightly check of fixed findings"),
        ("webhook_disabled", "SOC Slack"),
        ("webhook_disabled", "5 deliveries in a row failed"),
        ("delivery_failed", "3 deliveries failed"),
        ("finding_added", "Log4j of 2021"),
        ("finding_added", "High"),
        ("critical_finding", "Critical"),
    ] {
        for options in ["{}", r#"{"compact":true}"#] {
            let message = message(&sample(name), options);
            let shown = all_text(&message["blocks"]) + &all_text(&message["attachments"]);
            assert_eq!(shown.matches(once).count(), 1, "{name}: {once} in\n{shown}");
        }
    }
}

#[test]
fn an_invalid_time_is_shown_as_text() {
    let mut event = samples::all()[0].event.clone();
    for time in ["2026-11-17T10:12:45.120Z|<!channel>", "yesterday", "1969-12-31T23:59:59.000Z"] {
        event.occurred_at = time.into();
        let message = message(&event, "{}").to_string();
        assert!(!message.contains("<!"), "{message}");
    }
}

#[test]
fn invalid_options_are_rejected() {
    for (options, pointer) in [
        (r#"{"mentions":{"critical":["everyone"]}}"#, "/mentions/critical"),
        (r#"{"mentions":{"critical":["<!here>"]}}"#, "/mentions/critical"),
        (r#"{"mentions":{"critical":["here","here"]}}"#, "/mentions/critical"),
        (r#"{"mentions":{"severe":["here"]}}"#, "/mentions/severe"),
        (r#"{"mentions":{"high":"here"}}"#, "/mentions/high"),
        (r#"{"compact":1}"#, "/compact"),
        (r#"{"width":"full"}"#, "/width"),
    ] {
        match format::<Slack>(&samples::all()[0].event, &samples::http(), options) {
            Err(Error::InvalidOptions(problems)) => {
                assert!(problems[0].pointer.starts_with(pointer), "{options}: {problems:?}");
            }
            other => panic!("{options} gave {other:?}"),
        }
    }
    let twenty = |n: usize| {
        let ids: Vec<_> = (0..n).map(|n| format!("U{n:04}")).collect();
        format::<Slack>(&samples::all()[0].event, &samples::http(), &json!({"mentions": {"low": ids}}).to_string())
    };
    assert!(twenty(20).is_ok() && twenty(21).is_err());
}

#[test]
fn the_manifest_is_complete() {
    let manifest = manifest::checked::<Slack>("slack", "document", "none");
    let schema = &manifest["options_schema"];
    let names: Vec<_> = schema["properties"].as_object().expect("options").keys().collect();
    assert_eq!(names, ["compact", "evidence", "mentions"]);
    for severity in SEVERITIES {
        assert_eq!(schema["properties"]["mentions"]["properties"][severity]["$ref"], "#/$defs/mentions");
    }
}
