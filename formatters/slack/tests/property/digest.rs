//! Digests of any events: within Slack's limits, with at most one mention, and the worst by name.

use heraldry_format_slack::Slack;
use heraldry_formatter::digest;
use heraldry_formatter::digest::Context;
use heraldry_formatter::golden::digests::{cycled, scan};

use super::*;

fn made(events: &[RawEvent], context: &Context, options: &str) -> Value {
    let events = events.iter().cloned().map(Into::into).collect();
    let message = digest::<Slack>(events, context, options).expect("a message");
    assert_eq!((&*message.content_type, message.headers.len()), ("application/json; charset=utf-8", 0));
    assert!(message.unsupported.is_empty());
    assert!(message.body.len() < 64 * 1024, "{} bytes", message.body.len());
    let body = std::str::from_utf8(&message.body).expect("UTF-8");
    assert!(is_compact(body));
    serde_json::from_str(body).expect("JSON")
}

fn digest_of(events: &[RawEvent], options: &str) -> Value {
    made(events, &Context::alone(u32::try_from(events.len()).expect("few")), options)
}

/// The severity that a message of one event begins with.
fn severity(event: &RawEvent) -> usize {
    let message = message(event, "{}");
    let word = text(&message, "text").split(':').next().unwrap_or_default();
    SEVERITIES.iter().position(|severity| severity.to_uppercase() == word).expect("a severity")
}

fn check(events: &[RawEvent], chosen: &Chosen) {
    let message = digest_of(events, &chosen.options);
    members(&message, &["text", "mrkdwn", "unfurl_links", "unfurl_media", "blocks", "attachments"]);
    let mut severities: Vec<usize> = events.iter().map(severity).collect();
    severities.sort_unstable();
    let mentioned = severities.iter().rev().map(|severity| &chosen.mentions[*severity]).find(|list| !list.is_empty());
    let mentions = mentioned.map(|list| list.join(" ")).unwrap_or_default();
    let fallback = text(&message, "text");
    let words = if mentions.is_empty() {
        fallback
    } else {
        fallback.strip_suffix(&mentions).and_then(|words| words.strip_suffix(' ')).expect("the mentions")
    };
    assert!((1..=300).contains(&units(words)), "{fallback}");
    check_escaped(words);
    let worst = SEVERITIES[*severities.last().expect("one")].to_uppercase();
    assert!(words.starts_with(&format!("{worst}: {} ", events.len())), "{words}");

    let mut ids = Vec::new();
    let blocks = message["blocks"].as_array().expect("a list");
    assert!((1..=50).contains(&blocks.len()));
    blocks.iter().for_each(|block| check_block(block, &mentions, &mut ids));
    let once = if mentions.is_empty() { 0 } else { 1 };
    assert_eq!(message["blocks"].to_string().matches(&*mentions).count().min(1), 1, "{message}");
    let shown_mentions = blocks.iter().filter(|block| block.to_string().contains("\"mrkdwn\"")).count();
    assert_eq!(shown_mentions, once, "{message}");
    let shown = all_text(&message["blocks"]);
    assert!(shown.contains(&format!(" {} ", events.len())), "{shown}");
    let named = if chosen.compact { 5 } else { 10 };
    assert_eq!(shown.contains(&format!("and {} more: ", events.len().saturating_sub(named))), events.len() > named);
    if chosen.compact {
        assert!(blocks.len() == 1 && message.get("attachments").is_none(), "{message}");
        return;
    }
    assert_eq!(blocks[0]["type"], "header");
    let accessories = blocks.iter().filter(|block| block["type"] == "section").count();
    assert!(accessories >= events.len().min(10), "{message}");
    let none = Vec::new();
    let attachments = message.get("attachments").map_or(&none, |list| list.as_array().expect("a list"));
    assert_eq!(attachments.len(), usize::from(events.len() > 10), "{message}");
    for attachment in attachments {
        members(attachment, &["color", "blocks"]);
        let blocks = attachment["blocks"].as_array().expect("a list");
        assert!((1..=20).contains(&blocks.len()));
        blocks.iter().for_each(|block| check_block(block, "", &mut ids));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn any_events_give_a_digest_that_slack_accepts(
        events in prop::collection::vec(strategy::legal_event(), 1..30),
        chosen in Chosen::any(),
    ) {
        check(&events, &chosen);
    }
}

#[test]
fn digests_of_every_size_are_accepted() {
    let samples: Vec<_> = samples::all().into_iter().map(|sample| sample.event).collect();
    let oversized: Vec<_> = samples::oversized().into_iter().map(|sample| sample.event).collect();
    // The derived event names a cause that is not among the samples, so each event is one of its own.
    for chosen in Chosen::all() {
        for size in [1, 2, 11] {
            check(&scan(size), &chosen);
            check(&cycled(&samples, size), &chosen);
            check(&cycled(&oversized[..2], size), &chosen);
        }
    }
    for size in [100, 1000] {
        check(&scan(size), &Chosen::defaults());
        check(&cycled(&samples, size), &Chosen::defaults());
    }
}

#[test]
fn the_worst_stand_first_with_their_buttons_and_the_client_is_named() {
    let message = digest_of(&scan(100), "{}");
    assert_eq!(text(&message["blocks"][0]["text"], "text"), "🔴 100 findings");
    let lead = text(&message["blocks"][1]["text"], "text");
    assert_eq!(
        lead,
        "Contoso Retail · Customer portal, autumn test\n🔴 5 critical · 🟠 5 high · 🟡 20 medium · 🔵 25 low · ⚪ 45 info"
    );
    for n in 2..12 {
        let item = &message["blocks"][n];
        assert_eq!(text(&item["text"], "text").starts_with("🔴 "), n < 7, "{item}");
        assert_eq!(item["accessory"]["text"]["text"], "Open finding");
        assert!(text(&item["accessory"], "url").starts_with("https://platform.example/findings/F-"));
    }
    let small = text(&message["blocks"][12]["elements"][0], "text");
    assert_eq!(
        small,
        "and 90 more: 20 medium, 25 low, 45 info · In full: heraldry event list --since 2026-11-17T10:00:00.120Z"
    );
}

#[test]
fn the_next_ones_stand_beside_the_bar_each_title_once() {
    let message = digest_of(&scan(100), "{}");
    let named = text(&message["attachments"][0]["blocks"][0]["text"], "text");
    assert_eq!(named.lines().next(), Some("🟡 Password reset without a limit of attempts (× 8)"));
    assert!(named.contains("\n⚪ Subdomain found (× 27)"), "{named}");
}

#[test]
fn a_part_says_so() {
    let context = Context { part: 2, parts: 3, total: 2345, ..Context::alone(2) };
    let shown = all_text(&made(&scan(2), &context, "{}")["blocks"]);
    assert!(shown.contains("🟠 2 findings (part 2 of 3, 2345 events in all)\n"), "{shown}");
}

#[test]
fn each_engagement_has_its_numbers() {
    let mut events = scan(9);
    for (n, event) in events.iter_mut().enumerate() {
        let own = format!(r#"{{"client":"Client {n}","id":"e{n}","name":"Test {n}"}}"#);
        let engagement = r#"{"client":"Contoso Retail","id":"eng-2026-044","name":"Customer portal, autumn test"}"#;
        assert!(event.json.contains(engagement), "{}", event.json);
        event.json = event.json.replace(engagement, &own);
    }
    let message = digest_of(&events, "{}");
    let lead = text(&message["blocks"][1]["text"], "text");
    let lines: Vec<_> = lead.lines().collect();
    assert_eq!(lines[1], "Client 7 · Test 7 · 1 critical");
    assert_eq!((lines.len(), lines[6]), (7, "and 4 more engagements"));
    let worst = text(&message["blocks"][2]["text"], "text");
    assert!(worst.ends_with("\nClient 7 · Test 7"), "{worst}");
}

#[test]
fn no_evidence_where_the_option_says_so() {
    let events = [sample("critical_finding"), sample("finding_verified")];
    for options in [r#"{"evidence":"none"}"#, r#"{"evidence":"none","compact":true}"#] {
        let alone = events.iter().map(|event| super::message(event, options).to_string());
        for shown in alone.chain([digest_of(&events, options).to_string()]) {
            for secret in ["UNION+SELECT", "?status=open", "Parameter", "Three rows of the customers table"] {
                assert!(!shown.contains(secret), "{secret} is in {shown}");
            }
            assert!(shown.contains("https://shop.contoso.example/orders/search"), "{shown}");
        }
    }
    assert!(super::message(&events[1], r#"{"evidence":"none"}"#).to_string().contains("Verified by: m.okafor"));
}
