//! The events that are kept, searched.

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::hold_without_formatter;
use super::view::EventListed;
use crate::api::auth::Reader;
use crate::api::page;
use crate::api::problem::{ApiError, Code};
use crate::api::state::Shared;
use crate::model::event::{EventType, Severity};
use crate::model::id::EventId;
use crate::store::{AttemptsError, EventSearch};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Events with the status of their deliveries, newest first by acceptance. All conditions must hold.
#[utoipa::path(get, operation_id = "list_events", path = "/api/v1/events", tag = "events", security(("bearer" = [])),
    params(
        ("limit" = Option<u32>, Query, description = "Events of a page; 50 by default", minimum = 1, maximum = 200),
        ("before" = Option<uuid::Uuid>, Query, description = "Only events accepted before this one; its id"),
        ("data" = Option<bool>, Query, description = "With each event's `data`; left out by default"),
        ("type" = Option<String>, Query, description = "Only events of this type"),
        ("engagement_id" = Option<String>, Query, description = "Only events of this engagement"),
        ("finding_id" = Option<String>, Query, description = "Only events about this finding (`data.finding.id`)"),
        ("min_severity" = Option<String>, Query, description = "Only events at least as severe; an event without a severity is not"),
        ("since" = Option<String>, Query, description = "Only events accepted at this time or later (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Only events accepted at this time or earlier (RFC 3339)")),
    responses(
        (status = 200, description = "A page", body = Vec<EventListed<'static>>,
            headers(("Link" = String, description = "The next page (`rel=\"next\"`), when there is one"),
                ("Heraldry-Indexed-Since" = String, description = "Only after an upgrade or an import, while the index is made: the list has what was accepted at this time or later"))),
        (status = 400, description = "The query cannot be used")))]
async fn list(_: Reader, uri: Uri, State(api): State<Shared>) -> Result<Response, ApiError> {
    let query = parse_query(uri.query().unwrap_or("")).map_err(|detail| ApiError::new(Code::InvalidQuery, detail))?;
    let (search, with_data) = query;
    let mut found = match api.store.search_events(search.clone()).await {
        Ok(found) => found,
        Err(AttemptsError::BadCursor) => {
            let detail = "before names no event that is kept; use the id of an event";
            return Err(ApiError::new(Code::InvalidQuery, detail));
        }
        Err(AttemptsError::Store(error)) => return Err(error.into()),
    };
    found.found.iter_mut().for_each(|view| hold_without_formatter(&api, view));
    let last = found.found.last().filter(|_| found.more).map(|last| last.event.id);
    let next = last.map(|last| next_page(&search, with_data, last));
    let mut events = Vec::with_capacity(found.found.len());
    for view in &found.found {
        let listed = EventListed::of(view, with_data);
        let id = view.event.id;
        events.push(
            listed.ok_or_else(|| ApiError::new(Code::Internal, format!("the stored event {id} does not parse")))?,
        );
    }
    Ok(page::searched(events, next, found.indexing))
}

fn parse_query(query: &str) -> Result<(EventSearch, bool), String> {
    let mut parsed = EventSearch::all(page::DEFAULT_LIMIT);
    let mut with_data = false;
    page::parse_query(query, |name, value| {
        match name {
            "limit" => parsed.limit = page::limit(value)?,
            "before" => parsed.before = Some(value.parse().map_err(|_| "before must be the id of an event")?),
            "data" => with_data = value.parse().map_err(|_| "data must be true or false")?,
            "type" => {
                let expected = "type must be an event type; see /api/v1/webhooks/event-types";
                parsed.event_type = Some(EventType::from_name(value).ok_or(expected)?);
            }
            "engagement_id" => parsed.engagement_id = Some(page::text(value)?),
            "finding_id" => parsed.finding_id = Some(page::text(value)?),
            "min_severity" => {
                let expected = "min_severity must be one of info, low, medium, high, critical";
                parsed.min_severity = Some(Severity::from_word(value).ok_or(expected)?);
            }
            "since" => parsed.since = Some(page::time(value)?),
            "until" => parsed.until = Some(page::time(value)?),
            _ => {
                return Err(
                    "known parameters are limit, before, data, type, engagement_id, finding_id, min_severity, \
                            since and until",
                );
            }
        }
        Ok(())
    })?;
    Ok((parsed, with_data))
}

fn next_page(search: &EventSearch, with_data: bool, last: EventId) -> String {
    page::link(
        "/api/v1/events",
        [
            ("limit", Some(search.limit.to_string())),
            ("before", Some(last.to_string())),
            ("data", with_data.then(|| "true".to_owned())),
            ("type", search.event_type.map(|event_type| event_type.as_str().to_owned())),
            ("engagement_id", search.engagement_id.clone()),
            ("finding_id", search.finding_id.clone()),
            ("min_severity", search.min_severity.map(|severity| severity.as_str().to_owned())),
            ("since", search.since.map(|since| since.to_string())),
            ("until", search.until.map(|until| until.to_string())),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_whole_or_rejected() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let query = format!(
            "limit=7&before={id}&data=true&type=report_ready&engagement_id=e%201&finding_id=F&min_severity=HIGH\
             &since=2026-01-31T12:00:00Z&until=2026-01-31T13:00:00Z"
        );
        let (search, with_data) = parse_query(&query).expect("a query");
        assert_eq!((search.limit, with_data, search.event_type), (7, true, Some(EventType::ReportReady)));
        assert_eq!((search.engagement_id.as_deref(), search.min_severity), (Some("e 1"), Some(Severity::High)));
        let next = next_page(&search, with_data, id.parse().expect("an id"));
        let again = next.strip_prefix("/api/v1/events?").expect("a path");
        assert_eq!(format!("{:?}", parse_query(again)), format!("{:?}", Ok::<_, String>((search, true))));
        for bad in
            ["limit=201", "before=x", "data=yes", "type=*", "engagement_id=", "min_severity=bad", "since=1", "x=1"]
        {
            assert!(parse_query(bad).is_err(), "{bad}");
        }
    }
}
