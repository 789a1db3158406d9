//! Test deliveries (`POST /webhooks/{id}/test`): one attempt now, beside the queue.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::delivery::Pipeline;
use crate::model::delivery::Attempt;
use crate::model::event::{Event, EventType};
use crate::model::id::WebhookId;
use crate::model::time::Clock;
use crate::model::webhook::{Subscription, Webhook};
use crate::samples;
use crate::store::{Store, StoreError};

/// Test deliveries that a webhook may have in a minute.
const PER_MINUTE: usize = 60;
const MINUTE_MS: i64 = 60_000;

/// The event of a test delivery.
#[derive(Debug)]
pub enum TestEvent {
    /// The sample of the first type that the webhook subscribed to.
    FirstSubscribed,
    /// The sample of a type.
    Sample(EventType),
    /// An event of the store.
    Stored(Box<Event>),
}

impl TestEvent {
    fn into_event(self, webhook: &Webhook) -> Option<Event> {
        let event_type = match self {
            Self::Stored(event) => return Some(*event),
            Self::Sample(event_type) => event_type,
            Self::FirstSubscribed => match &webhook.config.event_types {
                Subscription::Only(types) => types.first().copied().unwrap_or(EventType::FindingAdded),
                Subscription::All | Subscription::AllAnd(_) => EventType::FindingAdded,
            },
        };
        samples::plain(event_type)
    }
}

/// Why a test delivery was not made.
#[derive(Debug)]
pub enum TestRejected {
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

/// Makes test deliveries and limits their rate.
pub(super) struct TestDeliveries {
    pipeline: Arc<Pipeline>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    /// When each webhook's recent tests were made, in milliseconds of the steady clock.
    made: Mutex<HashMap<WebhookId, VecDeque<i64>>>,
    /// Test deliveries under way.
    running: Mutex<Vec<(WebhookId, AbortHandle)>>,
}

impl TestDeliveries {
    pub(super) fn new(pipeline: Arc<Pipeline>, store: Arc<Store>, clock: Arc<dyn Clock>, runtime: Handle) -> Self {
        Self { pipeline, store, clock, runtime, made: Mutex::default(), running: Mutex::default() }
    }

    /// Makes one delivery now and records it.
    pub(super) async fn run(&self, webhook: Arc<Webhook>, event: TestEvent) -> Result<Attempt, TestRejected> {
        self.admit(webhook.id)?;
        let event = event.into_event(&webhook).ok_or(TestRejected::Store(StoreError::Unavailable))?;
        let pipeline = Arc::clone(&self.pipeline);
        let id = webhook.id;
        let task = self.runtime.spawn(async move { pipeline.test(&webhook, Arc::new(event)).await });
        {
            let mut running = lock(&self.running);
            running.retain(|(_, task)| !task.is_finished());
            running.push((id, task.abort_handle()));
        }
        let attempt = match task.await {
            Ok(attempt) => attempt,
            Err(ended) if ended.is_cancelled() => return Err(TestRejected::Gone),
            Err(_) => return Err(TestRejected::Store(StoreError::Unavailable)),
        };
        let recorded = self.store.record_test(id, attempt).await.map_err(TestRejected::Store)?;
        recorded.ok_or(TestRejected::Gone)
    }

    /// A sliding window over the last minute.
    fn admit(&self, webhook: WebhookId) -> Result<(), TestRejected> {
        let now = self.clock.steady_ms();
        let mut tests = lock(&self.made);
        tests.retain(|_, made| made.back().is_some_and(|last| now - last < MINUTE_MS));
        let made = tests.entry(webhook).or_default();
        while made.front().is_some_and(|first| now - first >= MINUTE_MS) {
            made.pop_front();
        }
        if made.len() >= PER_MINUTE {
            let wait = made.front().map_or(MINUTE_MS, |first| MINUTE_MS - (now - first));
            return Err(TestRejected::TooMany { retry_after: Duration::from_millis(wait.unsigned_abs()) });
        }
        made.push_back(now);
        Ok(())
    }

    /// Aborts the test deliveries of a deleted webhook.
    pub(super) fn forget(&self, webhook: WebhookId) {
        lock(&self.running).iter().filter(|(owner, _)| *owner == webhook).for_each(|(_, task)| task.abort());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
