//! The store: webhooks, tokens, events, their deliveries and queues, on a disk.
//!
//! Its operations are whole facts ("these events were accepted", "this attempt ended like this"), each atomic: when one
//! returns, it is on the disk. Reads see every write that has returned. Changes reach the scheduler as [`Change`]s, in
//! the order of the commits.
//!
//! This file has the facts, the errors and [`Store`]; [`protocol`] is the interface to the engine that keeps them,
//! [`embedded`] the engine of a single host: sled behind a journal. Everything that an engine must do is in the suite
//! [`conformance`].

#[cfg(test)]
pub(crate) mod conformance;
mod embedded;
mod protocol;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::keyring::{KeyError, Keyring};
use crate::model::audit::{Actor, AuditEntry, AuditEvent};
use crate::model::delivery::{Attempt, DeliveryView};
use crate::model::event::{Event, EventType, NewEvent};
use crate::model::id::{AttemptId, AuditId, DeliveryId, EventId, TokenId, WebhookId};
use crate::model::secret::Secret;
use crate::model::time::{Clock, Timestamp};
use crate::model::token::{Role, Token};
use crate::model::webhook::{Webhook, WebhookConfig};

pub use embedded::{
    ChainReport, CheckReport, CompactError, ImportError, Imported, KindReport, Maintenance, Missing, Repaired, import,
};
pub use protocol::{Change, DueEntry, DueItem, DueKey, Outcome, Pin, Sent};
pub use table::{Tokens, WebhookTable};

#[cfg(fuzzing)]
pub(crate) use embedded::{fuzz_export, fuzz_journal, fuzz_record};

use embedded::Embedded;

/// Settings of an opening.
pub struct Options {
    /// The data folder; the store makes `store/` in it and keeps `master.key` and `store.lock` there.
    pub folder: PathBuf,
    /// sled's cache, in bytes.
    pub cache_bytes: u64,
    /// The master key, when the environment gives it.
    pub master_key: Option<Secret>,
    /// Deliveries that fail in a row before the breaker switches their webhook off.
    pub breaker_threshold: u32,
    /// How long the response to an idempotency key is kept.
    pub idempotency_kept: Duration,
    /// Called with every change, in the order of the commits. Must not block.
    pub changes: Box<dyn Fn(Change) + Send>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// An error that keeps the store from being opened.
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
        "the store was encrypted with a master key that is not here: {} is missing and HERALDRY_MASTER_KEY is not set; bring the key back, it cannot be made again",
        file.display()
    )]
    KeyMissing { file: PathBuf },
    #[error(
        "the master key does not open this store; give the key that it was made with (HERALDRY_MASTER_KEY or the file master.key)"
    )]
    KeyWrong,
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// An error of reading or writing. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left on the disk.
    #[error("the disk is full")]
    Full,
    /// The process has no file descriptors left; nothing is broken.
    #[error("the process has no file descriptors left")]
    NoFiles,
    /// The engine panicked, as sled does on some full disks; it is opened again, and the journal replayed.
    #[error("the store's engine failed and is opened again")]
    Engine,
    /// The ingest budget is used up: too much is waiting to be written.
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

/// Events to accept: all or none.
pub struct Acceptance {
    /// The token that posted them.
    pub token: TokenId,
    /// The request's idempotency key, if it had one.
    pub idempotency: Option<Idempotency>,
    /// The events, checked.
    pub events: Vec<NewEvent>,
}

/// The identity of a request that may be repeated.
pub struct Idempotency {
    /// The key, as given.
    pub key: String,
    /// SHA-256 of the request's body.
    pub body_digest: [u8; 32],
}

/// The response to one posted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub id: EventId,
    /// The number of deliveries that this post made, those of derived events included.
    pub deliveries: u32,
    /// The events derived from it.
    pub derived: Vec<EventId>,
}

/// The reason why nothing was accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// These events have an id that another event has.
    #[error("an event id is taken")]
    IdTaken {
        /// Their indexes in the request, from 0.
        indexes: Vec<usize>,
    },
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used with another body")]
    KeyReused,
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of a change of a webhook.
#[derive(Debug)]
pub enum Updated {
    /// Changed; this is the webhook now.
    Done(Arc<Webhook>),
    /// The webhook is no longer at the revision that the change was made for.
    Stale,
    /// There is no such webhook.
    Missing,
}

/// The result of a rotation of a secret.
#[derive(Debug)]
pub enum Rotated {
    /// The webhook has the new secret; the old one signs too until then, if there was one.
    Done(Arc<Webhook>, Option<Timestamp>),
    /// Too many old secrets still sign.
    TooMany,
    /// There is no such webhook.
    Missing,
}

/// The result of one page of a recovery.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// The number of deliveries that it queued.
    pub deliveries: usize,
    /// The position of the next page.
    pub next: Cursor,
}

/// Limits of age and number.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Events, deliveries and history.
    pub age: Duration,
    /// The audit log.
    pub audit: Duration,
    /// The most events, however young; pending deliveries are never evicted by the count limit.
    pub max_events: u64,
    /// The most attempts in the history of one webhook.
    pub max_history: u64,
}

/// An event with its deliveries.
#[derive(Clone, Debug)]
pub struct EventView {
    /// The event.
    pub event: Event,
    /// The token that posted it, or the event that it was derived from.
    pub token: TokenId,
    /// Its deliveries and their states, in the order in which they were made.
    pub deliveries: Vec<DeliveryView>,
}

/// A query of a webhook's history.
#[derive(Clone, Copy, Debug)]
pub struct AttemptQuery {
    /// The most attempts on the page.
    pub limit: usize,
    /// Only those before this one.
    pub before: Option<AttemptId>,
    /// Only those that succeeded, or only those that did not.
    pub success: Option<bool>,
    /// Only those of events of this type.
    pub event_type: Option<EventType>,
}

/// A page of a webhook's history.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptPage {
    /// Newest first.
    pub attempts: Vec<Attempt>,
    /// True if older ones follow.
    pub more: bool,
}

/// The reason why there is no page.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttemptsError {
    /// No attempt of this webhook has the id that was given as `before`.
    #[error("no such attempt")]
    BadCursor,
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The position of a recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cursor {
    /// The beginning.
    Start,
    /// Held deliveries, after this queue entry.
    Held(Option<DueKey>),
    /// Failed deliveries in the history, from this attempt on.
    Failed(AttemptId),
    /// The end.
    Done,
}

/// The store, shared by everyone.
pub struct Store {
    /// The engine. Each operation is spelled here for callers and in the engine's writer or reader for what it does; an
    /// engine for several hosts would be a second variant.
    engine: Embedded,
}

impl Store {
    /// Opens the store of a data folder, or makes an empty one there. A store of an earlier format is brought up to
    /// date.
    ///
    /// # Errors
    /// [`OpenError`], each a sentence with a remedy.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Embedded::open(options).map(|engine| Self { engine })
    }

    /// Commits what is pending and closes the store. Everything fails with [`StoreError::Unavailable`] afterwards.
    pub fn close(&self) {
        self.engine.close();
    }

    /// The master key that the store is encrypted with.
    pub fn keyring(&self) -> &Keyring {
        self.engine.keyring()
    }

    /// True if writes are accepted.
    pub fn is_writable(&self) -> bool {
        self.engine.is_writable()
    }

    /// The webhooks as they are now.
    pub fn webhooks(&self) -> Arc<WebhookTable> {
        self.engine.webhooks()
    }

    /// The tokens as they are now, newest first.
    pub fn tokens(&self) -> Vec<Token> {
        self.engine.tokens().newest_first()
    }

    /// The token with this text.
    pub fn find_token(&self, text: &str) -> Option<Token> {
        self.engine.tokens().find(text)
    }
}

/// Events and their deliveries.
impl Store {
    /// Accepts events with their deliveries; when this returns they are on the disk.
    ///
    /// # Errors
    /// [`AcceptError`]; then nothing of the request was accepted.
    pub async fn accept(&self, acceptance: Acceptance) -> Result<Vec<Accepted>, AcceptError> {
        self.engine.accept(acceptance).await
    }

    /// An event without its deliveries.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn event_plain(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        self.plain_event(id)
    }

    /// [`Store::event_plain`] for a caller that cannot wait.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn plain_event(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        self.engine.event_plain(id)
    }

    /// An event with its deliveries and their states.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn event(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        self.engine.event(id)
    }

    /// A page of a webhook's history.
    ///
    /// # Errors
    /// [`AttemptsError`].
    pub async fn attempts(&self, webhook: WebhookId, query: AttemptQuery) -> Result<AttemptPage, AttemptsError> {
        self.engine.attempts(webhook, query).await
    }

    /// Records how attempts ended. It rides on the next commit, at most 20 ms later; a crash before it makes the
    /// attempts again.
    pub fn record(&self, outcomes: Vec<Outcome>) {
        self.engine.record(outcomes);
    }

    /// Records a test attempt in the webhook's history; the attempt with its id, or `None` when the webhook is gone.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn record_test(&self, webhook: WebhookId, attempt: Attempt) -> Result<Option<Attempt>, StoreError> {
        self.engine.manage(move |writer| writer.record_test(webhook, attempt)).await
    }

    /// Asks for the next `limit` deliveries of a webhook's queue after `after`; they come as [`Change::Loaded`].
    pub fn load_due(&self, webhook: WebhookId, activation: u32, after: Option<DueKey>, limit: usize) {
        self.engine.load_due(webhook, activation, after, limit);
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
        let Some(event) = self.engine.find_delivery(webhook, delivery).await? else { return Ok(None) };
        self.engine.manage(move |writer| writer.redeliver(webhook, event, delivery, &by)).await
    }

    /// Queues again what failed or is held since then (the dead-letter queue), a bounded page beginning at the cursor;
    /// `None` when there is no such webhook.
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
        self.engine.manage(move |writer| writer.recover(webhook, since, cursor, &by)).await
    }
}

/// Configuration: webhooks, tokens, settings. Each change is a commit of its own, with its line in the audit log.
impl Store {
    /// Creates a webhook, active or switched off.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn create_webhook(
        &self,
        config: WebhookConfig,
        active: bool,
        by: Actor,
    ) -> Result<Arc<Webhook>, StoreError> {
        self.engine.manage(move |writer| writer.create_webhook(config, active, by)).await
    }

    /// Replaces a webhook's configuration, if it is still at `revision`. `switch` is the change's `is_active`: `true`
    /// sets the failure counter to zero and begins a new activation when the webhook was off.
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
        self.engine.manage(move |writer| writer.update_webhook(id, revision, config, switch, by)).await
    }

    /// Gives a webhook a new secret. The old one signs too until `overlap` is over.
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
        self.engine.manage(move |writer| writer.rotate_secret(id, secret, overlap, by)).await
    }

    /// Deletes a webhook with its history; `false` when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn delete_webhook(&self, id: WebhookId, by: Actor) -> Result<bool, StoreError> {
        self.engine.manage(move |writer| writer.delete_webhook(id, by)).await
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
        self.engine.manage(move |writer| writer.create_token(name, role, hash, by)).await
    }

    /// Deletes a token; it is rejected from now on. `false` when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn delete_token(&self, id: TokenId, by: Actor) -> Result<bool, StoreError> {
        self.engine.manage(move |writer| writer.delete_token(id, by)).await
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
        self.engine.manage(move |writer| writer.setting(name, value, default)).await
    }
}

/// The audit log.
impl Store {
    /// Adds a line about a change that is not the store's own.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn audit(&self, audit_event: AuditEvent) -> Result<(), StoreError> {
        self.engine.manage(move |writer| writer.audit(audit_event)).await
    }

    /// [`Store::audit`] for a caller that cannot wait: the line rides on the next commit.
    pub fn audit_soon(&self, audit_event: AuditEvent) {
        self.engine.audit_soon(audit_event);
    }

    /// A page of the log, newest first, and true if older entries follow; `None` when no entry has the id `before`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn audit_page(
        &self,
        limit: usize,
        before: Option<AuditId>,
    ) -> Result<Option<(Vec<AuditEntry>, bool)>, StoreError> {
        self.engine.audit_page(limit, before).await
    }
}

/// Upkeep of a running host's store; [`Maintenance`] is for a stopped one.
impl Store {
    /// Records that could not be read because the disk changed them.
    pub fn damaged_records(&self) -> u64 {
        self.engine.damaged_records()
    }

    /// Removes one page of what is older than the retention; true if there is more to remove.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written.
    pub async fn sweep(&self, retention: Retention) -> Result<bool, StoreError> {
        self.engine.manage(move |writer| writer.sweep(retention)).await
    }

    /// Counts the events that were there at the start, since a damaged page can take records with it without a trace,
    /// and reports how many are missing. Reads every event while the host goes on; nothing may be swept before it is
    /// done.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn missing_events(&self) -> Result<u64, StoreError> {
        self.engine.missing_events().await
    }

    /// When a damaged queue entry was found, looks for the deliveries that were in it and queues them again; the number
    /// of them. Reads every event while the host goes on.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written; the next call tries again.
    pub async fn requeue_lost(&self) -> Result<usize, StoreError> {
        self.engine.requeue_lost().await
    }

    /// Writes an export, which [`import`] makes a store of. `files` are those of the host that belong to it, by their
    /// name in the data folder. Blocks; `sink` is called with one line at a time and returns false to end early.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn export(
        &self,
        files: &[(String, PathBuf)],
        now: Timestamp,
        sink: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<(), StoreError> {
        self.engine.export(files, now, sink)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
