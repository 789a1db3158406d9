//! `send --dry-run`: what would become of each event, without sending one.

use anstyle::Style;
use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::input::Event;
use super::post::Tally;
use crate::cli::client::Api;
use crate::cli::explained::{Explained, style};
use crate::cli::failure::Failure;
use crate::cli::terminal::{self, escape_json, line, plural};

/// The host's answer for one event.
#[derive(Deserialize, Serialize, Debug)]
#[serde(untagged)]
pub(super) enum DryRun {
    /// To an admin: a line for every webhook.
    Explained(Vec<Explained>),
    /// To others.
    Counted {
        /// Deliveries that there would be.
        deliveries: u64,
        /// The types of the events that the host would derive.
        derived: Vec<String>,
    },
}

impl DryRun {
    fn deliveries(&self) -> u64 {
        match self {
            Self::Explained(lines) => lines.iter().map(Explained::deliveries).sum(),
            Self::Counted { deliveries, .. } => *deliveries,
        }
    }
}

/// Asks whether the host knows dry runs, with a request that no host accepts: one from before them ignores the parameter, and
/// would accept the events.
///
/// # Errors
/// When it does not, or cannot be asked.
pub(super) async fn is_known(api: &Api) -> Result<(), Failure> {
    let request = api.request(Method::POST, "/events").query(&[("dry_run", "?")]);
    let request = request.header(header::CONTENT_TYPE, "application/json").body("[]");
    let response = api.send(request).await.map_err(|error| api.unreachable(error))?;
    match response.status {
        StatusCode::BAD_REQUEST => Ok(()),
        StatusCode::UNPROCESSABLE_ENTITY => {
            let error = anyhow::anyhow!("this host does not know dry runs, and would accept the events");
            Err(Failure::failed(error, "nothing was sent; upgrade the host, or send without --dry-run"))
        }
        _ => Err(response.rejection()),
    }
}

/// Prints what would become of each event.
///
/// # Errors
/// When standard output is closed or cannot be written.
pub(super) fn show(tally: &Tally, events: &[Event], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return line(escape_json(&to_json(tally, events)));
    }
    let (mut explained, mut counted) = (Vec::new(), Vec::new());
    for (index, answer) in &tally.rehearsed {
        let at = events[*index].line;
        match answer {
            DryRun::Explained(lines) => explained.extend(lines.iter().flat_map(|explained| rows(at, explained))),
            DryRun::Counted { deliveries, derived } => {
                let derived = if derived.is_empty() { "-".to_owned() } else { derived.join(", ") };
                counted.push((Style::new(), vec![at.to_string(), deliveries.to_string(), derived]));
            }
        }
    }
    if !explained.is_empty() {
        terminal::table(&["LINE", "EVENT", "WEBHOOK", "GETS IT", "WHY"], &explained)?;
        line("")?;
    }
    if !counted.is_empty() {
        terminal::table(&["LINE", "DELIVERIES", "DERIVED"], &counted)?;
        line("")?;
    }
    line(summary(tally))
}

fn summary(tally: &Tally) -> String {
    let deliveries: u64 = tally.rehearsed.iter().map(|(_, answer)| answer.deliveries()).sum();
    format!(
        "dry run: {} would make {}; rejected {}; nothing was sent",
        plural(tally.rehearsed.len() as u64, "event"),
        plural(deliveries, "delivery"),
        tally.rejected.len()
    )
}

/// The rows of one event and webhook: of the event, and of those that the host would derive.
fn rows(at: usize, explained: &Explained) -> Vec<(Style, Vec<String>)> {
    let row = |event: &str, matched: bool, reason: &str| {
        let gets = if matched { "yes" } else { "no" };
        let cells = [&at.to_string(), event, &explained.webhook(), gets, reason];
        (style(matched), cells.map(str::to_owned).to_vec())
    };
    let derived = explained.derived.iter();
    let derived = derived.map(|derived| row(&format!("derived {}", derived.r#type), derived.matched, &derived.reason));
    std::iter::once(row("posted", explained.matched, &explained.reason)).chain(derived).collect()
}

fn to_json(tally: &Tally, events: &[Event]) -> String {
    let answers: Vec<_> = tally
        .rehearsed
        .iter()
        .map(|(index, answer)| match answer {
            DryRun::Explained(lines) => serde_json::json!({ "line": events[*index].line, "webhooks": lines }),
            DryRun::Counted { deliveries, derived } => {
                serde_json::json!({ "line": events[*index].line, "deliveries": deliveries, "derived": derived })
            }
        })
        .collect();
    serde_json::json!({ "events": answers, "refused": tally.refused(events) }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::Fake;

    fn explained() -> DryRun {
        serde_json::from_str(
            r#"[{"webhook_id":"019a0000-1111-7000-8000-aaaaaaaaaaaa","name":"ops","matched":false,
                "reason":"critical_once: the critical_finding derived from it goes instead",
                "derived":[{"type":"critical_finding","matched":true,"reason":"a delivery would be made"}]}]"#,
        )
        .expect("an answer")
    }

    #[test]
    fn an_event_has_a_row_for_each_webhook_and_one_for_what_is_derived() {
        let DryRun::Explained(lines) = explained() else { panic!("for an admin") };
        let cells: Vec<Vec<String>> = rows(7, &lines[0]).into_iter().map(|(_, cells)| cells).collect();
        assert_eq!(
            cells,
            [
                [
                    "7",
                    "posted",
                    "ops (aaaaaaaa)",
                    "no",
                    "critical_once: the critical_finding derived from it goes instead"
                ],
                ["7", "derived critical_finding", "ops (aaaaaaaa)", "yes", "a delivery would be made"],
            ]
        );
    }

    #[test]
    fn the_sum_counts_derived_events_too() {
        let counted = serde_json::from_str(r#"{"deliveries":3,"derived":["critical_finding"]}"#).expect("an answer");
        let tally = Tally { rehearsed: vec![(0, explained()), (1, counted)], ..Tally::default() };
        assert_eq!(summary(&tally), "dry run: 2 events would make 4 deliveries; rejected 0; nothing was sent");
        let event = |line| Event { line, json: "{}".to_owned() };
        let json: serde_json::Value = serde_json::from_str(&to_json(&tally, &[event(3), event(5)])).expect("JSON");
        assert_eq!(json["events"][0]["webhooks"][0]["derived"][0]["matched"], true);
        assert_eq!(json["events"][1], serde_json::json!({"line": 5, "deliveries": 3, "derived": ["critical_finding"]}));
        assert_eq!(json["refused"], serde_json::json!([]));
    }

    #[tokio::test]
    async fn a_host_without_dry_runs_is_told_from_one_with_them() {
        let fake = Fake::start().await;
        fake.fails("/api/v1/events", 422);
        let failure = is_known(&fake.api()).await.expect_err("an older host");
        assert!(failure.message().is_some_and(|(text, _)| text.contains("does not know dry runs")));
        fake.fails("/api/v1/events", 403);
        assert!(is_known(&fake.api()).await.is_err());
        fake.fails("/api/v1/events", 400);
        assert!(is_known(&fake.api()).await.is_ok());
    }
}
