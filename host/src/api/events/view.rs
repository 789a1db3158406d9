//! Events as the API shows and describes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::model::delivery::DeliveryView;
use crate::model::event::EventType;
use crate::model::id::EventId;
use crate::model::time::Timestamp;
use crate::store::{Accepted, EventView};

/// What became of a posted event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AcceptedView {
    /// The event's id.
    #[schema(value_type = uuid::Uuid)]
    id: EventId,
    /// How many deliveries this post made, held ones and those of derived events included.
    deliveries: u32,
    /// The ids of the events that the host derived from it.
    #[schema(value_type = Vec<uuid::Uuid>)]
    derived: Vec<EventId>,
}

impl From<Accepted> for AcceptedView {
    fn from(accepted: Accepted) -> Self {
        Self { id: accepted.id, deliveries: accepted.deliveries, derived: accepted.derived }
    }
}

/// One, or an array of them.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum OneOrMany<T> {
    /// One.
    One(T),
    /// Many: an array or NDJSON, also with one in it.
    Many(Vec<T>),
}

/// An event, as it is posted.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct EventBody {
    /// What happened; `GET /api/v1/webhooks/event-types` lists the types.
    #[schema(schema_with = event_type)]
    r#type: String,
    /// When it happened; absent: the time of acceptance.
    #[schema(format = DateTime, nullable = false)]
    occurred_at: Option<String>,
    /// The event's id; a repeated post with it is harmless. Absent: the host makes one.
    #[schema(nullable = false)]
    id: Option<uuid::Uuid>,
    /// The engagement that it happened in.
    #[schema(nullable = false)]
    engagement: Option<EngagementBody>,
    /// What there is to say; has a member named after the type's group, as in `finding`.
    #[schema(example = json!({"finding": {"title": "SQL injection", "severity": "high"}}))]
    data: BTreeMap<String, serde_json::Value>,
}

fn event_type() -> Object {
    let names = EventType::ALL.iter().map(|event_type| event_type.as_str());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build()
}

/// An engagement.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct EngagementBody {
    /// Its id; filters compare it.
    id: String,
    /// Its name.
    name: String,
    /// For whom.
    #[schema(nullable = false)]
    client: Option<String>,
}

/// An event, as it is read back.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct EventRead<'a> {
    /// The event's id.
    #[schema(value_type = uuid::Uuid)]
    id: EventId,
    /// What happened.
    r#type: &'static str,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// The engagement, as posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>, nullable = false)]
    engagement: Option<&'a RawValue>,
    /// The data, as posted.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    data: &'a RawValue,
    /// The event that the host derived this one from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>, nullable = false)]
    caused_by: Option<EventId>,
    /// When the host accepted it.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Timestamp,
    /// Its deliveries.
    deliveries: &'a [DeliveryView],
}

#[derive(Deserialize)]
struct AsPosted<'a> {
    #[serde(borrow)]
    engagement: Option<&'a RawValue>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl<'a> EventRead<'a> {
    /// A stored event; `None` when its text is not what was once accepted.
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
