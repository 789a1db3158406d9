//! Events as the API returns them, and as the OpenAPI document describes them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::api::problem::FieldProblem;
use crate::json::fault::Fault;
use crate::model::delivery::DeliveryView;
use crate::model::event::{Event, UnknownMembers};
use crate::model::id::EventId;
use crate::model::time::Timestamp;
use crate::store::{Accepted, EventView};

/// The result of posting one event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AcceptedView {
    /// The event's id.
    #[schema(value_type = uuid::Uuid)]
    id: EventId,
    /// The number of deliveries that were created, including held ones and those of derived events.
    deliveries: u32,
    /// The ids of the events that the host derived from it.
    #[schema(value_type = Vec<uuid::Uuid>)]
    derived: Vec<EventId>,
    /// Members of the event that its schema does not know; absent if there are none. At most 20 of an event and 100 in a
    /// response.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<FieldProblem>>, nullable = false)]
    warnings: Vec<Fault>,
    /// The number of warnings that are not listed; absent if all are.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(value_type = Option<usize>, nullable = false)]
    more_warnings: usize,
}

impl AcceptedView {
    pub(super) fn of(accepted: Accepted, unknown: UnknownMembers) -> Self {
        let (warnings, more_warnings) = unknown.into_parts();
        Self { id: accepted.id, deliveries: accepted.deliveries, derived: accepted.derived, warnings, more_warnings }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One value, or an array of them.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum OneOrMany<T> {
    /// The response to one object.
    One(T),
    /// The response to an array or NDJSON, even if it holds one value.
    Many(Vec<T>),
}

/// An engagement.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct EngagementBody {
    /// The engagement's id; webhook filters compare it.
    id: String,
    /// The engagement's name.
    name: String,
    /// The client's name.
    #[schema(nullable = false)]
    client: Option<String>,
}

/// An event, as it is read back.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct EventRead<'a> {
    /// The event's id.
    #[schema(value_type = uuid::Uuid)]
    id: EventId,
    /// The event type.
    r#type: &'static str,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// The engagement, byte for byte as posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>, nullable = false)]
    engagement: Option<&'a RawValue>,
    /// The data, byte for byte as posted.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    data: &'a RawValue,
    /// The event that the host derived this one from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>, nullable = false)]
    caused_by: Option<EventId>,
    /// When the host accepted it.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Timestamp,
    /// One delivery for each webhook that subscribed to it.
    deliveries: &'a [DeliveryView],
}

/// An event in a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct EventListed<'a> {
    /// The event's id.
    #[schema(value_type = uuid::Uuid)]
    id: EventId,
    /// The event type.
    r#type: &'static str,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// The engagement, byte for byte as posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>, nullable = false)]
    engagement: Option<&'a RawValue>,
    /// The data, byte for byte as posted; only if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>, nullable = false)]
    data: Option<&'a RawValue>,
    /// The event that the host derived this one from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>, nullable = false)]
    caused_by: Option<EventId>,
    /// When the host accepted it.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Timestamp,
    /// One delivery for each webhook that subscribed to it.
    deliveries: &'a [DeliveryView],
}

impl<'a> EventListed<'a> {
    /// Shows a stored event; `None` if its text does not parse any more.
    pub(super) fn of(view: &'a EventView, with_data: bool) -> Option<Self> {
        let EventRead { id, r#type, occurred_at, engagement, data, caused_by, accepted_at, deliveries } =
            EventRead::of(view)?;
        let data = Some(data).filter(|_| with_data);
        Some(Self { id, r#type, occurred_at, engagement, data, caused_by, accepted_at, deliveries })
    }
}

/// A kept event without its deliveries.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct EventExample<'a> {
    /// The event's id.
    #[schema(value_type = uuid::Uuid)]
    id: EventId,
    /// The event type.
    r#type: &'static str,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// The engagement, byte for byte as posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>, nullable = false)]
    engagement: Option<&'a RawValue>,
    /// The data, byte for byte as posted.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    data: &'a RawValue,
    /// The event that the host derived this one from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>, nullable = false)]
    caused_by: Option<EventId>,
    /// When the host accepted it.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Timestamp,
}

impl<'a> EventExample<'a> {
    /// Shows a stored event; `None` if its text does not parse any more.
    pub(in crate::api) fn of(event: &'a Event) -> Option<Self> {
        let AsPosted { engagement, data } = serde_json::from_str(&event.json).ok()?;
        let &Event { id, event_type, occurred_at, accepted_at, caused_by, .. } = event;
        Some(Self { id, r#type: event_type.as_str(), occurred_at, engagement, data, caused_by, accepted_at })
    }
}

#[derive(Deserialize)]
struct AsPosted<'a> {
    #[serde(borrow)]
    engagement: Option<&'a RawValue>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl<'a> EventRead<'a> {
    /// Shows a stored event; `None` if its text does not parse any more, which means that the record is damaged.
    pub(super) fn of(view: &'a EventView) -> Option<Self> {
        let posted: AsPosted<'_> = serde_json::from_str(&view.event.json).ok()?;
        Some(Self {
            id: view.event.id,
            r#type: view.event.event_type.as_str(),
            occurred_at: view.event.occurred_at,
            engagement: posted.engagement,
            data: posted.data,
            caused_by: view.event.caused_by,
            accepted_at: view.event.accepted_at,
            deliveries: &view.deliveries,
        })
    }
}
