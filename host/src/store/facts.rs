//! The facts that the store takes and gives, and its errors. No engine stands behind them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::keyring::KeyError;
use crate::model::delivery::{Attempt, DeliveryView, ErrorClass};
use crate::model::event::{Event, EventType, NewEvent, Severity};
use crate::model::id::{AttemptId, EventId, TokenId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::model::webhook::expression::Verdicts;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The token that posted them.
    pub token: TokenId,
    /// The request's idempotency key, if it had one.
    pub idempotency: Option<Idempotency>,
    /// The events, checked.
    pub events: Vec<NewEvent>,
    /// The verdicts of webhooks' expressions on each event; empty if there are none.
    pub verdicts: Vec<EventVerdicts>,
}

impl Acceptance {
    /// The verdicts on the event at this index.
    pub fn verdicts_of(&self, index: usize) -> EventVerdicts {
        self.verdicts.get(index).cloned().unwrap_or_default()
    }
}

/// The verdicts of webhooks' expressions on an event, and on the event that the host derives from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventVerdicts {
    /// On the event itself.
    pub own: Verdicts,
    /// On the derived event, with the id that it is to have; `None` if no expression was evaluated on it.
    pub derived: Option<(EventId, Verdicts)>,
}

/// The identity of a request that may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The webhooks have changed, and an expression of one was not evaluated; the request, to be judged again.
    #[error("a webhook's expression was not evaluated")]
    Unjudged(Box<Acceptance>),
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
    /// The events that were derived from it.
    pub derived: Vec<EventId>,
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

/// What waits for a webhook.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backlog {
    /// Pending deliveries, those in flight included.
    pub waiting: u64,
    /// Held deliveries.
    pub held: u64,
    /// When the event of the oldest of both was accepted. With a long backlog it may be an earlier one's.
    pub oldest_waiting_at: Option<Timestamp>,
}

/// The beginning of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start<Id> {
    /// The newest; the page goes back in time.
    Newest,
    /// Before this one, back in time.
    Before(Id),
    /// After this one, forward in time.
    After(Id),
}

/// A search over the attempts of all webhooks. All conditions must hold.
#[derive(Clone, Debug)]
pub struct AttemptSearch {
    /// The most attempts on the page.
    pub limit: usize,
    /// Where it begins.
    pub start: Start<AttemptId>,
    /// Of this webhook.
    pub webhook: Option<WebhookId>,
    /// Those that succeeded, or those that did not.
    pub success: Option<bool>,
    /// With an error of this class.
    pub class: Option<ErrorClass>,
    /// With this status of the response.
    pub status_code: Option<u16>,
    /// Of events of this type.
    pub event_type: Option<EventType>,
    /// Of this event.
    pub event: Option<EventId>,
    /// Of events of this engagement.
    pub engagement_id: Option<String>,
    /// Of events about this finding.
    pub finding_id: Option<String>,
    /// Made at this time or later.
    pub since: Option<Timestamp>,
    /// Made at this time or earlier.
    pub until: Option<Timestamp>,
}

impl AttemptSearch {
    /// A search without conditions.
    pub fn all(limit: usize) -> Self {
        Self {
            limit,
            start: Start::Newest,
            webhook: None,
            success: None,
            class: None,
            status_code: None,
            event_type: None,
            event: None,
            engagement_id: None,
            finding_id: None,
            since: None,
            until: None,
        }
    }
}

/// An attempt, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundAttempt {
    /// The webhook.
    pub webhook: WebhookId,
    /// The attempt.
    pub attempt: Attempt,
}

/// A search over events, by their acceptance. All conditions must hold.
#[derive(Clone, Debug)]
pub struct EventSearch {
    /// The most events on the page.
    pub limit: usize,
    /// Only those accepted before this one.
    pub before: Option<EventId>,
    /// Of this type.
    pub event_type: Option<EventType>,
    /// Of this engagement.
    pub engagement_id: Option<String>,
    /// About this finding.
    pub finding_id: Option<String>,
    /// At least as severe; events without a severity are not.
    pub min_severity: Option<Severity>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Accepted at this time or earlier.
    pub until: Option<Timestamp>,
}

impl EventSearch {
    /// A search without conditions.
    pub fn all(limit: usize) -> Self {
        Self {
            limit,
            before: None,
            event_type: None,
            engagement_id: None,
            finding_id: None,
            min_severity: None,
            since: None,
            until: None,
        }
    }
}

/// A page of a search.
#[derive(Clone, Debug)]
pub struct SearchPage<T> {
    /// In the order of the search.
    pub found: Vec<T>,
    /// True if there are more.
    pub more: bool,
    /// How much of the store the search could see.
    pub indexing: Indexing,
    /// The number of keys of the index that were read.
    pub keys_read: u64,
}

/// How much of the store an index knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Indexing {
    /// Everything.
    Whole,
    /// What is as young as this, or what came since the start. The rest follows in the background.
    Since(Option<Timestamp>),
}

/// The reason why there is no page.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttemptsError {
    /// Nothing that is listed has the id that was given as `before`.
    #[error("no such attempt or event")]
    BadCursor,
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
