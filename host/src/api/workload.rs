//! What waits of each webhook and what it does next, for `/metrics` and `GET /status`.

use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::store::Store;

/// A webhook's deliveries that are not done, and its next steps. What is not counted is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Workload {
    /// Deliveries that are pending, those in flight included.
    pub(super) waiting: Option<u64>,
    /// Deliveries that are held, whatever the cause.
    pub(super) held: Option<u64>,
    /// When the oldest of both was accepted.
    pub(super) oldest_waiting_at: Option<Timestamp>,
    /// When the next attempt is due.
    pub(super) next_attempt_at: Option<Timestamp>,
    /// When the webhook is probed next.
    pub(super) next_probe_at: Option<Timestamp>,
}

impl Workload {
    /// The workload of a webhook now.
    pub(super) fn of(_store: &Store, _webhook: &Webhook) -> Self {
        Self::default()
    }
}
