//! The meaning of Splunk's responses (FORMATS, section 5): `{"text","code"}`, where the code says more than the status.
//! Any other response comes from a proxy in front of Splunk, and its status decides.

use heraldry_formatter::text::{ELLIPSIS, Rule, bare, tidy, utf16};
use heraldry_formatter::value::{Object, Value};
use heraldry_formatter::{Answer, Verdict};

/// The longest text of Splunk's in a reason, in UTF-16 units.
const WORDS: usize = 120;
/// The longest unknown code in a reason, in UTF-16 units.
const CODE: usize = 20;

pub(crate) fn verdict(answer: &Answer) -> Verdict {
    let body = answer.text();
    let Ok(reply) = Object::parse(body.trim()) else { return Verdict::by_status() };
    let Some(code) = reply.get("code").and_then(Value::number) else { return Verdict::by_status() };
    match (meaning(code), answer.is_success()) {
        (Some(Meaning::Accepted), true) => Verdict::delivered(),
        (Some(Meaning::Accepted), false) => Verdict::by_status(),
        (Some(Meaning::Temporary(reason)), _) => Verdict::retry(reason),
        (Some(Meaning::Permanent(reason)), _) => Verdict::failed(with_event_index(reason, &reply)),
        // Not a success, even with a status of 2xx.
        (None, true) => {
            let member_text = |member: &str, most: usize| {
                let text = reply.text(member).unwrap_or_default();
                tidy(bare(&text), Rule::ONE_LINE, most, utf16, ELLIPSIS).into_owned()
            };
            Verdict::retry(format!(
                "Splunk did not accept the event: {} (code {})",
                member_text("text", WORDS),
                member_text("code", CODE)
            ))
        }
        (None, false) => Verdict::by_status(),
    }
}

/// For a batch Splunk names the failed event, counted from 0; for a single event the index is noise.
fn with_event_index(reason: &str, reply: &Object<'_>) -> String {
    let index = reply.get("invalid-event-number").and_then(Value::number);
    match index.filter(|index| *index >= 1.0 && index.fract() == 0.0 && *index < 1e6) {
        Some(index) => format!("{reason} (event {index} of the batch, counted from 0)"),
        None => reason.to_owned(),
    }
}

enum Meaning {
    /// Accepted into Splunk's queue.
    Accepted,
    /// A temporary failure of Splunk.
    Temporary(&'static str),
    /// A failure that an operator has to repair.
    Permanent(&'static str),
}

/// Codes 0 to 22 as in gjanders/SplunkAdmins, `splunkadmins_hec_reply_code_lookup.csv`; 23 to 27 appear in Splunk 9.3
/// and later ("Troubleshoot HTTP Event Collector"). The words before the colon are Splunk's own, so that they can be
/// searched for.
fn meaning(code: f64) -> Option<Meaning> {
    use Meaning::{Accepted, Permanent, Temporary};
    let known = (0_u16..=404).find(|known| f64::from(*known) == code)?;
    Some(match known {
        // 24 and 25 warn, with status 200, that a queue is nearly full: the event is accepted all the same, and a retry
        // would duplicate it.
        0 | 24 | 25 => Accepted,
        1 | 22 => Permanent(
            "Token disabled: the HEC token is switched off; enable it in Splunk or put another one into the webhook's header Authorization",
        ),
        2 => Permanent(
            "Token is required: the request carries no token; set the webhook's header Authorization to: Splunk TOKEN",
        ),
        3 => Permanent("Invalid authorization: the webhook's header Authorization is not of the form: Splunk TOKEN"),
        4 | 21 => Permanent(
            "Invalid token: Splunk does not know this HEC token; copy the current one into the webhook's header Authorization, after the word Splunk",
        ),
        5 => Permanent("No data: the request has no event, which is a bug in the formatter"),
        6 => Permanent("Invalid data format: Splunk cannot read this event, which is a bug in the formatter"),
        7 => Permanent(
            "Incorrect index: the token is not allowed to write to this index; allow it in the token's settings or change the option index",
        ),
        8 => Temporary("Internal server error: Splunk had an internal error (code 8)"),
        9 => Temporary("Server is busy: Splunk accepts no events for now (code 9)"),
        10 => {
            Permanent("Data channel is missing: the token requires acknowledgements; set the option channel to a GUID")
        }
        11 => Permanent("Invalid data channel: Splunk rejects this channel; set the option channel to another GUID"),
        12 => Permanent("Event field is required: the request has no event, which is a bug in the formatter"),
        13 => Permanent("Event field cannot be blank: the event is empty, which is a bug in the formatter"),
        14 => Permanent("ACK is disabled: the token has no acknowledgements; end the URL in /services/collector/event"),
        15 => Permanent("Error in handling indexed fields: Splunk rejects the fields, which is a bug in the formatter"),
        16 => Permanent(
            "Query string authorization is not enabled: move the token from the URL into the webhook's header Authorization, after the word Splunk",
        ),
        17 => Permanent(
            "HEC is healthy: this is the URL of the health check, which accepts no events; end the URL in /services/collector/event",
        ),
        18 => Temporary("HEC is unhealthy, queues are full: Splunk accepts no events for now (code 18)"),
        19 => Temporary("HEC is unhealthy, ack service unavailable: Splunk accepts no events for now (code 19)"),
        20 => Temporary(
            "HEC is unhealthy, queues are full, ack service unavailable: Splunk accepts no events for now (code 20)",
        ),
        23 => Temporary("Server is shutting down: Splunk accepts no events for now (code 23)"),
        26 => Temporary("HEC queue is at capacity: Splunk accepts no events for now (code 26)"),
        27 => Temporary("HEC ACK channel is at capacity: Splunk accepts no events for now (code 27)"),
        404 => Permanent("The requested URL was not found: end the webhook's URL in /services/collector/event"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Verdict {
        verdict(&Answer::new(status, format!(r#"{{"text":"words of Splunk","code":{code}}}"#)))
    }

    #[test]
    fn the_code_decides_or_else_the_status() {
        for (status, code, expected) in [
            (200, "0", Verdict::Delivered),
            (200, r#""0""#, Verdict::Delivered),
            (200, r#"0,"ackId":7"#, Verdict::Delivered),
            (200, "24", Verdict::Delivered),
            (200, "25", Verdict::Delivered),
            (500, "0", Verdict::ByStatus),
            (429, "24", Verdict::ByStatus),
            (400, "28", Verdict::ByStatus),
            (400, "-1", Verdict::ByStatus),
            (400, "0.5", Verdict::ByStatus),
            (400, "1e300", Verdict::ByStatus),
            (200, "null", Verdict::ByStatus),
            (400, "[6]", Verdict::ByStatus),
            (400, r#""six""#, Verdict::ByStatus),
        ] {
            assert_eq!(answer(status, code), expected, "{status} {code}");
        }
        for body in ["", "<html>", "[]", "{}", r#"{"text":"Success"}"#, "0", r#"{"code":4"#, "\u{FEFF}{}"] {
            for status in [200, 400, 410, 413, 429, 503] {
                assert_eq!(verdict(&Answer::new(status, body)), Verdict::ByStatus, "{status} {body}");
            }
        }
        assert_eq!(verdict(&Answer::new(403, b"\xFF{\"code\":4}".as_slice())), Verdict::ByStatus);
    }

    #[test]
    fn permanent_failures_are_not_retried() {
        let refused = [1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 21, 22, 404];
        for (status, code) in refused.into_iter().flat_map(|code| [(400, code), (403, code), (200, code)]) {
            let Verdict::Failed(refusal) = answer(status, &code.to_string()) else { panic!("{code} did not fail") };
            assert!(!refusal.deactivate, "{code}");
            assert!((40..200).contains(&refusal.reason.len()), "{code}: {}", refusal.reason);
            let (splunk, ours) = refusal.reason.split_once(": ").expect("Splunk's words and ours");
            assert!(splunk.len() > 5 && ours.len() > 20, "{}", refusal.reason);
        }
    }

    #[test]
    fn temporary_failures_are_retried() {
        for (status, code) in [(500, 8), (503, 9), (503, 18), (503, 19), (503, 20), (503, 23), (429, 26), (429, 27)] {
            for status in [status, 200] {
                let Verdict::Retry(again) = answer(status, &code.to_string()) else {
                    panic!("{code} is not tried again")
                };
                assert_eq!(again.after_ms, None);
                assert!(again.reason.ends_with(&format!("(code {code})")), "{}", again.reason);
            }
        }
    }

    #[test]
    fn a_2xx_with_an_unknown_code_is_not_a_success() {
        for code in ["28", "999", "0.5", "-1", "1e300"] {
            let Verdict::Retry(again) = answer(200, code) else { panic!("{code} is not tried again") };
            assert!(again.reason.contains("words of Splunk (code "), "{}", again.reason);
        }
        let long = format!(r#"{{"code":99,"text":"two\nlines\u0000\u202e{}"}}"#, "x".repeat(5000));
        let Verdict::Retry(again) = verdict(&Answer::new(200, long)) else { panic!("not tried again") };
        assert!(again.reason.len() < 200 && !again.reason.contains(['\n', '\0', '\u{202E}']), "{}", again.reason);
    }

    #[test]
    fn a_batch_reason_has_the_event_index() {
        let reason = |index: &str| match answer(400, &format!(r#"6,"invalid-event-number":{index}"#)) {
            Verdict::Failed(refusal) => refusal.reason,
            other => panic!("{other:?}"),
        };
        assert!(reason("3").ends_with(" (event 3 of the batch, counted from 0)"));
        for none in ["0", "-1", "1.5", "null", "1e300", r#""x""#] {
            assert!(reason(none).ends_with("formatter"), "{none}");
        }
    }
}
