//! Test deliveries: one attempt now, of a sample or of a stored event.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::openapi::schema::Object;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::schema;
use crate::api::auth::Admin;
use crate::api::body::Unread;
use crate::api::path::PathId;
use crate::api::problem::{ApiError, Code};
use crate::api::state::Shared;
use crate::json::Document;
use crate::json::fault::Faults;
use crate::json::fields::Field;
use crate::model::delivery::Attempt;
use crate::model::event::EventType;
use crate::model::id::{EventId, WebhookId};
use crate::scheduler::{TestEvent, TestRejected};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(test))
}

/// The event of a test delivery: at most one of the two members. Without any it is the sample of the first subscribed type.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(max_properties = 1)]
#[expect(dead_code, reason = "only its schema is used")]
struct TestInput {
    /// Send the sample of this type, whether the webhook subscribes to it or not.
    #[schema(schema_with = event_type)]
    event_type: Option<String>,
    /// Send this stored event, byte for byte as it was posted.
    #[schema(nullable = false)]
    event_id: Option<uuid::Uuid>,
}

fn event_type() -> Object {
    schema::event_type_names().build()
}

/// The event that a body names.
enum Named {
    Nothing,
    Sample(EventType),
    Stored(EventId),
}

/// Sends one event once, at once, and returns the attempt: the event that the body names, else the sample of the first
/// subscribed event type. Filters do not apply.
#[utoipa::path(post, operation_id = "test_webhook", path = "/api/v1/webhooks/{id}/test", tag = "webhooks", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The webhook")),
    request_body = Option<TestInput>,
    responses(
        (status = 200, description = "The attempt, successful or not", body = Attempt),
        (status = 404, description = "No such webhook"),
        (status = 429, description = "More than 60 in a minute"),
        (status = 503, description = "The webhook's formatter is still loading after the host's start"),
        (status = 507, description = "The disk is full; the attempt was made and is not in the history")))]
async fn test(
    _: Admin,
    PathId(id): PathId<WebhookId>,
    State(api): State<Shared>,
    body: Unread,
) -> Result<Json<Attempt>, ApiError> {
    let webhook = api.webhook(id)?;
    let event = match body.read_optional_json(&api).await? {
        Some(payload) => named_event(&api, Named::read(&payload.json()?)?).await?,
        None => TestEvent::FirstSubscribed,
    };
    api.loaded(&webhook.config.format).await?;
    match api.scheduler.test(webhook, event).await {
        Ok(attempt) => Ok(Json(attempt)),
        Err(TestRejected::TooMany { retry_after }) => {
            let error = ApiError::new(
                Code::TooManyRequests,
                "a webhook can be tested 60 times a minute; wait, then test again",
            );
            Err(error.retry_after(retry_after))
        }
        Err(TestRejected::Gone) => Err(ApiError::not_found("webhook")),
        Err(TestRejected::Store(error)) => Err(error.into()),
    }
}

async fn named_event(api: &Shared, named: Named) -> Result<TestEvent, ApiError> {
    let id = match named {
        Named::Nothing => return Ok(TestEvent::FirstSubscribed),
        Named::Sample(event_type) => return Ok(TestEvent::Sample(event_type)),
        Named::Stored(id) => id,
    };
    let Some(view) = api.store.event(id).await? else {
        let mut faults = Faults::new();
        faults.add("/event_id", "unknown_event", "no stored event has this id; it may be older than the retention");
        return Err(ApiError::fields(faults.into_inner()));
    };
    Ok(TestEvent::Stored(Box::new(view.event)))
}

impl Named {
    fn read(document: &Document<'_>) -> Result<Self, ApiError> {
        let mut faults = Faults::new();
        let body = Field::new(document.text(), "").object(&["event_type", "event_id"], &[], &mut faults);
        let named = body.and_then(|body| match (body.get("event_type"), body.get("event_id")) {
            (Some(field), None) => EventType::read(field, &mut faults).map(Self::Sample),
            (None, Some(field)) => {
                let text = field.string(&mut faults)?;
                let id = text.parse().ok();
                if id.is_none() {
                    faults.add(field.pointer(), "invalid", "must be the id of an event, a UUID");
                }
                id.map(Self::Stored)
            }
            (Some(_), Some(field)) => {
                faults.add(field.pointer(), "exclusive", "cannot stand beside event_type; leave one of the two out");
                None
            }
            (None, None) => Some(Self::Nothing),
        });
        let faults = faults.into_inner();
        named.filter(|_| faults.is_empty()).ok_or_else(|| ApiError::fields(faults))
    }
}
