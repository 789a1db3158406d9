//! What waits of each webhook and what it does next, for its view, `/metrics` and `GET /status`.

use super::state::Shared;
use crate::formatter::Standing;
use crate::model::probe::Trip;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;

/// A webhook's deliveries that are not done, and its next steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Workload {
    /// Deliveries that are pending, those in flight included.
    pub(super) waiting: u64,
    /// Deliveries that are held, whatever the cause.
    pub(super) held: u64,
    /// When the event of the oldest of both was accepted.
    pub(super) oldest_waiting_at: Option<Timestamp>,
    /// When the next attempt is due; a look into the store.
    pub(super) next_attempt_at: Option<Timestamp>,
    /// When the webhook is probed next.
    pub(super) next_probe_at: Option<Timestamp>,
}

impl Workload {
    /// The workload of a webhook now.
    pub(super) fn of(api: &Shared, webhook: &Webhook) -> Self {
        let backlog = api.store.backlog(webhook);
        // Without its formatter nothing is sent.
        let is_held = matches!(api.catalog.standing(&webhook.config.format), Standing::Unknown);
        // A store that cannot be read is told of elsewhere; the webhook is shown all the same.
        let due_ms = api.store.next_due(webhook).ok().flatten();
        let probe_ms = webhook.activity.trip().and_then(Trip::probing).map(|probes| probes.next_ms);
        let (now, steady_ms) = (api.clock.now(), api.clock.steady_ms());
        let wall = |ms: i64| Timestamp::from_unix_ms(now.unix_ms().saturating_add(ms.saturating_sub(steady_ms)));
        Self {
            waiting: if is_held { 0 } else { backlog.waiting },
            held: backlog.held + if is_held { backlog.waiting } else { 0 },
            oldest_waiting_at: backlog.oldest_waiting_at,
            next_attempt_at: due_ms.map(wall),
            next_probe_at: probe_ms.map(wall),
        }
    }
}
