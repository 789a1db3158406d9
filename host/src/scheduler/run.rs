//! The scheduler's loop: it hears, wakes lanes that are due, and claims in turn.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::hold::{Need, Tier};
use super::inbox::{Message, Permitted};
use super::lane::Lane;
use super::outcomes::Outcomes;
use super::permits::{PermitId, Permits};
use super::probing::Probe;
use super::spread::Spread;
use super::waiting::Waiting;
use crate::delivery::{self, AttemptResult, Claim, Deliver, Ending, Finished, Runner};
use crate::model::delivery::Step;
use crate::model::id::{DeliveryId, WebhookId};
use crate::model::probe::Trip;
use crate::model::retry::longest_wait;
use crate::model::settings::DeliverySettings;
use crate::model::time::Clock;
use crate::store::{Candidate, Change, DueEntry, DueItem, DueKey, Outcome, Store};
use crate::telemetry::Telemetry;

/// Backpressure: with more outcomes than this waiting for the disk, nothing more is claimed.
const UNRECORDED: usize = 8192;
/// Messages taken in one go before lanes get their turn.
const MESSAGES: usize = 1024;
/// While attempts are in flight the loop wakes at least so often, to notice when the host stood still.
const HEARTBEAT_MS: i64 = 1_000;
/// A loop that wakes so much later than it meant to stood still: the host was frozen, suspended or starved.
const STOOD_STILL_MS: i64 = 1_000;
/// An outcome is recorded within this time, generously.
const RECORDED_MS: i64 = 10_000;
/// Runners that are kept while they have nothing to do.
const IDLE_RUNNERS: usize = 128;
/// Retries that get a new time in one go.
const SPREAD_AT_ONCE: usize = 128;

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
    /// Deliveries of attempts in flight.
    in_flight: HashSet<DeliveryId>,
    /// Attempts in flight.
    running: HashMap<PermitId, Running>,
    /// Runners without an attempt.
    idle: Vec<Runner<Permitted>>,
    /// Those of the requests that carry them.
    permits: Permits,
    /// Ready lanes that wait for a permit, by the need that they had then.
    waiting: Waiting,
    /// The need that is served next when several have permits.
    turn: usize,
    /// Those of this turn.
    outcomes: Outcomes,
    /// Outcomes that are not on the disk yet.
    unrecorded: usize,
    /// Outcomes so far, and how many of them are on the disk.
    told: u64,
    on_disk: u64,
    /// Strict lanes that wait until so many are.
    awaiting: VecDeque<(u64, WebhookId)>,
    /// Lanes with retries that get new times, each once; served round robin.
    piled: VecDeque<WebhookId>,
    spread: Spread,
    /// The last of the new times.
    spread_until: i64,
    /// Deleted webhooks whose attempts are being aborted.
    forgetting: HashMap<WebhookId, (usize, Vec<oneshot::Sender<()>>)>,
    draining: Vec<oneshot::Sender<()>>,
}

/// An attempt in flight.
struct Running {
    webhook: WebhookId,
    /// How many it is an attempt at.
    deliveries: usize,
    /// Set if it is a probe.
    probe: Option<Probe>,
    runner: Runner<Permitted>,
    /// The runner was told to end.
    is_cut: bool,
}

impl Running {
    fn cut(&mut self) {
        self.is_cut = true;
        self.runner.cut();
    }
}

impl<D: Deliver> Run<D> {
    pub(super) fn new(deliver: Arc<D>, context: Context, messages: UnboundedSender<Message>) -> Self {
        let permits = Permits::new(context.settings.concurrency);
        let mut run = Self {
            deliver,
            context,
            messages,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            timers: BinaryHeap::new(),
            in_flight: HashSet::new(),
            running: HashMap::new(),
            idle: Vec::new(),
            permits,
            waiting: Default::default(),
            turn: 0,
            outcomes: Outcomes::default(),
            unrecorded: 0,
            told: 0,
            on_disk: 0,
            awaiting: VecDeque::new(),
            piled: VecDeque::new(),
            spread: Spread::of_the_host(),
            spread_until: i64::MIN,
            forgetting: HashMap::new(),
            draining: Vec::new(),
        };
        // Claims live in memory only, so every delivery without an outcome is due again.
        for webhook in run.context.store.webhooks().newest_first() {
            let health = webhook.health.values();
            let mut lane = Lane::new(webhook.activation, false);
            lane.aim(&webhook.config.url);
            if health.last_success_at.is_some() && health.last_success_at >= health.last_failure_at {
                lane.hold.delivered_before();
            }
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
            self.respread();
            self.hand_over();
            self.answer_drained();
            let asleep = self.context.clock.steady_ms();
            let until = self.next_wake(asleep);
            let heard = match until {
                Some(until) => tokio::select! {
                    // Timers are looked at in every turn; so the same things happen in the same order.
                    biased;
                    heard = messages.recv() => Some(heard),
                    () = tokio::time::sleep(Duration::from_millis((until - asleep).unsigned_abs())) => None,
                },
                None => Some(messages.recv().await),
            };
            let now = self.context.clock.steady_ms();
            if until.is_some_and(|until| now - until >= STOOD_STILL_MS) {
                self.stood_still(now - asleep);
            }
            let Some(heard) = heard else { continue };
            let Some(first) = heard else { return };
            self.hear(first);
            for _ in 0..MESSAGES {
                let Ok(next) = messages.try_recv() else { break };
                self.hear(next);
            }
        }
    }

    /// When the loop is to wake if it hears nothing, not before `now`.
    fn next_wake(&self, now: i64) -> Option<i64> {
        let timer = self.timers.peek().map(|Reverse((due, _))| *due);
        let age = self.permits.next_age().filter(|_| !self.waiting.is_empty());
        let heartbeat = (self.permits.in_use() > 0).then(|| now.saturating_add(HEARTBEAT_MS));
        timer.into_iter().chain(age).chain(heartbeat).min().map(|at| at.max(now))
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Store(Change::Due(entries)) => entries.into_iter().for_each(|entry| self.queued(entry)),
            Message::Store(Change::Loaded { request, entries, complete }) => {
                let webhook = request.webhook;
                let now = self.context.clock.steady_ms();
                let reach = now.saturating_add(self.longest_wait(now));
                if let Some(lane) = self.lanes.get_mut(&webhook).filter(|lane| lane.activation() == request.activation)
                {
                    lane.loaded(request.number, entries, complete, reach);
                    if lane.pile() {
                        self.piled.push_back(webhook);
                    }
                    self.touch(webhook);
                }
            }
            Message::Store(Change::Webhook(webhook)) => self.look_again(webhook),
            Message::Store(Change::Candidate { webhook, candidate }) => self.probe_found(webhook, candidate),
            Message::Store(Change::Collected { webhook, activation, rest }) => {
                if let Some(lane) = self.lanes.get_mut(&webhook).filter(|lane| lane.activation() == activation) {
                    lane.collecting.collected(rest);
                    self.touch(webhook);
                }
            }
            Message::Store(Change::Probed(webhook)) => {
                if let Some(lane) = self.lanes.get_mut(&webhook) {
                    lane.probing.concluded();
                    self.touch(webhook);
                }
            }
            Message::Formatters => {
                let webhooks: Vec<_> = self.lanes.keys().copied().collect();
                webhooks.into_iter().for_each(|webhook| self.look_again(webhook));
            }
            Message::Store(Change::Recorded(outcomes)) => self.recorded(outcomes),
            Message::Finished(permit, finished) => self.finished(permit, finished),
            Message::Forget(webhook, done) => self.forget(webhook, done),
            Message::Drain(done) => self.draining.push(done),
            Message::Cut => self.running.values_mut().for_each(Running::cut),
        }
    }

    fn queued(&mut self, entry: DueEntry) {
        let webhook = entry.key.webhook;
        let due = entry.items.first().map_or(entry.key.due_ms, |(item, _)| item.due_in(entry.key));
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.probing.queued();
            lane.insert(entry);
            // Recorded before the host stood still, heard of after it.
            if due < lane.moving_since() && lane.pile() {
                self.piled.push_back(webhook);
            }
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
        lane.follow(webhook.config.order);
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
        let now = self.context.clock.steady_ms();
        if active && loaded && !lane.runnable && lane.stood_still(now) {
            self.piled.push_back(id);
        }
        lane.runnable = active && loaded;
        lane.is_off = !active;
        let probes = webhook.activity.trip().and_then(Trip::probing).filter(|_| loaded);
        lane.probing.schedule(probes.map(|probes| probes.next_ms));
        lane.pace.limit(webhook.config.rate_limit);
        lane.aim(&webhook.config.url);
        lane.batch = webhook.config.batch;
        lane.collect_for(webhook.config.digest);
        self.touch(id);
    }

    /// Lists a lane that has something to claim, sets a timer for one that waits, loads what is missing.
    fn touch(&mut self, id: WebhookId) {
        let now = self.context.clock.steady_ms();
        let longest = self.longest_wait(now);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.settle();
        lane.evicted.drain(..).for_each(|event| self.deliver.keep(&event));
        if lane.waits_for.is_some_and(|need| need != lane.hold.need()) {
            // It turned out otherwise: it need not wait with those.
            lane.waits_for = None;
            self.ready.push_back(id);
        }
        if !lane.runnable {
            return self.touch_probe(id, now);
        }
        let reach = now.saturating_add(longest);
        let reach = DueKey { webhook: id, activation: lane.activation(), rank: 0, due_ms: reach, seq: u64::MAX };
        if let Some(request) = lane.wants_load(reach) {
            // First what is done: it must not come back with the page.
            if let Some(outcomes) = self.outcomes.take() {
                self.context.store.record(outcomes);
            }
            self.context.store.load_page(request);
        }
        self.touch_window(id, now);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.listed || !lane.has_room(self.context.settings.webhook_concurrency) {
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

    /// Has the store put together what waited for the window of a digest, or sets a timer for it.
    fn touch_window(&mut self, id: WebhookId, now: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match lane.collecting.next(now) {
            Some((due, closed)) if due <= now => {
                let (activation, busy) = (lane.activation(), lane.ask());
                // First what is done: it must not be told of again.
                self.hand_over();
                self.context.store.collect(id, activation, closed, busy);
            }
            Some((due, _)) if lane.timer.is_none_or(|timer| timer > due) => {
                lane.timer = Some(due);
                self.timers.push(Reverse((due, id)));
            }
            _ => {}
        }
    }

    /// Asks the store for the delivery of a probe that is due, or sets a timer for it.
    fn touch_probe(&mut self, id: WebhookId, now: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match lane.probe_due() {
            Some(due) if due <= now => {
                lane.probing.asked();
                // First what is done: the store judges by it.
                self.hand_over();
                self.context.store.load_probe(id);
            }
            Some(due) if lane.timer.is_none_or(|timer| timer > due) => {
                lane.timer = Some(due);
                self.timers.push(Reverse((due, id)));
            }
            _ => {}
        }
    }

    /// The store has named the delivery of a probe, or that there is none.
    fn probe_found(&mut self, id: WebhookId, candidate: Option<Candidate>) {
        let now = self.context.clock.steady_ms();
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.probing.found(candidate, now) && !lane.listed {
            lane.listed = true;
            self.ready.push_back(id);
        }
        self.touch(id);
    }

    /// The longest time that anything waits for, in milliseconds: what seems to wait longer was queued before the wall
    /// clock was set back.
    fn longest_wait(&self, now: i64) -> i64 {
        let policy = longest_wait(&self.context.settings.retry).as_millis();
        i64::try_from(policy).unwrap_or(i64::MAX).max(self.spread_until.saturating_sub(now))
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
        while let Some((id, tier)) = self.permits.age(self.context.clock.steady_ms()) {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.hold.aged(tier);
            }
        }
        while self.draining.is_empty()
            && self.unrecorded < UNRECORDED
            && let Some(id) = self.next_lane()
        {
            // The time as `touch` reads it: with an older one a lane could be listed and turned away again and again.
            let now = self.context.clock.steady_ms();
            let longest = self.longest_wait(now);
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let need = lane.hold.need();
            if !self.permits.allows(need) {
                lane.waits_for = Some(need);
                self.waiting.add(need, id);
                continue;
            }
            lane.listed = false;
            let may = lane.runnable
                && lane.has_room(self.context.settings.webhook_concurrency)
                && lane.next_due(now, longest).is_some_and(|due| due <= now);
            if let Some((claim, origin)) = lane.claim_probe(id, now) {
                let probe = Probe { delivery: claim.item.delivery, origin };
                self.start(id, vec![claim], Some(probe), now);
            } else if may {
                let claims = lane.claim(now, longest);
                lane.pace.begin(now);
                self.start(id, claims, None, now);
            }
            self.touch(id);
        }
        self.context.telemetry.set_in_flight(self.in_flight.len());
    }

    /// The next ready lane: one that waited for a permit that is there now, each need in turn, or one that was not asked
    /// yet.
    fn next_lane(&mut self) -> Option<WebhookId> {
        if self.waiting.is_empty() {
            return self.ready.pop_front();
        }
        for step in 0..Need::ALL.len() {
            let number = (self.turn + step) % Need::ALL.len();
            let need = Need::ALL[number];
            while self.permits.allows(need)
                && let Some(id) = self.next_waiting(need)
            {
                let lane = self.lanes.get_mut(&id);
                // Others were listed again meanwhile, with another need.
                if let Some(lane) = lane.filter(|lane| lane.waits_for == Some(need)) {
                    lane.waits_for = None;
                    self.turn = number + 1;
                    return Some(id);
                }
            }
        }
        self.ready.pop_front()
    }

    /// Of the lanes that wait for this permit the first; of slow ones the one whose attempts occupied the least time, so
    /// that what hangs for 30 s gets fewer turns than what hangs for 5 s.
    fn next_waiting(&mut self, need: Need) -> Option<WebhookId> {
        if need.tier() == Tier::Quick {
            return self.waiting.pop(need);
        }
        let (now, lanes) = (self.context.clock.steady_ms(), &self.lanes);
        let waits = |id| lanes.get(&id).filter(|lane| lane.waits_for == Some(need));
        self.waiting.pop_least(need, |id| waits(id).map(|lane| lane.hold.occupied(now)))
    }

    /// The loop woke so much later than it meant to.
    fn stood_still(&mut self, gap: i64) {
        tracing::warn!(
            seconds = gap / 1000,
            "the host stood still (it was frozen, suspended or had no processor time); retries that fell due meanwhile are spread"
        );
        let now = self.context.clock.steady_ms();
        self.permits.shift(gap);
        self.spread = Spread::of_the_host();
        let mut piled = Vec::new();
        for (id, lane) in &mut self.lanes {
            lane.hold.shift(gap);
            if lane.stood_still(now) {
                piled.push(*id);
            }
        }
        // In an order that does not depend on the map.
        piled.sort_unstable();
        self.piled.extend(piled);
    }

    /// Gives new times to retries that fell due while the host stood still. Attempts of anything else go on meanwhile.
    fn respread(&mut self) {
        let now = self.context.clock.steady_ms();
        for _ in 0..SPREAD_AT_ONCE {
            if !self.draining.is_empty() || self.unrecorded >= UNRECORDED / 2 {
                return;
            }
            let Some(id) = self.piled.pop_front() else { return };
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let Some((key, items)) = lane.claim_piled() else { continue };
            let requests = lane.requests(&items);
            let at = self.spread.next(now, requests).max(lane.spread.next(now, requests));
            // Jitter, so that hosts that stood still together do not come back together.
            let after = ((at - now as f64) * (0.9 + 0.2 * fastrand::f64())).max(0.0);
            let after = Duration::from_secs_f64(after / 1e3);
            // As the writer will read the clock, a little later.
            let until = i64::try_from(after.as_millis()).unwrap_or_default().saturating_add(now + RECORDED_MS);
            self.spread_until = self.spread_until.max(until);
            let again = Step::Again { after, counts: false };
            let settle = |item: DueItem| {
                // Recovered while its earlier attempt is still under way: that attempt's outcome decides.
                let known = self.in_flight.contains(&item.delivery);
                Outcome::new(id, item, None, if known { Step::Dropped } else { again.clone() }, lane.finished(key))
            };
            let outcomes = items.into_iter().map(settle).collect();
            if lane.has_piled() {
                self.piled.push_back(id);
            }
            self.record(outcomes);
            self.touch(id);
        }
    }

    /// Starts the attempt at what was claimed together.
    fn start(&mut self, id: WebhookId, claims: Vec<Claim>, probe: Option<Probe>, now: i64) {
        // Recovered while its earlier attempt is still under way: that attempt's outcome decides.
        let (again, claims) = split_off(claims, |claim| self.in_flight.contains(&claim.item.delivery));
        for claim in &again {
            // The one under way may be a probe: it is this delivery's attempt now.
            let tried = |probe: Probe| probe.delivery == claim.item.delivery;
            let running = self.running.values_mut().filter(|running| running.webhook == id);
            running.filter(|running| running.probe.is_some_and(tried)).for_each(|running| running.probe = None);
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let dropped: Vec<_> = again
            .into_iter()
            .map(|Claim { key, item, .. }| {
                tracing::debug!(webhook = %id, delivery = %item.delivery, entry = ?key, "already under way");
                Outcome::new(id, item, None, Step::Dropped, lane.finished(key))
            })
            .collect();
        if claims.is_empty() {
            lane.request_finished();
            return self.record(dropped);
        }
        let permit = self.permits.take(id, &mut lane.hold, now);
        self.in_flight.extend(claims.iter().map(|claim| claim.item.delivery));
        let Context { store, clock, deliveries: runtime, .. } = &self.context;
        let runner = self.idle.pop().unwrap_or_else(|| Runner::start(&self.deliver, store, runtime));
        let (deliveries, report) = (claims.len(), Permitted { permit, messages: self.messages.clone() });
        runner.attempt(id, claims, clock.now(), report);
        self.running.insert(permit, Running { webhook: id, deliveries, probe, runner, is_cut: false });
        self.record(dropped);
    }

    fn finished(&mut self, permit: PermitId, mut finished: Finished) {
        let webhook = finished.webhook;
        let mut probe = None;
        if let Some(running) = self.running.remove(&permit) {
            probe = running.probe;
            if !running.is_cut && !finished.is_lost && self.idle.len() < IDLE_RUNNERS {
                self.idle.push(running.runner);
            }
        }
        let permit = self.permits.give_back(permit);
        for result in &finished.results {
            self.in_flight.remove(&result.claim.item.delivery);
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
        if let Some(permit) = permit {
            let tells = finished.results.iter().any(|result| matches!(result.ending, Ending::Attempted(_)));
            lane.hold.end(self.context.clock.steady_ms(), permit.began, permit.tier, tells);
        }
        if let Some(pause) = finished.pause(&self.context.settings.retry) {
            let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
            lane.pace.pause(self.context.clock.steady_ms(), pause);
        }
        let results = std::mem::take(&mut finished.results);
        finished.results = if probe.is_some() { results } else { settled(lane, results) };
        let policy = &self.context.settings.retry;
        let mut outcomes = delivery::outcomes(finished, policy, self.context.clock.now(), fastrand::f64());
        outcomes.iter_mut().for_each(|outcome| outcome.probe = probe.map(|probe| probe.origin));
        let mut attempts = outcomes.iter().filter_map(|outcome| outcome.attempt.as_ref());
        if attempts.any(|attempt| attempt.success) {
            lane.pace.accepted();
        }
        self.record(outcomes);
        self.touch(webhook);
    }

    /// Records the outcomes of one request.
    fn record(&mut self, outcomes: Vec<Outcome>) {
        self.unrecorded += outcomes.len();
        self.told += outcomes.len() as u64;
        let is_open = outcomes.iter().any(|outcome| outcome.step != Step::Delivered);
        let lane = outcomes.first().and_then(|outcome| Some((outcome.webhook, self.lanes.get_mut(&outcome.webhook)?)));
        if let Some((id, lane)) = lane.filter(|(_, lane)| is_open && lane.is_strict()) {
            lane.awaits = Some(self.told);
            self.awaiting.push_back((self.told, id));
        }
        self.outcomes.add(outcomes);
        if self.outcomes.are_many() {
            self.hand_over();
        }
    }

    /// Outcomes are on the disk, and what they queued was heard of. Strict lanes that waited for them go on.
    fn recorded(&mut self, outcomes: usize) {
        self.unrecorded = self.unrecorded.saturating_sub(outcomes);
        self.on_disk += outcomes as u64;
        while let Some((number, id)) = self.awaiting.pop_front_if(|(number, _)| *number <= self.on_disk) {
            if let Some(lane) = self.lanes.get_mut(&id)
                && lane.awaits == Some(number)
            {
                lane.awaits = None;
                self.touch(id);
            }
        }
    }

    fn hand_over(&mut self) {
        if let Some(outcomes) = self.outcomes.take() {
            self.context.store.record(outcomes);
        }
    }

    fn forget(&mut self, webhook: WebhookId, done: oneshot::Sender<()>) {
        self.lanes.remove(&webhook);
        let mut deliveries = 0;
        for running in self.running.values_mut().filter(|running| running.webhook == webhook) {
            running.cut();
            deliveries += running.deliveries;
        }
        if deliveries == 0 {
            answer(done);
            return;
        }
        let entry = self.forgetting.entry(webhook).or_insert((deliveries, Vec::new()));
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

/// Gives back to their lane what was not sent, and lets it close the entries of the others.
fn settled(lane: &mut Lane, results: Vec<AttemptResult>) -> Vec<AttemptResult> {
    let (unsent, mut sent) = split_off(results, |result| matches!(result.ending, Ending::Unsent));
    for AttemptResult { claim, .. } in unsent.into_iter().rev() {
        lane.give_back(claim.key, claim.item);
    }
    for result in &mut sent {
        result.closes = lane.finished(result.claim.key);
    }
    sent
}

/// Splits the elements that are exceptions from the others, which usually are all.
fn split_off<T>(all: Vec<T>, is_exception: impl Fn(&T) -> bool) -> (Vec<T>, Vec<T>) {
    if all.iter().any(&is_exception) { all.into_iter().partition(is_exception) } else { (Vec::new(), all) }
}

/// Answers a request; the caller may have stopped waiting.
fn answer(done: oneshot::Sender<()>) {
    let _ = done.send(());
}
