//! The embedded engine, for a single host: sled behind a journal (a write-ahead log), in the host's data folder.
//!
//! There is a single writer, a thread of its own. It gathers the commands that wait, commits them together (group
//! commit) and responds to all of them after one fsync. The layers, each above the next: [`handle`] reaches the
//! [`writer`], whose operations have files of their own; [`engine`] commits to the [`journal`] and to the [`memtable`],
//! and a [`checkpoint`] brings the memtable to sled ([`tree`]). Readers see memtable and sled as one ([`scan`]). [`keys`]
//! and [`record`] are what is on the disk.

mod accept;
mod audit;
mod checkpoint;
mod collect;
mod downtime;
mod engine;
mod export;
mod handle;
mod heal;
mod index;
mod journal;
mod keys;
mod known;
mod lock;
mod lost;
mod maintenance;
mod manage;
mod memtable;
mod migrate;
mod moving;
mod open;
mod outcome;
mod place;
mod probe;
mod queue;
mod read;
mod record;
mod recover;
mod retention_clock;
mod scan;
mod sealed;
mod search;
mod state_cache;
mod sweep;
mod tally;
mod tell;
mod tree;
mod txn;
mod untold;
mod upcoming;
mod writer;

#[cfg(test)]
pub(in crate::store) mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::facts::{
    AcceptError, Acceptance, Accepted, AttemptPage, AttemptQuery, AttemptSearch, AttemptsError, Backlog, Deleted,
    EventSearch, EventVerdicts, EventView, FoundAttempt, Idempotency, Indexing, OpenError, Retention, Rotated,
    SearchPage, Start, StoreError, Updated,
};
use super::protocol::{
    Candidate, Change, Command, Cursor, DueEntry, DueItem, DueKey, Options, Origin, Outcome, PageRequest, Recovery,
    Rest, Sent,
};
use super::table::{Tokens, WebhookTable};
use crate::keyring::Keyring;
use crate::model::audit::AuditEvent;
use crate::model::event::NewEvent;
use crate::model::host_event::HostEvent;
use crate::model::id::{EventId, WebhookId};
use crate::model::webhook::Webhook;
use crate::model::webhook::expression::Verdicts;

pub use audit::ChainReport;
pub use export::{ImportError, Imported, UnsignedImport, import};
pub use maintenance::{CheckReport, CompactError, KindReport, Maintenance, Missing, Repaired};

#[cfg(fuzzing)]
pub(crate) use self::{
    export::fuzzing as fuzz_export, journal::fuzzing as fuzz_journal, record::fuzzing as fuzz_record,
};

use engine::Engine;
use handle::WriterHandle;
use index::{Backfill, Source};
use lock::FolderLock;
use lost::AcceptedSince;
use tally::Tallies;
use writer::Writer;

/// The memory that requests may hold while they wait for the writer, in KiB; more are told to come back.
const INGEST_BUDGET_KIB: usize = 64 * 1024;

type WriterCommand = Command<Writer, OwnedSemaphorePermit>;

/// An open store.
pub(super) struct Embedded {
    engine: Arc<Engine>,
    writer: WriterHandle,
    ingest_budget: Arc<Semaphore>,
    keyring: Arc<Keyring>,
    webhooks: Arc<ArcSwap<WebhookTable>>,
    tokens: Arc<ArcSwap<Tokens>>,
    writable: Arc<AtomicBool>,
    damage: record::Damage,
    /// True once a damaged queue entry was found: its deliveries are in no queue now.
    unqueued: Arc<AtomicBool>,
    /// False while a jump of the wall clock keeps retention from removing anything for its age.
    clock_trusted: Arc<AtomicBool>,
    /// The number of events that there should have been at the opening.
    events_at_start: u64,
    accepted_since: AcceptedSince,
    tallies: Tallies,
    /// What is read ahead for the indexes, while they are made.
    source: Arc<Mutex<Source>>,
    backfill: Backfill,
    /// Host events whose expressions are to be evaluated.
    unjudged: tokio::sync::Mutex<mpsc::UnboundedReceiver<NewEvent>>,
    _lock: FolderLock,
}

impl Embedded {
    pub(super) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    pub(super) fn webhooks(&self) -> Arc<WebhookTable> {
        self.webhooks.load_full()
    }

    pub(super) fn tokens(&self) -> Arc<Tokens> {
        self.tokens.load_full()
    }

    pub(super) fn backlog(&self, webhook: &Webhook) -> Backlog {
        self.tallies.backlog(webhook)
    }

    pub(super) fn is_writable(&self) -> bool {
        self.engine.is_open() && self.writable.load(Ordering::Relaxed)
    }

    pub(super) fn trusts_clock(&self) -> bool {
        self.clock_trusted.load(Ordering::Relaxed)
    }

    pub(super) fn disk(&self) -> Option<(u64, u64)> {
        self.engine.disk()
    }

    pub(super) fn damaged_records(&self) -> u64 {
        self.damage.records()
    }

    pub(super) async fn accept(&self, acceptance: Acceptance) -> Result<Vec<Accepted>, AcceptError> {
        let bytes: usize = acceptance.events.iter().map(|event| event.json.len() + 512).sum();
        let permits = u32::try_from(bytes.div_ceil(1024).min(INGEST_BUDGET_KIB)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.ingest_budget).try_acquire_many_owned(permits).map_err(|_| StoreError::Busy)?;
        let (reply, response) = oneshot::channel();
        self.writer.send(Command::Accept { acceptance, reply, permit })?;
        response.await.unwrap_or(Err(AcceptError::Store(StoreError::Unavailable)))
    }

    // The six below have no response. A writer that is gone is a process that ends: the work is still queued on the
    // disk.

    pub(super) fn record(&self, outcomes: Vec<Outcome>) {
        let _ = self.writer.send(Command::Record(outcomes));
    }

    pub(super) fn load_page(&self, request: PageRequest) {
        let _ = self.writer.send(Command::Load(request));
    }

    pub(super) fn tell(&self, event: HostEvent) {
        let change = move |writer: &mut Writer| writer.tell(event);
        let _ = self.writer.send(Command::Manage(Box::new(change)));
    }

    pub(super) async fn next_unjudged(&self) -> Option<NewEvent> {
        self.unjudged.lock().await.recv().await
    }

    pub(super) fn judged(&self, id: EventId, verdicts: Verdicts) {
        let change = move |writer: &mut Writer| writer.judged(id, verdicts);
        let _ = self.writer.send(Command::Manage(Box::new(change)));
    }

    pub(super) fn load_probe(&self, webhook: WebhookId) {
        let change = move |writer: &mut Writer| writer.load_probe(webhook);
        let _ = self.writer.send(Command::Manage(Box::new(change)));
    }

    pub(super) fn collect(&self, webhook: WebhookId, activation: u32, closed: bool, busy: Vec<DueKey>) {
        let change = move |writer: &mut Writer| writer.collect(webhook, activation, closed, &busy);
        let _ = self.writer.send(Command::Manage(Box::new(change)));
    }

    pub(super) fn audit_soon(&self, audit_event: AuditEvent) {
        let _ = self.writer.send(Command::Audit(Box::new(audit_event)));
    }

    /// Runs a change with the writer, in a commit of its own, and returns its result.
    pub(super) async fn manage<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, response) = oneshot::channel();
        // A caller that went away does not need the response.
        let change = move |writer: &mut Writer| drop(reply.send(change(writer)));
        self.writer.send(Command::Manage(Box::new(change)))?;
        response.await.unwrap_or(Err(StoreError::Unavailable))
    }

    pub(super) fn close(&self) {
        self.writer.close();
    }
}
