//! Digests of any events: within the size of a card, and the worst by name.

use heraldry_format_teams::Teams;
use heraldry_formatter::digest;
use heraldry_formatter::digest::Context as DigestContext;
use heraldry_formatter::golden::digests::{cycled, scan};

use super::*;

fn made(events: &[RawEvent], context: &DigestContext, options: &str) -> Value {
    let events = events.iter().cloned().map(Into::into).collect();
    let message = digest::<Teams>(events, context, options).expect("a message");
    assert_eq!((&*message.content_type, message.headers.len()), ("application/json; charset=utf-8", 0));
    assert!(message.unsupported.is_empty());
    let body = String::from_utf8(message.body).expect("UTF-8");
    check_size(&body);
    serde_json::from_str(&body).expect("JSON")
}

fn digest_of(events: &[RawEvent], options: &str) -> Value {
    made(events, &DigestContext::alone(u32::try_from(events.len()).expect("few")), options)
}

fn check(events: &[RawEvent], chosen: Chosen) {
    let message = digest_of(events, &chosen.options());
    let card = check_envelope(&message, chosen);
    let elements = list(card, "body");
    assert_eq!(elements[0]["type"], "Container");
    elements.iter().for_each(check_element);
    let most = usize::from(chosen.is_compact());
    let actions = card.get("actions").map_or(0, |actions| actions.as_array().expect("a list").len());
    assert!(actions <= most, "{card}");
    let shown = all_text(card);
    assert!(shown.contains(&format!(" {} ", events.len())), "{shown}");
    let named = elements.len() - 1;
    assert!(named >= events.len().min(3), "{card}");
    if events.len() > 10 {
        assert!(shown.contains("and ") && shown.contains(" more: "), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn any_events_give_an_acceptable_digest(
        events in prop::collection::vec(strategy::legal_event(), 1..30),
        chosen in Chosen::any(),
    ) {
        check(&events, chosen);
    }
}

#[test]
fn digests_of_every_size_are_acceptable() {
    let samples: Vec<_> = samples::all().into_iter().map(|sample| sample.event).collect();
    let oversized: Vec<_> = samples::oversized().into_iter().map(|sample| sample.event).collect();
    for chosen in [Chosen::DEFAULTS, Chosen { compact: Some(true), locale: Some("de"), width: Some("default") }] {
        for size in [1, 2, 11] {
            check(&scan(size), chosen);
            check(&cycled(&samples, size), chosen);
            check(&cycled(&oversized[..2], size), chosen);
        }
    }
    for size in [100, 1000] {
        check(&scan(size), Chosen::DEFAULTS);
        check(&cycled(&samples, size), Chosen::DEFAULTS);
    }
}

/// Many long events of as many engagements, made of the characters that take most bytes: the last level has to hold them.
#[test]
fn the_longest_events_give_an_acceptable_digest() {
    for part in ["\\", "{", "<", "\"", "漢", "😀", "漢\n"] {
        let long = part.repeat(900);
        let events: Vec<_> = (0..12)
            .map(|n| {
                let url = format!("https://a.example/?{}", "&".repeat(490));
                let finding = json!({
                    "title": long, "severity": "critical", "cvss": long, "cwe": vec![long.clone(); 12],
                    "target": long, "evidence": long, "url": url,
                });
                let event = json!({
                    "type": "finding_added", "id": format!("{n}"), "occurred_at": "2026-11-17T10:12:45.120Z",
                    "engagement": {"id": format!("{n}{long}"), "name": long, "client": long},
                    "data": {"finding": finding},
                });
                samples::event(&event.to_string())
            })
            .collect();
        check(&events, Chosen::DEFAULTS);
        check(&events, Chosen { compact: Some(true), ..Chosen::DEFAULTS });
    }
}

#[test]
fn the_worst_stand_first_with_their_buttons_and_the_client_is_named() {
    let message = digest_of(&scan(100), "{}");
    let card = &message["attachments"][0]["content"];
    let head = all_text(&card["body"][0]["items"]);
    assert!(head.contains("🔴 100 findings\n"), "{head}");
    assert!(head.contains("Contoso Retail · Customer portal, autumn test\n"), "{head}");
    assert_eq!(card["body"][0]["style"], "attention");
    for n in 1..11 {
        let columns = &card["body"][n]["columns"];
        let title = text(&columns[0]["items"][0]["inlines"][0], "text");
        assert_eq!(title.starts_with("🔴 "), n < 6, "{title}");
        let button = &columns[1]["items"][0]["actions"][0];
        assert_eq!(button["title"], "Open finding");
        assert!(text(button, "url").starts_with("https://platform.example/findings/F-"));
    }
    let shown = all_text(card);
    assert!(
        shown.contains(
            "and 90 more: 20 medium, 25 low, 45 info · In full: heraldry event list --since 2026-11-17T10:00:00.120Z\n"
        ),
        "{shown}"
    );
}

#[test]
fn a_part_says_so() {
    let context = DigestContext { part: 2, parts: 3, total: 2345, ..DigestContext::alone(2) };
    let shown = all_text(&made(&scan(2), &context, "{}"));
    assert!(shown.contains("part 2 of 3, 2345 events in all\n"), "{shown}");
}

#[test]
fn no_evidence_where_the_option_says_so() {
    let events = [sample("critical_finding"), sample("finding_verified")];
    for options in [r#"{"evidence":"none"}"#, r#"{"evidence":"none","compact":true}"#] {
        let alone = events.iter().map(|event| {
            let payload = format::<Teams>(event, &samples::http(), options).expect("rendered");
            String::from_utf8(payload.body).expect("UTF-8")
        });
        for shown in alone.chain([digest_of(&events, options).to_string()]) {
            for secret in ["UNION+SELECT", "?status=open", "Parameter", "Three rows of the customers table"] {
                assert!(!shown.contains(secret), "{secret} is in {shown}");
            }
        }
    }
}
