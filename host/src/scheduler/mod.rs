//! The scheduler: whose delivery is next, and when.
//!
//! One task ([`run`]) owns a lane per webhook ([`lane`]: the in-memory window of that webhook's queue, with its [`pace`])
//! and hears everything through one channel ([`inbox`]): the store's commits, attempts that are over, an admin's changes.
//! [`permits`] bound the attempts in flight, by how long each webhook's attempts take ([`hold`]). What fell due while the
//! host stood still is given new times ([`spread`]).
//! It and the attempts ([`crate::delivery`]) run on a runtime of their own.

mod collecting;
mod control;
mod hold;
mod inbox;
mod lane;
mod outcomes;
mod pace;
mod permits;
mod probing;
mod run;
mod spread;
mod test_delivery;
mod track;
mod waiting;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::delivery::{self, Pipeline};
use crate::model::delivery::Attempt;
use crate::model::id::WebhookId;
use crate::model::settings::DeliverySettings;
use crate::model::webhook::Webhook;
use crate::watchdog::Watchdog;

pub use inbox::Inbox;
pub use permits::MOST as ATTEMPTS_PER_PERMIT;
pub use test_delivery::{TestEvent, TestRejected};

use control::Control;
use run::Context;
use test_delivery::TestDeliveries;

/// The handle that the API and the application hold.
pub struct Scheduler {
    control: Control,
    test_deliveries: TestDeliveries,
}

impl Scheduler {
    /// Starts scheduling: the loop and the attempts on `deliveries`.
    pub fn start(
        inbox: Inbox,
        parts: delivery::Parts,
        settings: DeliverySettings,
        deliveries: Handle,
        watchdog: &Watchdog,
    ) -> Self {
        let context = Context {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            telemetry: Arc::clone(&parts.telemetry),
            settings,
            deliveries: deliveries.clone(),
        };
        let (store, clock) = (Arc::clone(&parts.store), Arc::clone(&parts.clock));
        let pipeline = Arc::new(Pipeline::new(parts));
        let control = Control::start(inbox, Arc::clone(&pipeline), context, watchdog);
        Self { control, test_deliveries: TestDeliveries::new(pipeline, store, clock, deliveries) }
    }

    /// Makes one delivery of an event now. It is in the history, is not retried and does not move the failure counter.
    ///
    /// # Errors
    /// [`TestRejected`].
    pub async fn test(&self, webhook: Arc<Webhook>, event: TestEvent) -> Result<Attempt, TestRejected> {
        self.test_deliveries.run(webhook, event).await
    }

    /// Aborts what is in flight for a deleted webhook; once this returns nothing more is sent to it.
    pub async fn forget(&self, webhook: WebhookId) {
        self.test_deliveries.forget(webhook);
        self.control.forget(webhook).await;
    }

    /// Claims nothing more, waits for attempts in flight up to `grace`, then cuts them; what was cut is recorded and made
    /// again after the next start.
    pub async fn drain(&self, grace: Duration) {
        self.control.drain(grace).await;
    }
}
