//! The meaning of Splunk's responses (FORMATS, section 5): `{"text","code"}`, where the code says more than the status.
//! Any other response comes from a proxy in front of Splunk, and its status decides.

use heraldry_formatter::text::{MARK, Rule, bare, tidy, utf16};
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
        (Some(Meaning::Later(reason)), _) => Verdict::retry(reason),
        (Some(Meaning::Never(reason)), _) => Verdict::failed(with_place(reason, &reply)),
        // Not a success, even with a status of 2xx.
        (None, true) => {
            let said = |member: &str, most: usize| {
                let text = reply.text(member).unwrap_or_default();
                tidy(bare(&text), Rule::ONE_LINE, most, utf16, MARK).into_owned()
            };
            Verdict::retry(format!(
                "Splunk did not accept the event: {} (code {})",
                said("text", WORDS),
                said("code", CODE)
            ))
        }
        (None, false) => Verdict::by_status(),
    }
}

/// For a batch Splunk names the failed event, counted from 0; for a single event the index is noise.
fn with_place(reason: &str, reply: &Object<'_>) -> String {
    let place = reply.get("invalid-event-number").and_then(Value::number);
    match place.filter(|place| *place >= 1.0 && place.fract() == 0.0 && *place < 1e6) {
        Some(place) => format!("{reason} (event {place} of the batch, counted from 0)"),
        None => reason.to_owned(),
    }
}

enum Meaning {
    /// Accepted into Splunk's queue.
    Accepted,
    /// A temporary failure of Splunk.
    Later(&'static str),
    /// A failure that an operator has to repair.
    Never(&'static str),
}

/// Codes 0 to 22 as in gjanders/SplunkAdmins, `splunkadmins_hec_reply_code_lookup.csv`; 23 to 27 appear in Splunk 9.3
/// and later ("Troubleshoot HTTP Event Collector"). The words before the colon are Splunk's own, so that they can be
/// searched for.
fn meaning(code: f64) -> Option<Meaning> {
    use Meaning::{Accepted, Later, Never};
    let known = (0_u16..=404).find(|known| f64::from(*known) == code)?;
    Some(match known {
        // 24 and 25 warn, with status 200, that a queue is nearly full: the event is accepted all the same, and a retry
        // would duplicate it.
        0 | 24 | 25 => Accepted,
        1 | 22 => Never(
            "Token disabled: the HEC token is switched off; enable it in Splunk or put another one into the webhook's header Authorization",
        ),
        2 => Never(
            "Token is required: the request carries no token; set the webhook's header Authorization to: Splunk TOKEN",
        ),
        3 => Never("Invalid authorization: the webhook's header Authorization is not of the form: Splunk TOKEN"),
        4 | 21 => Never(
            "Invalid token: Splunk does not know this HEC token; copy the current one into the webhook's header Authorization, behind the word Splunk",
        ),
        5 => Never("No data: Splunk found no event in the request, which is a mistake of the formatter"),
        6 => Never("Invalid data format: Splunk cannot read this event, which is a mistake of the formatter"),
        7 => Never(
            "Incorrect index: the token may not write to this index; allow it in the token's settings or change the option index",
        ),
        8 => Later("Internal server error: Splunk had an error of its own (code 8)"),
        9 => Later("Server is busy: Splunk takes nothing at the moment (code 9)"),
        10 => Never("Data channel is missing: the token wants acknowledgements; set the option channel to a GUID"),
        11 => Never("Invalid data channel: Splunk does not take this channel; set the option channel to another GUID"),
        12 => Never("Event field is required: Splunk misses the event, which is a mistake of the formatter"),
        13 => {
            Never("Event field cannot be blank: Splunk finds nothing in the event, which is a mistake of the formatter")
        }
        14 => Never("ACK is disabled: the token has no acknowledgements; let the URL end in /services/collector/event"),
        15 => Never("Error in handling indexed fields: Splunk refuses the fields, which is a mistake of the formatter"),
        16 => Never(
            "Query string authorization is not enabled: take the token out of the URL and put it into the webhook's header Authorization, behind the word Splunk",
        ),
        17 => Never(
            "HEC is healthy: this is the address of the health check, which takes no events; let the URL end in /services/collector/event",
        ),
        18 => Later("HEC is unhealthy, queues are full: Splunk takes nothing at the moment (code 18)"),
        19 => Later("HEC is unhealthy, ack service unavailable: Splunk takes nothing at the moment (code 19)"),
        20 => Later(
            "HEC is unhealthy, queues are full, ack service unavailable: Splunk takes nothing at the moment (code 20)",
        ),
        23 => Later("Server is shutting down: Splunk takes nothing at the moment (code 23)"),
        26 => Later("HEC queue is at capacity: Splunk takes nothing at the moment (code 26)"),
        27 => Later("HEC ACK channel is at capacity: Splunk takes nothing at the moment (code 27)"),
        404 => Never("The requested URL was not found: let the webhook's URL end in /services/collector/event"),
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
    fn the_code_decides_and_else_the_status() {
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
    fn what_somebody_has_to_mend_is_not_tried_again() {
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
    fn what_passes_is_tried_again() {
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
    fn a_success_with_a_strange_code_is_none() {
        for code in ["28", "999", "0.5", "-1", "1e300"] {
            let Verdict::Retry(again) = answer(200, code) else { panic!("{code} is not tried again") };
            assert!(again.reason.contains("words of Splunk (code "), "{}", again.reason);
        }
        let long = format!(r#"{{"code":99,"text":"two\nlines\u0000\u202e{}"}}"#, "x".repeat(5000));
        let Verdict::Retry(again) = verdict(&Answer::new(200, long)) else { panic!("not tried again") };
        assert!(again.reason.len() < 200 && !again.reason.contains(['\n', '\0', '\u{202E}']), "{}", again.reason);
    }

    #[test]
    fn a_batch_is_told_which_event_it_was() {
        let reason = |place: &str| match answer(400, &format!(r#"6,"invalid-event-number":{place}"#)) {
            Verdict::Failed(refusal) => refusal.reason,
            other => panic!("{other:?}"),
        };
        assert!(reason("3").ends_with(" (event 3 of the batch, counted from 0)"));
        for none in ["0", "-1", "1.5", "null", "1e300", r#""x""#] {
            assert!(reason(none).ends_with("formatter"), "{none}");
        }
    }
}
