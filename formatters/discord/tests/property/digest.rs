//! Digests of any events: within Discord's limits, and the worst by name.

use heraldry_format_discord::Discord;
use heraldry_formatter::digest;
use heraldry_formatter::digest::Context as DigestContext;
use heraldry_formatter::golden::digests::{cycled, scan};

use super::*;

fn made(events: &[RawEvent], context: &DigestContext, options: &str) -> Value {
    let events = events.iter().cloned().map(Into::into).collect();
    let message = digest::<Discord>(events, context, options).expect("a message");
    assert_eq!((&*message.content_type, message.headers.len()), ("application/json; charset=utf-8", 0));
    assert!(message.unsupported.is_empty());
    let body = std::str::from_utf8(&message.body).expect("UTF-8");
    assert!(is_compact(body));
    serde_json::from_str(body).expect("JSON")
}

fn digest_of(events: &[RawEvent], options: &str) -> Value {
    made(events, &DigestContext::alone(u32::try_from(events.len()).expect("few")), options)
}

fn check_embeds(events: &[RawEvent]) {
    let message = digest_of(events, "{}");
    members(&message, &["embeds", "allowed_mentions"]);
    assert_eq!(message["allowed_mentions"], json!({"parse": []}));
    let embeds = message["embeds"].as_array().expect("a list");
    assert!((2..=10).contains(&embeds.len()), "{message}");
    assert!(embeds.len() > events.len().min(4), "{} of {} events", embeds.len() - 1, events.len());
    let mut total = 0;
    for (n, embed) in embeds.iter().enumerate() {
        members(embed, &["author", "title", "url", "description", "color", "footer"]);
        let title = text(embed, "title");
        assert!(units(title) <= 256 && !title.contains('\n'), "{title}");
        read(title);
        let emoji = EMOJI.iter().position(|emoji| title.starts_with(emoji)).expect("an emoji");
        assert_eq!(embed["color"], json!(COLORS[emoji]));
        total += units(title);
        if embed.get("url").is_some() {
            check_url(text(embed, "url"));
            assert!(text(embed, "url").len() <= 2048);
        }
        if embed.get("description").is_some() {
            let description = text(embed, "description");
            assert!((1..=4096).contains(&units(description)));
            read(description);
            total += units(description);
        }
        for (part, member, most) in [("author", "name", 256), ("footer", "text", 2048)] {
            if embed.get(part).is_some() {
                assert_eq!(n, 0, "only the first embed has a {part}");
                let text = text(&embed[part], member);
                assert!((1..=most).contains(&units(text)));
                check_characters(text);
                total += units(text);
            }
        }
    }
    assert!(total <= 6000, "{total}");
    let title = text(&embeds[0], "title");
    assert!(title.contains(&format!(" {} ", events.len())), "{title}");
    let footer = embeds[0]["footer"]["text"].as_str().unwrap_or_default();
    let more = events.len() - (embeds.len() - 1);
    assert_eq!(footer.contains(&format!("and {more} more: ")), more > 0, "{footer}");
}

fn check_lines(events: &[RawEvent]) {
    let message = digest_of(events, COMPACT);
    members(&message, &["content", "flags", "allowed_mentions"]);
    assert_eq!((&message["allowed_mentions"], &message["flags"]), (&json!({"parse": []}), &json!(4)));
    let content = text(&message, "content");
    assert!((1..=2000).contains(&units(content)));
    let (head, rest) = content.split_once('\n').expect("events");
    let emoji = EMOJI.iter().find(|emoji| head.starts_with(*emoji)).expect("an emoji");
    let (words, names) = head[emoji.len()..].strip_prefix(" **").and_then(|rest| rest.split_once("**")).expect("bold");
    assert!(words.starts_with(&format!("{} ", events.len())), "{head}");
    read(names.trim_start_matches(|c: char| !c.is_ascii_graphic()));
    read(rest);
    assert_eq!(rest.lines().count(), events.len().min(6), "{content}");
    assert_eq!(rest.contains(" more: "), events.len() > 5, "{content}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn any_events_give_a_digest_that_discord_accepts(events in vec(strategy::legal_event(), 1..30)) {
        check_embeds(&events);
        let message = digest_of(&events, COMPACT);
        prop_assert!((1..=2000).contains(&units(text(&message, "content"))));
        read(text(&message, "content").split_once('\n').expect("events").1);
    }
}

#[test]
fn digests_of_every_size_are_accepted() {
    let samples: Vec<_> = samples::all().into_iter().map(|sample| sample.event).collect();
    let oversized: Vec<_> = samples::oversized().into_iter().map(|sample| sample.event).collect();
    for size in [1, 2, 11, 100, 1000] {
        check_embeds(&scan(size));
        check_lines(&scan(size));
        check_embeds(&cycled(&samples, size));
    }
    for size in [1, 2, 11, 100] {
        check_embeds(&cycled(&oversized[..2], size));
    }
}

#[test]
fn the_worst_stand_first_with_their_links_and_the_client_is_named() {
    let message = digest_of(&scan(100), "{}");
    let embeds = message["embeds"].as_array().expect("a list");
    assert_eq!(embeds.len(), 10);
    assert_eq!(embeds[0]["title"], "🔴 100 findings");
    assert_eq!(embeds[0]["author"]["name"], "Contoso Retail · Customer portal, autumn test");
    assert_eq!(embeds[0]["description"], "🔴 5 critical · 🟠 5 high · 🟡 20 medium · 🔵 25 low · ⚪ 45 info");
    assert_eq!(
        embeds[0]["footer"]["text"],
        "and 91 more: 1 high, 20 medium, 25 low, 45 info · In full: heraldry event list --since 2026-11-17T10:00:00.120Z"
    );
    for (n, embed) in embeds.iter().enumerate().skip(1) {
        assert_eq!(text(embed, "title").starts_with("🔴 "), n < 6, "{embed}");
        assert!(text(embed, "url").starts_with("https://platform.example/findings/F-"));
    }
    let content = digest_of(&scan(100), COMPACT);
    assert!(text(&content, "content").ends_with("\nand 95 more: 5 high, 20 medium, 25 low, 45 info"), "{content}");
}

#[test]
fn a_part_says_so() {
    let context = DigestContext { part: 2, parts: 3, total: 2345, ..DigestContext::alone(2) };
    for options in ["{}", COMPACT] {
        let shown = made(&scan(2), &context, options).to_string();
        assert!(shown.contains("part 2 of 3, 2345 events in all"), "{shown}");
    }
}

#[test]
fn no_evidence_where_the_option_says_so() {
    let sample = |name| samples::all().into_iter().find(|sample| sample.name == name).expect("the sample").event;
    let events = [sample("critical_finding"), sample("finding_verified")];
    for options in [r#"{"evidence":"none"}"#, r#"{"evidence":"none","compact":true}"#] {
        let alone = events.iter().map(|event| message(event, options).to_string());
        for shown in alone.chain([digest_of(&events, options).to_string()]) {
            for secret in ["$2b$12$", "?status", "Parameter", "Three rows of the customers table"] {
                assert!(!shown.contains(secret), "{secret} is in {shown}");
            }
        }
    }
}
