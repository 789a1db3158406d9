//! Pagination by cursor: `limit` and `before` in the query, `Link: rel="next"` (RFC 8288) in the response.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use http::{HeaderName, HeaderValue};
use serde::Serialize;

use crate::model::time::Timestamp;
use crate::store::Indexing;

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

/// Parses an identifier that a sender chose.
///
/// # Errors
/// The expected form.
pub(super) fn text(value: &str) -> Result<String, &'static str> {
    if value.is_empty() { Err("engagement_id and finding_id must not be empty") } else { Ok(value.to_owned()) }
}

/// Parses `since` or `until`.
///
/// # Errors
/// The expected form.
pub(super) fn time(value: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(value).map_err(|_| "since and until must be times as in 2026-01-31T12:00:00Z (RFC 3339)")
}

/// The path of a page with those of these parameters that have a value.
pub(super) fn link(path: &str, parameters: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    format!("{path}?{}", query.finish())
}

/// The header of a list whose index is still being made: it has what is as young as this time.
const INDEXED_SINCE: HeaderName = HeaderName::from_static("heraldry-indexed-since");

/// A page of a search as a response. It says from when on it is complete, when it is not.
pub(super) fn searched<T: Serialize>(entries: Vec<T>, next: Option<String>, indexing: Indexing) -> Response {
    noting_index(response(entries, next), indexing)
}

/// A response that is made of a search. It says from when on the search is complete, when it is not.
pub(super) fn noting_index(mut response: Response, indexing: Indexing) -> Response {
    if let Indexing::Since(since) = indexing {
        // Before the first old record is indexed the list has what came since the start.
        let since = since.map_or_else(|| "start".to_owned(), |since| since.to_string());
        response.headers_mut().extend(HeaderValue::from_str(&since).ok().map(|since| (INDEXED_SINCE, since)));
    }
    response
}

/// A page as a response, with the path of the next one if there is one.
pub(super) fn response<T: Serialize>(entries: Vec<T>, next: Option<String>) -> Response {
    match next {
        Some(next) => ([(LINK, format!("<{next}>; rel=\"next\""))], Json(entries)).into_response(),
        None => Json(entries).into_response(),
    }
}
