//! Webhooks: create, list, read, update, delete, test.

mod digest;
mod expression;
mod formats;
mod operator;
mod preview;
mod schema;
mod test;
mod view;

use std::sync::LazyLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, LOCATION};
use http::{HeaderMap, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Admin, Anyone, Viewer};
use super::body::Unread;
use super::path::PathId;
use super::precondition::{Current, Preconditions, etag};
use super::problem::{ApiError, Code};
use super::secret_rotation::new_secret;
use super::state::Shared;
use super::workload::{self, Workload};
use crate::formatter::{Declared, Join};
use crate::json::fault::Faults;
use crate::model::id::WebhookId;
use crate::model::secret::Secret;
use crate::model::token::Role;
use crate::model::webhook::input::{DEFAULT_FORMAT, Draft};
use crate::model::webhook::{Webhook, WebhookConfig};
use crate::store::{Deleted, Updated};

use formats::{declared, names};
use operator::{AnyWebhook, OperatorWebhook};
use schema::{WebhookChange, WebhookInput};
use view::{EventTypeView, ReducedWebhook, WebhookView};

/// Time limit for the SSRF guard on a new URL. A slow DNS server does not prevent saving: the guard checks the address
/// again at each connection, which also defeats DNS rebinding.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Optimistic concurrency: the number of times that an update is tried while concurrent writes win.
const MAX_ROUNDS: usize = 100;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(event_types))
        .routes(routes!(get, update, delete))
        .merge(test::router())
        .merge(preview::router())
}

/// All webhooks, newest first. Operators see no addresses and no values of options, pentesters fewer fields.
#[utoipa::path(get, operation_id = "list_webhooks", path = "/api/v1/webhooks", tag = "webhooks", security(("bearer" = [])),
    responses((status = 200, description = "All webhooks", body = Vec<AnyWebhook>)))]
async fn list(Viewer(token): Viewer, State(api): State<Shared>) -> Response {
    let webhooks = api.store.webhooks().newest_first();
    match token.role {
        Role::Admin => Json(webhooks.iter().map(|webhook| view_of(&api, webhook)).collect::<Vec<_>>()).into_response(),
        Role::Operator => {
            let views = webhooks.iter().map(|webhook| OperatorWebhook::of(webhook, view_of(&api, webhook)));
            Json(views.collect::<Vec<_>>()).into_response()
        }
        Role::Pentester | Role::Ingest => {
            Json(webhooks.iter().map(|webhook| ReducedWebhook::of(webhook)).collect::<Vec<_>>()).into_response()
        }
    }
}

/// The event types that a webhook may subscribe to; each but `*` with the JSON Schema of its `data` and a sample event. Host
/// events, which say what happened to Heraldry itself, have `"kind": "host"`.
#[utoipa::path(get, operation_id = "list_event_types", path = "/api/v1/webhooks/event-types", tag = "webhooks", security(("bearer" = [])),
    responses((status = 200, description = "Every event type, and `*`", body = Vec<EventTypeView>)))]
async fn event_types(_: Anyone) -> Json<&'static [EventTypeView]> {
    static TYPES: LazyLock<Vec<EventTypeView>> = LazyLock::new(EventTypeView::all);
    Json(&TYPES)
}

/// Creates a webhook.
#[utoipa::path(post, operation_id = "create_webhook", path = "/api/v1/webhooks", tag = "webhooks", security(("bearer" = [])),
    request_body = WebhookInput,
    responses(
        (status = 201, description = "The webhook", body = WebhookView,
            headers(("Location" = String, description = "Its path"), ("ETag" = String, description = "Its version"))),
        (status = 507, description = "The disk is full; nothing was changed")))]
async fn create(Admin(token): Admin, State(api): State<Shared>, body: Unread) -> Result<Response, ApiError> {
    let payload = body.read_json(&api).await?;
    let document = payload.json()?;
    let mut faults = Faults::new();
    let mut draft = Draft::read_whole(&document, &mut faults);
    check(&api, &draft, None, &mut faults).await?;
    let faults = faults.into_inner();
    let generated = generate_secret(&mut draft)?;
    let (config, is_active) = match draft.create() {
        Some(whole) if faults.is_empty() => whole,
        _ => return Err(ApiError::fields(faults)),
    };
    let webhook = api.store.create_webhook(config, is_active, (&token).into()).await?;
    tracing::info!(webhook = %webhook.id, by = %token.id, "webhook created");
    let location = format!("/api/v1/webhooks/{}", webhook.id);
    let headers = [(LOCATION, location), (ETAG, etag(&webhook))];
    let view = view_of(&api, &webhook).with_secret(generated.as_ref());
    Ok((StatusCode::CREATED, headers, Json(view)).into_response())
}

/// One webhook. Operators see no address and no values of options, pentesters fewer fields.
#[utoipa::path(get, operation_id = "get_webhook", path = "/api/v1/webhooks/{id}", tag = "webhooks", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The webhook"),
        ("If-None-Match" = Option<String>, Header, description = "Send the webhook only if it no longer has this `ETag`")),
    responses(
        (status = 200, description = "The webhook", body = AnyWebhook,
            headers(("ETag" = String, description = "Its version: changes with the configuration, not with counters"))),
        (status = 400, description = "A precondition that is not a list of entity tags"),
        (status = 304, description = "The webhook still has the version in `If-None-Match`; counters may differ"),
        (status = 404, description = "No such webhook"),
        (status = 412, description = "The webhook was changed since the version in `If-Match`")))]
async fn get(
    Viewer(token): Viewer,
    PathId(id): PathId<WebhookId>,
    State(api): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let webhook = api.webhook(id)?;
    if !token.role.reads_everything() {
        // The reduced form has no version of its own.
        return Ok(Json(ReducedWebhook::of(&webhook)).into_response());
    }
    let tag = [(ETAG, etag(&webhook))];
    if Preconditions::read(&headers)?.is_cached(&Current::webhook(&webhook))? {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    let view = view_of(&api, &webhook);
    if token.role == Role::Operator {
        return Ok((tag, Json(OperatorWebhook::of(&webhook, view))).into_response());
    }
    Ok((tag, Json(view)).into_response())
}

/// Changes the fields that the body names and keeps the others. Equal values, also of the secret and of headers, change nothing:
/// no new `ETag`, no entry in the audit log. `is_active: true` sends nothing old: what is held stays so until
/// `recover`. A webhook that the circuit breaker switched off is probed at once after a change of url, headers, secret, tls,
/// format or options. With `generate_secret` every request sets another
/// secret, so repeating it is not idempotent.
#[utoipa::path(put, operation_id = "update_webhook", path = "/api/v1/webhooks/{id}", tag = "webhooks", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The webhook"),
        ("If-Match" = Option<String>, Header, description = "Change the webhook only if it still has this `ETag`")),
    request_body = WebhookChange,
    responses(
        (status = 200, description = "The webhook as it is now", body = WebhookView,
            headers(("ETag" = String, description = "Its version"))),
        (status = 404, description = "No such webhook"),
        (status = 412, description = "The webhook was changed since the version in `If-Match`"),
        (status = 507, description = "The disk is full; nothing was changed")))]
async fn update(
    Admin(token): Admin,
    PathId(id): PathId<WebhookId>,
    State(api): State<Shared>,
    body: Unread,
) -> Result<Response, ApiError> {
    let mut current = api.webhook(id)?;
    let preconditions = Preconditions::read(body.headers());
    let payload = body.read_json(&api).await?;
    let document = payload.json()?;
    let preconditions = preconditions?;
    preconditions.check(&Current::webhook(&current))?;
    let mut faults = Faults::new();
    let mut draft = Draft::read(&document, &mut faults);
    check(&api, &draft, Some(&current.config), &mut faults).await?;
    faults.or(|| ()).map_err(ApiError::fields)?;
    let generated = generate_secret(&mut draft)?;
    for _ in 0..MAX_ROUNDS {
        let config = draft.clone().apply(&current.config);
        match api.store.update_webhook(id, current.revision, config, draft.is_active, (&token).into()).await? {
            Updated::Done(webhook) => {
                tracing::info!(webhook = %id, by = %token.id, "webhook changed");
                let view = view_of(&api, &webhook).with_secret(generated.as_ref());
                return Ok(([(ETAG, etag(&webhook))], Json(view)).into_response());
            }
            Updated::Missing => return Err(ApiError::not_found("webhook")),
            Updated::Stale => {
                current = api.webhook(id)?;
                preconditions.check(&Current::webhook(&current))?;
            }
        }
    }
    Err(concurrent_changes())
}

fn concurrent_changes() -> ApiError {
    ApiError::new(Code::Busy, "concurrent changes of this webhook kept winning; try again")
        .retry_after(Duration::from_secs(1))
}

/// Deletes a webhook with its history. After the response nothing more is sent to it.
#[utoipa::path(delete, operation_id = "delete_webhook", path = "/api/v1/webhooks/{id}", tag = "webhooks", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The webhook"),
        ("If-Match" = Option<String>, Header, description = "Delete the webhook only if it still has this `ETag`")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "A precondition that is not a list of entity tags"),
        (status = 404, description = "No such webhook"),
        (status = 412, description = "The webhook was changed since the version in `If-Match`"),
        (status = 507, description = "The disk is full; nothing was changed")))]
async fn delete(
    Admin(token): Admin,
    PathId(id): PathId<WebhookId>,
    State(api): State<Shared>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let mut current = api.webhook(id)?;
    let preconditions = Preconditions::read(&headers)?;
    for _ in 0..MAX_ROUNDS {
        preconditions.check(&Current::webhook(&current))?;
        // Without a precondition any revision will do, whatever changes meanwhile.
        let revision = (!preconditions.are_absent()).then_some(current.revision);
        match api.store.delete_webhook_at(id, revision, (&token).into()).await? {
            Deleted::Done => {
                api.scheduler.forget(id).await;
                tracing::info!(webhook = %id, by = %token.id, "webhook deleted");
                return Ok(StatusCode::NO_CONTENT);
            }
            Deleted::Missing => return Err(ApiError::not_found("webhook")),
            Deleted::Rejected => current = api.webhook(id)?,
        }
    }
    Err(concurrent_changes())
}

/// The admin's view of a webhook. What waits for a formatter that is not there is held; the store does not know formatters.
fn view_of(api: &Shared, webhook: &Webhook) -> WebhookView {
    let expression_error = api.expressions.failures().last_of(webhook);
    WebhookView::of(webhook, Workload::of(api, webhook), workload::next_attempt_at(api, webhook), expression_error)
}

/// Generates the secret that a body asks for, and returns it to be shown once.
fn generate_secret(draft: &mut Draft) -> Result<Option<Secret>, ApiError> {
    if !draft.generate_secret {
        return Ok(None);
    }
    let secret = new_secret()?;
    draft.secret = Some(Some(secret.clone()));
    Ok(Some(secret))
}

/// The checks that need the rest of the host: there is a formatter that accepts the options, the TLS names exist, the
/// filter's expression can be evaluated, and the SSRF guard allows the destination.
///
/// # Errors
/// 503 if the host has just started and the formatter's manifest is not known yet.
async fn check(
    api: &Shared,
    draft: &Draft,
    current: Option<&WebhookConfig>,
    faults: &mut Faults,
) -> Result<(), ApiError> {
    if current.is_none() || draft.touches_format() {
        check_format(api, draft, current, faults).await?;
    }
    digest::check(api, draft, current, faults).await?;
    check_tls(api, draft, current, faults);
    if let Some(expression) = draft.filter.as_ref().and_then(|filter| filter.expression.as_deref()) {
        expression::check(api, expression, faults).await;
    }
    let Some(url) = &draft.url else { return Ok(()) };
    let checked = tokio::time::timeout(CHECK_TIMEOUT, api.transport.check_destination(url)).await;
    if let Ok(Err(denied)) = checked {
        faults.add("/url", "denied_address", denied.to_string());
    }
    Ok(())
}

async fn check_format(
    api: &Shared,
    draft: &Draft,
    current: Option<&WebhookConfig>,
    faults: &mut Faults,
) -> Result<(), ApiError> {
    let format = draft.format.as_deref().or(current.map(|config| config.format.as_str())).unwrap_or(DEFAULT_FORMAT);
    let Some(declared) = declared(api, format).await? else {
        let detail = format!("no formatter of this name is loaded; loaded are {}", names(api, |_| true));
        faults.add("/format", "unknown_format", detail);
        return Ok(());
    };
    let url = draft.url.as_ref().or(current.map(|config| &config.url));
    if url.is_some_and(|url| url.scheme().is_syslog()) && !declared.makes_lines() {
        let pointer = if draft.url.is_some() { "/url" } else { "/format" };
        let lines = match names(api, Declared::makes_lines) {
            lines if lines.is_empty() => "no loaded format does".into(),
            lines => format!("{lines} do"),
        };
        let detail = format!("the format {format} does not produce single lines, which syslog requires; {lines}");
        faults.add(pointer, "not_a_line", detail);
    }
    let batch = draft.batch.unwrap_or_else(|| current.and_then(|config| config.batch));
    if batch.is_some() && declared.manifest().join == Join::None {
        let pointer = if draft.batch.is_some() { "/batch" } else { "/format" };
        let detail = format!("payloads of the format {format} cannot be joined into one request; leave out batch");
        faults.add(pointer, "not_joinable", detail);
    }
    let options = draft.format_options.as_deref().or(current.map(|config| config.format_options.as_str()));
    let options = serde_json::from_str(options.unwrap_or("{}")).unwrap_or_default();
    for fault in declared.check_options(&options) {
        faults.add(format!("/format_options{}", fault.pointer), fault.code, fault.detail);
    }
    Ok(())
}

/// Checks that the names for TLS are configured, and that the URL uses TLS at all.
fn check_tls(api: &Shared, draft: &Draft, current: Option<&WebhookConfig>, faults: &mut Faults) {
    if draft.tls.is_none() && draft.url.is_none() {
        return;
    }
    let Some(names) = draft.tls.as_ref().or(current.map(|config| &config.tls)).filter(|names| !names.is_empty()) else {
        return;
    };
    let url = draft.url.as_ref().or(current.map(|config| &config.url));
    if let Some(url) = url.filter(|url| !url.scheme().is_tls()) {
        let detail = format!("{}:// does not use TLS; https:// and syslog+tls:// do", url.scheme().as_str());
        faults.add("/tls", "no_tls", detail);
    }
    for (member, detail) in api.transport.tls().unknown(names) {
        faults.add(format!("/tls/{member}"), "unknown_name", detail);
    }
}
