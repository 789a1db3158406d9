//! Runners: tasks that make attempts, each one after the other.
//!
//! An attempt's future has several KiB. A task for each attempt would be allocated in one thread, freed in another, and
//! entered in and removed from the runtime's list of tasks.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::claim::Claim;
use super::result::{AttemptResult, Ending, Finished};
use crate::model::event::Event;
use crate::model::id::WebhookId;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::store::Store;

/// Makes attempts: the [`Pipeline`](super::Pipeline), or a simulation's destinations.
pub(crate) trait Deliver: Send + Sync + 'static {
    /// Returns true if a formatter of this name can be used now.
    fn has_formatter(&self, name: &str) -> bool;

    /// Returns true once every formatter that is there at the start has been loaded.
    fn is_settled(&self) -> bool;

    /// Keeps an event whose delivery waits on the disk, if there is room: it is likely to be wanted soon.
    fn keep(&self, _: &Arc<Event>) {}

    /// Makes one request of as many of the claimed deliveries as go into one, in their order. The endings are those of the
    /// first claims; claims beyond them were not touched.
    fn attempt(
        &self,
        webhook: &Webhook,
        claims: &mut [Claim],
        started: Timestamp,
    ) -> impl Future<Output = Vec<Ending>> + Send;
}

/// Hears of the end of one attempt.
pub(crate) trait Report: Send + 'static {
    /// The attempt is over.
    fn report(self, finished: Finished);
}

/// A task that makes one attempt at a time; it ends when this is dropped.
pub(crate) struct Runner<R: Report> {
    attempts: UnboundedSender<Attempting<R>>,
    task: AbortHandle,
}

impl<R: Report> Runner<R> {
    /// Starts a task on this runtime.
    pub(crate) fn start<D: Deliver>(deliver: &Arc<D>, store: &Arc<Store>, runtime: &Handle) -> Self {
        let (deliver, store) = (Arc::clone(deliver), Arc::clone(store));
        let (attempts, mut queue) = unbounded_channel::<Attempting<R>>();
        let task = runtime.spawn(async move {
            while let Some(mut attempting) = queue.recv().await {
                let endings = match store.webhooks().get(attempting.webhook) {
                    Some(webhook) => {
                        let webhook = Arc::clone(webhook);
                        deliver.attempt(&webhook, &mut attempting.claims, attempting.started).await
                    }
                    None => attempting.claims.iter().map(|_| Ending::Gone).collect(),
                };
                let rest = std::iter::repeat_with(|| Ending::Unsent);
                attempting.complete(endings.into_iter().chain(rest), false);
            }
        });
        Self { attempts, task: task.abort_handle() }
    }

    /// Makes an attempt at these deliveries of one webhook. `report` hears of its end exactly once, also if the runner is
    /// cut or panics.
    pub(crate) fn attempt(&self, webhook: WebhookId, claims: Vec<Claim>, started: Timestamp, report: R) {
        // A runner that has ended gives it back, and it reports itself.
        drop(self.attempts.send(Attempting { webhook, started, claims, report: Some(report) }));
    }

    /// Ends the runner, and the attempt that it makes.
    pub(crate) fn cut(&self) {
        self.task.abort();
    }
}

/// An attempt that is to be made. If it is dropped before it has results, its deliveries were interrupted.
struct Attempting<R: Report> {
    webhook: WebhookId,
    started: Timestamp,
    claims: Vec<Claim>,
    report: Option<R>,
}

impl<R: Report> Attempting<R> {
    fn complete(&mut self, endings: impl IntoIterator<Item = Ending>, is_lost: bool) {
        let Some(report) = self.report.take() else { return };
        let claims = std::mem::take(&mut self.claims).into_iter();
        let results = claims.zip(endings).map(|(claim, ending)| AttemptResult { claim, ending, closes: None });
        report.report(Finished { webhook: self.webhook, started: self.started, results: results.collect(), is_lost });
    }
}

impl<R: Report> Drop for Attempting<R> {
    fn drop(&mut self) {
        self.complete(std::iter::repeat_with(|| Ending::Interrupted), true);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;
    use crate::model::id::{DeliveryId, EventId};
    use crate::store::conformance::{START_MS, folder_in_memory, open_folder};
    use crate::store::{DueItem, DueKey, Sent};

    /// Does what the number of the attempt says.
    struct ByNumber;

    impl Deliver for ByNumber {
        fn has_formatter(&self, _: &str) -> bool {
            true
        }

        fn is_settled(&self) -> bool {
            true
        }

        async fn attempt(&self, _: &Webhook, claims: &mut [Claim], _: Timestamp) -> Vec<Ending> {
            match claims[0].item.attempt {
                1 => vec![Ending::Skipped],
                2 => std::future::pending().await,
                _ => panic!("a bug"),
            }
        }
    }

    struct Told(UnboundedSender<Finished>);

    impl Report for Told {
        fn report(self, finished: Finished) {
            self.0.send(finished).expect("the test listens");
        }
    }

    fn claims(webhook: WebhookId, attempt: u32) -> Vec<Claim> {
        let key = DueKey { webhook, activation: 0, rank: 0, due_ms: 0, seq: 0 };
        let claim = |_| {
            let (event, delivery) = (EventId::generate(), DeliveryId::generate());
            Claim {
                key,
                item: DueItem {
                    event,
                    slot: 0,
                    delivery,
                    attempt,
                    earlier: 0,
                    sent: Sent::Never,
                    rank: 0,
                    due_ms: None,
                    has_failed: false,
                },
                event: None,
            }
        };
        (0..2).map(claim).collect()
    }

    async fn ending(told: &mut UnboundedReceiver<Finished>) -> (String, bool) {
        let finished = told.recv().await.expect("a report");
        let endings: Vec<_> = finished.results.iter().map(|result| format!("{:?}", result.ending)).collect();
        (endings.join(" "), finished.is_lost)
    }

    #[tokio::test]
    async fn the_end_of_an_attempt_is_reported_once_whatever_ends_it() {
        let folder = folder_in_memory();
        let opened = open_folder(folder.path(), None, START_MS, Store::open).expect("a store");
        let webhook = opened.webhook().await.id;
        let (store, deliver, runtime) = (Arc::new(opened.store), Arc::new(ByNumber), Handle::current());
        let (tell, mut told) = unbounded_channel();
        let attempt = |runner: &Runner<Told>, webhook, number| {
            runner.attempt(webhook, claims(webhook, number), Timestamp::from_unix_ms(START_MS), Told(tell.clone()));
        };
        let runner = Runner::start(&deliver, &store, &runtime);
        for _ in 0..3 {
            attempt(&runner, webhook, 1);
            assert_eq!(ending(&mut told).await, ("Skipped Unsent".into(), false), "one after the other");
        }
        attempt(&runner, WebhookId::generate(), 1);
        assert_eq!(ending(&mut told).await, ("Gone Gone".into(), false));
        let interrupted = ("Interrupted Interrupted".to_owned(), true);
        attempt(&runner, webhook, 2);
        runner.cut();
        assert_eq!(ending(&mut told).await, interrupted, "while it waits for the destination, or before it began");
        attempt(&runner, webhook, 1);
        assert_eq!(ending(&mut told).await, interrupted, "by a runner that has ended");
        let runner = Runner::start(&deliver, &store, &runtime);
        attempt(&runner, webhook, 3);
        assert_eq!(ending(&mut told).await, interrupted, "a panic");
        drop((runner, tell));
        assert!(told.recv().await.is_none(), "each was reported once");
    }
}
