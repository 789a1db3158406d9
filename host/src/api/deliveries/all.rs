//! The attempts of all webhooks, searched.

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::auth::Reader;
use crate::api::page;
use crate::api::problem::{ApiError, Code};
use crate::api::state::Shared;
use crate::model::delivery::{Attempt, ErrorClass};
use crate::model::event::EventType;
use crate::model::id::{AttemptId, WebhookId};
use crate::model::time::Timestamp;
use crate::store::{AttemptSearch, AttemptsError, FoundAttempt, Start};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list))
}

/// An attempt, with the webhook that it was made for.
#[derive(Serialize, utoipa::ToSchema)]
struct AttemptOfWebhook {
    /// The webhook.
    #[schema(value_type = uuid::Uuid)]
    webhook_id: WebhookId,
    #[serde(flatten)]
    attempt: Attempt,
}

impl From<FoundAttempt> for AttemptOfWebhook {
    fn from(FoundAttempt { webhook, attempt }: FoundAttempt) -> Self {
        Self { webhook_id: webhook, attempt }
    }
}

/// The attempts of all webhooks, newest first; with `after` those that followed an attempt, oldest first. All conditions
/// must hold.
#[utoipa::path(get, operation_id = "search_attempts", path = "/api/v1/deliveries", tag = "deliveries", security(("bearer" = [])),
    params(
        ("limit" = Option<u32>, Query, description = "Attempts of a page; 50 by default", minimum = 1, maximum = 200),
        ("before" = Option<uuid::Uuid>, Query, description = "Only attempts before this one; its id"),
        ("after" = Option<uuid::Uuid>, Query, description = "Only attempts after this one, oldest first; its id. Not beside `before`"),
        ("webhook_id" = Option<uuid::Uuid>, Query, description = "Only attempts for this webhook"),
        ("success" = Option<bool>, Query, description = "Only attempts that succeeded, or only those that failed"),
        ("class" = Option<String>, Query, description = "Only attempts whose `error` begins with this class, as in `timeout`"),
        ("status_code" = Option<u16>, Query, description = "Only attempts with this status of the response", minimum = 100, maximum = 999),
        ("event_type" = Option<String>, Query, description = "Only attempts for events of this type"),
        ("event_id" = Option<uuid::Uuid>, Query, description = "Only attempts for this event"),
        ("engagement_id" = Option<String>, Query, description = "Only attempts for events of this engagement"),
        ("finding_id" = Option<String>, Query, description = "Only attempts for events about this finding (`data.finding.id`)"),
        ("since" = Option<String>, Query, description = "Only attempts made at this time or later (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Only attempts made at this time or earlier (RFC 3339)")),
    responses(
        (status = 200, description = "A page", body = Vec<AttemptOfWebhook>,
            headers(("Link" = String, description = "The next page (`rel=\"next\"`), when there is one"),
                ("Heraldry-Indexed-Since" = String, description = "Only after an upgrade or an import, while the index is made: the list has what was made at this time or later"))),
        (status = 400, description = "The query cannot be used")))]
async fn list(_: Reader, uri: Uri, State(api): State<Shared>) -> Result<Response, ApiError> {
    let query = parse_query(uri.query().unwrap_or("")).map_err(|detail| ApiError::new(Code::InvalidQuery, detail))?;
    let found = match api.store.search_attempts(query.clone()).await {
        Ok(found) => found,
        Err(AttemptsError::BadCursor) => {
            let detail = "before or after names no attempt; use the id of an attempt";
            return Err(ApiError::new(Code::InvalidQuery, detail));
        }
        Err(AttemptsError::Store(error)) => return Err(error.into()),
    };
    let last = found.found.last().filter(|_| found.more).map(|last| last.attempt.id);
    let next = last.map(|last| next_page(&query, last));
    let attempts: Vec<AttemptOfWebhook> = found.found.into_iter().map(Into::into).collect();
    Ok(page::searched(attempts, next, found.indexing))
}

fn parse_query(query: &str) -> Result<AttemptSearch, String> {
    let mut parsed = AttemptSearch::all(page::DEFAULT_LIMIT);
    page::parse_query(query, |name, value| {
        match name {
            "limit" => parsed.limit = page::limit(value)?,
            "before" | "after" => {
                let id = value.parse().map_err(|_| "before and after must be the id of an attempt")?;
                if parsed.start != Start::Newest {
                    return Err("before and after may not be given together");
                }
                parsed.start = if name == "before" { Start::Before(id) } else { Start::After(id) };
            }
            "webhook_id" => parsed.webhook = Some(value.parse().map_err(|_| "webhook_id must be a UUID")?),
            "success" => parsed.success = Some(value.parse().map_err(|_| "success must be true or false")?),
            "class" => {
                let expected = "class must be one of timeout, dns, connect, tls, policy, status, protocol, formatter, \
                                interrupted";
                parsed.class = Some(ErrorClass::from_word(value).ok_or(expected)?);
            }
            "status_code" => {
                let status = value.parse().ok().filter(|status| (100..=999).contains(status));
                parsed.status_code = Some(status.ok_or("status_code must be a whole number from 100 to 999")?);
            }
            "event_type" => {
                let expected = "event_type must be an event type; see /api/v1/webhooks/event-types";
                parsed.event_type = Some(EventType::from_name(value).ok_or(expected)?);
            }
            "event_id" => parsed.event = Some(value.parse().map_err(|_| "event_id must be a UUID")?),
            "engagement_id" => parsed.engagement_id = Some(page::text(value)?),
            "finding_id" => parsed.finding_id = Some(page::text(value)?),
            "since" => parsed.since = Some(page::time(value)?),
            "until" => parsed.until = Some(page::time(value)?),
            _ => {
                return Err("known parameters are limit, before, after, webhook_id, success, class, status_code, \
                            event_type, event_id, engagement_id, finding_id, since and until");
            }
        }
        Ok(())
    })?;
    Ok(parsed)
}

fn next_page(query: &AttemptSearch, last: AttemptId) -> String {
    let direction = if matches!(query.start, Start::After(_)) { "after" } else { "before" };
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    page::link(
        "/api/v1/deliveries",
        [
            ("limit", Some(query.limit.to_string())),
            (direction, Some(last.to_string())),
            ("webhook_id", query.webhook.map(|webhook| webhook.to_string())),
            ("success", query.success.map(|success| success.to_string())),
            ("class", query.class.map(|class| class.as_str().to_owned())),
            ("status_code", query.status_code.map(|status| status.to_string())),
            ("event_type", query.event_type.map(|event_type| event_type.as_str().to_owned())),
            ("event_id", query.event.map(|event| event.to_string())),
            ("engagement_id", query.engagement_id.clone()),
            ("finding_id", query.finding_id.clone()),
            ("since", time(query.since)),
            ("until", time(query.until)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_query_is_read_whole_or_rejected() {
        let query = format!(
            "limit=7&after={ID}&webhook_id={ID}&success=false&class=tls&status_code=503&event_type=report_ready\
             &event_id={ID}&engagement_id=a+b%26c&finding_id=F-0407&since=2026-01-31T12:00:00Z\
             &until=2026-01-31T13:00:00%2B00:00"
        );
        let read = parse_query(&query).expect("a query");
        assert_eq!((read.limit, read.success, read.class), (7, Some(false), Some(ErrorClass::Tls)));
        assert_eq!((read.status_code, read.event_type), (Some(503), Some(EventType::ReportReady)));
        assert_eq!((read.engagement_id.as_deref(), read.finding_id.as_deref()), (Some("a b&c"), Some("F-0407")));
        let last = ID.parse().expect("an id");
        assert_eq!(read.start, Start::After(last));
        // The next page's query has all of it.
        let next = next_page(&read, last);
        let (path, again) = next.split_once('?').expect("a query");
        assert_eq!(path, "/api/v1/deliveries");
        assert_eq!(format!("{:?}", parse_query(again)), format!("{:?}", Ok::<_, String>(read)));
        for bad in [
            "limit=0",
            "limit=201",
            "before=x",
            "before=&after=",
            "webhook_id=1",
            "success=1",
            "class=slow",
            "class=",
            "status_code=99",
            "status_code=1000",
            "status_code=ok",
            "event_type=*",
            "event_id=x",
            "engagement_id=",
            "finding_id=",
            "since=yesterday",
            "until=",
            "page=2",
            "limit=1&limit=1",
        ] {
            assert!(parse_query(bad).is_err(), "{bad}");
        }
        assert!(parse_query(&format!("before={ID}&after={ID}")).is_err());
    }
}
