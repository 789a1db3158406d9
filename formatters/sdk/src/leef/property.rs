//! Property tests: any text gives one legal record, and the text can be read back by a strict LEEF parser that is
//! independent of the builder.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::rfc3164::UtcOffset;
use crate::rfc5424::Facility;
use crate::testing::cleaned::{assert_whole_or_cut, cleaned};
use crate::testing::leef_reader::{self, Record as Read};
use crate::testing::strategy::text;
use crate::testing::{rfc3164_reader, rfc5424_reader};
use crate::{Severity, rfc3164, rfc5424};

const TRUNCATED: &str = "[truncated]";
const TEXTS: [(Text, usize); 8] = [
    (Text::AccountName, 255),
    (Text::Domain, 1023),
    (Text::GroupId, 1023),
    (Text::Policy, 1023),
    (Text::Realm, 1023),
    (Text::Resource, 1023),
    (Text::Role, 1023),
    (Text::UsrName, 255),
];

/// A record with `text` under every key, each added twice.
fn record(text: &str, severity: u8, delimiter: Delimiter) -> Record<'_> {
    let device = Device { vendor: text, product: text, version: text };
    let headline = Headline { event_id: text, category: text, severity, time: "2026-11-17T10:12:45.120Z" };
    let mut record = Record::new(device, headline, delimiter);
    for value in [text, "second"] {
        record.address(Address::Src, Some(Ipv4Addr::LOCALHOST));
        record.address(Address::Dst, Some(Ipv6Addr::LOCALHOST));
        record.port(Port::SrcPort, Some(0));
        record.port(Port::DstPort, Some(65_535));
        record.text(Text::Url, Some(value));
        for (key, _) in TEXTS {
            record.text(key, Some(value));
        }
        record.custom("objectId", Some(value));
        record.whole_custom("eventUid", Some(value));
        record.custom_url("link", Some(value));
    }
    record.message(text);
    record
}

fn delimiters() -> impl Strategy<Value = Delimiter> {
    prop_oneof![Just(Delimiter::Tab), Just(Delimiter::Caret)]
}

fn read(line: &[u8]) -> Read {
    let line = std::str::from_utf8(line).expect("UTF-8");
    leef_reader::read(line).unwrap_or_else(|e| panic!("{e}\n{line}"))
}

/// The text in the form in which the parser must return it.
fn sent(text: &str) -> String {
    cleaned(text, " ", " ").trim().replace('|', "｜").replace('^', "＾")
}

/// Returns true if `read` is `sent`, or a prefix of whole substituted characters followed by the truncation mark.
fn is_cut_between_characters(sent: &str, read: &str, pipe: &str, caret: &str) -> bool {
    let written = |text: &str| text.replace('|', pipe).replace('^', caret);
    if read == written(sent) {
        return true;
    }
    let Some(kept) = read.strip_suffix(TRUNCATED) else { return false };
    let mut so_far = String::new();
    // Space and joiners before the truncation mark are removed.
    let joins = |c: char| c.is_whitespace() || c == '\u{200D}';
    let cuts = sent.chars().map(|c| {
        so_far.push_str(&written(c.encode_utf8(&mut [0; 4])));
        (so_far.len(), so_far.trim_end_matches(joins) == kept)
    });
    kept.is_empty() || cuts.take_while(|(length, _)| *length <= kept.len()).any(|(_, is_kept)| is_kept)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_comes_back(text in text(), severity: u8, delimiter in delimiters()) {
        let read = read(&record(&text, severity, delimiter).payload(None, usize::MAX).expect("a payload").body);
        prop_assert_eq!(read.get("sev"), Some(&*severity.clamp(1, 10).to_string()));
        prop_assert_eq!(read.get("devTime"), Some("1794910365120"));
        prop_assert_eq!((read.get("src"), read.get("dst")), (Some("127.0.0.1"), Some("::1")));
        prop_assert_eq!((read.get("srcPort"), read.get("dstPort")), (Some("0"), Some("65535")));
        let clean = sent(&text);
        let expected = if clean.is_empty() { "second" } else { &clean };
        let device = [&read.vendor, &read.product, &read.version, &read.event_id];
        for shown in device {
            assert_whole_or_cut(if clean.is_empty() { "-" } else { &clean }, shown, clean.len() <= 255, TRUNCATED);
        }
        for (key, max_bytes) in TEXTS {
            assert_whole_or_cut(expected, read.get(key.name()).unwrap_or_default(), expected.len() <= max_bytes, TRUNCATED);
        }
        for key in ["objectId", "eventUid"] {
            assert_whole_or_cut(expected, read.get(key).unwrap_or_default(), expected.len() <= 1023, TRUNCATED);
        }
        for key in ["url", "link"] {
            let address = expected.replace('｜', "%7C").replace('＾', "%5E");
            // Full-width characters of the event stay: compare after substituting those, too.
            let shown = read.get(key).unwrap_or_default().replace('｜', "%7C").replace('＾', "%5E");
            assert_whole_or_cut(&address, &shown, expected.len() <= 1023, TRUNCATED);
        }
        assert_whole_or_cut(&clean, read.get("msg").unwrap_or_default(), clean.len() <= 4000, TRUNCATED);
        prop_assert_eq!(read.attributes.len(), 20 - usize::from(clean.is_empty()) * 2);
    }

    #[test]
    fn any_limit_is_kept_or_rejected(text in text(), delimiter in delimiters(), max_bytes in 0_usize..20_000, kind in 0..3) {
        let (facility, severity) = (Facility::LOCAL0, Severity::Low);
        let head = match kind {
            0 => None,
            1 => Some(Head::Rfc5424(rfc5424::Header {
                facility, severity, timestamp: &text, host_name: &text, app_name: &text, msgid: &text,
            })),
            _ => Some(Head::Rfc3164(rfc3164::Header {
                facility, severity, timestamp: &text, utc_offset: UtcOffset::UTC, host_name: &text, tag: None,
            })),
        };
        if let Ok(payload) = record(&text, 3, delimiter).payload(head, max_bytes) {
            prop_assert!(payload.body.len() <= max_bytes);
            let record = match kind {
                0 => &payload.body,
                1 => rfc5424_reader::read_with_tabs(&payload.body).expect("a message").msg.expect("a record").as_bytes(),
                _ => rfc3164_reader::read_with_tabs(&payload.body).expect("a message").content.as_bytes(),
            };
            let read = read(record);
            prop_assert_eq!(read.get("sev"), Some("3"));
            let clean = cleaned(&text, " ", " ");
            let expected = if clean.trim().is_empty() { "second" } else { clean.trim() };
            for (key, pipe, caret) in [("link", "%7C", "%5E"), ("url", "%7C", "%5E"), ("objectId", "｜", "＾"), ("usrName", "｜", "＾")] {
                if let Some(value) = read.get(key) {
                    prop_assert!(is_cut_between_characters(expected, value, pipe, caret), "{}: {}", key, value);
                }
            }
        } else {
            prop_assert!(max_bytes < 2_000, "refused at {}", max_bytes);
        }
    }
}
