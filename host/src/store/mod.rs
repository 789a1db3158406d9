//! The store: the one room that knows sled.
//!
//! It speaks of facts ("these events were accepted", "this attempt ended so"), each atomic. One writer
//! thread takes what waits, commits it together and syncs it to the disk once; an answer means that it
//! is there. Reads go straight to the engine.
//!
//! What changes reaches the scheduler as [`Change`]s, in the order of the commits.

mod accept;
mod audit;
mod care;
mod engine;
mod export;
mod hand;
mod journal;
mod keys;
mod manage;
mod migrate;
mod open;
mod outcome;
mod read;
mod recent;
mod record;
mod recover;
mod sweep;
mod table;
mod vault;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, oneshot};

use crate::model::audit::{Actor, AuditEntry, AuditEvent};
use crate::model::delivery::{Attempt, DeliveryView, Step};
use crate::model::event::{Event, NewEvent};
use crate::model::id::{AuditId, DeliveryId, EventId, TokenId, WebhookId};
use crate::model::secret::Secret;
use crate::model::time::{Clock, Timestamp};
use crate::model::token::{Role, Token};
use crate::model::webhook::{Webhook, WebhookConfig};

pub use audit::ChainReport;
pub use care::{Care, CheckReport, CompactError, KindReport, Missing, Repaired};
pub use export::{ImportError, Imported, import};
pub use keys::DueKey;
pub use read::{AttemptPage, AttemptQuery, AttemptsError};
pub use record::{DueItem, Pin, Sent};
pub use recover::Cursor;
pub use table::{Tokens, WebhookTable};
pub use writer::Change;

#[cfg(fuzzing)]
pub(crate) use self::{
    export::fuzzing as fuzz_export, journal::fuzzing as fuzz_journal, record::fuzzing as fuzz_record,
};

use engine::Engine;
use hand::Hand;
use writer::Command;

/// Requests that wait for the writer hold at most this much, in KiB; more are told to come back.
const OUTBOX_KIB: usize = 64 * 1024;

/// How the store is opened.
pub struct Options {
    /// The data folder; the store makes `store/` in it and keeps `master.key` and `store.lock` there.
    pub folder: PathBuf,
    /// sled's cache, in bytes.
    pub cache_bytes: u64,
    /// The master key, when the environment gives it.
    pub master_key: Option<Secret>,
    /// Deliveries that fail in a row before the breaker switches their webhook off.
    pub breaker_threshold: u32,
    /// How long an answer to an idempotency key is kept.
    pub idempotency_kept: Duration,
    /// What is handed every change, in the order of the commits. Must not block.
    pub changes: Box<dyn Fn(Change) + Send>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what it is in its message")]
pub enum OpenError {
    #[error("the data folder {} cannot be used: {error}", folder.display())]
    Folder { folder: PathBuf, error: std::io::Error },
    #[error("the data folder {} is in use by another process; stop it, or give this one another --data", folder.display())]
    InUse { folder: PathBuf },
    #[error(
        "the store in {} is damaged and cannot be opened; restore a copy of the data folder, or move it away and start with an empty one",
        folder.display()
    )]
    Damaged { folder: PathBuf },
    #[error("the store in {} cannot be opened: {message}", folder.display())]
    Engine { folder: PathBuf, message: String },
    #[error(
        "the store has format {found}, this program knows format {known}; use the version of Heraldry that wrote it"
    )]
    Schema { found: u32, known: u32 },
    #[error(
        "the store was encrypted with a master key that is not here: {} is missing and HERALDRY_MASTER_KEY is not set; bring the key back, it cannot be made anew",
        file.display()
    )]
    KeyMissing { file: PathBuf },
    #[error(
        "the master key does not open this store; give the key that it was made with (HERALDRY_MASTER_KEY or the file master.key)"
    )]
    KeyWrong,
    #[error("{source_name} is not a master key: expected base64 of 32 bytes")]
    KeyMalformed { source_name: String },
    #[error("{} can be read by others (mode {mode:o}); run `chmod 600` on it", file.display())]
    KeyExposed { file: PathBuf, mode: u32 },
}

/// Why something could not be read or written. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left on the disk.
    #[error("the disk is full")]
    Full,
    /// The process has no file descriptors left; nothing is broken.
    #[error("the process has no file descriptors left")]
    NoFiles,
    /// sled panicked, as it does on some full disks; it is opened again, and the journal replayed.
    #[error("the store's engine failed and is opened again")]
    Engine,
    /// Too much is waiting to be written.
    #[error("too many requests are waiting to be written")]
    Busy,
    /// The store failed, or is being closed.
    #[error("the store is not available")]
    Unavailable,
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        tracing::error!(%error, "the store failed");
        match (error.kind(), error.raw_os_error()) {
            (StorageFull | QuotaExceeded | FileTooLarge, _) => Self::Full,
            // Large values get files of their own, so a flood of connections can be felt here too.
            (_, Some(libc::EMFILE | libc::ENFILE)) => Self::NoFiles,
            _ => Self::Unavailable,
        }
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => error.into(),
            error => {
                tracing::error!(%error, "the store failed");
                Self::Unavailable
            }
        }
    }
}

/// Events to accept: all or none.
pub struct Acceptance {
    /// Who posted them.
    pub token: TokenId,
    /// The request's idempotency key, if it had one.
    pub idempotency: Option<Idempotency>,
    /// The events, checked.
    pub events: Vec<NewEvent>,
}

/// What makes a repeated request recognisable.
pub struct Idempotency {
    /// The key, as given.
    pub key: String,
    /// SHA-256 of the request's body.
    pub body_digest: [u8; 32],
}

/// What one posted event was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub id: EventId,
    /// How many deliveries this post made, those of derived events included.
    pub deliveries: u32,
    /// The events derived from it.
    pub derived: Vec<EventId>,
}

/// Why nothing was accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// These events (by their place in the request) have an id that another event has.
    #[error("an event id is taken")]
    IdTaken {
        /// Places in the request, from 0.
        indexes: Vec<usize>,
    },
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used with another body")]
    KeyReused,
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a change of a webhook ended.
#[derive(Debug)]
pub enum Updated {
    /// Changed; this is the webhook now.
    Done(Arc<Webhook>),
    /// The webhook is no longer at the revision that the change was made for.
    Stale,
    /// There is no such webhook.
    Missing,
}

/// How a rotation of a secret ended.
#[derive(Debug)]
pub enum Rotated {
    /// The webhook has the new secret; the old one signs too until then, if there was one.
    Done(Arc<Webhook>, Option<Timestamp>),
    /// So many old secrets still sign that no more are taken.
    TooMany,
    /// There is no such webhook.
    Missing,
}

/// What one piece of a recovery did.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// Deliveries that it queued.
    pub deliveries: usize,
    /// Where the next piece goes on.
    pub next: Cursor,
}

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Events, deliveries and history.
    pub age: Duration,
    /// The audit log.
    pub audit: Duration,
    /// Events at most, however young; what still waits is not counted out.
    pub max_events: u64,
    /// Attempts at most in the history of one webhook.
    pub max_history: u64,
}

/// An event with its deliveries.
#[derive(Clone, Debug)]
pub struct EventView {
    /// The event.
    pub event: Event,
    /// The token that posted it, or its cause.
    pub token: TokenId,
    /// Where its deliveries stand, in the order in which they were made.
    pub deliveries: Vec<DeliveryView>,
}

/// How one delivery's attempt ended, or that it needs none.
#[derive(Debug)]
pub struct Outcome {
    /// Whose delivery.
    pub webhook: WebhookId,
    /// The delivery.
    pub item: DueItem,
    /// The attempt for the history; none when there was nothing to try. The store sets its id and the time of the next
    /// attempt.
    pub attempt: Option<Attempt>,
    /// The next step.
    pub step: Step,
    /// What the next attempt has to know of those before it, for [`Step::Again`].
    pub sent: Sent,
    /// Outcomes that are recorded together, for one webhook and with one wait, share a queue entry when their group is the
    /// same: what went out in one request goes out in one request again.
    pub group: u32,
    /// The queue entry that is done with this, if it is.
    pub closes: Option<DueKey>,
}

impl Outcome {
    /// An outcome that does not change what its delivery was sent with, in a group of its own.
    pub fn new(
        webhook: WebhookId,
        item: DueItem,
        attempt: Option<Attempt>,
        step: Step,
        closes: Option<DueKey>,
    ) -> Self {
        let sent = item.sent;
        Self { webhook, item, attempt, step, sent, group: 0, closes }
    }
}

/// One waiting delivery with its event, when that is at hand.
#[derive(Clone, Debug)]
pub struct DueEntry {
    /// Its place in the queue.
    pub key: DueKey,
    /// The deliveries that wait there, each with its event when that was just accepted.
    pub items: Vec<(DueItem, Option<Arc<Event>>)>,
}

impl From<(DueKey, Vec<DueItem>)> for DueEntry {
    fn from((key, items): (DueKey, Vec<DueItem>)) -> Self {
        Self { key, items: items.into_iter().map(|item| (item, None)).collect() }
    }
}

/// The store, shared by everyone.
pub struct Store {
    engine: Arc<Engine>,
    hand: Hand,
    outbox: Arc<Semaphore>,
    webhooks: Arc<ArcSwap<WebhookTable>>,
    tokens: Arc<ArcSwap<Tokens>>,
    writable: Arc<std::sync::atomic::AtomicBool>,
    damage: record::Damage,
    unqueued: Arc<std::sync::atomic::AtomicBool>,
    /// When this was opened, and how many events there should have been then.
    opened: (Timestamp, u64),
    /// Authenticates compiled code.
    code_key: [u8; 32],
    /// Held for as long as the store is open; the kernel lets go of it with the process.
    _lock: std::fs::File,
}

impl Store {
    /// The webhooks as they are now.
    pub fn webhooks(&self) -> Arc<WebhookTable> {
        self.webhooks.load_full()
    }

    /// The tokens as they are now, newest first.
    pub fn tokens(&self) -> Vec<Token> {
        self.tokens.load().newest_first()
    }

    /// The token with this text.
    pub fn find_token(&self, text: &str) -> Option<Token> {
        self.tokens.load().find(text)
    }

    /// Whether writes can be taken.
    pub fn is_writable(&self) -> bool {
        self.engine.is_open() && self.writable.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Records that could not be read because the disk changed them.
    pub fn damaged_records(&self) -> u64 {
        self.damage.records()
    }

    /// What authenticates compiled code that is kept beside the store; as secret as the master key that it is
    /// derived from.
    pub fn code_key(&self) -> [u8; 32] {
        self.code_key
    }

    /// Accepts events with their deliveries; when this returns they are on the disk.
    ///
    /// # Errors
    /// [`AcceptError`]; then nothing of the request was taken.
    pub async fn accept(&self, acceptance: Acceptance) -> Result<Vec<Accepted>, AcceptError> {
        let bytes: usize = acceptance.events.iter().map(|event| event.json.len() + 512).sum();
        let permits = u32::try_from(bytes.div_ceil(1024).min(OUTBOX_KIB)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.outbox).try_acquire_many_owned(permits).map_err(|_| StoreError::Busy)?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Accept { acceptance, reply, permit })?;
        answer.await.unwrap_or(Err(AcceptError::Store(StoreError::Unavailable)))
    }

    /// Creates a webhook.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn create_webhook(&self, config: WebhookConfig, by: Actor) -> Result<Arc<Webhook>, StoreError> {
        self.ask(|reply| Command::CreateWebhook { config: Box::new(config), by, reply }).await
    }

    /// Replaces a webhook's configuration, if it is still at `revision`. `switch` is what the change
    /// said about `is_active`: `true` sets the failure counter to zero and begins a new activation when the
    /// webhook was off.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn update_webhook(
        &self,
        id: WebhookId,
        revision: u64,
        config: WebhookConfig,
        switch: Option<bool>,
        by: Actor,
    ) -> Result<Updated, StoreError> {
        self.ask(|reply| Command::UpdateWebhook { id, revision, config: Box::new(config), switch, by, reply }).await
    }

    /// Gives a webhook a new secret. The old one signs too for as long as `overlap` says.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn rotate_secret(
        &self,
        id: WebhookId,
        secret: Secret,
        overlap: Duration,
        by: Actor,
    ) -> Result<Rotated, StoreError> {
        self.ask(|reply| Command::RotateSecret { id, secret, overlap, by, reply }).await
    }

    /// Queues again what failed or is held since then, a bounded piece beginning at the cursor; `None` when there is
    /// no such webhook.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn recover(
        &self,
        webhook: WebhookId,
        since: Timestamp,
        cursor: Cursor,
        by: Actor,
    ) -> Result<Option<Recovery>, StoreError> {
        self.ask(|reply| Command::Recover { webhook, since, cursor, by, reply }).await
    }

    /// Makes a new delivery of the event of an earlier one; `None` when there is no such delivery or webhook.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn redeliver(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
        by: Actor,
    ) -> Result<Option<DeliveryView>, StoreError> {
        let Some(event) = self.find_delivery(webhook, delivery).await? else { return Ok(None) };
        self.ask(|reply| Command::Redeliver { webhook, event, of: delivery, by, reply }).await
    }

    /// Adds a line to the audit log about a change that is not the store's own.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn audit(&self, audit_event: AuditEvent) -> Result<(), StoreError> {
        self.ask(|reply| Command::Audit { audit_event: Box::new(audit_event), reply: Some(reply) }).await
    }

    /// [`Store::audit`] for whoever cannot wait: the line rides on the next commit.
    pub fn audit_soon(&self, audit_event: AuditEvent) {
        let _ = self.send(Command::Audit { audit_event: Box::new(audit_event), reply: None });
    }

    /// A page of the audit log, newest first, and whether older entries follow; `None` when no entry is called
    /// `before`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn audit_page(
        &self,
        limit: usize,
        before: Option<AuditId>,
    ) -> Result<Option<(Vec<AuditEntry>, bool)>, StoreError> {
        let engine = Arc::clone(&self.engine);
        let page = tokio::task::spawn_blocking(move || audit::page(&engine, limit, before));
        page.await.map_err(|_| StoreError::Unavailable)?
    }

    /// Deletes a webhook with its history; `false` when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn delete_webhook(&self, id: WebhookId, by: Actor) -> Result<bool, StoreError> {
        self.ask(|reply| Command::DeleteWebhook { id, by, reply }).await
    }

    /// Makes a token; its text is known only to the caller.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn create_token(&self, name: String, role: Role, by: Actor) -> Result<(Token, Secret), StoreError> {
        let text = table::new_token_text().ok_or(StoreError::Unavailable)?;
        let token = self.add_token(name, role, &text, by).await?;
        Ok((token, text))
    }

    /// Stores a token with this text.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn add_token(&self, name: String, role: Role, text: &Secret, by: Actor) -> Result<Token, StoreError> {
        let hash = table::hash(text.expose());
        self.ask(|reply| Command::CreateToken { name, role, hash, by, reply }).await
    }

    /// Deletes a token; it is refused from now on. `false` when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn delete_token(&self, id: TokenId, by: Actor) -> Result<bool, StoreError> {
        self.ask(|reply| Command::DeleteToken { id, by, reply }).await
    }

    /// Records a test attempt in the webhook's history; the attempt with its id, or `None` when the
    /// webhook is gone.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn record_test(&self, webhook: WebhookId, attempt: Attempt) -> Result<Option<Attempt>, StoreError> {
        self.ask(|reply| Command::RecordTest { webhook, attempt: Box::new(attempt), reply }).await
    }

    /// Records how attempts ended. It rides on the next commit, at most 20 ms later; a crash before it
    /// makes the attempts again.
    pub fn record(&self, outcomes: Vec<Outcome>) {
        // A writer that is gone is a process that ends: the work is still queued on the disk.
        let _ = self.send(Command::Record(outcomes));
    }

    /// Asks for the next `limit` deliveries of a webhook's queue after `after`; they come as
    /// [`Change::Loaded`].
    pub fn load_due(&self, webhook: WebhookId, activation: u32, after: Option<DueKey>, limit: usize) {
        let _ = self.send(Command::LoadDue { webhook, activation, after, limit });
    }

    /// Removes what is older than the retention, a bounded piece; whether there is more to remove.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn sweep(&self, retention: Retention) -> Result<bool, StoreError> {
        self.ask(|reply| Command::Sweep { retention, reply }).await
    }

    /// Counts the events that were there at the start: a damaged page can take records with it without a trace. How many
    /// are missing, which is reported. It reads every event, beside everything else that goes on; nothing may be swept
    /// before it is done.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn missing_events(&self) -> Result<u64, StoreError> {
        let (engine, (opened_at, expected)) = (Arc::clone(&self.engine), self.opened);
        let counted = tokio::task::spawn_blocking(move || care::events_before(&engine, opened_at));
        let missing = expected.saturating_sub(counted.await.map_err(|_| StoreError::Unavailable)??);
        if missing > 0 {
            tracing::error!(missing, "events are missing from the store; `heraldry store check` says more");
            self.damage.add(missing);
        }
        Ok(missing)
    }

    /// When an entry of a queue was found damaged, looks for the deliveries that stood in it and queues them again: how
    /// many there were. It reads every event, beside everything else that goes on.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written; it is tried again with the next call.
    pub async fn rescue(&self) -> Result<usize, StoreError> {
        if !self.unqueued.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Ok(0);
        }
        let rescued = self.rescue_all().await;
        if rescued.is_err() {
            self.unqueued.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        rescued
    }

    async fn rescue_all(&self) -> Result<usize, StoreError> {
        let engine = Arc::clone(&self.engine);
        let (found, mut pieces) = tokio::sync::mpsc::channel(1);
        let search = tokio::task::spawn_blocking(move || {
            care::lost(&engine, &mut |lost| found.blocking_send(lost.to_vec()).map_err(|_| StoreError::Unavailable))
        });
        let mut rescued = 0;
        while let Some(lost) = pieces.recv().await {
            rescued += lost.len();
            self.ask(|reply| Command::Requeue { lost, reply }).await?;
        }
        search.await.map_err(|_| StoreError::Unavailable)??;
        Ok(rescued)
    }

    /// A setting that is chosen once, at the first start: the stored text, or `default` stored now.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn setting(
        &self,
        name: &'static str,
        value: Option<String>,
        default: String,
    ) -> Result<String, StoreError> {
        self.ask(|reply| Command::Setting { name, value, default, reply }).await
    }

    /// Finishes what waits and closes the store.
    pub fn close(&self) {
        self.hand.close();
    }

    fn send(&self, command: Command) -> Result<(), StoreError> {
        self.hand.send(command)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
