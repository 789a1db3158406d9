//! Dry runs of posting events: the same checks, and what would become of each event, without accepting one.

use std::borrow::Cow;
use std::collections::HashMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::explain::{self, Explained, ExplainedDerived, failed_on_it};
use super::verdicts;
use crate::api::problem::{ApiError, Code};
use crate::api::state::Shared;
use crate::filter::Words;
use crate::model::event::{EventType, NewEvent};
use crate::model::id::WebhookId;
use crate::model::spelling::edits;
use crate::model::token::{Role, Token};
use crate::model::webhook::judge::{Reason, Subject, judge, judge_beside_derived};
use crate::model::webhook::{Activity, Webhook};
use crate::store::{Accepted, EventVerdicts};

/// Pairs of an event and a webhook that one response tells of, which bounds its size.
const MAX_PAIRS: usize = 200_000;
/// The parameter that asks for a dry run.
const PARAMETER: &str = "dry_run";

/// Reads the query of a post: true for a dry run. Other parameters never meant anything, but a misspelt one must not post.
///
/// # Errors
/// 400 for another value than true and false, and for a name that is nearly `dry_run`.
pub(super) fn is_asked_for(query: Option<&str>) -> Result<bool, ApiError> {
    let invalid = |detail: String| Err(ApiError::new(Code::InvalidQuery, detail));
    let mut asked = None;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or("").as_bytes()) {
        if name == PARAMETER {
            match (asked, value.parse::<bool>()) {
                (None, Ok(value)) => asked = Some(value),
                (None, Err(_)) => return invalid(format!("{PARAMETER} must be true or false")),
                (Some(_), _) => return invalid(format!("{PARAMETER} may be given once")),
            }
        } else if edits(&name.to_ascii_lowercase(), PARAMETER).is_some() {
            return invalid(format!("there is no parameter of this name; the one for a dry run is {PARAMETER}"));
        }
    }
    Ok(asked.unwrap_or(false))
}

/// The deliveries that an event would make, for a token that does not read webhooks.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct Counted {
    /// The number of deliveries that posting the event would create, those of derived events included.
    deliveries: u32,
    /// The types of the events that the host would derive from it.
    #[schema(value_type = Vec<String>)]
    derived: Vec<&'static str>,
}

/// The answer for one event of a dry run.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum DryRun {
    /// For an admin: a line for every webhook, newest first, as of `explain`.
    Explained(Vec<Explained>),
    /// For others.
    Counted(Counted),
}

/// The response to a dry run. Only its schema is used: without webhooks several of its forms are an empty array.
pub(super) struct DryRunResponse;

impl ToSchema for DryRunResponse {
    fn name() -> Cow<'static, str> {
        "DryRunResponse".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Explained::name().into(), Explained::schema()));
        schemas.push((Counted::name().into(), Counted::schema()));
        Explained::schemas(schemas);
    }
}

impl PartialSchema for DryRunResponse {
    fn schema() -> RefOr<Schema> {
        let explained = || ArrayBuilder::new().items(Ref::from_schema_name(Explained::name()));
        let counted = || Ref::from_schema_name(Counted::name());
        let lines = "To an admin, for one event: a line for every webhook, newest first, as of `explain`";
        AnyOfBuilder::new()
            .item(explained().description(Some(lines)))
            .item(counted())
            .item(ArrayBuilder::new().items(explained()).description(Some("To an admin, for several events")))
            .item(ArrayBuilder::new().items(counted()).description(Some("To others, for several events")))
            .into()
    }
}

/// The response to a dry run of these events; `known` are the responses that those which were accepted before have got.
///
/// # Errors
/// 413 if it would be too long, and when the store cannot be read.
pub(super) async fn respond(
    api: &Shared,
    token: &Token,
    events: &[NewEvent],
    known: Vec<Option<Accepted>>,
    is_single: bool,
) -> Result<Response, ApiError> {
    let table = api.store.webhooks();
    let webhooks = table.newest_first();
    let is_explained = token.role == Role::Admin;
    if is_explained {
        check_size(events.len(), webhooks.len())?;
    }
    // As when they are accepted, in words.
    let mut judged = events.to_vec();
    let verdicts = verdicts::judge(&api.expressions, &table, &mut judged, api.clock.now(), Words::Yes).await;
    let mut verdicts = verdicts.into_iter();
    let mut answers = Vec::with_capacity(events.len());
    for (event, known) in events.iter().zip(known) {
        let verdicts = verdicts.next().unwrap_or_default();
        let of_known = match &known {
            Some(accepted) if is_explained => of_known(api, accepted).await?.map(DryRun::Explained),
            Some(accepted) => Some(DryRun::Counted(Counted::of(event, accepted.deliveries))),
            None => None,
        };
        answers.push(match of_known {
            Some(answer) => answer,
            None => {
                let explained: Vec<Explained> =
                    webhooks.iter().map(|webhook| line(webhook, event, &verdicts)).collect();
                if is_explained {
                    DryRun::Explained(explained)
                } else {
                    DryRun::Counted(Counted::of(event, deliveries(&explained)))
                }
            }
        });
        // A long request must not keep the others of this thread waiting.
        tokio::task::yield_now().await;
    }
    let response = match answers.pop() {
        Some(only) if is_single => Json(only).into_response(),
        last => {
            answers.extend(last);
            Json(answers).into_response()
        }
    };
    Ok(response)
}

/// Bounds the length of a response that explains events.
///
/// # Errors
/// 413 if there are too many events for so many webhooks.
fn check_size(events: usize, webhooks: usize) -> Result<(), ApiError> {
    // One event can always be explained.
    let most = (MAX_PAIRS / webhooks.max(1)).max(1);
    if events <= most {
        return Ok(());
    }
    let detail = format!(
        "a dry run explains at most {MAX_PAIRS} pairs of an event and a webhook, which is {most} events with {webhooks} webhooks; send fewer at once"
    );
    Err(ApiError::new(Code::TooManyEvents, detail))
}

/// The number of deliveries that there would be, those of derived events included.
fn deliveries(explained: &[Explained]) -> u32 {
    let made =
        |line: &Explained| usize::from(line.matched) + line.derived.iter().filter(|derived| derived.matched).count();
    u32::try_from(explained.iter().map(made).sum::<usize>()).unwrap_or(u32::MAX)
}

impl Counted {
    fn of(event: &NewEvent, deliveries: u32) -> Self {
        Self { deliveries, derived: event.derives().into_iter().map(EventType::as_str).collect() }
    }
}

/// What an event means that was accepted before: posting it again is answered as the first time, and queues nothing. `None`
/// if it was removed meanwhile.
async fn of_known(api: &Shared, accepted: &Accepted) -> Result<Option<Vec<Explained>>, ApiError> {
    let Some(view) = api.store.event(accepted.id).await? else { return Ok(None) };
    let mut lines = explain::stored(api, view).await?;
    for id in &accepted.derived {
        let Some(view) = api.store.event(*id).await? else { continue };
        let event_type = view.event.event_type.as_str();
        let derived = explain::stored(api, view).await?.into_iter();
        let mut derived: HashMap<WebhookId, Explained> = derived.map(|line| (line.webhook_id, line)).collect();
        for line in &mut lines {
            line.derived.extend(derived.remove(&line.webhook_id).map(|derived| ExplainedDerived {
                r#type: event_type,
                matched: derived.matched,
                reason: derived.reason,
            }));
        }
    }
    Ok(Some(lines))
}

/// What a new event, and the one that the host would derive from it, mean for one webhook.
fn line(webhook: &Webhook, event: &NewEvent, verdicts: &EventVerdicts) -> Explained {
    let subject = Subject::of_new(event);
    let derived = event.derives().map(|event_type| {
        let verdict = webhook.verdict(verdicts.derived.as_ref().map(|(_, verdicts)| verdicts));
        let judged = judge(webhook, &Subject { event_type, ..subject }, verdict);
        let reason = reason(webhook, judged, || failed_on_it(verdict));
        ExplainedDerived { r#type: event_type.as_str(), matched: judged.is_ok(), reason }
    });
    let derived_goes = derived.as_ref().is_some_and(|derived| derived.matched);
    let verdict = webhook.verdict(Some(&verdicts.own));
    let judged = judge(webhook, &subject, verdict).and_then(|()| judge_beside_derived(webhook, derived_goes));
    Explained {
        webhook_id: webhook.id,
        name: webhook.config.name.clone(),
        matched: judged.is_ok(),
        reason: reason(webhook, judged, || failed_on_it(verdict)),
        delivery_id: None,
        derived: derived.into_iter().collect(),
    }
}

/// A judgement in words.
fn reason(webhook: &Webhook, judged: Result<(), Reason<'_>>, why_it_passes: impl Fn() -> String) -> String {
    match (judged, &webhook.activity) {
        (Err(reason), _) => reason.to_string(),
        (Ok(()), Activity::Tripped { .. }) => format!(
            "a delivery would be made, and held while the webhook is switched off after failures{}",
            why_it_passes()
        ),
        (Ok(()), _) => format!("a delivery would be made{}", why_it_passes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_bounded_length_and_one_event_is_always_answered() {
        for (events, webhooks) in [(1_000, 0), (1_000, 200), (200, 1_000), (1, 1_000_000)] {
            assert!(check_size(events, webhooks).is_ok(), "{events} {webhooks}");
        }
        for (events, webhooks) in [(1_000, 201), (201, 1_000), (2, 1_000_000)] {
            assert_eq!(check_size(events, webhooks).map_err(|error| error.code()), Err(Code::TooManyEvents));
        }
    }

    #[test]
    fn the_query_asks_for_a_dry_run_or_is_rejected() {
        let asked = |query: Option<&str>| is_asked_for(query).map_err(|error| error.code());
        assert_eq!((asked(None), asked(Some(""))), (Ok(false), Ok(false)));
        assert_eq!((asked(Some("dry_run=true")), asked(Some("dry_run=false"))), (Ok(true), Ok(false)));
        assert_eq!((asked(Some("trace=1&trace=2")), asked(Some("x=1&dry_run=true"))), (Ok(false), Ok(true)));
        for wrong in ["dry_run", "dry_run=1", "dry-run=true", "DryRun=true", "dry_run=true&dry_run=true"] {
            assert_eq!(asked(Some(wrong)), Err(Code::InvalidQuery), "{wrong}");
        }
    }
}
