//! The meaning of Teams' responses (FORMATS, section 2). A connector returns 200 for everything and reports a failure
//! in the body. A workflow returns 202 before it has done anything, and never reports the result.

use heraldry_formatter::{Answer, Verdict};

/// The words before the status that the connector got from Teams.
const FAILURE: &str = "returned HTTP error ";

pub(crate) fn verdict(answer: &Answer) -> Verdict {
    if !answer.is_success() {
        return Verdict::by_status();
    }
    let text = answer.text();
    if text.trim() == "1" {
        return Verdict::delivered();
    }
    match failure(&text) {
        Some(status @ (429 | 500..600)) => {
            let why =
                if status == 429 { "it receives more messages than it allows" } else { "it had an internal error" };
            Verdict::retry(format!("Teams returned HTTP error {status} to the connector: {why}"))
        }
        Some(status @ 400..500) => {
            Verdict::failed(format!("Teams returned HTTP error {status} to the connector: {}", refusal(status)))
        }
        _ => Verdict::by_status(),
    }
}

/// The status after the first [`FAILURE`].
fn failure(text: &str) -> Option<u16> {
    let (_, behind) = text.split_once(FAILURE)?;
    let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    behind[..end].parse().ok()
}

/// The reason for not trying again.
const fn refusal(status: u16) -> &'static str {
    match status {
        401 | 403 => "the connector is not allowed to post in this channel; make a workflow and put its URL here",
        404 | 410 => "the channel or the connector was deleted; make a workflow and put its URL here",
        413 => "the card is too large, which is a bug in the formatter",
        _ => "it rejected this card",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error ";

    #[test]
    fn a_success_depends_on_the_body() {
        for (status, body, expected) in [
            (200, "1", Verdict::Delivered),
            (200, "1\r\n", Verdict::Delivered),
            (202, "", Verdict::ByStatus),
            (202, "1", Verdict::Delivered),
            (200, "", Verdict::ByStatus),
            (200, "12", Verdict::ByStatus),
            (200, "returned HTTP error", Verdict::ByStatus),
            (200, "returned HTTP error x", Verdict::ByStatus),
            (200, "returned HTTP error 99999999999", Verdict::ByStatus),
            (200, "returned HTTP error 302", Verdict::ByStatus),
            (200, "returned HTTP error 4130", Verdict::ByStatus),
            (404, "returned HTTP error 500", Verdict::ByStatus),
            (500, "1", Verdict::ByStatus),
        ] {
            assert_eq!(verdict(&Answer::new(status, body)), expected, "{status} {body:?}");
        }
    }

    #[test]
    fn a_failure_in_a_200_body_is_that_failure() {
        for (status, is_final) in [
            (429, false),
            (500, false),
            (503, false),
            (599, false),
            (400, true),
            (403, true),
            (404, true),
            (410, true),
            (413, true),
            (499, true),
        ] {
            let body = format!("{FAILED}{status} with ContextId tcid=1,server=\u{0}{}", "x".repeat(5_000));
            let reason = match verdict(&Answer::new(200, body)) {
                Verdict::Retry(again) if !is_final => {
                    assert_eq!(again.after_ms, None);
                    again.reason
                }
                Verdict::Failed(refusal) if is_final => {
                    assert!(!refusal.deactivate);
                    refusal.reason
                }
                other => panic!("{status} gave {other:?}"),
            };
            assert!(reason.contains(&status.to_string()) && reason.len() < 200, "{reason}");
        }
    }
}
