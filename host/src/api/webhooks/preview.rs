//! Previews of filters: which of the kept events would pass.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::expression;
use super::schema::{FilterInput, event_types};
use crate::api::auth::Reader;
use crate::api::body::Unread;
use crate::api::events::{EventExample, verdicts};
use crate::api::page;
use crate::api::problem::{ApiError, Code};
use crate::api::state::Shared;
use crate::json::Document;
use crate::json::fault::Faults;
use crate::json::fields::Field;
use crate::model::event::{Event, Searchable};
use crate::model::id::EventId;
use crate::model::time::Timestamp;
use crate::model::webhook::expression::{ExpressionVerdict, Verdicts};
use crate::model::webhook::input::Draft;
use crate::model::webhook::judge::{Subject, judge_filter};
use crate::model::webhook::{Filter, Subscription};
use crate::store::{AttemptsError, EventSearch, Indexing};

/// Events that a preview looks at.
const MOST_EVENTS: usize = 1_000;
/// Events that are read at once, which bounds the memory.
const PAGE_EVENTS: usize = 50;
/// Events that are shown.
const EXAMPLES: usize = 10;

/// A filter to try.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"filter": {"min_severity": "high"}, "event_types": ["finding_added"]}))]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct FilterPreviewInput {
    /// The filter, as a webhook has it.
    filter: FilterInput,
    /// The event types that the webhook would subscribe to; absent: `*`.
    #[schema(schema_with = event_types)]
    event_types: Option<Vec<String>>,
    /// Only events accepted at this time or later (RFC 3339).
    #[schema(format = DateTime, nullable = false)]
    since: Option<String>,
}

/// What a filter selects of the kept events.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct FilterPreview<'a> {
    /// The number of events that were looked at, the newest first; at most 1,000.
    #[schema(maximum = 1000)]
    seen: usize,
    /// The number of these that a webhook with the filter and the event types would get.
    matched: usize,
    /// The number of these on which the expression failed; they match.
    errors: usize,
    /// The first of these failures, in words; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
    /// The newest events that match, at most 10, without their deliveries.
    examples: Vec<EventExample<'a>>,
}

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(preview))
}

/// Which of the kept events a webhook with this filter would get, before there is one. Nothing is sent or stored.
#[utoipa::path(post, operation_id = "preview_filter", path = "/api/v1/webhooks/filter-preview", tag = "webhooks", security(("bearer" = [])),
    request_body = FilterPreviewInput,
    responses(
        (status = 200, description = "What it selects", body = FilterPreview<'static>,
            headers(("Heraldry-Indexed-Since" = String, description = "Only after an upgrade or an import, while the index is made: events accepted at this time or later were looked at"))),
        (status = 429, description = "The token has too many previews and checks in flight")))]
async fn preview(Reader(token): Reader, State(api): State<Shared>, body: Unread) -> Result<Response, ApiError> {
    let _slot = api.trial_limit().admit(token.id).await?;
    let payload = body.read_json(&api).await?;
    let mut faults = Faults::new();
    let wanted = Wanted::read(&payload.json()?, &mut faults);
    drop(payload);
    if let Some(expression) = wanted.as_ref().and_then(|wanted| wanted.filter.expression.as_deref()) {
        expression::check(&api, expression, &mut faults).await;
    }
    let wanted = wanted.filter(|_| faults.is_empty()).ok_or_else(|| ApiError::fields(faults.into_inner()))?;
    let (found, indexing) = wanted.look(&api).await?;
    let example = |event| {
        EventExample::of(event).ok_or_else(|| {
            let id = event.id;
            ApiError::new(Code::Internal, format!("the stored event {id} does not parse"))
        })
    };
    let shown = FilterPreview {
        seen: found.seen,
        matched: found.matched,
        errors: found.errors,
        error: found.error,
        examples: found.examples.iter().map(example).collect::<Result<_, _>>()?,
    };
    Ok(page::noting_index(Json(shown).into_response(), indexing))
}

/// What a body asks for.
struct Wanted {
    filter: Filter,
    event_types: Subscription,
    since: Option<Timestamp>,
}

/// What was found.
#[derive(Default)]
struct Found {
    seen: usize,
    matched: usize,
    errors: usize,
    error: Option<String>,
    examples: Vec<Event>,
}

impl Wanted {
    /// Reads a body, with the same faults of the filter as when a webhook is saved.
    fn read(document: &Document<'_>, faults: &mut Faults) -> Option<Self> {
        let body = Field::new(document.text(), "").object(&["filter", "event_types", "since"], &[], faults)?;
        body.require("filter", faults);
        let Draft { filter, event_types, .. } = Draft::read_selection(&body, faults);
        let since = body.get("since").and_then(|field| Timestamp::read(field, faults));
        Some(Self { filter: filter?, event_types: event_types.unwrap_or(Subscription::All), since })
    }

    /// Looks at the kept events, newest first.
    async fn look(&self, api: &Shared) -> Result<(Found, Indexing), ApiError> {
        let mut found = Found::default();
        let mut before: Option<EventId> = None;
        loop {
            let limit = PAGE_EVENTS.min(MOST_EVENTS - found.seen);
            let search = EventSearch { before, since: self.since, ..EventSearch::all(limit) };
            let page = match api.store.search_events(search).await {
                Ok(page) => page,
                // Retention has removed the last event of the page before, and with it all older ones.
                Err(AttemptsError::BadCursor) => return Ok((found, Indexing::Whole)),
                Err(AttemptsError::Store(error)) => return Err(error.into()),
            };
            let events: Vec<Event> = page.found.into_iter().map(|view| view.event).collect();
            before = events.last().map(|last| last.id);
            self.count(api, events, &mut found).await;
            if !page.more || before.is_none() || found.seen >= MOST_EVENTS {
                return Ok((found, page.indexing));
            }
        }
    }

    async fn count(&self, api: &Shared, events: Vec<Event>, found: &mut Found) {
        let expression = self.filter.expression.as_deref();
        let verdicts = match expression {
            Some(expression) => verdicts(api, &events, &[expression]).await,
            None => vec![Verdicts::default(); events.len()],
        };
        for (event, verdicts) in events.into_iter().zip(verdicts) {
            found.seen += 1;
            let searchable = Searchable::of(event.event_type, &event.json);
            let subject = Subject::of_stored(event.event_type, &searchable);
            let verdict = expression.and_then(|expression| verdicts.get(expression));
            if judge_filter(&self.event_types, &self.filter, &subject, verdict).is_err() {
                continue;
            }
            found.matched += 1;
            if let Some(ExpressionVerdict::Failed { reason }) = verdict {
                found.errors += 1;
                found.error.get_or_insert_with(|| reason.clone());
            }
            if found.examples.len() < EXAMPLES {
                found.examples.push(event);
            }
        }
    }
}
