//! Redelivery of one delivery, and recovery of all that failed.
//!
//! Failed and held deliveries together are a webhook's dead-letter queue; `recover` is how it is replayed.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Admin;
use super::body::Unread;
use super::path::{PathId, PathIds};
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::json::Document;
use crate::json::fault::Faults;
use crate::json::fields::Field;
use crate::model::delivery::DeliveryView;
use crate::model::id::{DeliveryId, WebhookId};
use crate::model::time::Timestamp;
use crate::store::Cursor;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(redeliver)).routes(routes!(recover))
}

/// Creates a new delivery of the same event, with its own id, regardless of the outcome of the first. While the webhook
/// is switched off the delivery is held.
#[utoipa::path(post, operation_id = "redeliver", path = "/api/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver", tag = "webhooks", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The webhook"),
        ("delivery_id" = uuid::Uuid, Path, description = "The delivery; the history's `delivery_id`")),
    responses(
        (status = 202, description = "The new delivery", body = DeliveryView),
        (status = 404, description = "No such webhook, or it has no such delivery"),
        (status = 507, description = "The disk is full; nothing was changed")))]
async fn redeliver(
    Admin(token): Admin,
    PathIds(id, delivery): PathIds<WebhookId, DeliveryId>,
    State(api): State<Shared>,
) -> Result<(StatusCode, Json<DeliveryView>), ApiError> {
    api.webhook(id)?;
    let made = api.store.redeliver(id, delivery, (&token).into()).await?;
    let made = made.ok_or_else(|| ApiError::not_found("delivery"))?;
    tracing::info!(webhook = %id, delivery = %delivery, again = %made.id, by = %token.id, "redelivery queued");
    Ok((StatusCode::ACCEPTED, Json(made)))
}

/// The start of the period to recover.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RecoverInput {
    /// Deliveries that failed, or were due, at this time or later are queued again.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

/// The result of a recovery.
#[derive(Serialize, utoipa::ToSchema)]
struct Recovered {
    /// The number of deliveries that were queued.
    deliveries: usize,
}

/// Replays the dead-letter queue: every delivery that failed or is held since then is queued again, under its own id
/// and with all of its retries. For a webhook that is switched off they start when it is switched on. The operation is
/// idempotent: a queued delivery is neither failed nor held any more.
#[utoipa::path(post, operation_id = "recover_webhook", path = "/api/v1/webhooks/{id}/recover", tag = "webhooks", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The webhook")),
    request_body = RecoverInput,
    responses(
        (status = 202, description = "The number of queued deliveries", body = Recovered),
        (status = 404, description = "No such webhook"),
        (status = 507, description = "The disk is full; some may have been queued, so repeat the request")))]
async fn recover(
    Admin(token): Admin,
    PathId(id): PathId<WebhookId>,
    State(api): State<Shared>,
    body: Unread,
) -> Result<(StatusCode, Json<Recovered>), ApiError> {
    api.webhook(id)?;
    let payload = body.read_json(&api).await?;
    let RecoverInput { since } = RecoverInput::read(&payload.json()?)?;
    let store = std::sync::Arc::clone(&api.store);
    let by = (&token).into();
    // In a task of its own, so that it completes even if the client disconnects.
    let whole = tokio::spawn(async move {
        let (mut deliveries, mut cursor) = (0, Cursor::Start);
        while cursor != Cursor::Done {
            let Some(page) = store.recover(id, since, cursor, Clone::clone(&by)).await? else { return Ok(None) };
            deliveries += page.deliveries;
            cursor = page.next;
        }
        Ok::<_, ApiError>(Some(deliveries))
    });
    let whole = whole.await.map_err(|_| ApiError::new(Code::Internal, "the recovery task panicked"))?;
    let deliveries = whole?.ok_or_else(|| ApiError::not_found("webhook"))?;
    tracing::info!(webhook = %id, %since, deliveries, by = %token.id, "webhook recovered");
    Ok((StatusCode::ACCEPTED, Json(Recovered { deliveries })))
}

impl RecoverInput {
    fn read(document: &Document<'_>) -> Result<Self, ApiError> {
        let mut faults = Faults::new();
        let since = Field::new(document.text(), "")
            .object(&["since"], &[], &mut faults)
            .and_then(|body| Timestamp::read(body.require("since", &mut faults)?, &mut faults));
        let faults = faults.into_inner();
        since.filter(|_| faults.is_empty()).map(|since| Self { since }).ok_or_else(|| ApiError::fields(faults))
    }
}
