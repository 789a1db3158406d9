//! The one thread that writes: it takes what waits, commits it together, syncs once and answers all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::accept::Group;
use super::audit::Chain;
use super::care::Lost;
use super::engine::{Engine, Txn};
use super::recent::Recent;
use super::record::{self, AttemptChunk, Counters, Counts, Damage};
use super::table::{Tokens, WebhookTable};
use super::vault::Vault;
use super::{
    AcceptError, Acceptance, Accepted, Cursor, DueEntry, DueKey, Outcome, Recovery, Retention, Rotated, StoreError,
    Updated, keys,
};
use crate::model::audit::{Actor, AuditEvent};
use crate::model::delivery::{Attempt, DeliveryView};
use crate::model::id::{DeliveryId, EventId, TokenId, WebhookId};
use crate::model::secret::Secret;
use crate::model::time::{Clock, Timestamp};
use crate::model::token::{Role, Token};
use crate::model::webhook::{HealthValues, Webhook, WebhookConfig};

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

/// What the writer tells the scheduler, in the order of the commits.
#[derive(Debug)]
pub enum Change {
    /// Deliveries were queued.
    Due(Vec<DueEntry>),
    /// What [`super::Store::load_due`] asked for.
    Loaded {
        /// Whose queue.
        webhook: WebhookId,
        /// Under which activation.
        activation: u32,
        /// The entries, in order.
        entries: Vec<DueEntry>,
        /// Whether the queue ends with them.
        complete: bool,
    },
    /// A webhook was created, changed, switched off or deleted.
    Webhook(WebhookId),
    /// So many outcomes are on the disk.
    Recorded(usize),
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer can be asked.
pub(super) enum Command {
    Accept {
        acceptance: Acceptance,
        reply: oneshot::Sender<Result<Vec<Accepted>, AcceptError>>,
        permit: OwnedSemaphorePermit,
    },
    Record(Vec<Outcome>),
    RecordTest {
        webhook: WebhookId,
        attempt: Box<Attempt>,
        reply: Reply<Option<Attempt>>,
    },
    LoadDue {
        webhook: WebhookId,
        activation: u32,
        after: Option<DueKey>,
        limit: usize,
    },
    CreateWebhook {
        config: Box<WebhookConfig>,
        by: Actor,
        reply: Reply<Arc<Webhook>>,
    },
    UpdateWebhook {
        id: WebhookId,
        revision: u64,
        config: Box<WebhookConfig>,
        switch: Option<bool>,
        by: Actor,
        reply: Reply<Updated>,
    },
    RotateSecret {
        id: WebhookId,
        secret: Secret,
        overlap: Duration,
        by: Actor,
        reply: Reply<Rotated>,
    },
    Recover {
        webhook: WebhookId,
        since: Timestamp,
        cursor: Cursor,
        by: Actor,
        reply: Reply<Option<Recovery>>,
    },
    Redeliver {
        webhook: WebhookId,
        event: EventId,
        of: DeliveryId,
        by: Actor,
        reply: Reply<Option<DeliveryView>>,
    },
    Requeue {
        lost: Vec<Lost>,
        reply: Reply<()>,
    },
    Audit {
        audit_event: Box<AuditEvent>,
        reply: Option<Reply<()>>,
    },
    DeleteWebhook {
        id: WebhookId,
        by: Actor,
        reply: Reply<bool>,
    },
    CreateToken {
        name: String,
        role: Role,
        hash: [u8; 32],
        by: Actor,
        reply: Reply<Token>,
    },
    DeleteToken {
        id: TokenId,
        by: Actor,
        reply: Reply<bool>,
    },
    Sweep {
        retention: Retention,
        reply: Reply<bool>,
    },
    Setting {
        name: &'static str,
        value: Option<String>,
        default: String,
        reply: Reply<String>,
    },
    Close,
}

/// What is known of deliveries' ends and not on the disk yet. It survives a commit that failed.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) txn: Txn,
    pub(super) attempts: HashMap<WebhookId, AttemptChunk>,
    pub(super) counters: HashSet<WebhookId>,
    pub(super) due: Vec<DueEntry>,
    /// What the host itself did, for the audit log.
    pub(super) audit_events: Vec<AuditEvent>,
    pub(super) outcomes: usize,
    /// When the first of them came, in milliseconds of the steady clock.
    since: Option<i64>,
}

/// The writer's own state.
pub(super) struct Writer {
    pub(super) engine: Arc<Engine>,
    pub(super) vault: Vault,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) webhooks: Arc<ArcSwap<WebhookTable>>,
    pub(super) tokens: Arc<ArcSwap<Tokens>>,
    pub(super) breaker_threshold: u32,
    pub(super) idempotency_kept: Duration,
    pub(super) changes: Box<dyn Fn(Change) + Send>,
    pub(super) writable: Arc<AtomicBool>,
    pub(super) damage: Damage,
    /// Whether an entry of a queue was found damaged: its deliveries stand in no queue now.
    pub(super) unqueued: Arc<AtomicBool>,
    /// Upper half: the run's number; lower half: counts.
    pub(super) next_seq: u64,
    pub(super) chain: Chain,
    pub(super) recent: Recent,
    pub(super) counts: Counts,
    /// Attempts in each webhook's history, those that wait for the next commit included.
    pub(super) history: HashMap<WebhookId, u64>,
    pub(super) pending: Pending,
    /// Why the engine was closed and is to be opened again: a full disk, no file descriptors, a panic.
    pub(super) reopen: Option<StoreError>,
    /// When that is tried again at the latest, in milliseconds of the steady clock.
    pub(super) next_try_ms: i64,
    /// Pieces of queues that could not be read; they are read when the store can be.
    pub(super) unread: Vec<(WebhookId, u32, Option<DueKey>, usize)>,
}

impl Writer {
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        loop {
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
            if self.turn(first, || commands.try_recv().ok()) {
                break;
            }
        }
    }

    /// Carries out the first command and those that wait behind it, and commits them together; without a
    /// first one the time to wait is over. Whether it was told to close.
    pub(super) fn turn(&mut self, first: Option<Command>, mut more: impl FnMut() -> Option<Command>) -> bool {
        // Who is turned away because the store is closed leaves nothing to write; it is tried again all the same.
        let tries_again = self.reopen.is_some() && self.clock.steady_ms() >= self.next_try_ms;
        let timed_out = first.is_none();
        let mut next = first;
        let mut group = Group::default();
        let mut closing = false;
        let mut taken = 0;
        while let Some(command) = next.take() {
            closing = matches!(command, Command::Close);
            self.handle(command, &mut group);
            taken += 1;
            if closing || taken >= GROUP_REQUESTS || group.bytes() >= GROUP_BYTES {
                break;
            }
            next = more();
        }
        let ripe = self.pending.outcomes >= GROUP_OUTCOMES || self.wait() == Some(Duration::ZERO);
        if !group.is_empty() || ripe || timed_out || closing || tries_again {
            self.commit(group);
        }
        closing
    }

    /// How long to wait for the next command; `None`: for ever.
    pub(super) fn wait(&self) -> Option<Duration> {
        if !self.is_writable() {
            return Some(RETRY_FAILED);
        }
        let now = self.clock.steady_ms();
        let waited = |since| Duration::from_millis(u64::try_from(now.saturating_sub(since)).unwrap_or(0));
        self.pending.since.map(|since| OUTCOME_DELAY.saturating_sub(waited(since)))
    }

    fn handle(&mut self, command: Command, group: &mut Group) {
        match command {
            Command::Accept { acceptance, reply, permit } => self.accept(acceptance, group, reply, permit),
            Command::Record(outcomes) => {
                let now = self.clock.steady_ms();
                self.pending.since.get_or_insert(now);
                self.record(outcomes);
            }
            Command::LoadDue { webhook, activation, after, limit } => self.load_due(webhook, activation, after, limit),
            Command::Audit { audit_event, reply: None } => {
                let now = self.clock.steady_ms();
                self.pending.since.get_or_insert(now);
                self.pending.audit_events.push(*audit_event);
            }
            Command::Close => {}
            // What is managed is rare and changes what acceptance looks at: it gets a commit of its own.
            command => {
                self.commit(std::mem::take(group));
                self.manage(command);
            }
        }
    }

    fn manage(&mut self, command: Command) {
        // An asker who went away does not need the answer.
        match command {
            Command::CreateWebhook { config, by, reply } => drop(reply.send(self.create_webhook(*config, by))),
            Command::UpdateWebhook { id, revision, config, switch, by, reply } => {
                drop(reply.send(self.update_webhook(id, revision, *config, switch, by)));
            }
            Command::RotateSecret { id, secret, overlap, by, reply } => {
                drop(reply.send(self.rotate_secret(id, secret, overlap, by)));
            }
            Command::Recover { webhook, since, cursor, by, reply } => {
                let _ = reply.send(self.recover(webhook, since, cursor, &by));
            }
            Command::Redeliver { webhook, event, of, by, reply } => {
                drop(reply.send(self.redeliver(webhook, event, of, &by)));
            }
            Command::Requeue { lost, reply } => {
                let _ = reply.send(self.requeue(&lost));
            }
            Command::Audit { audit_event, reply: Some(reply) } => {
                let _ = reply.send(self.write_noted(&Txn::default(), &[*audit_event]));
            }
            Command::DeleteWebhook { id, by, reply } => drop(reply.send(self.delete_webhook(id, by))),
            Command::CreateToken { name, role, hash, by, reply } => {
                drop(reply.send(self.create_token(name, role, hash, by)));
            }
            Command::DeleteToken { id, by, reply } => drop(reply.send(self.delete_token(id, by))),
            Command::RecordTest { webhook, attempt, reply } => drop(reply.send(self.record_test(webhook, *attempt))),
            Command::Sweep { retention, reply } => drop(reply.send(self.sweep(retention))),
            Command::Setting { name, value, default, reply } => drop(reply.send(self.setting(name, value, default))),
            Command::Accept { .. }
            | Command::Record(_)
            | Command::LoadDue { .. }
            | Command::Audit { reply: None, .. }
            | Command::Close => {}
        }
    }

    /// Writes a group and whatever outcomes wait; answers the group.
    pub(super) fn commit(&mut self, mut group: Group) {
        group.finish(self);
        self.pack_pending();
        let probe = (!self.is_writable()).then(|| {
            let mut txn = Txn::default();
            txn.put(keys::meta("probe"), record::pack(&self.clock.now()));
            txn
        });
        if group.txn.is_empty()
            && self.pending.txn.is_empty()
            && self.pending.audit_events.is_empty()
            && probe.is_none()
        {
            let pending = std::mem::take(&mut self.pending);
            if pending.outcomes > 0 {
                (self.changes)(Change::Recorded(pending.outcomes));
            }
            group.answer(Ok(()));
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let (lines, chain) = self.pending_lines(&pending.audit_events);
        let result = self.write(&[Some(&pending.txn), Some(&group.txn), Some(&lines), probe.as_ref()]);
        if result.is_err() {
            self.pending = pending;
        } else {
            self.chain = chain;
            self.counts = group.counts().unwrap_or(self.counts);
            let due: Vec<_> = pending.due.into_iter().chain(group.take_due()).collect();
            if !due.is_empty() {
                (self.changes)(Change::Due(due));
            }
            if pending.outcomes > 0 {
                (self.changes)(Change::Recorded(pending.outcomes));
            }
        }
        group.answer(result);
    }

    /// Writes to the disk; on failure brings the engine back as far as that is honest.
    pub(super) fn write(&mut self, txns: &[Option<&Txn>]) -> Result<(), StoreError> {
        let txns: Vec<&Txn> = txns.iter().copied().flatten().collect();
        if !self.engine.has_room(txns.iter().map(|txn| txn.bytes()).sum()) {
            if self.writable.swap(false, Ordering::Relaxed) {
                tracing::error!("the disk is full; nothing is accepted until there is space");
            }
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
                for (webhook, activation, after, limit) in std::mem::take(&mut self.unread) {
                    self.load_due(webhook, activation, after, limit);
                }
            }
            // sled's error would stick, also when there is space again.
            Err(why @ (StoreError::Full | StoreError::NoFiles | StoreError::Engine)) => {
                tracing::error!(%why, "nothing is accepted until that is over");
                self.reopen = self.engine.reopen().is_err().then_some(why);
                // What was refused may have reached the disk before it was full. Then it stays: memory, scheduler
                // and asker must hear of it.
                if self.reopen.is_none() && self.engine.holds(&txns) && self.engine.commit(&txns).is_ok() {
                    self.writable.store(true, Ordering::Relaxed);
                    return Ok(());
                }
            }
            // After a failed sync the kernel counts the pages as clean: another sync would succeed and
            // mean nothing. Only a new process, which reads from the disk, knows what is there.
            Err(_) if self.engine.is_open() => {
                tracing::error!("the store failed to write and is closed; restart when the disk is well");
                self.engine.shut();
            }
            Err(_) => {}
        }
        result
    }

    /// Moves the outcomes' attempts and counters into their transaction.
    fn pack_pending(&mut self) {
        for (webhook, attempts) in std::mem::take(&mut self.pending.attempts) {
            if let Some(first) = attempts.first() {
                self.pending.txn.put(keys::attempts(webhook, first.id), record::pack_attempts(&attempts));
                *self.history.entry(webhook).or_default() += attempts.len() as u64;
                self.pending.counters.insert(webhook);
            }
        }
        let table = self.webhooks.load();
        for id in std::mem::take(&mut self.pending.counters) {
            if let Some(webhook) = table.get(id) {
                self.pending.txn.put(keys::counters(id), self.counters(webhook, webhook.health.values()));
            }
        }
    }

    /// A webhook's counters as they are written.
    pub(super) fn counters(&self, webhook: &Webhook, health: HealthValues) -> Vec<u8> {
        let attempts = self.history.get(&webhook.id).copied().unwrap_or_default();
        record::pack(&Counters { health, attempts })
    }

    /// A number larger than every one before it.
    pub(super) fn seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }

    /// Puts a changed table in place and tells the scheduler which webhook to look at again.
    pub(super) fn publish(&self, table: WebhookTable, changed: WebhookId) {
        self.webhooks.store(Arc::new(table));
        (self.changes)(Change::Webhook(changed));
    }

    /// Whether the last write succeeded.
    pub(super) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
