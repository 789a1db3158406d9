//! Sending again and changing secrets: what an admin does after something went wrong at the other end.

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

/// Makes a new delivery of the same event, with an id of its own, whatever became of the first. To a webhook that is
/// switched off it is held until it is switched on.
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
    tracing::info!(webhook = %id, delivery = %delivery, again = %made.id, by = %token.id, "delivery made again");
    Ok((StatusCode::ACCEPTED, Json(made)))
}

/// Since when.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RecoverInput {
    /// What failed, or waited for an attempt, at this time or later is sent again.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

/// What is sent again.
#[derive(Serialize, utoipa::ToSchema)]
struct Recovered {
    /// How many deliveries were queued.
    deliveries: usize,
}

/// Queues again every delivery that failed or is held since then, under its own id and with all of its retries. For a
/// webhook that is switched off they begin when it is switched on. Repeating it is harmless: what is queued is neither
/// failed nor held any more.
#[utoipa::path(post, operation_id = "recover_webhook", path = "/api/v1/webhooks/{id}/recover", tag = "webhooks", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The webhook")),
    request_body = RecoverInput,
    responses(
        (status = 202, description = "How many", body = Recovered),
        (status = 404, description = "No such webhook"),
        (status = 507, description = "The disk is full; a part may have been queued, repeat it")))]
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
    // A client that does not wait for the end has asked for it all the same.
    let whole = tokio::spawn(async move {
        let (mut deliveries, mut cursor) = (0, Cursor::Start);
        while cursor != Cursor::Done {
            let Some(piece) = store.recover(id, since, cursor, Clone::clone(&by)).await? else { return Ok(None) };
            deliveries += piece.deliveries;
            cursor = piece.next;
        }
        Ok::<_, ApiError>(Some(deliveries))
    });
    let whole = whole.await.map_err(|_| ApiError::new(Code::Internal, "the recovery broke off; repeat it"))?;
    let deliveries = whole?.ok_or_else(|| ApiError::not_found("webhook"))?;
    tracing::info!(webhook = %id, %since, deliveries, by = %token.id, "webhook recovered");
    Ok((StatusCode::ACCEPTED, Json(Recovered { deliveries })))
}

impl RecoverInput {
    fn read(document: &Document<'_>) -> Result<Self, ApiError> {
        let mut faults = Faults::new();
        let since = Field::new(document.text(), "").object(&["since"], &[], &mut faults).and_then(|body| {
            let field = body.require("since", &mut faults)?;
            let text = field.string(&mut faults)?;
            let parsed = Timestamp::parse(&text).ok();
            if parsed.is_none() {
                faults.add(field.pointer(), "invalid", "must be an RFC 3339 time, as in 2026-11-17T10:12:45Z");
            }
            parsed
        });
        let faults = faults.into_inner();
        since.filter(|_| faults.is_empty()).map(|since| Self { since }).ok_or_else(|| ApiError::fields(faults))
    }
}
