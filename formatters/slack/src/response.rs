//! The meaning of Slack's responses (FORMATS, section 1): an error is one word of plain text, which says more than the
//! status.

use heraldry_formatter::{Answer, Verdict};

pub(crate) fn verdict(answer: &Answer) -> Verdict {
    let text = answer.text();
    let word = text.trim();
    if answer.is_success() {
        return if word == "ok" { Verdict::delivered() } else { Verdict::by_status() };
    }
    // The only error that is final for the channel. A revoked URL may be a mistake that can be repaired in Slack, so it
    // fails the delivery without deactivating the webhook.
    if word == "channel_is_archived" {
        return Verdict::gone(
            "channel_is_archived: the channel was archived; unarchive it or choose another one, then activate the webhook again",
        );
    }
    if word == "rollup_error" {
        return Verdict::retry("rollup_error: Slack had an internal error");
    }
    if let Some(reason) = refusal(word) {
        return Verdict::failed(reason);
    }
    if answer.status == 429 {
        return Verdict::retry_after(
            answer.retry_after_ms(),
            "rate_limited: this webhook sends more messages than Slack allows",
        );
    }
    Verdict::by_status()
}

/// The reason for not trying again. The first word is Slack's own, so that it can be searched for.
fn refusal(word: &str) -> Option<&'static str> {
    Some(match word {
        // The message is invalid: a bug of this formatter.
        "invalid_payload" => "invalid_payload: Slack cannot read this message, which is a bug in the formatter",
        "invalid_blocks" => "invalid_blocks: Slack rejects a block of this message, which is a bug in the formatter",
        "invalid_blocks_format" => {
            "invalid_blocks_format: Slack rejects the blocks of this message, which is a bug in the formatter"
        }
        "no_text" => "no_text: this message has no text, which is a bug in the formatter",
        "missing_text_or_fallback_or_attachments" => {
            "missing_text_or_fallback_or_attachments: Slack finds nothing to show in this message, which is a bug in the formatter"
        }
        "too_many_attachments" => {
            "too_many_attachments: this message has more attachments than Slack allows, which is a bug in the formatter"
        }
        "user_not_found" => "user_not_found: Slack does not know a recipient of this message",
        // A setting in Slack has to change.
        "action_prohibited" => "action_prohibited: a setting of the workspace forbids this post; ask its administrator",
        "posting_to_general_channel_denied" => {
            "posting_to_general_channel_denied: the workspace restricts who posts in its general channel; choose another channel or ask its administrator"
        }
        "invalid_token" => {
            "invalid_token: a part of the webhook's URL is wrong or has expired; copy the URL from Slack again"
        }
        // The URL has been revoked.
        "channel_not_found" => {
            "channel_not_found: the channel was deleted, or the app has no access to it; make a new incoming webhook and put its URL here"
        }
        "no_service" => {
            "no_service: Slack no longer knows this webhook URL (the app or the webhook was removed or disabled); make a new incoming webhook and put its URL here"
        }
        "no_service_id" => {
            "no_service_id: a part of the webhook's URL is missing or wrong; copy the URL from Slack again"
        }
        "no_active_hooks" => {
            "no_active_hooks: the incoming webhooks of this app are switched off; switch them on in the app's settings"
        }
        "no_team" => "no_team: Slack no longer knows the workspace; make a new incoming webhook and put its URL here",
        "team_disabled" => "team_disabled: the workspace is disabled; ask its administrator",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_decides_or_else_the_status() {
        for (status, body, expected) in [
            (200, "ok", Verdict::Delivered),
            (200, " ok\n", Verdict::Delivered),
            (200, "no_service", Verdict::ByStatus),
            (200, "", Verdict::ByStatus),
            (202, "<html>", Verdict::ByStatus),
            (302, "ok", Verdict::ByStatus),
            (500, "ok", Verdict::ByStatus),
            (400, "something_new", Verdict::ByStatus),
            (404, "", Verdict::ByStatus),
            (410, "", Verdict::ByStatus),
            (503, "rollup_error and more", Verdict::ByStatus),
        ] {
            assert_eq!(verdict(&Answer::new(status, body)), expected, "{status} {body:?}");
        }
        assert_eq!(verdict(&Answer::new(404, b"\xFF\0no_service".as_slice())), Verdict::ByStatus);
    }

    #[test]
    fn each_rejection_has_a_reason_and_only_an_archived_channel_deactivates_the_webhook() {
        for (status, word) in [
            (400, "invalid_payload"),
            (400, "user_not_found"),
            (400, "invalid_blocks"),
            (400, "missing_text_or_fallback_or_attachments"),
            (400, "invalid_blocks_format"),
            (400, "no_text"),
            (400, "too_many_attachments"),
            (403, "action_prohibited"),
            (403, "invalid_token"),
            (403, "posting_to_general_channel_denied"),
            (404, "channel_not_found"),
            (404, "no_service"),
            (404, "no_service_id"),
            (404, "no_team"),
            (404, "team_disabled"),
            (404, "no_active_hooks"),
            (410, "channel_is_archived"),
            // The status does not matter.
            (500, "no_service"),
            (429, "no_service"),
            (403, "no_team\n"),
        ] {
            let Verdict::Failed(refusal) = verdict(&Answer::new(status, word)) else { panic!("{word} did not fail") };
            let words = refusal.reason.strip_prefix(word.trim()).and_then(|rest| rest.strip_prefix(": "));
            assert!(words.is_some_and(|words| words.len() > 20), "{word}: {}", refusal.reason);
            assert!(refusal.reason.len() < 200, "{word}");
            assert_eq!(refusal.deactivate, word == "channel_is_archived", "{word}");
        }
    }

    #[test]
    fn a_rate_limit_sets_the_wait() {
        for (status, body, expected) in [
            (429, r#"{"retry_after":1,"ok":false,"error":"rate_limited"}"#, Some(1_000)),
            (429, r#"{"retry_after":0}"#, Some(0)),
            (429, r#"{"retry_after":1.2345}"#, Some(1_235)),
            (429, r#"{"retry_after":1e300}"#, Some(u32::MAX)),
            (429, r#"{"retry_after":-1}"#, None),
            (429, r#"{"retry_after":"30"}"#, Some(30_000)),
            (429, r#"{"retry_after":"soon"}"#, None),
            (429, r#"{"retry_after":null}"#, None),
            (429, r#"{"ok":false}"#, None),
            (429, "rate_limited", None),
            (429, "", None),
            (429, "[]", None),
            (500, "rollup_error", None),
            (503, "rollup_error", None),
        ] {
            let Verdict::Retry(again) = verdict(&Answer::new(status, body)) else {
                panic!("{body} is not tried again")
            };
            assert_eq!(again.after_ms, expected, "{body}");
            assert!(again.reason.contains(if status == 429 { "rate_limited: " } else { "rollup_error: " }), "{body}");
        }
    }
}
