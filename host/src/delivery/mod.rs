//! The delivery pipeline: one request, from claim to settlement.
//!
//! The scheduler claims deliveries of one webhook and gives them to a [`Runner`]. The attempt renders each of them ([`render`]),
//! joins them where the format allows ([`batch`]) or has the formatter make one message of them ([`digest`]), signs and
//! sends one request ([`send`]), and comes back to the scheduler as one [`AttemptResult`] per claimed delivery.
//! [`outcomes`] turns those into what the store records ([`result`]).
//!
//! Attempts run on the deliveries' runtime; [`outcomes`] is pure and runs in the scheduler's task.

mod batch;
mod claim;
mod digest;
mod event_cache;
mod prepared;
mod render;
mod result;
mod runner;
mod send;

use std::sync::Arc;

use crate::formatter::{Catalog, RenderCache, RenderError};
use crate::model::delivery::{Attempt, Part};
use crate::model::event::Event;
use crate::model::id::DeliveryId;
use crate::model::time::{Clock, Timestamp};
use crate::model::webhook::{Order, Webhook};
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::transport::Transport;

use batch::{Batch, Ready};
use event_cache::EventCache;
use prepared::PreparedWebhooks;
use render::Renderer;
use send::Sender;

pub(crate) use claim::Claim;
pub(crate) use result::{AttemptResult, Attempted, Ending, Finished, outcomes};
#[cfg(test)]
pub(crate) use result::{Split, event_of};
pub(crate) use runner::{Deliver, Report, Runner};

/// The parts of the host that a delivery goes through.
pub struct Parts {
    /// Where events are read.
    pub store: Arc<Store>,
    /// Renders them.
    pub catalog: Arc<Catalog>,
    /// Sends them.
    pub transport: Arc<Transport>,
    /// The clock of timestamps and of overlapping secrets.
    pub clock: Arc<dyn Clock>,
    /// Counts attempts.
    pub telemetry: Arc<Telemetry>,
}

/// The real way of a delivery: formatter, signature, transport.
pub struct Pipeline {
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    renderer: Renderer,
    sender: Sender,
}

impl Deliver for Pipeline {
    fn has_formatter(&self, name: &str) -> bool {
        self.catalog.current(name).is_some()
    }

    fn is_settled(&self) -> bool {
        self.catalog.is_settled()
    }

    fn keep(&self, event: &Arc<Event>) {
        self.renderer.events.put(event);
    }

    async fn attempt(&self, webhook: &Webhook, claims: &mut [Claim], started: Timestamp) -> Vec<Ending> {
        if let Some(part) = claims.first().and_then(|claim| claim.item.sent.part()) {
            return self.attempt_digest(webhook, claims, part, started).await;
        }
        let mut endings: Vec<Option<Ending>> = Vec::with_capacity(claims.len());
        let mut batch = Batch::default();
        for (index, claim) in claims.iter_mut().enumerate() {
            match self.renderer.render(webhook, index, claim).await {
                Ok(ready) => {
                    // One request is made: it has one outcome, one time and one slot in the pace.
                    if !batch.push(ready) {
                        break;
                    }
                    endings.push(None);
                }
                Err(ending) => {
                    // It may be tried again, and nothing may overtake it.
                    let is_open = !matches!(ending, Ending::Skipped | Ending::Gone);
                    endings.push(Some(ending));
                    if is_open && webhook.config.order == Order::Strict {
                        break;
                    }
                }
            }
        }
        self.send(webhook, batch.into_ready(), started, endings).await
    }
}

impl Pipeline {
    /// Sends what is ready as one request; the endings of all claims.
    async fn send(
        &self,
        webhook: &Webhook,
        ready: Vec<Ready>,
        started: Timestamp,
        mut endings: Vec<Option<Ending>>,
    ) -> Vec<Ending> {
        for (index, attempted) in self.sender.send(webhook, ready, started).await {
            if let Some(ending) = endings.get_mut(index) {
                *ending = Some(Ending::Attempted(Box::new(attempted)));
            }
        }
        endings.into_iter().map(|ending| ending.unwrap_or(Ending::Interrupted)).collect()
    }

    /// Makes the request of a digest, of which these are the members.
    async fn attempt_digest(
        &self,
        webhook: &Webhook,
        claims: &mut [Claim],
        part: Part,
        started: Timestamp,
    ) -> Vec<Ending> {
        let mut endings: Vec<Option<Ending>> = claims.iter().map(|_| None).collect();
        let ready = self.renderer.render_digest(webhook, claims, part, &mut endings).await;
        self.send(webhook, ready, started, endings).await
    }

    /// A pipeline of these parts.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, catalog, transport, clock, telemetry } = parts;
        let (events, rendered) = (EventCache::default(), RenderCache::default());
        let renderer = Renderer { store, catalog: Arc::clone(&catalog), events, rendered };
        let sender = Sender {
            transport,
            catalog: Arc::clone(&catalog),
            clock: Arc::clone(&clock),
            telemetry,
            prepared: PreparedWebhooks::default(),
        };
        Self { catalog, clock, renderer, sender }
    }

    /// Makes a test delivery of this event, on whatever the webhook's settings are; the attempt for the history.
    pub(crate) async fn test(&self, webhook: &Webhook, event: Arc<Event>) -> Attempt {
        let started = self.clock.now();
        let delivery = DeliveryId::generate();
        let attempted = match self.catalog.current(&webhook.config.format) {
            Some(component) => {
                match self.renderer.render_test(webhook, component, Arc::clone(&event), delivery).await {
                    Ok(ready) => {
                        self.sender.send(webhook, vec![ready], started).await.pop().map(|(_, attempted)| attempted)
                    }
                    Err(attempted) => Some(*attempted),
                }
            }
            None => {
                let error = RenderError::NotLoaded(webhook.config.format.clone());
                Some(Attempted::new(event.event_type).rejected(&error.to_string()))
            }
        };
        let attempted = attempted.unwrap_or_else(|| Attempted::new(event.event_type));
        Attempt { is_test: true, ..attempted.into_history(delivery, None, 1, started) }
    }
}
