//! The single writer: gathers the commands that wait, commits them together (group commit), and responds to all of them
//! after one fsync.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::UnboundedSender;

use super::accept::Group;
use super::audit::Chain;
use super::downtime::Downtime;
use super::engine::Engine;
use super::heal::Healing;
use super::index::{Growth, Index, MarksCache, Row, Tail};
use super::lost::AcceptedSince;
use super::moving::Moving;
use super::place::Places;
use super::record::{self, AttemptChunk, Counters, Counts, Damage, Progress, SlotState};
use super::retention_clock;
use super::state_cache::StateCache;
use super::tally::{Tallies, Tally, Wait};
use super::tell::{Key, Telling};
use super::txn::Txn;
use super::{Change, DueEntry, PageRequest, StoreError, Tokens, WebhookTable, WriterCommand, keys};
use crate::keyring::Keyring;
use crate::model::audit::AuditEvent;
use crate::model::event::NewEvent;
use crate::model::id::{AttemptId, EventId, WebhookId};
use crate::model::time::{Clock, Timestamp};
use crate::model::webhook::{HealthValues, Webhook};
use crate::watchdog::Pulse;

/// How long outcomes may wait for a commit to ride on.
const OUTCOME_DELAY: Duration = Duration::from_millis(20);
/// How often a failed store is tried again.
const RETRY_FAILED: Duration = Duration::from_secs(1);
/// Between two tries to open the engine again while requests keep coming.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);
/// Requests in one commit.
const GROUP_REQUESTS: usize = 1024;
/// Bytes in one commit.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// Outcomes kept in memory before they are written, however young.
const GROUP_OUTCOMES: usize = 2048;

/// Bytes of a delivery's state in a record: few wait for a retry, whose states are longer.
const STATE_BYTES: usize = 16;
/// What is told of a store that was closed for good.
const CLOSED: &str = "a write to the disk failed, and the store was closed until the restart";

/// Outcomes that are not on the disk yet. They survive a commit that failed.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) txn: Txn,
    /// The states of the deliveries of each event that has outcomes: one record, however many of them ended.
    pub(super) states: HashMap<EventId, Vec<SlotState>>,
    pub(super) attempts: HashMap<WebhookId, AttemptChunk>,
    pub(super) counters: HashSet<WebhookId>,
    /// The index's rows of the attempts.
    pub(super) rows: Vec<Row>,
    /// Deliveries that begin or cease to wait.
    pub(super) waits: Vec<Wait>,
    pub(super) due: Vec<DueEntry>,
    /// The lines of the audit log that ride on the next commit.
    pub(super) audit_events: Vec<AuditEvent>,
    pub(super) outcomes: usize,
    /// The time of the first of them, in milliseconds of the steady clock.
    since: Option<i64>,
}

impl Pending {
    /// None yet; with a time, in milliseconds of the steady clock, a commit is due soon after it.
    pub(super) fn since(since: Option<i64>) -> Self {
        Self { since, ..Self::default() }
    }
}

/// The changes that follow from those of a commit, and what is to be done once they are written.
struct Derived {
    txn: Txn,
    attempts: Option<Growth>,
    events: Option<Growth>,
    tallies: BTreeMap<WebhookId, Tally>,
    /// Of these what is not told yet is written.
    untold: HashSet<Key>,
}

/// The writer's state.
pub(in crate::store) struct Writer {
    pub(super) engine: Arc<Engine>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) webhooks: Arc<ArcSwap<WebhookTable>>,
    pub(super) tokens: Arc<ArcSwap<Tokens>>,
    pub(super) breaker_threshold: u32,
    pub(super) breaker_probe: bool,
    pub(super) idempotency_kept: Duration,
    pub(super) changes: Box<dyn Fn(Change) + Send>,
    pub(super) writable: Arc<AtomicBool>,
    pub(super) damage: Damage,
    /// Set when a damaged queue entry is found: its deliveries are in no queue now.
    pub(super) unqueued: Arc<AtomicBool>,
    /// The events of this process, until those from before it are counted.
    pub(super) accepted_since: AcceptedSince,
    pub(super) retention_clock: retention_clock::Watched,
    pub(super) clock_trusted: Arc<AtomicBool>,
    /// The last sequence number. Upper half: the number of the run; lower half: a counter.
    pub(super) next_seq: u64,
    pub(super) chain: Chain,
    pub(super) recent: StateCache,
    pub(super) marks: MarksCache,
    /// The rows of the indexes that are in no block.
    pub(super) young_attempts: Tail,
    pub(super) young_events: Tail,
    /// The last attempt of all.
    pub(super) last_attempt: Option<AttemptId>,
    pub(super) tallies: Tallies,
    pub(super) counts: Counts,
    /// Attempts in each webhook's history, including those of the next commit.
    pub(super) history: HashMap<WebhookId, u64>,
    pub(super) pending: Pending,
    /// The error for which the engine was closed and is to be opened again: a full disk, no file descriptors, a panic.
    pub(super) reopen: Option<StoreError>,
    /// The time of the next try, in milliseconds of the steady clock.
    pub(super) next_try_ms: i64,
    /// Pages of queues that could not be read; they are read after the next commit that succeeds.
    pub(super) unread: Vec<PageRequest>,
    /// Webhooks whose probe was accepted: their deliveries are put in order, a page between two commits.
    pub(super) healing: VecDeque<Healing>,
    /// Pages that are read once their queue is in order: it is moved, a page between two commits.
    pub(super) moving: VecDeque<Moving>,
    pub(super) places: Places,
    pub(super) telling: Telling,
    /// Where host events go whose expressions are to be evaluated.
    pub(super) unjudged: UnboundedSender<NewEvent>,
    /// Since when nothing can be written, and why.
    pub(super) downtime: Downtime,
}

impl Writer {
    pub(super) fn run(mut self, commands: &Receiver<WriterCommand>, pulse: &Pulse) {
        loop {
            pulse.idle();
            let first = match self.wait() {
                None => match commands.recv() {
                    Ok(command) => Some(command),
                    Err(_) => break,
                },
                Some(wait) => match commands.recv_timeout(wait) {
                    Ok(command) => Some(command),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            pulse.beat();
            if self.turn(first, || commands.try_recv().ok()) {
                break;
            }
        }
    }

    /// Carries out the first command and those that wait behind it, and commits them together. Without a first one the
    /// time to wait is over. Returns true if it was told to close.
    pub(super) fn turn(
        &mut self,
        first: Option<WriterCommand>,
        mut more: impl FnMut() -> Option<WriterCommand>,
    ) -> bool {
        // A request that is rejected because the store is closed leaves nothing to write; a commit is tried all the
        // same.
        let tries_again = self.reopen.is_some() && self.clock.steady_ms() >= self.next_try_ms;
        let timed_out = first.is_none();
        let mut next = first;
        let mut group = Group::default();
        let mut closing = false;
        let mut commands = 0;
        while let Some(command) = next.take() {
            closing = matches!(command, WriterCommand::Close);
            self.handle(command, &mut group);
            commands += 1;
            if closing || commands >= GROUP_REQUESTS || group.bytes() >= GROUP_BYTES {
                break;
            }
            next = more();
        }
        let ripe = self.pending.outcomes >= GROUP_OUTCOMES || self.wait() == Some(Duration::ZERO);
        if closing {
            self.tell_due(&mut group, true);
        }
        if !group.is_empty() || ripe || timed_out || closing || tries_again {
            self.commit(group);
        }
        if !closing {
            self.heal();
            self.move_queue();
        }
        closing
    }

    /// How long to wait for the next command; `None`: forever.
    pub(super) fn wait(&self) -> Option<Duration> {
        if !self.is_writable() {
            return Some(RETRY_FAILED);
        }
        if !self.healing.is_empty() || !self.moving.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = self.clock.steady_ms();
        let after = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let outcomes = self.pending.since.map(|since| OUTCOME_DELAY.saturating_sub(after(now.saturating_sub(since))));
        let told = self.telling.waits_until().map(|due| after(due.saturating_sub(now)));
        outcomes.into_iter().chain(told).min()
    }

    fn handle(&mut self, command: WriterCommand, group: &mut Group) {
        match command {
            WriterCommand::Accept { acceptance, reply, permit } => self.accept(acceptance, group, reply, permit),
            WriterCommand::Record(outcomes) => {
                self.has_pending();
                self.record(outcomes);
            }
            WriterCommand::Load(request) => self.load(request),
            WriterCommand::Audit(audit_event) => {
                self.has_pending();
                self.pending.audit_events.push(*audit_event);
            }
            // Changes of the configuration are rare and change the fan-out: each gets a commit of its own.
            WriterCommand::Manage(change) => {
                self.commit(std::mem::take(group));
                change(self);
            }
            WriterCommand::Close => {}
        }
    }

    /// Starts the time that pending outcomes may wait.
    pub(super) fn has_pending(&mut self) {
        let now = self.clock.steady_ms();
        self.pending.since.get_or_insert(now);
    }

    /// Lets the pending outcomes wait no longer: they are written at the end of this turn.
    pub(super) fn commit_soon(&mut self) {
        self.pending.since = Some(i64::MIN);
    }

    /// Writes a group and the pending outcomes, then responds to the group.
    pub(super) fn commit(&mut self, mut group: Group) {
        let told = if self.is_writable() { self.tell_due(&mut group, false) } else { Vec::new() };
        group.finish(self);
        self.pack_pending();
        let probe = (!self.is_writable()).then(|| {
            let mut txn = Txn::default();
            txn.put(keys::meta("probe"), record::pack(&self.clock.now()));
            txn
        });
        let derived = self.derived(&mut group);
        if group.txn.is_empty()
            && self.pending.txn.is_empty()
            && self.pending.audit_events.is_empty()
            && derived.txn.is_empty()
            && probe.is_none()
        {
            let pending = std::mem::take(&mut self.pending);
            if pending.outcomes > 0 {
                (self.changes)(Change::Recorded(pending.outcomes));
            }
            group.respond(Ok(()));
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let (lines, chain) = self.pending_lines(&pending.audit_events);
        let was_down = self.downtime.is_over();
        let txns = [Some(&pending.txn), Some(&group.txn), Some(&derived.txn), Some(&lines), probe.as_ref()];
        let result = self.write(&txns);
        if result.is_err() {
            self.pending = pending;
            self.telling.put_back(told);
        } else {
            self.chain = chain;
            derived.attempts.into_iter().for_each(|growth| self.young_attempts.apply(growth));
            derived.events.into_iter().for_each(|growth| self.young_events.apply(growth));
            self.tallies.set(derived.tallies);
            self.telling.written(&derived.untold);
            if was_down {
                self.downtime.told();
            }
            self.counts = group.counts().unwrap_or(self.counts);
            let due: Vec<_> = pending.due.into_iter().chain(group.take_due()).collect();
            if !due.is_empty() {
                (self.changes)(Change::Due(due));
            }
            if pending.outcomes > 0 {
                (self.changes)(Change::Recorded(pending.outcomes));
            }
        }
        group.respond(result);
    }

    /// Writes to the disk. On a recoverable error (a full disk, no file descriptors, a panic) reopens the engine; after
    /// any other failed write or fsync closes it for good.
    pub(super) fn write(&mut self, txns: &[Option<&Txn>]) -> Result<(), StoreError> {
        let txns: Vec<&Txn> = txns.iter().copied().flatten().collect();
        if !self.engine.has_room(txns.iter().map(|txn| txn.bytes()).sum()) {
            if self.writable.swap(false, Ordering::Relaxed) {
                tracing::error!("the disk is full; nothing is accepted until there is space on it");
            }
            self.downtime.begin(self.clock.steady_ms(), StoreError::Full.to_string());
            return Err(StoreError::Full);
        }
        // Opening writes too: on a disk that is still full it fails, and is tried again with each write.
        if let Some(why) = self.reopen
            && let Err(error) = self.engine.reopen()
        {
            tracing::warn!(%error, "the store cannot be opened again yet");
            let pause = i64::try_from(REOPEN_PAUSE.as_millis()).unwrap_or(i64::MAX);
            self.next_try_ms = self.clock.steady_ms().saturating_add(pause);
            return Err(why);
        }
        self.reopen = None;
        let result = self.engine.commit(&txns);
        self.writable.store(result.is_ok(), Ordering::Relaxed);
        match result {
            Ok(()) => {
                self.tell_written_again();
                for request in std::mem::take(&mut self.unread) {
                    self.load(request);
                }
            }
            // sled's error would stick, also when there is space again.
            Err(why @ (StoreError::Full | StoreError::NoFiles | StoreError::Engine)) => {
                tracing::error!(%why, "the store cannot be written; nothing is accepted until it can, and it is tried again");
                self.reopen = self.engine.reopen().is_err().then_some(why);
                // The commit may have reached the disk before the error. Then it stays: memory, the scheduler and the
                // caller must learn of it.
                if self.reopen.is_none() && self.engine.holds(&txns) && self.engine.commit(&txns).is_ok() {
                    self.writable.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                self.downtime.begin(self.clock.steady_ms(), why.to_string());
            }
            // After a failed fsync the kernel marks the pages as clean: another fsync would succeed and mean nothing.
            // Only a new process, which reads from the disk, sees what is there.
            Err(_) if self.engine.is_open() => {
                tracing::error!("the store could not be written and is closed; repair the disk and restart the host");
                self.downtime.begin(self.clock.steady_ms(), CLOSED);
                self.engine.shut();
            }
            Err(_) => {}
        }
        result
    }

    /// Moves the outcomes' states, attempts and counters into their transaction.
    fn pack_pending(&mut self) {
        for (event, states) in std::mem::take(&mut self.pending.states) {
            self.pending.txn.put(keys::state(event), record::pack_list(&states, STATE_BYTES));
            if states.iter().all(|state| state.progress != Progress::Waiting) {
                self.recent.forget(event);
            } else {
                self.recent.put(event, states);
            }
        }
        for (webhook, attempts) in std::mem::take(&mut self.pending.attempts) {
            if let Some(first) = attempts.first() {
                self.pending.txn.put(keys::attempts(webhook, first.id), record::pack_attempts(&attempts));
                *self.history.entry(webhook).or_default() += attempts.len() as u64;
                self.pending.counters.insert(webhook);
            }
        }
    }

    /// What follows from the pending outcomes and a group: rows of the indexes, and counters.
    fn derived(&mut self, group: &mut Group) -> Derived {
        let mut txn = Txn::default();
        let stamp = self.seq();
        let rows = std::mem::take(&mut self.pending.rows);
        let attempts = rows
            .first()
            .map(|first| self.young_attempts.grow(Index::Attempts, (first.place(), rows.clone()), stamp, &mut txn));
        // They are there again should the commit fail.
        self.pending.rows = rows;
        let events = group.take_rows().map(|rows| self.young_events.grow(Index::Events, rows, stamp, &mut txn));
        let tallies = self.put_waits(self.pending.waits.iter().chain(&group.waits), &mut txn);
        let table = self.webhooks.load();
        for webhook in self.pending.counters.iter().filter_map(|id| table.get(*id)) {
            if !tallies.contains_key(&webhook.id) {
                txn.put(keys::counters(webhook.id), self.counters(webhook, webhook.health.values()));
            }
        }
        let untold = self.telling.put_untold(&mut txn);
        Derived { txn, attempts, events, tallies, untold }
    }

    /// Adds the counters that these changes lead to; with the tallies, to be shown once they are written.
    pub(super) fn put_waits<'a>(
        &self,
        waits: impl IntoIterator<Item = &'a Wait>,
        txn: &mut Txn,
    ) -> BTreeMap<WebhookId, Tally> {
        let table = self.webhooks.load();
        let tallies = self.tallies.after(waits);
        for (id, tally) in &tallies {
            if let Some(webhook) = table.get(*id) {
                txn.put(keys::counters(*id), self.counters_with(webhook, webhook.health.values(), tally.clone()));
            }
        }
        tallies
    }

    /// A webhook's counters as they are written.
    pub(super) fn counters(&self, webhook: &Webhook, health: HealthValues) -> Vec<u8> {
        self.counters_with(webhook, health, self.tallies.of(webhook.id))
    }

    pub(super) fn counters_with(&self, webhook: &Webhook, health: HealthValues, tally: Tally) -> Vec<u8> {
        let attempts = self.history.get(&webhook.id).copied().unwrap_or_default();
        Counters { health, attempts, tally }.pack()
    }

    /// A number larger than every one before it.
    pub(super) fn seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }

    /// Publishes a changed table and tells the scheduler which webhook changed.
    pub(super) fn publish(&self, table: WebhookTable, changed: WebhookId) {
        self.webhooks.store(Arc::new(table));
        (self.changes)(Change::Webhook(changed));
    }

    /// True if the last write succeeded.
    pub(super) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
