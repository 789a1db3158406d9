//! What waits of each webhook and what it does next, for webhooks as the API shows them, `/metrics` and `GET /status`.

use super::state::Shared;
use crate::formatter::Standing;
use crate::model::probe::Trip;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::store::Backlog;

/// A webhook's deliveries that are not done, and its next probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Workload {
    /// Deliveries that are pending, those in flight included.
    pub(super) waiting: u64,
    /// Deliveries that are held, whatever the cause.
    pub(super) held: u64,
    /// When the oldest of both was accepted.
    pub(super) oldest_waiting_at: Option<Timestamp>,
    /// When the webhook is probed next.
    pub(super) next_probe_at: Option<Timestamp>,
}

impl Workload {
    /// The workload of a webhook now. It is asked for each webhook at every scrape, so it reads memory only.
    pub(super) fn of(api: &Shared, webhook: &Webhook) -> Self {
        let Backlog { mut waiting, mut held, oldest_waiting_at } = api.store.backlog(webhook);
        // The store does not know formatters.
        if matches!(api.catalog.standing(&webhook.config.format), Standing::Unknown) {
            (waiting, held) = (0, held + waiting);
        }
        let probe = webhook.activity.trip().and_then(Trip::probing).map(|probes| api.clock.wall_at(probes.next_ms));
        Self { waiting, held, oldest_waiting_at, next_probe_at: probe }
    }
}

/// When the next attempt of a webhook is due; `None` when none is, or it is not known. This may read the store.
pub(super) fn next_attempt_at(api: &Shared, webhook: &Webhook) -> Option<Timestamp> {
    // A store that cannot be read is told of elsewhere; the webhook is shown all the same.
    api.store.next_due(webhook).ok().flatten().map(|ms| api.clock.wall_at(ms))
}
