//! The loop.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::attempt::{self, Finished};
use super::decide::longest_wait;
use super::lane::{Claim, Lane};
use super::{Courier, Message};
use crate::model::id::{DeliveryId, WebhookId};
use crate::model::settings::DeliverySettings;
use crate::store::{Change, DueEntry, Outcome, Step};

/// Outcomes that may wait for the disk before nothing more is claimed.
const UNRECORDED: usize = 8192;
/// Messages taken in one go before lanes get their turn.
const MESSAGES: usize = 1024;

/// The loop's state. Only the loop touches it.
pub(super) struct Run {
    courier: Arc<Courier>,
    settings: DeliverySettings,
    deliveries: Handle,
    messages: UnboundedSender<Message>,
    lanes: HashMap<WebhookId, Lane>,
    /// Lanes that may have something to claim now, each once; taken in turn.
    ready: VecDeque<WebhookId>,
    /// When lanes that wait are to be looked at again, in milliseconds of the steady clock.
    timers: BinaryHeap<Reverse<(i64, WebhookId)>>,
    in_flight: HashMap<DeliveryId, (WebhookId, AbortHandle)>,
    /// Requests that carry them.
    requests: usize,
    /// Those of them that go to lanes whose last attempt was not taken.
    doubtful: HashSet<DeliveryId>,
    /// Ready lanes that wait for one of these to end.
    parked: VecDeque<WebhookId>,
    unrecorded: usize,
    /// Deleted webhooks whose attempts are being aborted.
    forgetting: HashMap<WebhookId, (usize, Vec<oneshot::Sender<()>>)>,
    draining: Vec<oneshot::Sender<()>>,
}

impl Run {
    pub(super) fn new(
        courier: Arc<Courier>,
        settings: DeliverySettings,
        deliveries: Handle,
        messages: UnboundedSender<Message>,
    ) -> Self {
        let mut run = Self {
            courier,
            settings,
            deliveries,
            messages,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            timers: BinaryHeap::new(),
            in_flight: HashMap::new(),
            requests: 0,
            doubtful: HashSet::new(),
            parked: VecDeque::new(),
            unrecorded: 0,
            forgetting: HashMap::new(),
            draining: Vec::new(),
        };
        // Whatever has no outcome is due again.
        for webhook in run.courier.store.webhooks().newest_first() {
            let health = webhook.health.values();
            let proven = health.last_success_at.is_some() && health.last_success_at >= health.last_failure_at;
            let mut lane = Lane::new(webhook.activation, false);
            lane.proven = proven;
            run.lanes.insert(webhook.id, lane);
            run.look_again(webhook.id);
        }
        run
    }

    pub(super) async fn run(mut self, mut messages: UnboundedReceiver<Message>) {
        loop {
            let now = self.courier.clock.steady_ms();
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

    /// A webhook was created, changed or deleted: is its lane as the webhook says?
    fn look_again(&mut self, id: WebhookId) {
        let table = self.courier.store.webhooks();
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
        let loaded = self.courier.has_formatter(format);
        if active && !loaded && self.courier.registry.is_settled() {
            tracing::warn!(webhook = %id, format, "a webhook's formatter is not loaded: its deliveries are held until it is");
        }
        lane.runnable = active && loaded;
        lane.pace.limit(webhook.config.rate_limit);
        lane.aim(&webhook.config.url);
        lane.batch = webhook.config.batch;
        self.touch(id);
    }

    /// Lists a lane that has something to claim, sets a timer for one that waits, loads what is missing.
    fn touch(&mut self, id: WebhookId) {
        let now = self.courier.clock.steady_ms();
        let longest = i64::try_from(longest_wait(&self.settings.retry).as_millis()).unwrap_or(i64::MAX);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if !lane.runnable {
            return;
        }
        if let Some(after) = lane.wants_load() {
            self.courier.store.load_due(id, lane.activation(), after, lane.load());
        }
        if lane.listed || lane.in_flight >= self.settings.webhook_concurrency {
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

    /// Starts attempts: one of each ready lane in turn, as long as there is room.
    fn claim(&mut self) {
        let longest = i64::try_from(longest_wait(&self.settings.retry).as_millis()).unwrap_or(i64::MAX);
        let places = places_for_doubtful(self.settings.concurrency);
        // A place that is free is one lane's of those that wait for it.
        for _ in self.doubtful.len()..places {
            self.ready.extend(self.parked.pop_front());
        }
        while self.draining.is_empty()
            && self.requests < self.settings.concurrency
            && self.unrecorded < UNRECORDED
            && let Some(id) = self.ready.pop_front()
        {
            // The time of this very moment, as `touch` has it: with an older one a lane could be listed and
            // turned away for ever.
            let now = self.courier.clock.steady_ms();
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            if !lane.proven && self.doubtful.len() >= places {
                self.parked.push_back(id);
                continue;
            }
            lane.listed = false;
            let doubtful = !lane.proven;
            let may = lane.runnable
                && lane.in_flight < self.settings.webhook_concurrency
                && lane.next_due(now, longest).is_some_and(|due| due <= now);
            if may {
                let claims = lane.claim(now, longest);
                lane.pace.begin(now);
                self.start(id, claims, doubtful);
            }
            self.touch(id);
        }
        self.courier.telemetry.set_in_flight(self.in_flight.len());
    }

    /// Starts the attempt at what was claimed together.
    fn start(&mut self, id: WebhookId, claims: Vec<Claim>, doubtful: bool) {
        // Recovered while its attempt from before was still under way: what that comes to decides.
        let (again, claims): (Vec<_>, Vec<_>) =
            claims.into_iter().partition(|claim| self.in_flight.contains_key(&claim.item.delivery));
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let dropped: Vec<_> = again
            .into_iter()
            .map(|Claim { key, item, .. }| {
                tracing::debug!(webhook = %id, delivery = %item.delivery, entry = ?key, "already under way");
                Outcome { webhook: id, item, attempt: None, step: Step::Dropped, closes: lane.finished(key) }
            })
            .collect();
        let Some(first) = claims.first().map(|claim| claim.item.delivery) else {
            lane.landed();
            return self.record(dropped);
        };
        let deliveries: Vec<_> = claims.iter().map(|claim| claim.item.delivery).collect();
        let task = attempt::start(&self.courier, &self.deliveries, id, claims, self.messages.clone());
        self.in_flight.extend(deliveries.into_iter().map(|delivery| (delivery, (id, task.clone()))));
        self.requests += 1;
        if doubtful {
            self.doubtful.insert(first);
        }
        self.record(dropped);
    }

    fn finished(&mut self, mut finished: Finished) {
        let webhook = finished.webhook;
        self.requests = self.requests.saturating_sub(1);
        let unsent = std::mem::take(&mut finished.unsent);
        for item in finished.parts.iter().map(|part| &part.item).chain(unsent.iter().map(|(_, item)| item)) {
            self.in_flight.remove(&item.delivery);
            self.doubtful.remove(&item.delivery);
        }
        if let Some((left, waiting)) = self.forgetting.get_mut(&webhook) {
            *left = left.saturating_sub(finished.parts.len() + unsent.len());
            if *left == 0 {
                waiting.drain(..).for_each(answer);
                self.forgetting.remove(&webhook);
            }
        }
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        lane.landed();
        if let Some(pause) = finished.pause(&self.settings) {
            let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
            lane.pace.pause(self.courier.clock.steady_ms(), pause);
        }
        for (key, item) in unsent.into_iter().rev() {
            lane.give_back(key, item);
        }
        let closes = finished.parts.iter().map(|part| lane.finished(part.key)).collect();
        let outcomes = self.courier.conclude(&self.settings, finished, closes);
        let attempts = outcomes.iter().filter_map(|outcome| outcome.attempt.as_ref());
        if let Some(taken) = attempts.map(|attempt| attempt.success).reduce(|a, b| a || b) {
            lane.proven = taken;
            if taken {
                lane.pace.taken();
            }
        }
        self.record(outcomes);
        self.touch(webhook);
    }

    fn record(&mut self, outcomes: Vec<Outcome>) {
        if !outcomes.is_empty() {
            self.unrecorded += outcomes.len();
            self.courier.store.record(outcomes);
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
        // The list stays: once draining, nothing more is ever claimed.
        let (never, _) = oneshot::channel();
        let waiting = std::mem::replace(&mut self.draining, vec![never]);
        waiting.into_iter().for_each(answer);
    }
}

/// Attempts that may be in flight to destinations of which nobody knows whether they answer. The rest of the places is
/// for those that took their last delivery: however many are dead, they cost these no more than that.
fn places_for_doubtful(concurrency: usize) -> usize {
    concurrency - concurrency / 4
}

/// Whoever asked may have stopped waiting.
fn answer(done: oneshot::Sender<()>) {
    let _ = done.send(());
}
