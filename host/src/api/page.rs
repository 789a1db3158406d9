//! Pagination by cursor: `limit` and `before` in the query, `Link: rel="next"` (RFC 8288) in the response.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use serde::Serialize;

/// Entries of a page without `limit`.
pub(super) const DEFAULT_LIMIT: usize = 50;
/// The largest `limit`.
const MAX_LIMIT: usize = 200;

/// Passes each parameter of a query to `read`, which returns the error of an invalid one.
///
/// # Errors
/// All errors, joined to one sentence.
pub(super) fn parse_query(
    query: &str,
    mut read: impl FnMut(&str, &str) -> Result<(), &'static str>,
) -> Result<(), String> {
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if seen.contains(&name) {
            wrong.push("a parameter may be given once");
        }
        wrong.extend(read(&name, &value).err());
        seen.push(name);
        if seen.len() > 16 {
            break;
        }
    }
    wrong.dedup();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Parses `limit`.
///
/// # Errors
/// The expected form.
pub(super) fn limit(value: &str) -> Result<usize, &'static str> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or("limit must be a whole number from 1 to 200")
}

/// A page as a response, with the path of the next one if there is one.
pub(super) fn response<T: Serialize>(entries: Vec<T>, next: Option<String>) -> Response {
    match next {
        Some(next) => ([(LINK, format!("<{next}>; rel=\"next\""))], Json(entries)).into_response(),
        None => Json(entries).into_response(),
    }
}
