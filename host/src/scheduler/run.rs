//! The loop.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::attempt::{self, Finished};
use super::decide::longest_wait;
use super::lane::{LOAD, Lane};
use super::{Courier, Message};
use crate::model::id::{DeliveryId, WebhookId};
use crate::model::settings::DeliverySettings;
use crate::store::{Change, DueEntry};

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
            unrecorded: 0,
            forgetting: HashMap::new(),
            draining: Vec::new(),
        };
        // Whatever has no outcome is due again.
        let table = run.courier.store.webhooks();
        for webhook in table.iter() {
            run.lanes.insert(webhook.id, Lane::new(webhook.epoch, false));
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
            Message::Store(Change::Loaded { webhook, epoch, entries, complete }) => {
                if let Some(lane) = self.lanes.get_mut(&webhook).filter(|lane| lane.epoch() == epoch) {
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
        let lane = self.lanes.entry(id).or_insert_with(|| Lane::new(webhook.epoch, true));
        lane.begin(webhook.epoch);
        let active = webhook.activity.is_active();
        if !active {
            lane.unload();
        }
        let format = &webhook.config.format;
        let loaded = self.courier.registry.current(format).is_some();
        if active && !loaded && self.courier.registry.is_settled() {
            tracing::warn!(webhook = %id, format, "a webhook's formatter is not loaded: its deliveries are held until it is");
        }
        lane.runnable = active && loaded;
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
            self.courier.store.load_due(id, lane.epoch(), after, LOAD);
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
        while self.draining.is_empty()
            && self.in_flight.len() < self.settings.concurrency
            && self.unrecorded < UNRECORDED
            && let Some(id) = self.ready.pop_front()
        {
            // The time of this very moment, as `touch` has it: with an older one a lane could be listed and
            // turned away for ever.
            let now = self.courier.clock.steady_ms();
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.listed = false;
            let may = lane.runnable
                && lane.in_flight < self.settings.webhook_concurrency
                && lane.next_due(now, longest).is_some_and(|due| due <= now);
            if may && let Some(claim) = lane.claim() {
                let delivery = claim.item.delivery;
                let task = attempt::start(&self.courier, &self.deliveries, claim, self.messages.clone());
                self.in_flight.insert(delivery, (id, task));
            }
            self.touch(id);
        }
        self.courier.telemetry.set_in_flight(self.in_flight.len());
    }

    fn finished(&mut self, finished: Finished) {
        let webhook = finished.key.webhook;
        self.in_flight.remove(&finished.item.delivery);
        if let Some((left, waiting)) = self.forgetting.get_mut(&webhook) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                waiting.drain(..).for_each(answer);
                self.forgetting.remove(&webhook);
            }
        }
        let Some(lane) = self.lanes.get_mut(&webhook) else { return };
        let closes = lane.finished(finished.key);
        let outcome = self.courier.conclude(&self.settings, finished, closes);
        self.unrecorded += 1;
        self.courier.store.record(vec![outcome]);
        self.touch(webhook);
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

/// Whoever asked may have stopped waiting.
fn answer(done: oneshot::Sender<()>) {
    let _ = done.send(());
}
