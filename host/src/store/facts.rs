//! The facts that the store takes and gives, and its errors. No engine stands behind them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::keyring::KeyError;
use crate::model::delivery::{Attempt, DeliveryView};
use crate::model::event::{Event, EventType, NewEvent};
use crate::model::id::{AttemptId, EventId, TokenId};
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;

/// An error that keeps the store from being opened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what it is in its message")]
pub enum OpenError {
    #[error("the machine's clock stands before 1970, and the store cannot be opened with it; set the clock")]
    Clock,
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

/// The result of a deletion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deleted {
    /// It is deleted.
    Done,
    /// There is none.
    Missing,
    /// It must not be deleted: the last admin token, or a webhook that is no longer at the given revision.
    Rejected,
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
