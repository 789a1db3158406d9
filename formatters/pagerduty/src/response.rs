//! The meaning of PagerDuty's responses (FORMATS, section 14; "Response Codes & Retry Logic" in
//! PagerDuty/developer-docs). 202 means accepted; whether PagerDuty pages anyone is decided later and not reported.

use heraldry_formatter::text::{ELLIPSIS, Rule, bare, tidy, utf16};
use heraldry_formatter::value::{Object, Value};
use heraldry_formatter::{Answer, Verdict};

/// The longest text of PagerDuty's in a reason, in UTF-16 units.
const WORDS: usize = 120;
/// The most of PagerDuty's errors in a reason.
const ERRORS: usize = 3;
/// "A backoff of a few minutes", in milliseconds.
const THROTTLED_MS: u32 = 120_000;

pub(crate) fn verdict(answer: &Answer) -> Verdict {
    match answer.status {
        400 => Verdict::failed(refusal(answer)),
        429 => {
            // The host honours a Retry-After header by itself.
            let after_ms = answer.header("retry-after").is_none().then_some(THROTTLED_MS);
            Verdict::retry_after(
                after_ms,
                "Too many requests: PagerDuty accepts no more events for this service for now",
            )
        }
        _ => Verdict::by_status(),
    }
}

/// The reason from a response like
/// `{"status":"invalid event","message":"Event object is invalid","errors":["Length of 'routing_key' is incorrect .."]}`;
/// any other response verbatim.
fn refusal(answer: &Answer) -> String {
    let words = |text: &str| tidy(bare(text), Rule::ONE_LINE, WORDS, utf16, ELLIPSIS).into_owned();
    let body = answer.text();
    let text = match Object::parse(body.trim()) {
        Ok(reply) => {
            let message = reply.text("message").or_else(|| reply.text("status"));
            let errors = reply.items("errors").take(ERRORS).filter_map(Value::text);
            let text: Vec<String> =
                message.into_iter().chain(errors).map(|text| words(&text)).filter(|text| !text.is_empty()).collect();
            text.join("; ")
        }
        Err(_) => words(&body),
    };
    let about_key = ["routing_key", "routing key"].iter().any(|key| body.to_ascii_lowercase().contains(key));
    let hint = if about_key {
        " (put the integration's current key into the header X-Routing-Key or the option routing_key)"
    } else {
        ""
    };
    format!("PagerDuty rejected this event: {text}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use heraldry_formatter::interpreter::Header;

    fn reason(body: &str) -> String {
        match verdict(&Answer::new(400, body)) {
            Verdict::Failed(refusal) => {
                assert!(!refusal.deactivate, "{body}");
                refusal.reason
            }
            other => panic!("{body} gave {other:?}"),
        }
    }

    #[test]
    fn the_status_decides_except_for_400_and_429() {
        for status in [200, 202, 301, 401, 403, 404, 410, 413, 500, 502, 503] {
            for body in [r#"{"status":"success","message":"Event processed","dedup_key":"F-1"}"#, ""] {
                assert_eq!(verdict(&Answer::new(status, body)), Verdict::ByStatus, "{status} {body}");
            }
        }
    }

    #[test]
    fn a_rejection_has_a_readable_reason() {
        for (body, expected) in [
            (
                r#"{"status":"invalid event","message":"Event object is invalid","errors":["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#,
                "Event object is invalid; Length of 'routing_key' is incorrect (should be 32 characters) (put the integration's current key into the header X-Routing-Key or the option routing_key)",
            ),
            (r#"{"status":"invalid event","errors":["a\nb",7,"","c","d"]}"#, "invalid event; a b; 7; c"),
            (r#"{"message":["x"],"errors":{"y":1}}"#, r#"x; {"y":1}"#),
            (
                "Invalid routing key\n",
                "Invalid routing key (put the integration's current key into the header X-Routing-Key or the option routing_key)",
            ),
            ("", ""),
            ("<html>", "<html>"),
        ] {
            assert_eq!(reason(body), format!("PagerDuty rejected this event: {expected}"), "{body}");
        }
        let long = format!(r#"{{"message":"{0}","errors":["{0}","{0}","{0}","{0}"]}}"#, "x\u{202E}".repeat(500));
        assert!(reason(&long).len() < 600 && !reason(&long).contains('\u{202E}'));
        assert!(reason(&"y".repeat(8000)).len() < 200);
    }

    #[test]
    fn a_429_waits_for_minutes() {
        let Verdict::Retry(again) = verdict(&Answer::new(429, "")) else { panic!("not tried again") };
        assert_eq!(again.after_ms, Some(120_000));
        let header = Header { name: "retry-after".into(), value: "7".into() };
        let answer = Answer { headers: vec![header], ..Answer::new(429, "{}") };
        let Verdict::Retry(again) = verdict(&answer) else { panic!("not tried again") };
        assert_eq!(again.after_ms, None);
    }
}
