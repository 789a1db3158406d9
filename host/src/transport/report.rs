//! The result of one attempt.

use std::time::Duration;

use super::failure::Failure;
use crate::model::delivery::Response;

/// The result of one attempt, as the history and the scheduler need it.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// `Ok` when the destination accepted the delivery: 2xx over HTTP, acknowledged over syslog.
    pub outcome: Result<(), Failure>,
    /// The HTTP status; `None` without a response. A failure may have one, also of 2xx, such as a body that was cut
    /// off.
    pub status: Option<u16>,
    /// The beginning of the response's body, masked: valid text of at most 1 KiB, control characters included. `None`
    /// without a response.
    pub excerpt: Option<String>,
    /// The response's `Retry-After`, the longest of several, not clamped.
    pub retry_after: Option<Duration>,
    /// The response for the formatter to read, masked: only if the request asked for it and the status alone decided the
    /// outcome, that is `Ok` or [`Failure::Status`].
    pub response: Option<Response>,
    /// The attempt's duration, from name look-up to the last byte that was read.
    pub duration: Duration,
}
