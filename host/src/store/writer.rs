//! The one thread that writes: it takes what waits, commits it together, syncs once and answers all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::accept::Group;
use super::engine::{Engine, Txn};
use super::record::{self, AttemptChunk};
use super::table::{Tokens, WebhookTable};
use super::vault::Vault;
use super::{AcceptError, Acceptance, Accepted, DueEntry, DueKey, Outcome, StoreError, Updated, keys};
use crate::model::delivery::Attempt;
use crate::model::id::{TokenId, WebhookId};
use crate::model::time::{Clock, Timestamp};
use crate::model::token::{Role, Token};
use crate::model::webhook::{Webhook, WebhookConfig};

/// How long outcomes may wait for a commit to ride on.
const OUTCOME_DELAY: Duration = Duration::from_millis(20);
/// How often a failed store is tried again.
const RETRY_FAILED: Duration = Duration::from_secs(1);
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
        /// Under which epoch.
        epoch: u32,
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
        epoch: u32,
        after: Option<DueKey>,
        limit: usize,
    },
    CreateWebhook {
        config: Box<WebhookConfig>,
        reply: Reply<Arc<Webhook>>,
    },
    UpdateWebhook {
        id: WebhookId,
        revision: u64,
        config: Box<WebhookConfig>,
        switch: Option<bool>,
        reply: Reply<Updated>,
    },
    DeleteWebhook {
        id: WebhookId,
        reply: Reply<bool>,
    },
    CreateToken {
        name: String,
        role: Role,
        hash: [u8; 32],
        reply: Reply<Token>,
    },
    DeleteToken {
        id: TokenId,
        reply: Reply<bool>,
    },
    Sweep {
        retention: Duration,
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
    pub(super) outcomes: usize,
    since: Option<Instant>,
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
    pub(super) damaged: Arc<AtomicU64>,
    /// Upper half: the run's number; lower half: counts.
    pub(super) next_seq: u64,
    pub(super) pending: Pending,
    /// Whether the engine was closed because the disk was full, and is to be opened again.
    pub(super) reopen: bool,
    /// Pieces of queues that could not be read; they are read when the store can be.
    pub(super) unread: Vec<(WebhookId, u32, Option<DueKey>, usize)>,
}

impl Writer {
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let mut next = match self.wait() {
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
            let timed_out = next.is_none();
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
                next = commands.try_recv().ok();
            }
            let ripe = self.pending.outcomes >= GROUP_OUTCOMES || self.wait() == Some(Duration::ZERO);
            if !group.is_empty() || ripe || timed_out || closing {
                self.commit(group);
            }
            if closing {
                break;
            }
        }
    }

    /// How long to wait for the next command; `None`: for ever.
    fn wait(&self) -> Option<Duration> {
        if !self.is_writable() {
            return Some(RETRY_FAILED);
        }
        self.pending.since.map(|since| OUTCOME_DELAY.saturating_sub(since.elapsed()))
    }

    fn handle(&mut self, command: Command, group: &mut Group) {
        match command {
            Command::Accept { acceptance, reply, permit } => self.accept(acceptance, group, reply, permit),
            Command::Record(outcomes) => {
                self.pending.since.get_or_insert_with(Instant::now);
                for outcome in outcomes {
                    self.record(outcome);
                }
            }
            Command::LoadDue { webhook, epoch, after, limit } => self.load_due(webhook, epoch, after, limit),
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
            Command::CreateWebhook { config, reply } => drop(reply.send(self.create_webhook(*config))),
            Command::UpdateWebhook { id, revision, config, switch, reply } => {
                drop(reply.send(self.update_webhook(id, revision, *config, switch)));
            }
            Command::DeleteWebhook { id, reply } => drop(reply.send(self.delete_webhook(id))),
            Command::CreateToken { name, role, hash, reply } => drop(reply.send(self.create_token(name, role, hash))),
            Command::DeleteToken { id, reply } => drop(reply.send(self.delete_token(id))),
            Command::RecordTest { webhook, attempt, reply } => drop(reply.send(self.record_test(webhook, *attempt))),
            Command::Sweep { retention, reply } => drop(reply.send(self.sweep(retention))),
            Command::Setting { name, value, default, reply } => drop(reply.send(self.setting(name, value, default))),
            Command::Accept { .. } | Command::Record(_) | Command::LoadDue { .. } | Command::Close => {}
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
        if group.txn.is_empty() && self.pending.txn.is_empty() && probe.is_none() {
            let pending = std::mem::take(&mut self.pending);
            if pending.outcomes > 0 {
                (self.changes)(Change::Recorded(pending.outcomes));
            }
            group.answer(Ok(()));
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let result = self.write(&[Some(&pending.txn), Some(&group.txn), probe.as_ref()]);
        if result.is_err() {
            self.pending = pending;
        } else {
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
        // Opening writes too: on a disk that is still full it fails, and is tried again with each write.
        if self.reopen && self.engine.reopen().is_err() {
            return Err(StoreError::Full);
        }
        self.reopen = false;
        let result = self.engine.commit(&txns);
        self.writable.store(result.is_ok(), Ordering::Relaxed);
        match result {
            Ok(()) => {
                for (webhook, epoch, after, limit) in std::mem::take(&mut self.unread) {
                    self.load_due(webhook, epoch, after, limit);
                }
            }
            // sled's error would stick, also when there is space again.
            Err(StoreError::Full) => {
                tracing::error!("the disk is full; nothing is accepted until there is space");
                self.reopen = self.engine.reopen().is_err();
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
            }
        }
        let table = self.webhooks.load();
        for id in std::mem::take(&mut self.pending.counters) {
            if let Some(webhook) = table.get(id) {
                self.pending.txn.put(keys::counters(id), record::pack(&webhook.health.values()));
            }
        }
    }

    /// A number larger than every one before it.
    pub(super) fn seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }

    /// Counts and reports a record that the disk changed; it is stepped over.
    pub(super) fn report_damage(&self, what: &'static str) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::error!(what, "a damaged record was found in the store and is stepped over");
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
