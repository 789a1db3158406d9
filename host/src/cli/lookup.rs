//! What a text on the command line means: a whole id, the unique beginning or end of one, or a webhook's name.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::{Api, deliveries_path};
use super::failure::Failure;
use super::terminal::escape;

/// Shortest part of an id that is looked up. The last 8 characters, which tables show, are random; the first ones are
/// a time (UUIDv7) and rarely unique.
const SHORTEST_PART: usize = 6;
/// Characters of an id in tables.
const SHOWN: usize = 8;
/// Attempts or events that are searched for a part of an id.
const SEARCHED: usize = 2_000;
/// Entries of one page, the most that the API gives.
const PAGE: usize = 200;

/// The end of an id, as tables show it.
pub(super) fn short(id: &str) -> String {
    let start = id.char_indices().rev().nth(SHOWN - 1).map_or(0, |(at, _)| at);
    id[start..].to_owned()
}

/// Something with an id, and what else tells people which one it is.
#[derive(Deserialize, PartialEq, Eq, Debug)]
struct Candidate {
    id: String,
    #[serde(default)]
    name: String,
}

/// One attempt's ids.
#[derive(Deserialize)]
struct AttemptIds {
    id: String,
    delivery_id: String,
}

/// The id of the webhook with this name or id, or with an id that begins or ends so.
///
/// # Errors
/// When there is none, or several; the error lists those. When the host cannot be asked.
pub(super) async fn webhook(api: &Api, text: &str) -> Result<String, Failure> {
    if is_whole_id(text) {
        return Ok(text.to_owned());
    }
    let candidates: Vec<Candidate> = api.get("/webhooks").await?.parse()?;
    pick("webhook", text, true, &candidates, "`heraldry webhook list` shows ids and names")
}

/// The id of the token whose id is this, or begins or ends so.
///
/// # Errors
/// As [`webhook`].
pub(super) async fn token(api: &Api, text: &str) -> Result<String, Failure> {
    if is_whole_id(text) {
        return Ok(text.to_owned());
    }
    let candidates: Vec<Candidate> = api.get("/tokens").await?.parse()?;
    pick("token", text, false, &candidates, "`heraldry token list` shows the ids")
}

/// The id of the delivery of a webhook, from a part of its id or of an attempt's id in the webhook's history.
///
/// # Errors
/// As [`webhook`].
pub(super) async fn delivery(api: &Api, webhook: &str, text: &str) -> Result<String, Failure> {
    if is_whole_id(text) {
        return Ok(text.to_owned());
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    for attempt in history(api, webhook).await? {
        let is_this = matches_part(&attempt.id, text) || matches_part(&attempt.delivery_id, text);
        if is_this && !candidates.iter().any(|known| known.id == attempt.delivery_id) {
            candidates.push(Candidate { id: attempt.delivery_id, name: String::new() });
        }
    }
    let hint = "`heraldry webhook deliveries WEBHOOK` shows the deliveries; with --json, their whole ids";
    one_of("delivery", text, candidates.iter().collect(), hint)
}

/// The id of an attempt in a webhook's history, from a part of it.
///
/// # Errors
/// As [`webhook`].
pub(super) async fn attempt(api: &Api, webhook: &str, text: &str) -> Result<String, Failure> {
    if is_whole_id(text) {
        return Ok(text.to_owned());
    }
    let attempts = history(api, webhook).await?;
    let candidates: Vec<Candidate> =
        attempts.into_iter().map(|attempt| Candidate { id: attempt.id, name: String::new() }).collect();
    pick("attempt", text, false, &candidates, "`heraldry webhook deliveries WEBHOOK --json` shows the ids of attempts")
}

/// The id of an event, from a part of it: it is looked for among the latest events.
///
/// # Errors
/// As [`webhook`].
pub(super) async fn event(api: &Api, text: &str) -> Result<String, Failure> {
    if is_whole_id(text) {
        return Ok(text.to_owned());
    }
    let candidates: Vec<Candidate> = newest(api, "/events", |event: &Candidate| event.id.clone()).await?;
    pick("event", text, false, &candidates, "`heraldry event list` shows the latest; with --json, their whole ids")
}

/// The newest attempts of a webhook.
async fn history(api: &Api, webhook: &str) -> Result<Vec<AttemptIds>, Failure> {
    newest(api, &deliveries_path(webhook), |attempt: &AttemptIds| attempt.id.clone()).await
}

/// The newest entries of a list that comes in pages.
async fn newest<T: DeserializeOwned>(api: &Api, path: &str, id: impl Fn(&T) -> String) -> Result<Vec<T>, Failure> {
    let mut entries: Vec<T> = Vec::new();
    while entries.len() < SEARCHED {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(entries.last().map(|last| ("before", id(last))));
        let page: Vec<T> = api.call(api.request(reqwest::Method::GET, path).query(&query)).await?.parse()?;
        let is_last = page.len() < PAGE;
        entries.extend(page);
        if is_last {
            break;
        }
    }
    Ok(entries)
}

/// True for a whole id, which needs no look-up: the host says whether it exists.
fn is_whole_id(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok()
}

fn matches_part(id: &str, part: &str) -> bool {
    let part = part.to_ascii_lowercase();
    part.len() >= SHORTEST_PART && (id.starts_with(&part) || id.ends_with(&part))
}

fn pick(noun: &str, text: &str, by_name: bool, candidates: &[Candidate], hint: &str) -> Result<String, Failure> {
    let means = |candidate: &&Candidate| (by_name && candidate.name == text) || matches_part(&candidate.id, text);
    one_of(noun, text, candidates.iter().filter(means).collect(), hint)
}

fn one_of(noun: &str, text: &str, found: Vec<&Candidate>, hint: &str) -> Result<String, Failure> {
    match found.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => {
            let error = anyhow::anyhow!("there is no {noun} `{}`", escape(text));
            Err(Failure::failed(error, format!("{hint}; a part of an id needs {SHORTEST_PART} characters and more")))
        }
        several => {
            let line = |one: &&Candidate| format!("\n  {}", format!("{}  {}", one.id, escape(&one.name)).trim_end());
            let ids: Vec<String> = several.iter().map(line).collect();
            let error = anyhow::anyhow!("`{}` can mean {} {noun}s{}", escape(text), several.len(), ids.concat());
            Err(Failure::failed(error, "give the whole id, or a longer part of it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "019a0000-1111-7000-8000-aaaaaaaaaaaa";
    const SECOND: &str = "019a0000-2222-7000-8000-bbbbbbaaaaaa";

    fn candidates() -> Vec<Candidate> {
        let named = |id: &str, name: &str| Candidate { id: id.to_owned(), name: name.to_owned() };
        vec![named(FIRST, "ops"), named(SECOND, "siem"), named("019b3333-3333-7000-8000-cccccccccccc", "siem")]
    }

    fn found(text: &str, by_name: bool) -> Result<String, String> {
        pick("webhook", text, by_name, &candidates(), "see the list")
            .map_err(|failure| failure.message().expect("a message").0)
    }

    #[test]
    fn a_unique_part_or_name_is_enough() {
        assert_eq!(found("ops", true).as_deref(), Ok(FIRST));
        assert_eq!(found("019a0000-1", false).as_deref(), Ok(FIRST));
        assert_eq!(found("019A0000-2222", false).as_deref(), Ok(SECOND));
        assert_eq!(found("bbaaaaaa", false).as_deref(), Ok(SECOND));
        // Six characters are enough, five are not, and a name counts only for what has names.
        assert_eq!(found("cccccc", false).as_deref(), Ok("019b3333-3333-7000-8000-cccccccccccc"));
        for (text, by_name) in [("ccccc", true), ("ops", false), ("OPS", true), ("", true), ("1111-7000", true)] {
            assert_eq!(
                found(text, by_name).err().as_deref(),
                Some(&*format!("there is no webhook `{text}`")),
                "{text}"
            );
        }
    }

    #[test]
    fn what_can_mean_several_lists_them() {
        let wanted = format!("`aaaaaa` can mean 2 webhooks\n  {FIRST}  ops\n  {SECOND}  siem");
        assert_eq!(found("aaaaaa", true), Err(wanted));
        let two = found("siem", true).expect_err("two have this name");
        assert!(two.contains(SECOND) && two.contains("can mean 2 webhooks"), "{two}");
        // A name that is the end of another webhook's id.
        let mut clash = candidates();
        clash[1].name = "aaaaaaaaaaaa".to_owned();
        assert!(pick("webhook", "aaaaaaaaaaaa", true, &clash, "").is_err());
    }

    #[test]
    fn tables_show_the_end_of_an_id() {
        assert_eq!(short(FIRST), "aaaaaaaa");
        assert_eq!(short("ab"), "ab");
        assert!(is_whole_id(FIRST) && !is_whole_id("aaaaaaaa") && !is_whole_id("ops"));
    }
}
