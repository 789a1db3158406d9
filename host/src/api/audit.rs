//! The audit log: actor, action and time of every management change.

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Reader;
use super::page;
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::model::audit::AuditEntry;
use crate::model::id::AuditId;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Every management change, newest first. Changed secrets, URLs, headers and options are named, but their values are
/// not shown.
#[utoipa::path(get, operation_id = "list_audit", path = "/api/v1/audit", tag = "audit", security(("bearer" = [])),
    params(
        ("limit" = Option<u32>, Query, description = "Entries of a page; 50 by default", minimum = 1, maximum = 200),
        ("before" = Option<uuid::Uuid>, Query, description = "Only entries before this one; its id")),
    responses(
        (status = 200, description = "A page", body = Vec<AuditEntry>,
            headers(("Link" = String, description = "The next page (`rel=\"next\"`), when there is one"))),
        (status = 400, description = "The query cannot be used")))]
async fn list(_: Reader, uri: Uri, State(api): State<Shared>) -> Result<Response, ApiError> {
    let query = parse_query(uri.query().unwrap_or(""));
    let (limit, before) = query.map_err(|detail| ApiError::new(Code::InvalidQuery, detail))?;
    let page = api.store.audit_page(limit, before).await?;
    let (entries, more) = page.ok_or_else(|| {
        ApiError::new(Code::InvalidQuery, "before names no entry of the audit log; use the id of an entry")
    })?;
    let last = entries.last().filter(|_| more).map(|entry| entry.id);
    Ok(page::response(entries, last.map(|last| format!("/api/v1/audit?limit={limit}&before={last}"))))
}

fn parse_query(query: &str) -> Result<(usize, Option<AuditId>), String> {
    let (mut limit, mut before) = (page::DEFAULT_LIMIT, None);
    page::parse_query(query, |name, value| {
        match name {
            "limit" => limit = page::limit(value)?,
            "before" => before = Some(value.parse().map_err(|_| "before must be the id of an entry")?),
            _ => return Err("known parameters are limit and before"),
        }
        Ok(())
    })?;
    Ok((limit, before))
}
