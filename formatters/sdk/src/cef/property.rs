//! Property tests: any text gives one legal record, and the text can be read back by a strict CEF parser that is
//! independent of the builder.

use proptest::prelude::*;

use super::*;
use crate::rfc3164::UtcOffset;
use crate::testing::cef_reader::{self, Record as Read};
use crate::testing::cleaned::{assert_whole_or_cut, cleaned};
use crate::testing::strategy::text;
use crate::testing::{rfc3164_reader, rfc5424_reader};
use crate::{Severity, rfc3164, rfc5424, rfc5424::Facility};

const TRUNCATED: &str = "[truncated]";

const TEXTS: [(Text, usize); 16] = [
    (Text::Act, 63),
    (Text::App, 31),
    (Text::Cat, 1023),
    (Text::DestinationServiceName, 1023),
    (Text::DeviceExternalId, 255),
    (Text::DeviceFacility, 1023),
    (Text::Dhost, 1023),
    (Text::Duser, 1023),
    (Text::Dvchost, 100),
    (Text::ExternalId, 40),
    (Text::Outcome, 63),
    (Text::Reason, 1023),
    (Text::Request, 1023),
    (Text::Shost, 1023),
    (Text::SourceServiceName, 1023),
    (Text::Suser, 1023),
];
const CUSTOMS: [Custom; 6] = [Custom::Cs1, Custom::Cs2, Custom::Cs3, Custom::Cs4, Custom::Cs5, Custom::Cs6];

/// A record with `text` under every key, each added twice.
fn record<'a>(text: &'a str, number: i64, double: f64, severity: u8) -> Record<'a> {
    let device = Device { vendor: text, product: text, version: text };
    let mut record = Record::new(device, text, text, severity);
    for value in [text, "second"] {
        for (key, _) in TEXTS {
            record.text(key, Some(value));
        }
        for key in CUSTOMS {
            record.custom(key, "a label", Some(value));
        }
        record.long(Long::Cn1, "a=label \\", Some(number));
        record.long(Long::Cn2, "", Some(i64::MIN));
        record.double(Double::Cfp1, "score", Some(double));
        record.count(Some(number));
        record.port(Port::Dpt, Some(65_535));
        record.ipv4(Ipv4::Dst, Some(Ipv4Addr::LOCALHOST));
        record.ipv6(Ipv6::C6a3, "Destination IPv6 Address", Some(Ipv6Addr::LOCALHOST));
        record.time(Time::Rt, Some("2026-11-17T10:12:45.120Z"));
        record.time(Time::Start, Some(value));
        record.custom_time(CustomTime::DeviceCustomDate1, " ", Some("1970-01-01T00:00:00Z"));
    }
    record.message(text);
    record
}

fn read(record: Record<'_>, max_bytes: usize) -> Read {
    let body = record.payload(None, max_bytes).expect("a payload").body;
    assert!(body.len() <= max_bytes);
    let line = String::from_utf8(body).expect("UTF-8");
    cef_reader::read(&line).unwrap_or_else(|e| panic!("{e}\n{line}"))
}

fn check(sent: &str, line_break: &str, read: &str, max_bytes: usize) {
    let clean = cleaned(sent, " ", line_break);
    let clean = clean.trim();
    assert_whole_or_cut(clean, read, clean.len() <= max_bytes, TRUNCATED);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_text_comes_back(text in text(), number: i64, double: f64, severity: u8) {
        let read = read(record(&text, number, double, severity), usize::MAX);
        prop_assert_eq!(read.severity, severity.min(10));
        if cleaned(&text, " ", " ").trim().is_empty() {
            prop_assert_eq!((&*read.vendor, &*read.signature, &*read.name, &*read.version), ("-", "-", "-", "-"));
            prop_assert_eq!(read.get("msg"), None);
            prop_assert_eq!(read.get("cs1"), Some("second"));
            return Ok(());
        }
        for (shown, max_bytes) in [
            (&read.vendor, 63), (&read.product, 63), (&read.version, 31), (&read.signature, 1023), (&read.name, 512)
        ] {
            check(&text, " ", shown, max_bytes);
        }
        for (key, max_bytes) in TEXTS {
            check(&text, "\n", read.get(key.name()).unwrap_or_default(), max_bytes);
        }
        for key in CUSTOMS {
            check(&text, "\n", read.get(key.name()).unwrap_or_default(), 4000);
        }
        check(&text, "\n", read.get("msg").expect("msg"), 1023);
        prop_assert_eq!(read.get("cn1"), Some(&*number.to_string()));
        prop_assert_eq!((read.get("cn1Label"), read.get("cn2Label")), (Some("a=label \\"), Some("cn2")));
        prop_assert_eq!((read.get("rt"), read.get("deviceCustomDate1")), (Some("1794910365120"), Some("0")));
    }

    #[test]
    fn any_limit_is_kept_or_rejected(text in text(), time in text(), max_bytes in 0_usize..20_000, kind in 0..4) {
        let (facility, severity) = (Facility::LOCAL0, Severity::Low);
        let rfc3164_head = |tag| Head::Rfc3164(rfc3164::Header {
            facility, severity, timestamp: &time, utc_offset: UtcOffset::UTC, host_name: &text, tag,
        });
        let head = match kind {
            0 => None,
            1 => Some(Head::Rfc5424(rfc5424::Header {
                facility, severity, timestamp: &time, host_name: &text, app_name: &text, msgid: &text,
            })),
            2 => Some(rfc3164_head(None)),
            _ => Some(rfc3164_head(Some(&text))),
        };
        if let Ok(payload) = record(&text, 1, 1.5, 3).payload(head, max_bytes) {
            prop_assert!(payload.body.len() <= max_bytes);
            let line = String::from_utf8(payload.body).expect("UTF-8");
            let record = match kind {
                0 => Some(&*line),
                1 => rfc5424_reader::read(line.as_bytes()).expect("a message").msg,
                2 => Some(rfc3164_reader::read(line.as_bytes()).expect("a message").content),
                _ => Some(rfc3164_reader::read(line.as_bytes()).expect("a message").tagged().expect("a tag").1),
            };
            cef_reader::read(record.expect("a record")).unwrap_or_else(|e| panic!("{e}\n{line}"));
        } else {
            prop_assert!(max_bytes < 2_500, "refused at {}", max_bytes);
        }
    }
}
