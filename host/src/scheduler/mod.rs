//! The scheduler: whose delivery is next, and what follows an attempt.
//!
//! One task owns every lane and hears everything in one channel: what the store committed, what an
//! attempt came to, what an admin did. Attempts run as tasks of the deliveries' own runtime.

mod attempt;
mod batch;
mod decide;
mod lane;
mod pace;
mod run;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::formatter::{Catalog, RenderCache};
use crate::model::delivery::Attempt;
use crate::model::event::EventType;
use crate::model::id::WebhookId;
use crate::model::settings::DeliverySettings;
use crate::model::time::Clock;
use crate::model::webhook::{Subscription, Webhook};
use crate::samples;
use crate::store::{Change, Store, StoreError};
use crate::telemetry::Telemetry;
use crate::transport::Transport;

use attempt::Finished;

/// How long attempts that a shutdown cut may take to be recorded.
const RECORD_CUT: Duration = Duration::from_secs(3);
/// Test deliveries a webhook may have in a minute.
const TESTS_A_MINUTE: usize = 60;

/// What an attempt needs.
pub struct Courier {
    /// Where events are.
    pub store: Arc<Store>,
    /// What renders them.
    pub registry: Arc<Catalog>,
    /// What was rendered a moment ago.
    pub rendered: RenderCache,
    /// What sends them.
    pub transport: Arc<Transport>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
    /// What a test has in place of formatters and network.
    #[cfg(test)]
    pub(crate) double: Option<Arc<dyn tests::Double>>,
}

/// What the scheduler hears.
enum Message {
    Store(Change),
    /// Formatters came or went.
    Formatters,
    Finished(Finished),
    /// Abort a deleted webhook's attempts; answered when none is left.
    Forget(WebhookId, oneshot::Sender<()>),
    /// Claim nothing more; answered when nothing is in flight and everything is recorded.
    Drain(oneshot::Sender<()>),
    /// Cut what is in flight.
    Cut,
}

/// The scheduler's ear, made before the store that speaks into it.
pub struct Ear {
    sender: UnboundedSender<Message>,
    receiver: UnboundedReceiver<Message>,
}

impl Ear {
    /// A new channel.
    pub fn new() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { sender, receiver }
    }

    /// What the store hands its changes to.
    pub fn changes(&self) -> Box<dyn Fn(Change) + Send> {
        let sender = self.sender.clone();
        // A scheduler that is gone is a process that ends.
        Box::new(move |change| drop(sender.send(Message::Store(change))))
    }

    /// What the formatters' registry tells its changes to.
    pub fn formatters(&self) -> Box<dyn Fn() + Send + Sync> {
        let sender = self.sender.clone();
        Box::new(move || drop(sender.send(Message::Formatters)))
    }
}

impl Default for Ear {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a test delivery was not made.
#[derive(Debug)]
pub enum TestRefused {
    /// The webhook had its share of this minute.
    TooMany {
        /// When the next one may be made.
        retry_after: Duration,
    },
    /// The webhook is gone.
    Gone,
    /// The attempt could not be recorded.
    Store(StoreError),
}

/// The handle that the API and the application hold.
pub struct Scheduler {
    messages: UnboundedSender<Message>,
    courier: Arc<Courier>,
    deliveries: Handle,
    /// When each webhook's recent tests were made, in milliseconds of the steady clock.
    tests: Mutex<HashMap<WebhookId, VecDeque<i64>>>,
    /// Test deliveries under way.
    testing: Mutex<Vec<(WebhookId, AbortHandle)>>,
}

impl Scheduler {
    /// Starts scheduling: the loop on the current runtime, attempts on `deliveries`.
    pub fn start(ear: Ear, courier: Courier, settings: DeliverySettings, deliveries: Handle) -> Self {
        let courier = Arc::new(courier);
        let Ear { sender, receiver } = ear;
        let run = run::Run::new(Arc::clone(&courier), settings, deliveries.clone(), sender.clone());
        tokio::spawn(run.run(receiver));
        Self { messages: sender, courier, deliveries, tests: Mutex::default(), testing: Mutex::default() }
    }

    /// Makes one delivery now, of the sample of the first subscribed type. It is in the history, is not
    /// retried and does not move the failure counter.
    ///
    /// # Errors
    /// [`TestRefused`].
    pub async fn test(&self, webhook: Arc<Webhook>) -> Result<Attempt, TestRefused> {
        self.admit_test(webhook.id)?;
        let event_type = match &webhook.config.event_types {
            Subscription::Only(types) => types.first().copied(),
            Subscription::All => None,
        };
        let event_type = event_type.unwrap_or(EventType::FindingAdded);
        let event = samples::plain(event_type).ok_or(TestRefused::Store(StoreError::Unavailable))?;
        let courier = Arc::clone(&self.courier);
        let id = webhook.id;
        let task = self.deliveries.spawn(async move { courier.test(&webhook, Arc::new(event)).await });
        {
            let mut testing = self.testing.lock().unwrap_or_else(PoisonError::into_inner);
            testing.retain(|(_, task)| !task.is_finished());
            testing.push((id, task.abort_handle()));
        }
        let attempt = match task.await {
            Ok(attempt) => attempt,
            Err(ended) if ended.is_cancelled() => return Err(TestRefused::Gone),
            Err(_) => return Err(TestRefused::Store(StoreError::Unavailable)),
        };
        let recorded = self.courier.store.record_test(id, attempt).await.map_err(TestRefused::Store)?;
        recorded.ok_or(TestRefused::Gone)
    }

    fn admit_test(&self, webhook: WebhookId) -> Result<(), TestRefused> {
        const MINUTE_MS: i64 = 60_000;
        let now = self.courier.clock.steady_ms();
        let mut tests = self.tests.lock().unwrap_or_else(PoisonError::into_inner);
        tests.retain(|_, made| made.back().is_some_and(|last| now - last < MINUTE_MS));
        let made = tests.entry(webhook).or_default();
        while made.front().is_some_and(|first| now - first >= MINUTE_MS) {
            made.pop_front();
        }
        if made.len() >= TESTS_A_MINUTE {
            let wait = made.front().map_or(MINUTE_MS, |first| MINUTE_MS - (now - first));
            return Err(TestRefused::TooMany { retry_after: Duration::from_millis(wait.unsigned_abs()) });
        }
        made.push_back(now);
        Ok(())
    }

    /// Aborts what is in flight for a deleted webhook; when this returns nothing more is sent to it.
    pub async fn forget(&self, webhook: WebhookId) {
        self.forget_tests(webhook);
        let (done, wait) = oneshot::channel();
        if self.messages.send(Message::Forget(webhook, done)).is_ok() {
            let _ = wait.await;
        }
    }

    fn forget_tests(&self, webhook: WebhookId) {
        let testing = self.testing.lock().unwrap_or_else(PoisonError::into_inner);
        testing.iter().filter(|(owner, _)| *owner == webhook).for_each(|(_, task)| task.abort());
    }

    /// Claims nothing more, waits for what is in flight up to `grace`, then cuts it; what was cut is
    /// recorded and made again after the next start.
    pub async fn drain(&self, grace: Duration) {
        let (done, mut wait) = oneshot::channel();
        if self.messages.send(Message::Drain(done)).is_err() {
            return;
        }
        if tokio::time::timeout(grace, &mut wait).await.is_err() {
            let _ = self.messages.send(Message::Cut);
            // A store that cannot write would keep us for ever; what is not recorded is made again.
            let _ = tokio::time::timeout(RECORD_CUT, wait).await;
        }
    }
}
