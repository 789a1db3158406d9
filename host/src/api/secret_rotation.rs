//! Rotation of a webhook's signing secret, with an overlap during which the old secret signs too.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::header::ETAG;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Admin;
use super::body::Unread;
use super::path::PathId;
use super::precondition::etag;
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::json::Document;
use crate::json::fault::Faults;
use crate::json::fields::Field;
use crate::model::id::WebhookId;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::model::webhook::input;
use crate::store::Rotated;

/// The allowed overlap, in seconds: how long the old secret signs beside the new one.
const OVERLAP_SECONDS: RangeInclusive<u32> = 0..=7 * 24 * 60 * 60;
/// The overlap if the request names none.
const DEFAULT_OVERLAP_SECONDS: u32 = 24 * 60 * 60;
/// Random bytes of a generated secret.
const SECRET_BYTES: usize = 32;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(rotate_secret))
}

/// The new secret and the overlap; both are optional.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct RotateInput {
    /// The new secret; absent: the host generates one. The part after `whsec_` is base64.
    #[schema(nullable = false, min_length = 1, max_length = 256)]
    secret: Option<String>,
    /// Seconds during which the old secret signs too.
    #[schema(nullable = false, minimum = 0, maximum = 604_800, default = 86_400)]
    overlap_seconds: Option<u32>,
}

/// The secret that was set.
#[derive(Serialize, utoipa::ToSchema)]
struct RotatedView {
    /// The secret; it is not shown again.
    secret: String,
    /// End of the overlap; null without an old secret or an overlap.
    #[schema(value_type = Option<String>, format = DateTime)]
    old_secret_valid_until: Option<Timestamp>,
}

/// Replaces the webhook's secret. Until the overlap ends the old secret signs too: `webhook-signature` has a signature
/// of each, the new one first. `X-Webhook-Signature` is made with the new secret from now on.
#[utoipa::path(post, operation_id = "rotate_secret", path = "/api/v1/webhooks/{id}/rotate-secret", tag = "webhooks", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The webhook")),
    request_body = RotateInput,
    responses(
        (status = 200, description = "The new secret", body = RotatedView,
            headers(("ETag" = String, description = "The webhook's new version"))),
        (status = 404, description = "No such webhook"),
        (status = 409, description = "Too many overlaps at a time; wait for one to end, or set the secret with PUT"),
        (status = 507, description = "The disk is full; nothing was changed")))]
async fn rotate_secret(
    Admin(token): Admin,
    PathId(id): PathId<WebhookId>,
    State(api): State<Shared>,
    body: Unread,
) -> Result<Response, ApiError> {
    api.webhook(id)?;
    let payload = body.read_json(&api).await?;
    let (given, overlap) = RotateInput::read(&payload.json()?)?;
    let secret = match given {
        Some(secret) => secret,
        None => new_secret()?,
    };
    match api.store.rotate_secret(id, secret.clone(), overlap, (&token).into()).await? {
        Rotated::Done(webhook, until) => {
            tracing::info!(webhook = %id, by = %token.id, "webhook secret rotated");
            let view = RotatedView { secret: secret.expose().to_owned(), old_secret_valid_until: until };
            Ok(([(ETAG, etag(&webhook))], Json(view)).into_response())
        }
        Rotated::TooMany => {
            let detail = "too many old secrets are still valid; wait for an overlap to end, rotate with \
                          overlap_seconds 0, or set the secret with PUT, which ends every overlap";
            Err(ApiError::new(Code::Conflict, detail))
        }
        Rotated::Missing => Err(ApiError::not_found("webhook")),
    }
}

/// Generates a secret in the form of Standard Webhooks.
///
/// # Errors
/// 503 if the system has no random numbers.
pub(super) fn new_secret() -> Result<Secret, ApiError> {
    let mut random = [0; SECRET_BYTES];
    getrandom::fill(&mut random)
        .map_err(|_| ApiError::new(Code::Unavailable, "the system's random number generator failed; try again"))?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(random);
    Ok(Secret::new(format!("{}{encoded}", input::SECRET_PREFIX)))
}

impl RotateInput {
    fn read(document: &Document<'_>) -> Result<(Option<Secret>, Duration), ApiError> {
        let mut faults = Faults::new();
        let body = Field::new(document.text(), "").object(&["secret", "overlap_seconds"], &[], &mut faults);
        let given = body.as_ref().and_then(|body| body.get("secret")).and_then(|field| {
            let secret = input::secret(field, &mut faults)?;
            if secret.is_none() {
                faults.add(
                    field.pointer(),
                    "wrong_type",
                    "a string is expected here; leave it out to have one generated",
                );
            }
            secret
        });
        let overlap = body.as_ref().and_then(|body| body.get("overlap_seconds"));
        let overlap = overlap.and_then(|field| field.integer(OVERLAP_SECONDS, &mut faults));
        let faults = faults.into_inner();
        if body.is_none() || !faults.is_empty() {
            return Err(ApiError::fields(faults));
        }
        Ok((given, Duration::from_secs(overlap.unwrap_or(DEFAULT_OVERLAP_SECONDS).into())))
    }
}
