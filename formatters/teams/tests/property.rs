//! Property tests: any legal event gives a card that Teams accepts and in which no text of the event acts as markup.
//! The validator below is written from FORMATS, sections 2 and 9, independently of the formatter.

#[path = "property/digest.rs"]
mod digest;

use heraldry_format_teams::Teams;
use heraldry_formatter::golden::is_compact;
use heraldry_formatter::testing::{manifest, samples, strategy};
use heraldry_formatter::{Context, Error, RawEvent, format};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The options of a webhook.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    width: Option<&'static str>,
    locale: Option<&'static str>,
    compact: Option<bool>,
}

const WIDTHS: [Option<&str>; 3] = [None, Some("full"), Some("default")];
/// The locales, with the expected time of the generated events.
const LOCALES: [(Option<&str>, &str); 7] = [
    (None, "17 November 2026, 10:12 UTC"),
    (Some("en-GB"), "17 November 2026, 10:12 UTC"),
    (Some("en-US"), "November 17, 2026, 10:12 AM UTC"),
    (Some("de"), "17. November 2026, 10:12 UTC"),
    (Some("fr"), "17 novembre 2026, 10:12 UTC"),
    (Some("es"), "17 de noviembre de 2026, 10:12 UTC"),
    (Some("nl"), "17 november 2026, 10:12 UTC"),
];
const COMPACT: [Option<bool>; 3] = [None, Some(false), Some(true)];

impl Chosen {
    const DEFAULTS: Self = Self { width: None, locale: None, compact: None };

    fn all() -> impl Iterator<Item = Self> {
        let pairs = WIDTHS.into_iter().flat_map(|width| COMPACT.into_iter().map(move |compact| (width, compact)));
        pairs.flat_map(|(width, compact)| LOCALES.into_iter().map(move |(locale, _)| Self { width, locale, compact }))
    }

    fn any() -> impl Strategy<Value = Self> {
        let all: Vec<_> = Self::all().collect();
        prop::sample::select(all)
    }

    fn options(self) -> String {
        let mut options = json!({});
        for (name, value) in [("width", self.width), ("locale", self.locale)] {
            if let Some(value) = value {
                options[name] = value.into();
            }
        }
        if let Some(compact) = self.compact {
            options["compact"] = compact.into();
        }
        options.to_string()
    }

    fn is_compact(self) -> bool {
        self.compact == Some(true)
    }
}

fn body(event: &RawEvent, context: &Context, chosen: Chosen) -> String {
    let payload = format::<Teams>(event, context, &chosen.options()).expect("rendered");
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
        assert!(!c.is_control(), "{c:?} in {text}");
        assert!(!matches!(c, '\u{2028}' | '\u{2029}'), "{c:?} in {text}");
        assert!(
            !matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}'),
            "{c:?} in {text}"
        );
    }
}

fn check_url(url: &str) {
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://")).expect(url);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    assert!(!authority.is_empty() && !authority.contains('@'), "{url}");
    assert!(url.bytes().all(|b| b.is_ascii_graphic() && !b"|<>\"\\{}".contains(&b)), "{url}");
}

/// The only element types allowed, in which no text goes through Markdown.
fn check_element(element: &Value) {
    if let Some(spacing) = element.get("spacing") {
        assert!(["None", "Small", "Medium"].contains(&spacing.as_str().unwrap_or_default()), "{element}");
    }
    match element["type"].as_str() {
        Some("Container") => {
            members(element, &["type", "spacing", "style", "bleed", "items"]);
            let styles = ["default", "emphasis", "good", "accent", "warning", "attention"];
            assert!(styles.contains(&text(element, "style")));
            assert!(element["bleed"].is_boolean());
            list(element, "items").iter().for_each(check_element);
        }
        Some("RichTextBlock") => {
            members(element, &["type", "spacing", "inlines"]);
            for run in list(element, "inlines") {
                members(run, &["type", "text", "size", "weight", "fontType", "isSubtle"]);
                assert_eq!(run["type"], "TextRun");
                check_characters(text(run, "text"));
            }
        }
        Some("ColumnSet") => {
            members(element, &["type", "spacing", "columns"]);
            let columns = list(element, "columns");
            assert!(columns.len() <= 6);
            for column in columns {
                members(column, &["type", "width", "items"]);
                assert_eq!(column["type"], "Column");
                assert!(["100px", "stretch", "auto"].contains(&text(column, "width")));
                list(column, "items").iter().for_each(check_element);
            }
        }
        Some("ActionSet") => {
            members(element, &["type", "actions"]);
            list(element, "actions").iter().for_each(check_action);
        }
        other => panic!("an element of type {other:?}"),
    }
}

fn check_action(action: &Value) {
    members(action, &["type", "title", "url"]);
    assert_eq!(action["type"], "Action.OpenUrl");
    assert!(!text(action, "title").is_empty());
    check_url(text(action, "url"));
}

fn check_size(body: &str) {
    assert!(body.len() <= 18_000, "{} bytes", body.len());
    assert!(is_compact(body));
    // The worst case of re-encoding by a .NET serializer.
    let careful: usize =
        body.chars().map(|c| if c.is_ascii() && !"<>&'+".contains(c) { 1 } else { 6 * c.len_utf16() }).sum();
    assert!(careful <= 28_672, "{careful} bytes");
}

/// The card in a message.
fn check_envelope(message: &Value, chosen: Chosen) -> &Value {
    members(message, &["type", "attachments"]);
    assert_eq!(message["type"], "message");
    let attachments = list(message, "attachments");
    assert_eq!(attachments.len(), 1);
    members(&attachments[0], &["contentType", "contentUrl", "content"]);
    assert_eq!(attachments[0]["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(attachments[0].get("contentUrl"), Some(&Value::Null));
    let card = &attachments[0]["content"];
    members(card, &["type", "$schema", "version", "msteams", "body", "actions"]);
    assert_eq!(card["type"], "AdaptiveCard");
    assert_eq!(card["$schema"], "http://adaptivecards.io/schemas/adaptive-card.json");
    assert_eq!(card["version"], "1.4");
    let width = (chosen.width != Some("default")).then(|| json!({"width": "Full"}));
    assert_eq!(card.get("msteams"), width.as_ref());
    card
}

fn check_card(event: &RawEvent, chosen: Chosen) {
    let body = body(event, &samples::http(), chosen);
    check_size(&body);
    let message: Value = serde_json::from_str(&body).expect("JSON");
    let card = check_envelope(&message, chosen);
    let elements = list(card, "body");
    assert_eq!(elements[0]["type"], "Container");
    elements.iter().for_each(check_element);
    let most = if chosen.is_compact() { 1 } else { 3 };
    if card.get("actions").is_some() {
        let actions = list(card, "actions");
        assert!(actions.len() <= most);
        actions.iter().for_each(check_action);
    }
    if chosen.is_compact() {
        assert_eq!(elements.len(), 1);
        assert!(list(&elements[0], "items").len() <= 5);
    }
    let shown = all_text(card);
    if event.occurred_at == "2026-11-17T10:12:45.120Z" {
        let (_, when) = LOCALES.into_iter().find(|(locale, _)| *locale == chosen.locale).expect("a locale");
        // The time ends the small print, which the smallest levels may have truncated.
        let small = shown.lines().filter(|line| line.contains(when)).count();
        assert!(small == 1 || shown.contains("..."), "{when} is not in\n{shown}");
    }
    let title = text(&elements[0]["items"][0]["inlines"][1], "text");
    check_carries(event, title, &shown);
}

/// All texts of a card, one per line.
fn all_text(document: &Value) -> String {
    match document {
        Value::String(text) => format!("{text}\n"),
        Value::Array(items) => items.iter().map(all_text).collect(),
        Value::Object(members) => members.values().map(all_text).collect(),
        _ => String::new(),
    }
}

/// The string values that every output for people must contain: each up to its first character that may have to be
/// changed.
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
        "/data/webhook/name",
        "/data/webhook/reason",
        "/data/delivery/webhook/name",
        "/data/delivery/reason",
        "/data/formatter/name",
        "/data/formatter/reason",
        "/data/host/reason",
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
    fn any_event_gives_an_acceptable_card(event in strategy::legal_event(), chosen in Chosen::any()) {
        check_card(&event, chosen);
    }
}

#[test]
fn every_sample_gives_an_acceptable_card() {
    // Options that set a default equal no options.
    let is_own = |chosen: &Chosen| chosen.compact != Some(false) && chosen.width != Some("full");
    for chosen in Chosen::all().filter(is_own) {
        for sample in samples::all() {
            check_card(&sample.event, chosen);
        }
        check_card(&samples::finding_of_length(200 * 1024), chosen);
    }
}

/// The longest event, made of the characters that take most bytes: the last level has to hold it.
#[test]
fn the_longest_event_gives_an_acceptable_card() {
    for part in ["\\", "{", "<", "&", "\"", "漢", "😀", "\n", "'+", "漢\n"] {
        let long = part.repeat(900);
        let links = [
            format!("https://a.example/?{}", "&".repeat(660)),
            format!("https://a.example/{}", "x".repeat(1_980)),
            long.clone(),
        ];
        for link in links {
            for kind in [
                "finding_verified",
                "retest_completed",
                "engagement_completed",
                "engagement_signed",
                "report_ready",
                "phase_changed",
                "monitor_alert",
                "webhook_disabled",
                "delivery_failed",
                "formatter_rejected",
                "host_degraded",
            ] {
                let items = vec![long.clone(); 12];
                let group = json!({
                    "id": long, "title": long, "cvss": long, "cwe": items, "cve": items, "target": long,
                    "ip": long, "parameter": long, "description": long, "remediation": long, "evidence": long,
                    "references": items, "tags": items, "tool": long, "occurrences": long, "url": link,
                    "report_url": link, "fixed": items, "still_open": items, "regressed": items, "name": long,
                    "message": long, "started_at": long, "completed_at": long, "signed_at": long, "scope": items,
                    "signer": long, "role": long, "kind": long, "framework": long, "format": long, "pages": long,
                    "status": long, "index": long, "total": long,
                    "findings": {"critical": long, "high": long, "medium": long, "low": long, "info": long},
                });
                let host = json!({
                    "id": long, "name": long, "url_host": long, "format": long, "reason": long, "count": long,
                    "event_id": long, "event_type": long, "version": long, "digest": long, "kind": long,
                });
                let mut delivery = host.clone();
                delivery["webhook"] = host.clone();
                let event = json!({
                    "type": kind, "id": "i", "occurred_at": "2026-11-17T10:12:45.120Z",
                    "engagement": {"id": long, "name": long, "client": long},
                    "data": {
                        "finding": group, "retest": group, "summary": group, "monitor": group, "report": group,
                        "authorization": group, "phase": group, "webhook": host, "delivery": delivery,
                        "formatter": host, "host": host,
                        "verification": {"method": long, "verified_by": long, "poc_url": link},
                    },
                });
                let event = samples::event(&event.to_string());
                check_card(&event, Chosen::DEFAULTS);
                check_card(&event, Chosen { compact: Some(true), locale: Some("es"), width: Some("default") });
            }
        }
    }
}

fn sample(name: &str) -> RawEvent {
    samples::all().into_iter().find(|sample| sample.name == name).expect("the sample").event
}

#[test]
fn a_smaller_limit_is_kept_too() {
    let event = sample("finding_added--long");
    let context = Context { max_bytes: Some(5_000), ..samples::http() };
    assert!(body(&event, &samples::http(), Chosen::DEFAULTS).len() > 5_000);
    assert!(body(&event, &context, Chosen::DEFAULTS).len() <= 5_000);
}

#[test]
fn nothing_is_repeated() {
    for (name, once) in [
        ("phase_changed", "reconnaissance"),
        ("engagement_completed", "Customer portal, autumn test"),
        ("engagement_completed", "critical"),
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
        for compact in [false, true] {
            let chosen = Chosen { compact: Some(compact), ..Chosen::DEFAULTS };
            let message: Value = serde_json::from_str(&body(&sample(name), &samples::http(), chosen)).expect("JSON");
            let shown = all_text(&message["attachments"][0]["content"]["body"]);
            assert_eq!(shown.matches(once).count(), 1, "{name}: {once} in\n{shown}");
        }
    }
}

#[test]
fn an_invalid_time_is_shown_verbatim() {
    let mut event = sample("finding_added--minimal");
    event.occurred_at = "yesterday {{DATE()}}".into();
    let shown = body(&event, &samples::http(), Chosen::DEFAULTS);
    assert!(shown.contains("yesterday {\u{200B}{DATE()}}"), "{shown}");
}

#[test]
fn invalid_options_are_rejected() {
    for (options, pointer) in [
        (r#"{"width":"Full"}"#, "/width"),
        (r#"{"locale":"en"}"#, "/locale"),
        (r#"{"locale":null}"#, "/locale"),
        (r#"{"compact":"yes"}"#, "/compact"),
        (r#"{"mentions":{}}"#, "/mentions"),
    ] {
        match format::<Teams>(&sample("finding_added"), &samples::http(), options) {
            Err(Error::InvalidOptions(problems)) => assert_eq!(problems[0].pointer, pointer, "{options}"),
            other => panic!("{options} gave {other:?}"),
        }
    }
}

#[test]
fn the_manifest_is_complete() {
    let manifest = manifest::checked::<Teams>("teams", "document", "none");
    let schema = &manifest["options_schema"];
    let locales: Vec<_> = LOCALES.into_iter().filter_map(|(locale, _)| locale).collect();
    let widths: Vec<_> = WIDTHS.into_iter().flatten().collect();
    assert_eq!(schema["properties"]["locale"]["enum"], json!(locales));
    assert_eq!(schema["properties"]["width"]["enum"], json!(widths));
    assert_eq!(schema["properties"]["compact"]["type"], "boolean");
    assert_eq!(schema["properties"]["evidence"]["enum"], json!(["shown", "none"]));
}
