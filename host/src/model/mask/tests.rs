use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::id::WebhookId;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::{
    Activity, Filter, Health, OldSecret, Order, Subscription, TlsNames, Webhook, WebhookConfig,
};

fn webhook(url: &str, headers: &[&str]) -> Webhook {
    let headers = headers.iter().map(|value| ("X-Any".to_owned(), Secret::new(*value))).collect();
    let config = WebhookConfig {
        name: "team".into(),
        url: DeliveryUrl::parse(url).expect("a URL"),
        secret: None,
        event_types: Subscription::All,
        format: "json".into(),
        format_options: "{}".into(),
        headers,
        filter: Filter::default(),
        critical_once: false,
        order: Order::Arrival,
        rate_limit: None,
        tls: TlsNames::default(),
        batch: None,
        digest: None,
        retry_count: 3,
        timeout_ms: 5000,
    };
    Webhook {
        id: WebhookId::from_bytes([1; 16]),
        config,
        activity: Activity::Active,
        revision: 1,
        activation: 1,
        created_at: Timestamp::from_unix_ms(0),
        updated_at: Timestamp::from_unix_ms(0),
        old_secrets: Vec::new(),
        health: Health::default(),
    }
}

fn masked_by(webhook: &Webhook, text: &str) -> String {
    Mask::new(webhook, &Value::Null).text(text)
}

/// Masks the value of a header in a text.
fn masked(header: &str, text: &str) -> String {
    masked_by(&webhook("https://a.example/", &[header]), text)
}

#[test]
fn a_quoted_header_is_masked_with_and_without_its_scheme() {
    for (header, text, expected) in [
        ("Splunk canary-1", "Authorization: Splunk canary-1", "Authorization: [redacted]"),
        ("Splunk canary-1", "token canary-1 is unknown", "token [redacted] is unknown"),
        ("Bearer \t canary-1", "canary-1", "[redacted]"),
        ("canary-1", "X: canary-1, canary-1", "X: [redacted], [redacted]"),
        ("Token token=\"canary-1\", x=2", "canary-1", "[redacted]"),
        ("session=canary-1; path=/", "canary-1", "[redacted]"),
        ("Splunk canary-1", "Splunk Canary-1", "Splunk Canary-1"),
        ("Splunk canary-1", "\u{1b}[31m\0 canary", "\u{1b}[31m\0 canary"),
    ] {
        assert_eq!(masked(header, text), expected, "{header:?}");
    }
}

#[test]
fn a_secret_has_eight_characters_or_more() {
    assert_eq!(masked("1234567", "1234567 12345678"), "1234567 12345678");
    assert_eq!(masked("12345678", "1234567 12345678 123456789"), "1234567 [redacted] [redacted]9");
    // Characters, not bytes.
    assert_eq!(masked("ééééééé", "ééééééé."), "ééééééé.");
    assert_eq!(masked("éééééééé", "éééééééé."), "[redacted].");
    // The scheme word makes the value long enough, the credentials alone are too short.
    assert_eq!(masked("Bearer abc", "Bearer abc, abc"), "[redacted], abc");
}

#[test]
fn every_spelling_of_a_secret_is_masked() {
    for (secret, text) in [
        ("ab/cd+ef?gh", r"ab\/cd+ef?gh"),
        ("ab/cd+ef?gh", r"ab\u002fcd\u002Bef?gh"),
        ("ab/cd+ef?gh", "ab%2Fcd%2Bef%3Fgh"),
        ("ab/cd+ef?gh", "ab%2fcd%2bef?gh"),
        ("ab/cd+ef?gh", "ab&#x2F;cd&#43;ef?gh"),
        ("ab/cd+ef?gh", r"ab\x2fcd+ef?gh"),
        // JSON in JSON, percent-escapes in JSON, twice percent-escaped.
        ("ab/cd+ef?gh", r"ab\\\/cd+ef?gh"),
        ("ab/cd+ef?gh", r"ab\\u002fcd+ef?gh"),
        ("ab/cd+ef?gh", r"ab\u00252Fcd%2Bef?gh"),
        ("ab/cd+ef?gh", "ab%252Fcd%252Bef%253Fgh"),
        ("pass phrase", "pass+phrase"),
        ("pass phrase", "pass%20phrase"),
        ("p\u{e4}ss\"w\u{f6}rd\\1", r#"p\u00e4ss\"w\u00F6rd\\1"#),
        ("p\u{e4}ss\"w\u{f6}rd\\1", "p%C3%A4ss%22w%c3%b6rd%5C1"),
        ("crab \u{1f980} crab", r"crab \uD83E\udd80 crab"),
        ("a&b<c>d\"e'f", "a&amp;b&lt;c&gt;d&quot;e&apos;f"),
    ] {
        assert_eq!(masked(secret, &format!("<{text}>")), "<[redacted]>", "{text}");
    }
}

#[test]
fn base64_of_a_secret_is_masked_wherever_it_begins() {
    let secret = "canary?1>\u{e9}~~~";
    for before in ["", "a", "ab", "Authorization: Basic "] {
        for after in ["", "x", "xy", "xyz: more"] {
            let text = format!("{before}{secret}{after}");
            for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                let escaped = encoded.replace('/', r"\/");
                let percent = encoded.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
                for written in [&encoded, encoded.trim_end_matches('='), &escaped, &percent] {
                    let masked = masked(secret, written);
                    assert!(masked.contains(MASKED), "{written}");
                    // Six bits of each neighbour at most, with what they share with the secret.
                    let rest = (before.len() + after.len()) * 4 / 3 + 4;
                    assert!(masked.len() <= rest + MASKED.len() + 8, "{written}: {masked}");
                }
            }
        }
    }
}

#[test]
fn basic_credentials_are_masked_decoded_too() {
    let header = format!("Basic {}", STANDARD.encode("robot:canary:12"));
    for (text, expected) in [
        (header.as_str(), "[redacted]"),
        ("user robot:canary:12.", "user [redacted]."),
        ("wrong password canary:12 of robot", "wrong password [redacted] of robot"),
        ("robot", "robot"),
    ] {
        assert_eq!(masked(&header, text), expected);
    }
    let lower = header.replace("Basic", "basic");
    assert_eq!(masked(lower.trim_end_matches('='), "robot:canary:12"), "[redacted]");
    // Neither base64 nor a pair.
    assert_eq!(masked("Basic !!!!!!!!", "!!!!!!!!"), "[redacted]");
}

#[test]
fn signing_secrets_are_masked_also_those_that_were_replaced() {
    let mut webhook = webhook("https://a.example/", &[]);
    webhook.config.secret = Some(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    webhook.old_secrets = vec![OldSecret { secret: Secret::new("former one"), until_ms: 0 }];
    for (text, expected) in [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "[redacted]"),
        ("key MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "key [redacted]"),
        ("former one", "[redacted]"),
        // What a delivery shows to everybody.
        (
            "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ] {
        assert_eq!(masked_by(&webhook, text), expected);
    }
}

#[test]
fn credentials_in_the_url_are_masked_and_common_words_are_not() {
    let url = "https://hooks.example/services/T00000000/b%C3%BCrger-token/short?sig=a+b%2Fcdefgh&v=1&bare-token-1";
    let webhook = webhook(url, &[]);
    for (text, expected) in [
        ("/services/T00000000/b%C3%BCrger-token/short", "/services/[redacted]/[redacted]/short"),
        ("b\u{fc}rger-token", "[redacted]"),
        ("a+b%2Fcdefgh", "[redacted]"),
        ("a b/cdefgh", "[redacted]"),
        ("v=1 of bare-token-1 at hooks.example", "v=1 of [redacted] at hooks.example"),
    ] {
        assert_eq!(masked_by(&webhook, text), expected);
    }
    let bot = super::tests::webhook("https://api.example/bot123456:canary-token/send", &[]);
    assert_eq!(masked_by(&bot, "canary-token"), "[redacted]");
    let syslog = super::tests::webhook("syslog+tcp://siem.example:601?framing=lf", &[]);
    assert_eq!(masked_by(&syslog, "siem.example:601?framing=lf"), "siem.example:601?framing=lf");
}

#[test]
fn options_are_masked_where_their_schema_says_so() {
    let schema = json!({
        "type": "object",
        "$defs": {"key": {"type": "string", "writeOnly": true}},
        "properties": {
            "routing_key": {"type": "string", "writeOnly": true},
            "by_reference": {"$ref": "#/$defs/key"},
            "keys": {"type": "array", "prefixItems": [{"type": "string"}], "items": {"$ref": "#/$defs/key"}},
            "either": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"in": {"$ref": "#/$defs/key"}}}]},
            "whole": {"type": "object", "writeOnly": true},
            "channel": {"type": "string"},
        },
        "additionalProperties": {"$ref": "#/$defs/key"},
    });
    let mut webhook = webhook("https://a.example/", &[]);
    webhook.config.format_options = json!({
        "routing_key": "secret-one",
        "by_reference": "secret-two",
        "keys": ["public-first", "secret-three"],
        "either": {"in": "secret-four", "out": "public-second"},
        "whole": {"a": ["secret-five"], "n": 1234567890},
        "channel": "public-third",
        "further": "secret-six",
    })
    .to_string();
    let mask = Mask::new(&webhook, &schema);
    let text = "secret-one secret-two secret-three secret-four secret-five 1234567890 secret-six";
    assert_eq!(mask.text(text), [MASKED; 7].join(" "));
    let public = "public-first public-second public-third";
    assert_eq!(mask.text(public), public);
}

/// A third-party schema that refers to itself twice in each step: the search ends, and everything counts as secret.
#[test]
fn a_schema_without_end_masks_all_options() {
    let schema = json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]});
    let mut webhook = webhook("https://a.example/", &[]);
    webhook.config.format_options = json!({"channel": "public-third"}).to_string();
    assert_eq!(Mask::new(&webhook, &schema).text("public-third"), MASKED);
}

#[test]
fn a_secret_across_the_cut_leaves_no_part() {
    // A multiple of three bytes: base64 leaves no character that is half the secret's.
    let secret = "canary/0123456789/012345678";
    let webhook = webhook("https://a.example/", &[secret]);
    let mask = Mask::new(&webhook, &Value::Null);
    let escaped: String = secret.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    for written in [secret, &escaped, &STANDARD.encode(secret)] {
        for before in (1024 - written.len() - 2)..1026 {
            let text = format!("{}{written}{}", "x".repeat(before), "y".repeat(100));
            let kept = mask.bytes(text.as_bytes(), 1024);
            assert!(kept.len() <= 1024);
            let kept = String::from_utf8(kept).expect("text");
            let rest = kept.trim_start_matches('x').trim_end_matches('y');
            assert!(MASKED.starts_with(rest), "{before}: {rest}");
        }
    }
    // Masks are shorter than what they replace: what is kept of the text stays the first kibibyte of it.
    let text = format!("{secret}{}", "z".repeat(2000));
    assert_eq!(mask.bytes(text.as_bytes(), 1024).len(), 1024 - secret.len() + MASKED.len());
    assert_eq!(mask.bytes(b"short", 1024), b"short");
    assert_eq!(Mask::default().bytes(&[b'a'; 2000], 1024).len(), 1024);
}

#[test]
fn a_secret_that_the_texts_end_cuts_off_is_masked_from_eight_characters_on() {
    assert_eq!(masked("Splunk canary-0123456789", "he sent canary-"), "he sent canary-");
    assert_eq!(masked("Splunk canary-0123456789", "he sent canary-0"), "he sent [redacted]");
    assert_eq!(masked("Splunk canary-0123456789", "he sent canary-012345678"), "he sent [redacted]");
    assert_eq!(masked("Splunk canary-0123456789", "he sent Splunk c"), "he sent [redacted]");
    assert_eq!(masked("ab/cd/ef/gh/ij", r"ab\/cd\/ef"), "[redacted]");
}

#[test]
fn secrets_that_overlap_leave_no_rest() {
    let webhook = webhook("https://a.example/", &["abcdefgh12", "gh12345678", "abababababab"]);
    assert_eq!(masked_by(&webhook, "<abcdefgh12345678>"), "<[redacted]>");
    assert_eq!(masked_by(&webhook, "<ababababababababababababab>"), "<[redacted]>");
}

/// Ways to write a text as one that another text quotes.
#[derive(Clone, Copy, Debug)]
enum Quote {
    Json,
    Percent,
    Html,
}

impl Quote {
    /// Escapes what must be escaped and, where `all` says so, what need not be.
    fn write(self, text: &str, all: &[bool], upper: bool) -> String {
        let case = |text: String| if upper { text.to_ascii_uppercase() } else { text };
        let mut written = String::new();
        for (index, c) in text.chars().enumerate() {
            let all = all[index % all.len()];
            match self {
                Self::Json if all || "\"\\".contains(c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        written += &format!("\\u{}", case(format!("{unit:04x}")));
                    }
                }
                Self::Percent if all || !c.is_ascii_alphanumeric() => {
                    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                        written += &format!("%{}", case(format!("{byte:02x}")));
                    }
                }
                Self::Html if all || "&<>\"'".contains(c) => {
                    written += &format!("&#x{};", case(format!("{:x}", u32::from(c))));
                }
                _ => written.push(c),
            }
        }
        written
    }
}

fn quote() -> impl Strategy<Value = Quote> {
    prop_oneof![Just(Quote::Json), Just(Quote::Percent), Just(Quote::Html)]
}

proptest! {
    #[test]
    fn however_a_destination_quotes_a_secret_it_is_masked(
        secret in "[!-~\u{e4}\u{1f980}]{8,60}",
        quotes in proptest::collection::vec((quote(), proptest::collection::vec(any::<bool>(), 1..9), any::<bool>()), 0..3),
        before in "[ .:]{0,1100}",
        after in "[ .:]{0,40}",
    ) {
        let mut written = secret.clone();
        for (quote, all, upper) in &quotes {
            written = quote.write(&written, all, *upper);
        }
        let webhook = webhook("https://a.example/", &[&secret]);
        let text = format!("{before}{written}{after}");
        let kept = Mask::new(&webhook, &Value::Null).bytes(text.as_bytes(), 1024);
        let mut expected = format!("{before}{MASKED}{after}").into_bytes();
        if before.len() >= 1024 {
            expected = before.clone().into_bytes();
        }
        expected.truncate(1024);
        // Of what comes after the secret only the part within the text's first kibibyte is kept.
        prop_assert!(expected.starts_with(&kept), "{text:?}: {:?}", String::from_utf8_lossy(&kept));
        prop_assert!(kept.len() >= before.len().min(1024));
    }

    #[test]
    fn any_text_can_be_masked(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[\\\\%&ux#;0-9a-f\"]{0,60}", most in 0_usize..100) {
        let webhook = webhook("https://a.example/", &["00000000", "%%%%%%%%", "\\\\\\\\\\\\\\\\"]);
        let mask = Mask::new(&webhook, &Value::Null);
        prop_assert!(mask.bytes(&bytes, most).len() <= most);
        prop_assert!(mask.bytes(text.as_bytes(), most).len() <= most);
        mask.text(&text);
    }
}

/// The cost of a mask, for a look at it: `cargo test --release -p heraldry --lib -- --ignored --nocapture cost_of_a_mask`.
#[test]
#[ignore = "prints a measurement"]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn cost_of_a_mask() {
    let mut webhook = webhook(
        "https://hooks.example/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
        &["Splunk 11111111-2222-3333-4444-555555555555"],
    );
    webhook.config.secret = Some(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    for size in [0, 2, 27, 1024, 8 * 1024, 64 * 1024] {
        let text = br#"{"text":"Success","code":0}"#.repeat(size / 27 + 1);
        let start = std::time::Instant::now();
        for _ in 0..1000 {
            std::hint::black_box(Mask::new(&webhook, &Value::Null).bytes(&text[..size], 1024));
        }
        println!("{size} bytes: {:?}", start.elapsed() / 1000);
    }
}
