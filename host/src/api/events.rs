//! Events: ingest one or many, read one back, search.

mod dry_run;
mod explain;
mod list;
mod posted;
mod reference;
mod verdicts;
mod view;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{EventReader, Poster};
use super::body::{MediaType, Unread};
use super::path::PathId;
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::formatter::Standing;
use crate::json::fault::Fault;
use crate::model::delivery::{DeliveryView, Status};
use crate::model::event::Searchable;
use crate::model::id::EventId;
use crate::store::{AcceptError, Acceptance, EventView, Idempotency, StoreError};

use dry_run::DryRunResponse;
use posted::Posted;
use reference::EventBody;
use view::{AcceptedView, EventRead, OneOrMany};

pub(super) use reference::add_examples;
pub(super) use verdicts::verdicts;
pub(super) use view::EventExample;

/// The longest `Idempotency-Key`, in printable ASCII characters.
const MAX_KEY_CHARS: usize = 255;

/// The path of [`post`], for those that do not come through the router.
pub(super) const PATH: &str = "/api/v1/events";

/// Extracts what [`post`] takes, and posts.
pub(super) async fn ingest(api: &Shared, request: Request) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let poster = Poster::from_request_parts(&mut parts, api).await?;
    post(poster, State(api.clone()), parts.uri, Unread::new(parts.headers, body)).await
}

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(post)).routes(routes!(get)).merge(list::router()).merge(explain::router())
}

/// Posts one event, an array of events, or one event a line (NDJSON). All are accepted or none; 202 means that they and
/// their deliveries are durable on disk. A member that the schema of the event's type does not know is kept and sent, with
/// a warning in the response.
///
/// With `dry_run=true` the same is checked and rejected, and then nothing is stored: no id and no key is used up. The response
/// says what would become of each event: to an admin for every webhook, as `explain` does, to others how many deliveries
/// there would be. An event that was accepted before is answered by what became of it then.
#[utoipa::path(post, operation_id = "post_events", path = "/api/v1/events", tag = "events", security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
        description = "For 24 hours, repeating the request with the same key returns the first response"),
        ("dry_run" = Option<bool>, Query, description = "True to have the events judged and not accepted")),
    request_body(content(
        (OneOrMany<EventBody> = "application/json"),
        (String = "application/x-ndjson"))),
    responses(
        (status = 200, description = "A dry run: one answer for one event, else an array of them", body = DryRunResponse,
            example = json!([{"webhook_id": "019a0000-1111-7000-8000-aaaaaaaaaaaa", "name": "on call", "matched": false,
                "reason": "critical_once: the critical_finding derived from it goes instead",
                "derived": [{"type": "critical_finding", "matched": true, "reason": "a delivery would be made"}]}])),
        (status = 202, description = "Accepted: an object for one event, else an array", body = OneOrMany<AcceptedView>),
        (status = 429, description = "The token exceeds its rate; nothing was accepted"),
        (status = 507, description = "The disk is full; nothing was accepted")))]
async fn post(Poster(token): Poster, State(api): State<Shared>, uri: Uri, body: Unread) -> Result<Response, ApiError> {
    api.ingest_limit().check(token.id, api.clock.steady_ms())?;
    let (key, is_dry_run) = (idempotency_key(body.headers()), dry_run::is_asked_for(uri.query()));
    let payload = body.read(&api, &[MediaType::Json, MediaType::NdJson]).await?;
    let mut posted = Posted::split(&payload, &api.limits)?;
    let (key, is_dry_run) = (key?, is_dry_run?);
    let documents = posted.check()?;
    let idempotency = key.map(|key| {
        let mut hash = Sha256::new();
        // The shape decides the shape of the response, so the same events in another shape are another request.
        hash.update([posted.shape as u8]);
        documents.iter().for_each(|document| hash.update(document.digest()));
        Idempotency { key, body_digest: hash.finalize().into() }
    });
    // Made of this request alone, so a repeat has them as well.
    let (events, warnings) = posted.read(&documents)?;
    let bytes = events.iter().map(|event| event.json.len()).sum();
    let _admitted = api.ingest_limit().admit(token.id, events.len(), bytes, api.clock.steady_ms())?;
    if is_dry_run {
        let known = api.store.recognize(token.id, idempotency.as_ref(), &events, api.clock.now()).await;
        let known = known.map_err(|error| rejection(error, &posted))?;
        return dry_run::respond(&api, &token, &events, known, posted.is_single()).await;
    }
    let mut types = BTreeMap::new();
    events.iter().for_each(|event| *types.entry(event.event_type).or_default() += 1);
    let accepted =
        verdicts::accept(&api, Acceptance { token: token.id, idempotency, events, verdicts: Vec::new() }).await;
    let accepted = accepted.map_err(|error| rejection(error, &posted))?;
    types.into_iter().for_each(|(event_type, events)| api.telemetry.events_accepted(event_type, events));
    let with_warnings = accepted.into_iter().zip(warnings);
    let mut views = with_warnings.map(|(accepted, unknown)| AcceptedView::of(accepted, unknown));
    if posted.is_single()
        && let Some(view) = views.next()
    {
        return Ok((StatusCode::ACCEPTED, Json(view)).into_response());
    }
    Ok((StatusCode::ACCEPTED, Json(views.collect::<Vec<_>>())).into_response())
}

/// An event and the status of its deliveries; for admins, operators and the token that posted it.
#[utoipa::path(get, operation_id = "get_event", path = "/api/v1/events/{id}", tag = "events", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The event")),
    responses(
        (status = 200, description = "The event; `data` and `engagement` are byte for byte as posted", body = EventRead<'static>),
        (status = 404, description = "No such event, or another token posted it")))]
async fn get(
    EventReader(token): EventReader,
    PathId(id): PathId<EventId>,
    State(api): State<Shared>,
) -> Result<Response, ApiError> {
    let view = api.store.event(id).await?;
    let view = view.filter(|view| token.role.reads_everything() || view.token == token.id);
    let mut view = view.ok_or_else(|| ApiError::not_found("event"))?;
    wait_for_windows(&api, &mut view);
    hold_without_formatter(&api, &mut view);
    let read = EventRead::of(&view)
        .ok_or_else(|| ApiError::new(Code::Internal, format!("the stored event {id} does not parse")))?;
    Ok(Json(read).into_response())
}

/// Shows pending deliveries as held if there is no formatter for them; the store does not know formatters.
fn hold_without_formatter(api: &Shared, view: &mut EventView) {
    let webhooks = api.store.webhooks();
    for delivery in view.deliveries.iter_mut().filter(|delivery| delivery.status == Status::Pending) {
        let format = webhooks.get(delivery.webhook_id).map(|webhook| webhook.config.format.as_str());
        if format.is_some_and(|format| matches!(api.catalog.standing(format), Standing::Unknown)) {
            delivery.status = Status::Held;
            delivery.next_attempt_at = None;
        }
    }
}

/// Shows when the window of a digest closes as the next attempt of a delivery that waits for it.
fn wait_for_windows(api: &Shared, view: &mut EventView) {
    let webhooks = api.store.webhooks();
    let accepted_at = view.event.accepted_at;
    // One that was put into a message, or is tried again, was queued later.
    let waits = |one: &DeliveryView| {
        one.status == Status::Pending && one.attempts == 0 && one.next_attempt_at == Some(accepted_at)
    };
    for delivery in view.deliveries.iter_mut().filter(|delivery| waits(delivery)) {
        let Some(webhook) = webhooks.get(delivery.webhook_id) else { continue };
        let Some(digest) = webhook.config.digest else { continue };
        let severity = || Searchable::of(view.event.event_type, &view.event.json).severity;
        if digest.bypass_severity.is_some() && digest.is_bypassed_by(severity()) {
            continue;
        }
        // A store that cannot be read is told of elsewhere. Without a window it is about to be sent.
        if let Some(opened) = api.store.window_opened(webhook).ok().flatten() {
            delivery.next_attempt_at = Some(api.clock.wall_at(opened.saturating_add(digest.window_ms())));
        }
    }
}

fn rejection(error: AcceptError, posted: &Posted<'_>) -> ApiError {
    match error {
        AcceptError::IdTaken { indexes } => {
            let detail = "another event has this id, or the same event was posted with other content; use a new id";
            let fault = |index| Fault {
                pointer: format!("{}/id", posted.pointer(index)),
                code: Code::EventIdTaken.as_str(),
                detail: detail.to_owned(),
            };
            ApiError::with_faults(Code::EventIdTaken, indexes.into_iter().map(fault).collect())
        }
        AcceptError::KeyReused => {
            let detail = "this Idempotency-Key was used with another body; use a new key for a new request";
            let code = Code::KeyReused.as_str();
            let fault = Fault { pointer: String::new(), code, detail: detail.to_owned() };
            ApiError::with_faults(Code::KeyReused, vec![fault]).because(detail)
        }
        // It is judged again until it is not.
        AcceptError::Unjudged(_) => StoreError::Unavailable.into(),
        AcceptError::Store(error) => error.into(),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().unwrap_or("");
    let printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if key.is_empty() || key.len() > MAX_KEY_CHARS || !printable || values.next().is_some() {
        let detail =
            format!("Idempotency-Key must be a single value of 1 to {MAX_KEY_CHARS} printable ASCII characters");
        return Err(ApiError::new(Code::InvalidHeader, detail));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn key(values: &[&str]) -> Option<Option<String>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        idempotency_key(&headers).ok()
    }

    #[test]
    fn a_key_is_short_and_printable() {
        assert_eq!(key(&[]), Some(None));
        assert_eq!(key(&["a b~"]), Some(Some("a b~".to_owned())));
        assert!(key(&[&"k".repeat(255)]).is_some());
        for bad in [vec![""], vec!["é"], vec!["a\tb"], vec!["a", "a"], vec![&"k".repeat(256)]] {
            assert_eq!(key(&bad), None, "{bad:?}");
        }
    }
}
