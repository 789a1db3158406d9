//! Lists that come in pages: how many, and before which.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use serde::Serialize;

/// Entries of a page when nobody says how many.
pub(super) const DEFAULT_LIMIT: usize = 50;
/// Entries of a page, at most.
const MAX_LIMIT: usize = 200;

/// Reads a query's parameters with `read`, which says what is wrong with one.
///
/// # Errors
/// Everything that is wrong, in one sentence.
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

/// A page's length.
///
/// # Errors
/// What it must be.
pub(super) fn limit(value: &str) -> Result<usize, &'static str> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or("limit must be a whole number from 1 to 200")
}

/// The page, with the address of the next one when there is one.
pub(super) fn answer<T: Serialize>(entries: Vec<T>, next: Option<String>) -> Response {
    match next {
        Some(next) => ([(LINK, format!("<{next}>; rel=\"next\""))], Json(entries)).into_response(),
        None => Json(entries).into_response(),
    }
}
