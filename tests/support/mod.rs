//! The test harness: a [`Host`] (the real binary), a [`Client`] for its API, a [`Destination`] that misbehaves as
//! scripted, and [`events`] to send. Tests share nothing: each host has its own folder and port.

pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod component;
pub(crate) mod destination;
pub(crate) mod events;
pub(crate) mod golden;
pub(crate) mod host;
pub(crate) mod isolated;
pub(crate) mod shell;
mod warm;

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

pub(crate) use certificate::Authority;
pub(crate) use client::{Answer, Client};
pub(crate) use component::Handmade;
pub(crate) use destination::{Destination, Received, Reply};
pub(crate) use host::Host;

/// The timeout of a test for an expected result; far above the time that a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The polling interval.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Polls until there is a result.
///
/// # Panics
/// After [`PATIENCE`], naming the missing result.
pub(crate) async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ask).await
}

/// Polls until there is a result, with a deadline of its own.
///
/// # Panics
/// After `patience`, naming the missing result.
pub(crate) async fn within<T>(patience: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns true for a time in the API's form: RFC 3339, UTC, milliseconds.
pub(crate) fn is_time(value: &Value) -> bool {
    looks_like(value, "0000-00-00T00:00:00.000Z", |c| c.is_ascii_digit())
}

/// Returns true for an id made by the host: a UUIDv7 in lower case.
pub(crate) fn is_id(value: &Value) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    looks_like(value, "00000000-0000-7000-0000-000000000000", hex)
}

/// Returns true if a text matches the pattern, in which `0` stands for any `digit`.
fn looks_like(value: &Value, pattern: &str, digit: impl Fn(char) -> bool) -> bool {
    let fits = |(found, wanted)| if wanted == '0' { digit(found) } else { found == wanted };
    value.as_str().is_some_and(|text| text.len() == pattern.len() && text.chars().zip(pattern.chars()).all(fits))
}
