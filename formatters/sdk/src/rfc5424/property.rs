//! Property tests: any text gives one legal message, and the text can be read back by a strict RFC 5424 parser that is
//! independent of the builder.

use proptest::prelude::*;

use super::*;
use crate::testing::cleaned::{assert_whole_or_cut, cleaned};
use crate::testing::rfc5424_reader::read;
use crate::testing::strategy::text;

const TRUNCATED: &str = "[truncated]";

fn line(text: &str, bom: bool, max_bytes: usize) -> Result<Vec<u8>, Error> {
    let header = Header {
        facility: Facility::LOCAL0,
        severity: Severity::Critical,
        timestamp: text,
        host_name: text,
        app_name: text,
        msgid: text,
    };
    let mut content = Content::new(max_bytes);
    for value in [text, "second"] {
        content.whole_param("id", Some(value));
        content.param("target", Some(value));
    }
    content.text("", text);
    content.text(": ", text);
    Ok(Message { header, sd_id: &SdId::default(), bom }.payload(content)?.body)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_comes_back(text in text(), bom: bool) {
        let line = line(&text, bom, usize::MAX).expect("a payload");
        let message = read(&line).unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(&line)));
        prop_assert_eq!((message.facility, message.severity, message.proc_id), (16, 2, "-"));
        let clean = cleaned(&text, " ", " ");
        let clean = clean.trim();
        let [element] = &message.elements[..] else { panic!("one element") };
        let expected = if clean.is_empty() { "second" } else { clean };
        prop_assert_eq!((element.get("id"), element.get("target")), (Some(expected), Some(expected)));
        prop_assert_eq!(element.params.len(), 2);
        let output = format!("{clean}: {clean}");
        let mark = if bom { "\u{FEFF}" } else { "" };
        prop_assert_eq!(message.msg.unwrap_or_default(), if clean.is_empty() { "".into() } else { format!("{mark}{output}") });
    }

    #[test]
    fn any_limit_is_kept_or_rejected(text in text(), bom: bool, max_bytes in 0_usize..10_000) {
        match line(&text, bom, max_bytes) {
            Ok(line) => {
                prop_assert!(line.len() <= max_bytes);
                let message = read(&line).expect("a message");
                let clean = cleaned(&text, " ", " ");
                if let Some(target) = message.elements.first().and_then(|element| element.get("target")) {
                    assert_whole_or_cut(if clean.trim().is_empty() { "second" } else { clean.trim() }, target, false, TRUNCATED);
                }
            }
            Err(_) => prop_assert!(max_bytes < 500, "refused at {}", max_bytes),
        }
    }

    #[test]
    fn a_name_is_legal_or_rejected(name in text()) {
        if let Ok(id) = SdId::try_from(name.clone()) {
            prop_assert_eq!(id.as_str(), &*name);
            prop_assert!(name.len() <= 32 && name.matches('@').count() == 1);
            prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() && !b"=]\"".contains(&b)));
        }
        if let Ok(app) = AppName::try_from(name.clone()) {
            prop_assert!((1..=48).contains(&name.len()) && app.as_str() == name && name.bytes().all(|b| b.is_ascii_graphic()));
        }
    }
}
