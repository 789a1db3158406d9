//! A webhook's delivery history: its attempts, page by page. [`all`] has those of all webhooks.

mod all;

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Reader;
use super::page;
use super::path::PathId;
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::model::delivery::Attempt;
use crate::model::event::EventType;
use crate::model::id::{AttemptId, WebhookId};
use crate::store::{AttemptQuery, AttemptsError};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).merge(all::router())
}

/// The attempts of a webhook's deliveries, newest first.
#[utoipa::path(get, operation_id = "list_attempts", path = "/api/v1/webhooks/{id}/deliveries", tag = "webhooks", security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path, description = "The webhook"),
        ("limit" = Option<u32>, Query, description = "Attempts of a page; 50 by default", minimum = 1, maximum = 200),
        ("before" = Option<uuid::Uuid>, Query, description = "Only attempts before this one; its id"),
        ("success" = Option<bool>, Query, description = "Only attempts that succeeded, or only those that failed"),
        ("event_type" = Option<String>, Query, description = "Only attempts for events of this type")),
    responses(
        (status = 200, description = "A page", body = Vec<Attempt>,
            headers(("Link" = String, description = "The next page (`rel=\"next\"`), when there is one"))),
        (status = 400, description = "The query cannot be used"),
        (status = 404, description = "No such webhook")))]
async fn list(
    _: Reader,
    PathId(id): PathId<WebhookId>,
    uri: Uri,
    State(api): State<Shared>,
) -> Result<Response, ApiError> {
    api.webhook(id)?;
    let query = parse_query(uri.query().unwrap_or("")).map_err(|detail| ApiError::new(Code::InvalidQuery, detail))?;
    let found = match api.store.attempts(id, query).await {
        Ok(page) => page,
        Err(AttemptsError::BadCursor) => {
            return Err(ApiError::new(
                Code::InvalidQuery,
                "before names no attempt of this webhook; use the id of an attempt",
            ));
        }
        Err(AttemptsError::Store(error)) => return Err(error.into()),
    };
    let last = found.attempts.last().filter(|_| found.more).map(|last| last.id);
    Ok(page::response(found.attempts, last.map(|last| next_page(id, query, last))))
}

fn parse_query(query: &str) -> Result<AttemptQuery, String> {
    let mut parsed = AttemptQuery { limit: page::DEFAULT_LIMIT, before: None, success: None, event_type: None };
    page::parse_query(query, |name, value| {
        match name {
            "limit" => parsed.limit = page::limit(value)?,
            "before" => parsed.before = Some(value.parse().map_err(|_| "before must be the id of an attempt")?),
            "success" => {
                let success = value.parse().map_err(|_| "success must be true or false")?;
                parsed.success = Some(success);
            }
            "event_type" => {
                let event_type = EventType::from_name(value);
                let expected = "event_type must be an event type; see /api/v1/webhooks/event-types";
                parsed.event_type = Some(event_type.ok_or(expected)?);
            }
            _ => return Err("known parameters are limit, before, success and event_type"),
        }
        Ok(())
    })?;
    Ok(parsed)
}

fn next_page(webhook: WebhookId, query: AttemptQuery, last: AttemptId) -> String {
    let mut link = format!("/api/v1/webhooks/{webhook}/deliveries?limit={}&before={last}", query.limit);
    if let Some(success) = query.success {
        link.push_str(&format!("&success={success}"));
    }
    if let Some(event_type) = query.event_type {
        link.push_str(&format!("&event_type={}", event_type.as_str()));
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_whole_or_rejected() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let query =
            parse_query(&format!("limit=200&before={id}&success=false&event_type=report_ready")).expect("a query");
        assert_eq!((query.limit, query.success), (200, Some(false)));
        assert_eq!(query.before.map(|before| before.to_string()).as_deref(), Some(id));
        assert_eq!(query.event_type, Some(EventType::ReportReady));
        assert_eq!(parse_query("").map(|query| query.limit), Ok(50));
        assert_eq!(parse_query("limit=1").map(|query| query.limit), Ok(1));
        for bad in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=1.5",
            "limit=",
            "limit=x",
            "limit=1&limit=1",
            "before=x",
            "before=",
            "success=1",
            "success=True",
            "event_type=*",
            "event_type=nope",
            "page=2",
            "Limit=3",
        ] {
            assert!(parse_query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_next_page_keeps_the_filters() {
        let webhook: WebhookId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        let last: AttemptId = "01890a5d-ac96-774b-bcce-b302099a8058".parse().expect("an id");
        let query =
            AttemptQuery { limit: 7, before: None, success: Some(true), event_type: Some(EventType::ReportReady) };
        assert_eq!(
            next_page(webhook, query, last),
            "/api/v1/webhooks/01890a5d-ac96-774b-bcce-b302099a8057/deliveries?limit=7\
             &before=01890a5d-ac96-774b-bcce-b302099a8058&success=true&event_type=report_ready"
        );
    }
}
