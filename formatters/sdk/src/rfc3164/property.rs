//! Property tests: any text gives one legal message, and the text can be read back by a strict RFC 3164 parser that is
//! independent of the builder.

use proptest::prelude::*;

use super::*;
use crate::testing::cleaned::{assert_whole_or_cut, cleaned};
use crate::testing::rfc3164_reader::{Message, facts, read};
use crate::testing::strategy::text;

const TRUNCATED: &str = "[truncated]";

fn line(text: &str, timestamp: &str, tag: Option<&str>, max_bytes: usize) -> Result<Vec<u8>, Error> {
    let header = Header {
        facility: Facility::LOCAL0,
        severity: Severity::Critical,
        timestamp,
        utc_offset: UtcOffset::UTC,
        host_name: text,
        tag,
    };
    let mut content = Content::new(max_bytes);
    for value in [text, "second"] {
        content.whole_param("id", Some(value));
        content.param("target", Some(value));
    }
    content.text("", text);
    content.text(": ", text);
    Ok(header.payload(content)?.body)
}

fn message(line: &[u8]) -> Message<'_> {
    read(line).unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(line)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_comes_back(text in text(), tag in prop::option::of(text())) {
        let line = line(&text, "2026-11-07T10:12:45.120Z", tag.as_deref(), usize::MAX).expect("a payload");
        prop_assert!(line.len() <= MAX_BYTES);
        let message = message(&line);
        prop_assert_eq!((message.facility, message.severity), (16, 2));
        prop_assert_eq!(message.timestamp, Some("Nov  7 10:12:45"));
        let content = if tag.is_some() { message.tagged().expect("a tag").1 } else { message.content };
        let (output, facts) = facts(content).unwrap_or_else(|e| panic!("{e}\n{content}"));
        let clean = cleaned(&text, " ", " ");
        let clean = clean.trim();
        let whole = clean.len() < 100;
        if whole {
            let expected = if clean.is_empty() { "second" } else { clean };
            let expected = [("id", expected), ("target", expected)].map(|(name, value)| (name.to_owned(), value.to_owned()));
            prop_assert_eq!(&facts[..], &expected[..]);
            prop_assert_eq!(output, if clean.is_empty() { String::new() } else { format!("{clean}: {clean}") });
        } else {
            assert_whole_or_cut(&format!("{clean}: {clean}"), &output, false, TRUNCATED);
            for (name, value) in facts {
                assert_whole_or_cut(clean, &value, name == "id", TRUNCATED);
            }
        }
    }

    #[test]
    fn any_limit_is_kept_or_rejected(text in text(), timestamp in text(), max_bytes in 0_usize..2_000) {
        match line(&text, &timestamp, Some(&text), max_bytes) {
            Ok(line) => {
                prop_assert!(line.len() <= max_bytes.min(MAX_BYTES));
                let message = message(&line);
                let (_, content) = message.tagged().expect("a tag");
                let (_, facts) = facts(content).unwrap_or_else(|e| panic!("{e}\n{content}"));
                let clean = cleaned(&text, " ", " ");
                let expected = if clean.trim().is_empty() { "second" } else { clean.trim() };
                for (name, value) in facts {
                    assert_whole_or_cut(expected, &value, name == "id", TRUNCATED);
                }
                if line.len() < clean.trim().len() {
                    prop_assert!(max_bytes < 150 || content.contains(TRUNCATED), "{}", content);
                }
            }
            Err(_) => prop_assert!(max_bytes < 200, "refused at {}", max_bytes),
        }
    }
}
