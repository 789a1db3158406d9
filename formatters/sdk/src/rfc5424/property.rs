//! Whatever text goes in, one legal message comes out, and the text comes back: read by a strict reader of RFC
//! 5424 that knows nothing of the builder.

use proptest::prelude::*;

use super::*;
use crate::testing::cleaned::{assert_whole_or_cut, cleaned};
use crate::testing::rfc5424_reader::read;
use crate::testing::strategy::text;

const MARK: &str = "[truncated]";

fn message<'a>(text: &'a str, id: &'a SdId, max_bytes: usize) -> Message<'a> {
    let header = Header {
        facility: Facility::LOCAL0,
        severity: Severity::Critical,
        timestamp: text,
        host_name: text,
        app_name: text,
        msgid: text,
    };
    let mut message = Message::new(header, id, max_bytes);
    for value in [text, "second"] {
        message.whole_param("id", Some(value));
        message.param("target", Some(value));
    }
    message.text("", text);
    message.text(": ", text);
    message
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_comes_back(text in text()) {
        let id = SdId::default();
        let line = message(&text, &id, usize::MAX).payload().expect("a payload").body;
        let message = read(&line).unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(&line)));
        prop_assert_eq!((message.facility, message.severity, message.proc_id), (16, 2, "-"));
        let clean = cleaned(&text, " ", " ");
        let clean = clean.trim();
        let [element] = &message.elements[..] else { panic!("one element") };
        let expected = if clean.is_empty() { "second" } else { clean };
        prop_assert_eq!((element.get("id"), element.get("target")), (Some(expected), Some(expected)));
        prop_assert_eq!(element.params.len(), 2);
        let said = format!("{clean}: {clean}");
        prop_assert_eq!(message.msg.unwrap_or_default(), if clean.is_empty() { "" } else { &said });
    }

    #[test]
    fn any_room_is_kept_or_refused(text in text(), max_bytes in 0_usize..10_000) {
        let id = SdId::default();
        match message(&text, &id, max_bytes).payload() {
            Ok(payload) => {
                prop_assert!(payload.body.len() <= max_bytes);
                let message = read(&payload.body).expect("a message");
                let clean = cleaned(&text, " ", " ");
                if let Some(target) = message.elements.first().and_then(|element| element.get("target")) {
                    assert_whole_or_cut(if clean.trim().is_empty() { "second" } else { clean.trim() }, target, false, MARK);
                }
            }
            Err(_) => prop_assert!(max_bytes < 500, "refused at {}", max_bytes),
        }
    }

    #[test]
    fn a_name_is_legal_or_refused(name in text()) {
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
