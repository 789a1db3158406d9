//! Why an event went to the webhooks that it went to, and not to the others.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::Uri;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::hold_without_formatter;
use super::verdicts::verdicts;
use crate::api::auth::Reader;
use crate::api::page;
use crate::api::path::PathId;
use crate::api::problem::{ApiError, Code};
use crate::api::state::Shared;
use crate::model::delivery::{DeliveryView, Status};
use crate::model::event::{Event, Searchable};
use crate::model::host_event::subject_of_stored;
use crate::model::id::{DeliveryId, EventId, WebhookId};
use crate::model::webhook::Webhook;
use crate::model::webhook::expression::{ExpressionVerdict, Verdicts};
use crate::model::webhook::judge::{Reason, Subject, judge, judge_beside_derived};
use crate::store::EventView;

/// What an event means for one webhook.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Explained {
    /// The webhook.
    #[schema(value_type = uuid::Uuid)]
    pub(super) webhook_id: WebhookId,
    /// The webhook's name.
    pub(super) name: String,
    /// True if a delivery was made for it; in a dry run, if one would be.
    pub(super) matched: bool,
    /// The reason in words, with the values that were compared.
    #[schema(example = "severity medium is below high")]
    pub(super) reason: String,
    /// The delivery that was made; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>, nullable = false)]
    pub(super) delivery_id: Option<DeliveryId>,
    /// In a dry run: what the event that the host would derive from it means for the webhook; absent if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<ExplainedDerived>>, nullable = false)]
    pub(super) derived: Vec<ExplainedDerived>,
}

/// What a derived event means for one webhook.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ExplainedDerived {
    /// The derived event's type.
    pub(super) r#type: &'static str,
    /// True if a delivery would be made for it.
    pub(super) matched: bool,
    /// The reason in words.
    pub(super) reason: String,
}

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// Why an event went to a webhook or not, for every webhook there is, newest first. That a delivery was made is a recorded
/// fact. Where none was, the webhook's settings of now are judged, and the reason says so if they have changed since.
#[utoipa::path(get, operation_id = "explain_event", path = "/api/v1/events/{id}/explain", tag = "events", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The event")),
    responses(
        (status = 200, description = "A line for every webhook", body = Vec<Explained>, example = json!([
            {"webhook_id": "019a0000-1111-7000-8000-aaaaaaaaaaaa", "name": "on call", "matched": false,
                "reason": "severity medium is below high"},
            {"webhook_id": "019a0000-2222-7000-8000-bbbbbbbbbbbb", "name": "siem", "matched": true,
                "reason": "a delivery was made; its status is delivered",
                "delivery_id": "019a0000-3333-7000-8000-cccccccccccc"}])),
        (status = 400, description = "The query has a parameter; there are none"),
        (status = 404, description = "No such event")))]
async fn explain(
    _: Reader,
    PathId(id): PathId<EventId>,
    State(api): State<Shared>,
    uri: Uri,
) -> Result<Json<Vec<Explained>>, ApiError> {
    let view = api.store.event(id).await?.ok_or_else(|| ApiError::not_found("event"))?;
    page::parse_query(uri.query().unwrap_or(""), |_, _| Err("explain has no parameters"))
        .map_err(|detail| ApiError::new(Code::InvalidQuery, detail))?;
    Ok(Json(stored(&api, view).await?))
}

/// What a stored event means for every webhook, newest first.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn stored(api: &Shared, mut view: EventView) -> Result<Vec<Explained>, ApiError> {
    hold_without_formatter(api, &mut view);
    let webhooks = api.store.webhooks().newest_first();
    let verdicts = verdicts(api, std::slice::from_ref(&view.event), &expressions(&webhooks)).await;
    let mut derived = HashMap::new();
    for id in &view.derived {
        let deliveries = api.store.event(*id).await?.map(|derived| derived.deliveries).unwrap_or_default();
        derived.extend(deliveries.iter().map(|delivery| (delivery.webhook_id, *id)));
    }
    let event = &view.event;
    let found = Searchable::of(event.event_type, &event.json);
    let stored = Stored {
        event,
        subject: Subject::of_stored(event.event_type, &found),
        about: subject_of_stored(event.event_type, &event.json),
        verdicts: verdicts.first(),
        derived,
    };
    let own = view.deliveries.iter().filter(|delivery| delivery.redelivery_of.is_none());
    let own: HashMap<WebhookId, &DeliveryView> = own.map(|delivery| (delivery.webhook_id, delivery)).collect();
    let lines = webhooks.iter().map(|webhook| {
        let delivery = own.get(&webhook.id).copied();
        let reason = match delivery {
            Some(delivery) => stored.why(webhook, delivery.status),
            None => stored.why_not(webhook),
        };
        Explained {
            webhook_id: webhook.id,
            name: webhook.config.name.clone(),
            matched: delivery.is_some(),
            reason,
            delivery_id: delivery.map(|delivery| delivery.id),
            derived: Vec::new(),
        }
    });
    Ok(lines.collect())
}

/// The expressions of these webhooks' filters, each once.
fn expressions(webhooks: &[Arc<Webhook>]) -> Vec<&str> {
    let all = webhooks.iter().filter_map(|webhook| webhook.config.filter.expression.as_deref());
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The end of a reason where an event passes because the webhook's expression failed on it.
pub(super) fn failed_on_it(verdict: Option<&ExpressionVerdict>) -> String {
    match verdict {
        Some(ExpressionVerdict::Failed { reason }) => {
            format!("; its expression failed on the event, which therefore passes: {reason}")
        }
        Some(ExpressionVerdict::True | ExpressionVerdict::False { .. }) | None => String::new(),
    }
}

/// A stored event with what is known about it.
struct Stored<'a> {
    event: &'a Event,
    subject: Subject<'a>,
    /// The webhook that it is about.
    about: Option<WebhookId>,
    verdicts: Option<&'a Verdicts>,
    /// The webhooks for which a derived event made a delivery, with that event.
    derived: HashMap<WebhookId, EventId>,
}

impl Stored<'_> {
    /// The reason of a delivery that was made.
    fn why(&self, webhook: &Webhook, status: Status) -> String {
        let status = match status {
            Status::Pending => "pending",
            Status::Delivered => "delivered",
            Status::Failed => "failed",
            Status::Held => "held",
            Status::Skipped => "skipped",
            Status::Cancelled => "cancelled",
        };
        // Another filter than the one of then says nothing about it.
        let verdict = webhook.verdict(self.verdicts).filter(|_| !self.is_changed(webhook));
        format!("a delivery was made; its status is {status}{}", failed_on_it(verdict))
    }

    /// The reason of a delivery that was not made.
    fn why_not(&self, webhook: &Webhook) -> String {
        if self.about == Some(webhook.id) {
            return "the event is about this webhook, and a webhook gets no event about itself".to_owned();
        }
        if webhook.created_at > self.event.accepted_at {
            return made_later(webhook);
        }
        let derived = self.derived.get(&webhook.id);
        let verdict = webhook.verdict(self.verdicts);
        let judged =
            judge(webhook, &self.subject, verdict).and_then(|()| judge_beside_derived(webhook, derived.is_some()));
        let changed_at = webhook.updated_at;
        match (judged, derived) {
            (Err(reason @ Reason::CriticalOnce), Some(derived)) => format!("{reason} ({derived})"),
            (Err(Reason::Off { .. }), _) if self.is_changed(webhook) => {
                format!("changed since: the webhook is off now, and was last changed after the event, at {changed_at}")
            }
            (Err(reason), _) if self.is_changed(webhook) => {
                format!("{reason}; these are the settings of now, last changed after the event, at {changed_at}")
            }
            (Err(reason), _) => reason.to_string(),
            // Made in the same millisecond.
            (Ok(()), _) if webhook.created_at == self.event.accepted_at => made_later(webhook),
            (Ok(()), _) => {
                format!("changed since: the settings of now would match; they were last changed at {changed_at}")
            }
        }
    }

    /// True if the webhook was changed after the event was accepted.
    fn is_changed(&self, webhook: &Webhook) -> bool {
        webhook.updated_at > self.event.accepted_at
    }
}

fn made_later(webhook: &Webhook) -> String {
    format!("made later: the webhook was created after the event was accepted, at {}", webhook.created_at)
}
