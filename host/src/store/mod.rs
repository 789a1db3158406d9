//! The store: the one room that knows sled.
//!
//! It speaks of facts ("these events were accepted", "this attempt ended so"), each atomic. One writer
//! thread takes what waits, commits it together and syncs it to the disk once; an answer means that it
//! is there. Reads go straight to the engine.
//!
//! What changes reaches the scheduler as [`Change`]s, in the order of the commits.

mod accept;
mod engine;
mod keys;
mod manage;
mod open;
mod outcome;
mod read;
mod record;
mod sweep;
mod table;
mod vault;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, oneshot};

use crate::model::delivery::{Attempt, DeliveryView};
use crate::model::event::{Event, NewEvent};
use crate::model::id::{EventId, TokenId, WebhookId};
use crate::model::secret::Secret;
use crate::model::time::{Clock, Timestamp};
use crate::model::token::{Role, Token};
use crate::model::webhook::{Webhook, WebhookConfig};

pub use keys::DueKey;
pub use read::{AttemptPage, AttemptQuery, AttemptsError};
pub use record::{DueItem, Pin};
pub use table::{Tokens, WebhookTable};
pub use writer::Change;

use engine::Engine;
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
        if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) { Self::Full } else { Self::Unavailable }
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
    /// The attempt for the history (its id is made here); none when there was nothing to try.
    pub attempt: Option<Attempt>,
    /// What follows.
    pub step: Step,
    /// The queue entry that is done with this, if it is.
    pub closes: Option<DueKey>,
}

/// What follows an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Taken by the destination.
    Delivered,
    /// Given up; with a reason when the webhook is switched off at once.
    Failed {
        /// Why the webhook is switched off, if it is.
        deactivate: Option<String>,
    },
    /// Another attempt.
    Again {
        /// When, in milliseconds of the steady clock.
        due_ms: i64,
        /// When, for people.
        at: Timestamp,
        /// What rendered this attempt.
        pin: Option<Pin>,
        /// Whether this attempt counts; one cut by a shutdown does not.
        counts: bool,
    },
    /// The formatter does not do this event type.
    Skipped,
    /// The event or the webhook is gone: nothing to record.
    Dropped,
}

/// One waiting delivery with its event, when that is at hand.
#[derive(Clone, Debug)]
pub struct DueEntry {
    /// Its place in the queue.
    pub key: DueKey,
    /// The deliveries that wait there, each with its event when that was just accepted.
    pub items: Vec<(DueItem, Option<Arc<Event>>)>,
}

/// The store, shared by everyone.
pub struct Store {
    engine: Arc<Engine>,
    writer: std::sync::mpsc::Sender<Command>,
    thread: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
    outbox: Arc<Semaphore>,
    webhooks: Arc<ArcSwap<WebhookTable>>,
    tokens: Arc<ArcSwap<Tokens>>,
    writable: Arc<std::sync::atomic::AtomicBool>,
    damaged: Arc<std::sync::atomic::AtomicU64>,
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
        self.damaged.load(std::sync::atomic::Ordering::Relaxed)
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
    pub async fn create_webhook(&self, config: WebhookConfig) -> Result<Arc<Webhook>, StoreError> {
        self.ask(|reply| Command::CreateWebhook { config: Box::new(config), reply }).await
    }

    /// Replaces a webhook's configuration, if it is still at `revision`. `switch` is what the change
    /// said about `is_active`: `true` sets the failure counter to zero and begins a new epoch when the
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
    ) -> Result<Updated, StoreError> {
        self.ask(|reply| Command::UpdateWebhook { id, revision, config: Box::new(config), switch, reply }).await
    }

    /// Deletes a webhook with its history; `false` when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn delete_webhook(&self, id: WebhookId) -> Result<bool, StoreError> {
        self.ask(|reply| Command::DeleteWebhook { id, reply }).await
    }

    /// Makes a token; its text is known only to the caller.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn create_token(&self, name: String, role: Role) -> Result<(Token, Secret), StoreError> {
        let text = table::new_token_text().ok_or(StoreError::Unavailable)?;
        let token = self.add_token(name, role, &text).await?;
        Ok((token, text))
    }

    /// Stores a token with this text.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn add_token(&self, name: String, role: Role, text: &Secret) -> Result<Token, StoreError> {
        let hash = table::hash(text.expose());
        self.ask(|reply| Command::CreateToken { name, role, hash, reply }).await
    }

    /// Deletes a token; it is refused from now on. `false` when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn delete_token(&self, id: TokenId) -> Result<bool, StoreError> {
        self.ask(|reply| Command::DeleteToken { id, reply }).await
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
    pub fn load_due(&self, webhook: WebhookId, epoch: u32, after: Option<DueKey>, limit: usize) {
        let _ = self.send(Command::LoadDue { webhook, epoch, after, limit });
    }

    /// Removes what is older than the retention, a bounded piece; whether there is more to remove.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn sweep(&self, retention: Duration) -> Result<bool, StoreError> {
        self.ask(|reply| Command::Sweep { retention, reply }).await
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
        let _ = self.send(Command::Close);
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    fn send(&self, command: Command) -> Result<(), StoreError> {
        self.writer.send(command).map_err(|_| StoreError::Unavailable)
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
