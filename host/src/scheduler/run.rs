//! The scheduler's loop: it hears, wakes lanes that are due, and claims in turn.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::inbox::Message;
use super::lane::Lane;
use crate::delivery::{self, AttemptResult, Claim, Deliver, Ending, Finished};
use crate::model::delivery::Step;
use crate::model::id::{DeliveryId, WebhookId};
use crate::model::retry::longest_wait;
use crate::model::settings::DeliverySettings;
use crate::model::time::Clock;
use crate::store::{Change, DueEntry, Outcome, Store};
use crate::telemetry::Telemetry;

/// Backpressure: with more outcomes than this waiting for the disk, nothing more is claimed.
const UNRECORDED: usize = 8192;
/// Messages taken in one go before lanes get their turn.
const MESSAGES: usize = 1024;

/// The loop's dependencies beside the pipeline.
pub(super) struct Context {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) settings: DeliverySettings,
    /// The runtime of attempts.
    pub(super) deliveries: Handle,
}

/// The loop's state. Only the loop touches it.
pub(super) struct Run<D> {
    deliver: Arc<D>,
    context: Context,
    messages: UnboundedSender<Message>,
    lanes: HashMap<WebhookId, Lane>,
    /// Lanes that may have something to claim now, each once; served round robin.
    ready: VecDeque<WebhookId>,
    /// When waiting lanes are to be looked at again, in milliseconds of the steady clock.
    timers: BinaryHeap<Reverse<(i64, WebhookId)>>,
    in_flight: HashMap<DeliveryId, (WebhookId, AbortHandle)>,
    /// Requests that carry them.
    requests: usize,
    /// Those of them that go to unhealthy webhooks, by their first delivery.
    unproven: HashSet<DeliveryId>,
    /// Ready lanes of unhealthy webhooks that wait for one of these to end.
    waiting_unproven: VecDeque<WebhookId>,
    unrecorded: usize,
    /// Deleted webhooks whose attempts are being aborted.
    forgetting: HashMap<WebhookId, (usize, Vec<oneshot::Sender<()>>)>,
    draining: Vec<oneshot::Sender<()>>,
}

impl<D: Deliver> Run<D> {
    pub(super) fn new(deliver: Arc<D>, context: Context, messages: UnboundedSender<Message>) -> Self {
        let mut run = Self {
            deliver,
            context,
            messages,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            timers: BinaryHeap::new(),
            in_flight: HashMap::new(),
            requests: 0,
            unproven: HashSet::new(),
            waiting_unproven: VecDeque::new(),
            unrecorded: 0,
            forgetting: HashMap::new(),
            draining: Vec::new(),
        };
        // Claims live in memory only, so every delivery without an outcome is due again.
        for webhook in run.context.store.webhooks().newest_first() {
            let health = webhook.health.values();
            let mut lane = Lane::new(webhook.activation, false);
            lane.healthy = health.last_success_at.is_some() && health.last_success_at >= health.last_failure_at;
            run.lanes.insert(webhook.id, lane);
            run.look_again(webhook.id);
        }
        run
    }

    pub(super) async fn run(mut self, mut messages: UnboundedReceiver<Message>) {
        loop {
            let now = self.context.clock.steady_ms();
            self.wake(now);
            self.claim();
            self.answer_drained();
            let wait = self.timers.peek().map(|Reverse((due, _))| due.saturating_sub(now).max(0).unsigned_abs());
            let heard = match wait {
                Some(ms) => tokio::select! {
                    heard = messages.recv() => heard,
                    () = tokio::time::sleep(Duration::from_millis(ms)) => continue,
                },
                None => messages.recv().await,
            };
            let Some(first) = heard else { return };
            self.hear(first);
            for _ in 0..MESSAGES {
                let Ok(next) = messages.try_recv() else { break };
                self.hear(next);
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Store(Change::Due(entries)) => entries.into_iter().for_each(|entry| self.queued(entry)),
            Message::Store(Change::Loaded { webhook, activation, entries, complete }) => {
                if let Some(lane) = self.lanes.get_mut(&webhook).filter(|lane| lane.activation() == activation) {
                    lane.loaded(entries, complete);
                    self.touch(webhook);
                }
            }
            Message::Store(Change::Webhook(webhook)) => self.look_again(webhook),
            Message::Formatters => {
                let webhooks: Vec<_> = self.lanes.keys().copied().collect();
                webhooks.into_iter().for_each(|webhook| self.look_again(webhook));
            }
            Message::Store(Change::Recorded(outcomes)) => self.unrecorded = self.unrecorded.saturating_sub(outcomes),
            Message::Finished(finished) => self.finished(finished),
            Message::Forget(webhook, done) => self.forget(webhook, done),
            Message::Drain(done) => self.draining.push(done),
            Message::Cut => self.in_flight.values().for_each(|(_, task)| task.abort()),
        }
    }

    fn queued(&mut self, entry: DueEntry) {
        let webhook = entry.key.webhook;
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.insert(entry);
            self.touch(webhook);
        }
    }

    /// Brings a lane in line with its webhook, which was created, changed or deleted.
    fn look_again(&mut self, id: WebhookId) {
        let table = self.context.store.webhooks();
        let Some(webhook) = table.get(id) else {
            self.lanes.remove(&id);
            return;
        };
        let lane = self.lanes.entry(id).or_insert_with(|| Lane::new(webhook.activation, true));
        lane.begin(webhook.activation);
        let active = webhook.activity.is_active();
        if !active {
            lane.unload();
        }
        let format = &webhook.config.format;
        let loaded = self.deliver.has_formatter(format);
        if active && !loaded && self.deliver.is_settled() {
            tracing::warn!(
                webhook = %id, format,
                "a webhook's formatter is not loaded, so its deliveries stay pending; install the formatter or change the webhook's format"
            );
        }
        lane.runnable = active && loaded;
        lane.pace.limit(webhook.config.rate_limit);
        lane.aim(&webhook.config.url);
        lane.batch = webhook.config.batch;
        self.touch(id);
    }

    /// Lists a lane that has something to claim, sets a timer for one that waits, loads what is missing.
    fn touch(&mut self, id: WebhookId) {
        let now = self.context.clock.steady_ms();
        let longest = i64::try_from(longest_wait(&self.context.settings.retry).as_millis()).unwrap_or(i64::MAX);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if !lane.runnable {
            return;
        }
        if let Some(after) = lane.wants_load() {
            self.context.store.load_due(id, lane.activation(), after, lane.load());
        }
        if lane.listed || lane.in_flight >= self.context.settings.webhook_concurrency {
            return;
        }
        match lane.next_due(now, longest) {
            Some(due) if due <= now => {
                lane.listed = true;
                self.ready.push_back(id);
            }
            Some(due) if lane.timer.is_none_or(|timer| timer > due) => {
                lane.timer = Some(due);
                self.timers.push(Reverse((due, id)));
            }
            _ => {}
        }
    }

    /// Looks at the lanes whose time has come.
    fn wake(&mut self, now: i64) {
        while let Some(&Reverse((due, id))) = self.timers.peek()
            && due <= now
        {
            self.timers.pop();
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.timer = None;
                self.touch(id);
            }
        }
    }

    /// Starts attempts: one of each ready lane in turn, as long as there are permits.
    fn claim(&mut self) {
        let longest = i64::try_from(longest_wait(&self.context.settings.retry).as_millis()).unwrap_or(i64::MAX);
        let permits = permits_for_unproven(self.context.settings.concurrency);
        for _ in self.unproven.len()..permits {
            self.ready.extend(self.waiting_unproven.pop_front());
        }
        while self.draining.is_empty()
            && self.requests < self.context.settings.concurrency
            && self.unrecorded < UNRECORDED
            && let Some(id) = self.ready.pop_front()
        {
            // The time as `touch` reads it: with an older one a lane could be listed and turned away again and again.
            let now = self.context.clock.steady_ms();
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            if !lane.healthy && self.unproven.len() >= permits {
                self.waiting_unproven.push_back(id);
                continue;
            }
            lane.listed = false;
            let unproven = !lane.healthy;
            let may = lane.runnable
                && lane.in_flight < self.context.settings.webhook_concurrency
                && lane.next_due(now, longest).is_some_and(|due| due <= now);
            if may {
                let claims = lane.claim(now, longest);
                lane.pace.begin(now);
                self.start(id, claims, unproven);
            }
            self.touch(id);
        }
        self.context.telemetry.set_in_flight(self.in_flight.len());
    }

    /// Starts the attempt at what was claimed together.
    fn start(&mut self, id: WebhookId, claims: Vec<Claim>, unproven: bool) {
        // Recovered while its earlier attempt is still under way: that attempt's outcome decides.
        let (again, claims): (Vec<_>, Vec<_>) =
            claims.into_iter().partition(|claim| self.in_flight.contains_key(&claim.item.delivery));
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let dropped: Vec<_> = again
            .into_iter()
            .map(|Claim { key, item, .. }| {
                tracing::debug!(webhook = %id, delivery = %item.delivery, entry = ?key, "already under way");
                Outcome::new(id, item, None, Step::Dropped, lane.finished(key))
            })
            .collect();
        let Some(first) = claims.first().map(|claim| claim.item.delivery) else {
            lane.request_finished();
            return self.record(dropped);
        };
        let deliveries: Vec<_> = claims.iter().map(|claim| claim.item.delivery).collect();
        let messages = self.messages.clone();
        // A scheduler that is gone means that the process ends; the deliveries are queued on the disk.
        let done = move |finished| drop(messages.send(Message::Finished(finished)));
        let Context { store, clock, deliveries: runtime, .. } = &self.context;
        let task = delivery::spawn(&self.deliver, store, runtime, id, claims, clock.now(), done);
        self.in_flight.extend(deliveries.into_iter().map(|delivery| (delivery, (id, task.clone()))));
        self.requests += 1;
        if unproven {
            self.unproven.insert(first);
        }
        self.record(dropped);
    }

    fn finished(&mut self, mut finished: Finished) {
        let webhook = finished.webhook;
        self.requests = self.requests.saturating_sub(1);
        for result in &finished.results {
            self.in_flight.remove(&result.claim.item.delivery);
            self.unproven.remove(&result.claim.item.delivery);
        }
        if let Some((left, waiting)) = self.forgetting.get_mut(&webhook) {
            *left = left.saturating_sub(finished.results.len());
            if *left == 0 {
                waiting.drain(..).for_each(answer);
                self.forgetting.remove(&webhook);
            }
        }
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        lane.request_finished();
        if let Some(pause) = finished.pause(&self.context.settings.retry) {
            let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
            lane.pace.pause(self.context.clock.steady_ms(), pause);
        }
        let results = std::mem::take(&mut finished.results);
        let (unsent, mut sent): (Vec<AttemptResult>, Vec<_>) =
            results.into_iter().partition(|result| matches!(result.ending, Ending::Unsent));
        for AttemptResult { claim, .. } in unsent.into_iter().rev() {
            lane.give_back(claim.key, claim.item);
        }
        for result in &mut sent {
            result.closes = lane.finished(result.claim.key);
        }
        finished.results = sent;
        let policy = &self.context.settings.retry;
        let outcomes = delivery::outcomes(finished, policy, self.context.clock.now(), fastrand::f64());
        let attempts = outcomes.iter().filter_map(|outcome| outcome.attempt.as_ref());
        if let Some(success) = attempts.map(|attempt| attempt.success).reduce(|a, b| a || b) {
            lane.healthy = success;
            if success {
                lane.pace.accepted();
            }
        }
        self.record(outcomes);
        self.touch(webhook);
    }

    fn record(&mut self, outcomes: Vec<Outcome>) {
        if !outcomes.is_empty() {
            self.unrecorded += outcomes.len();
            self.context.store.record(outcomes);
        }
    }

    fn forget(&mut self, webhook: WebhookId, done: oneshot::Sender<()>) {
        self.lanes.remove(&webhook);
        let tasks: Vec<_> = self.in_flight.values().filter(|(owner, _)| *owner == webhook).collect();
        if tasks.is_empty() {
            answer(done);
            return;
        }
        tasks.iter().for_each(|(_, task)| task.abort());
        let entry = self.forgetting.entry(webhook).or_insert((tasks.len(), Vec::new()));
        entry.1.push(done);
    }

    fn answer_drained(&mut self) {
        if !self.draining.is_empty() && self.in_flight.is_empty() && self.unrecorded == 0 {
            self.draining_done();
        }
    }

    fn draining_done(&mut self) {
        // The list stays non-empty: once draining, nothing more is claimed.
        let (never, _) = oneshot::channel();
        let waiting = std::mem::replace(&mut self.draining, vec![never]);
        waiting.into_iter().for_each(answer);
    }
}

/// Unhealthy webhooks cannot use all concurrency: those whose last attempt failed, or that had none yet, share 75 % of it.
/// The rest is kept for the healthy ones, however many destinations are dead.
fn permits_for_unproven(concurrency: usize) -> usize {
    concurrency - concurrency / 4
}

/// Answers a request; the caller may have stopped waiting.
fn answer(done: oneshot::Sender<()>) {
    let _ = done.send(());
}
