//! The meaning of Discord's responses (FORMATS, section 13): `{"code","message"}`, where the code says more than the
//! status ("Opcodes and Status Codes" and "Rate Limits" in discord/discord-api-docs). Any other response comes from a
//! proxy in front of Discord, and its status decides.

use heraldry_formatter::text::{ELLIPSIS, Rule, bare, tidy, utf16};
use heraldry_formatter::value::{Object, Value};
use heraldry_formatter::{Answer, Verdict};

/// The longest text of Discord's in a reason, in UTF-16 units.
const WORDS: usize = 120;
/// The maximum depth to which Discord's `errors` are followed: `embeds`, `0`, `fields`, `3`, `value`.
const DEPTH: usize = 6;

pub(crate) fn verdict(answer: &Answer) -> Verdict {
    if answer.status == 429 {
        let reason = "You are being rate limited: this webhook sends more messages than Discord allows";
        return Verdict::retry_after(answer.retry_after_ms(), reason);
    }
    if answer.is_success() {
        return Verdict::by_status();
    }
    let body = answer.text();
    let Ok(reply) = Object::parse(body.trim()) else { return Verdict::by_status() };
    let code = reply.get("code").and_then(Value::number).unwrap_or_default();
    if [20_016.0, 20_028.0, 20_029.0].contains(&code) {
        return Verdict::retry(format!("the channel receives more messages than Discord allows (code {code})"));
    }
    if let Some(reason) = refusal(answer.status, code) {
        return Verdict::failed(reason);
    }
    if answer.status == 400 {
        return Verdict::failed(format!("Discord rejected this message: {}", error_text(&reply)));
    }
    Verdict::by_status()
}

/// The reason for not trying again. The words before the colon are Discord's own, so that they can be searched for.
fn refusal(status: u16, code: f64) -> Option<&'static str> {
    const CODES: [(u32, &str); 12] = [
        (
            10_015,
            "Unknown Webhook: the webhook was deleted in Discord, or its URL is wrong; make a new one and put its URL here",
        ),
        (
            10_003,
            "Unknown Channel: the channel or thread was deleted; make a webhook in another one and put its URL here",
        ),
        (
            50_027,
            "Invalid Webhook Token: a part of the webhook's URL is wrong, or it was renewed; copy the URL from Discord again",
        ),
        (50_001, "Missing Access: Discord does not let this webhook into the channel; ask the server's administrators"),
        (
            50_013,
            "Missing Permissions: Discord does not let this webhook post in the channel; ask the server's administrators",
        ),
        (50_006, "Cannot send an empty message: Discord finds nothing to show, which is a bug in the formatter"),
        (40_005, "Request entity too large: the message is too large, which is a bug in the formatter"),
        (200_000, "Message was blocked by automatic moderation: the server's AutoMod rejects words of this message"),
        (
            220_001,
            "Webhooks posted to forum channels must have a thread: put ?thread_id= and a thread's id at the end of the webhook's URL",
        ),
        (220_003, "Webhooks can only create threads in forum channels: remove thread_name from the webhook's URL"),
        (
            220_004,
            "Webhook services cannot be used in forum channels: make a webhook in a text channel and put its URL here",
        ),
        (240_000, "Message blocked by harmful links filter: Discord rejects a link of this message"),
    ];
    let known = CODES.iter().find(|(known, _)| f64::from(*known) == code).map(|(_, reason)| *reason);
    // Without a known code the HTTP status decides.
    known.or(match status {
        401 if code == 0.0 => Some(
            "401 Unauthorized: the token in the webhook's URL is missing or wrong; copy the URL from Discord again",
        ),
        404 if code == 0.0 => {
            Some("404 Not Found: Discord does not know this URL; copy the webhook's URL from Discord again")
        }
        _ => None,
    })
}

/// Discord's own text: the message, its code, and the first invalid member.
fn error_text(reply: &Object<'_>) -> String {
    let words = |text: &str| tidy(bare(text), Rule::ONE_LINE, WORDS, utf16, ELLIPSIS).into_owned();
    let mut error_text = words(&reply.text("message").unwrap_or_default());
    if let Some(code) = reply.text("code") {
        error_text.push_str(&format!(" (code {})", words(&code)));
    }
    if let Some(fault) = reply.get("errors").and_then(|errors| fault(errors, DEPTH)) {
        error_text.push_str(&format!(": {}", words(&fault)));
    }
    error_text
}

/// The first of the nested `errors`: `embeds.0.title: Must be 256 or fewer in length.`
fn fault(errors: Value<'_>, depth: usize) -> Option<String> {
    let members = errors.object();
    if let Some(faults) = members.get("_errors") {
        return faults.items().next()?.object().text("message").map(|message| format!(": {message}"));
    }
    let depth = depth.checked_sub(1)?;
    let (name, rest) = members.iter().find_map(|(name, inner)| Some((name, fault(inner, depth)?)))?;
    let between = if rest.starts_with(':') { "" } else { "." };
    Some(format!("{name}{between}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: u16, body: &str) -> String {
        match verdict(&Answer::new(status, body)) {
            Verdict::Failed(refusal) => {
                assert!(!refusal.deactivate, "{body}");
                refusal.reason
            }
            other => panic!("{status} {body} gave {other:?}"),
        }
    }

    #[test]
    fn the_status_decides_without_a_discord_code() {
        for (status, body) in [
            (204, ""),
            (200, r#"{"id":"1","code":10015}"#),
            (400, "<html>"),
            (401, ""),
            (403, r#"{"message":"x","code":12345}"#),
            (404, "<html>"),
            (404, "[]"),
            (410, "{}"),
            (500, r#"{"message":"500: Internal Server Error","code":0}"#),
            (502, "bad gateway"),
        ] {
            assert_eq!(verdict(&Answer::new(status, body)), Verdict::ByStatus, "{status} {body}");
        }
    }

    #[test]
    fn each_rejection_has_a_reason_and_none_deactivates_the_webhook() {
        for (status, code) in [
            (404, 10_015),
            (401, 10_015),
            (404, 10_003),
            (401, 50_027),
            (403, 50_001),
            (403, 50_013),
            (400, 50_006),
            (413, 40_005),
            (400, 200_000),
            (400, 220_001),
            (400, 220_003),
            (400, 220_004),
            (400, 240_000),
            (401, 0),
            (404, 0),
        ] {
            let reason = failed(status, &format!(r#"{{"message":"words","code":{code}}}"#));
            let (discord, ours) = reason.split_once(": ").expect("Discord's words and ours");
            assert!(discord.len() > 10 && ours.len() > 20 && reason.len() < 200, "{reason}");
        }
        assert!(failed(401, r#"{"message":"401: Unauthorized"}"#).starts_with("401"));
    }

    #[test]
    fn an_invalid_form_names_the_member() {
        assert_eq!(
            failed(
                400,
                r#"{"message":"Invalid Form Body","code":50035,"errors":{"embeds":{"0":{"title":{"_errors":[{"code":"BASE_TYPE_MAX_LENGTH","message":"Must be 256 or fewer in length."}]}}}}}"#
            ),
            "Discord rejected this message: Invalid Form Body (code 50035): embeds.0.title: Must be 256 or fewer in length."
        );
        assert_eq!(failed(400, r#"{"embeds":["0"]}"#), "Discord rejected this message: ");
        let deep = r#"{"a":"#.repeat(100) + "1" + &"}".repeat(100);
        assert_eq!(
            failed(400, &format!(r#"{{"message":"m\n\u202e","errors":{deep}}}"#)),
            "Discord rejected this message: m"
        );
        let long = failed(
            400,
            &format!(
                r#"{{"message":"{0}","code":"{0}","errors":{{"{0}":{{"_errors":[{{"message":"x"}}]}}}}}}"#,
                "x".repeat(2000)
            ),
        );
        assert!(long.len() < 450, "{long}");
    }

    #[test]
    fn a_rate_limit_sets_the_wait() {
        for (status, body, expected) in [
            (429, r#"{"message":"You are being rate limited.","retry_after":64.57,"global":false}"#, Some(64_570)),
            (429, r#"{"retry_after":0.0001,"code":20016}"#, Some(1)),
            (429, r#"{"retry_after":-1}"#, None),
            (429, r#"{"retry_after":"soon"}"#, None),
            (429, r#"{"retry_after":1e300}"#, Some(u32::MAX)),
            (429, "error code: 1015", None),
            (429, r#"{"code":10015}"#, None),
            (400, r#"{"code":20028}"#, None),
            (400, r#"{"code":20029}"#, None),
        ] {
            let Verdict::Retry(again) = verdict(&Answer::new(status, body)) else {
                panic!("{body} is not tried again")
            };
            assert_eq!(again.after_ms, expected, "{body}");
            assert!(again.reason.len() > 20, "{body}");
        }
    }
}
