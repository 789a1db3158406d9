//! What waits of each webhook and what it does next, for `/metrics` and `GET /status`.

use super::state::Shared;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;

/// A webhook's deliveries that are not done, and its next probe. What is not counted is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Workload {
    /// Deliveries that are pending, those in flight included.
    pub(super) waiting: Option<u64>,
    /// Deliveries that are held, whatever the cause.
    pub(super) held: Option<u64>,
    /// When the oldest of both was accepted.
    pub(super) oldest_waiting_at: Option<Timestamp>,
    /// When the webhook is probed next.
    pub(super) next_probe_at: Option<Timestamp>,
}

impl Workload {
    /// The workload of a webhook now. It is asked for each webhook at every scrape, so it reads memory only.
    pub(super) fn of(_api: &Shared, _webhook: &Webhook) -> Self {
        Self::default()
    }
}

/// When the next attempt of a webhook is due; `None` when none is, or it is not known. This may read the store.
pub(super) fn next_attempt_at(_api: &Shared, _webhook: &Webhook) -> Option<Timestamp> {
    None
}
