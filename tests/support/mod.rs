//! The harness: a [`Host`] (the real binary), a [`Client`] to talk to it, a [`Destination`] that behaves as
//! badly as a test wants, and [`events`] to send. Nothing is shared between two tests: each host has its
//! own folder and port.

pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod destination;
pub(crate) mod events;
pub(crate) mod host;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use certificate::Authority;
pub(crate) use client::{Answer, Client};
pub(crate) use destination::{Destination, Received, Reply};
pub(crate) use host::{Host, Options};

/// How long a test waits for what must come; far above what a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what a test waits for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks until the answer is there.
///
/// # Panics
/// After [`PATIENCE`], naming what was waited for.
pub(crate) async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ask).await
}

/// Asks until the answer is there, with a deadline of its own.
///
/// # Panics
/// After `patience`, naming what was waited for.
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
