//! The interface between the store's facts and an engine that keeps them: the commands that go in, the changes that
//! come out, and the keys of the work that is queued. A second engine implements these and the reads of
//! [`super::Store`]; `store::conformance` is the suite that it has to pass.

use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::facts::{AcceptError, Acceptance, Accepted};
use crate::model::audit::AuditEvent;
use crate::model::delivery::{Attempt, Part, Step};
use crate::model::event::Event;
use crate::model::id::{AttemptId, DeliveryId, EventId, WebhookId};
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::watchdog::Watchdog;

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
    /// True if a webhook that the breaker switched off is probed.
    pub breaker_probe: bool,
    /// How long the response to an idempotency key is kept.
    pub idempotency_kept: Duration,
    /// Called with every change, in the order of the commits. Must not block.
    pub changes: Box<dyn Fn(Change) + Send>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Watches the engine's threads.
    pub watchdog: Watchdog,
}

/// A command to the engine's writer `W`. Frequent operations have variants; changes of the configuration are closures.
pub(super) enum Command<W, P> {
    /// Accepts events, all or none. The response is sent after the commit; until then the permit `P` holds the
    /// request's share of the ingest budget.
    Accept { acceptance: Acceptance, reply: oneshot::Sender<Result<Vec<Accepted>, AcceptError>>, permit: P },
    /// Records outcomes. Rides on the next commit.
    Record(Vec<Outcome>),
    /// Reads a page of a webhook's queue; it comes as [`Change::Loaded`].
    Load(PageRequest),
    /// Adds a line to the audit log. Rides on the next commit.
    Audit(Box<AuditEvent>),
    /// Runs with the writer between two commits.
    Manage(Box<dyn FnOnce(&mut W) + Send>),
    /// Commits what is pending and ends the writer.
    Close,
}

/// A change that the engine tells the scheduler, in the order of the commits.
#[derive(Debug)]
pub enum Change {
    /// Deliveries were queued.
    Due(Vec<DueEntry>),
    /// The page that [`super::Store::load_page`] asked for.
    Loaded {
        /// What was asked for.
        request: PageRequest,
        /// The entries, in order.
        entries: Vec<DueEntry>,
        /// True if the last of the ranks ends with them.
        complete: bool,
    },
    /// A webhook was created, changed, switched off or deleted.
    Webhook(WebhookId),
    /// This many outcomes are on the disk.
    Recorded(usize),
    /// The delivery that [`super::Store::load_probe`] asked for.
    Candidate {
        /// The webhook that is to be probed.
        webhook: WebhookId,
        /// The delivery; none: nothing failed and nothing is held.
        candidate: Option<Candidate>,
    },
    /// The window that [`super::Store::collect`] was told of is done with: its messages were queued.
    Collected {
        /// Whose window.
        webhook: WebhookId,
        /// The activation that it was collected under.
        activation: u32,
        /// What still waits for a window.
        rest: Option<Rest>,
    },
    /// The outcome of a webhook's probe was taken in; its schedule is another one now, or it heals.
    Probed(WebhookId),
}

/// The delivery that a probe tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The delivery.
    pub item: DueItem,
    /// Where it stands meanwhile.
    pub origin: Origin,
}

/// Where a probed delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In no queue: it failed for good.
    Failed,
    /// In this queue entry: it is held.
    Held(DueKey),
}

/// What waits for the window of a digest after the one before was collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rest {
    /// The first entry with some of it: in a strict queue nothing behind that goes out before.
    pub first: DueKey,
    /// When the first delivery of it was queued, in milliseconds of the steady clock.
    pub since_ms: i64,
}

impl Rest {
    /// Both parts together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), since_ms: self.since_ms.min(other.since_ms) }
    }
}

/// The key of a queue entry, which holds a pending delivery or several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DueKey {
    /// Whose queue.
    pub webhook: WebhookId,
    /// The webhook's activation when this was queued; an earlier one than the webhook's now means held.
    pub activation: u32,
    /// The queue of the webhook that it stands in ([`super::rank`]): that of the most severe of its events, or the strict
    /// one.
    pub rank: u8,
    /// When it is due, in milliseconds of the steady clock (which is the wall clock's at start-up). In the strict queue
    /// the number of the commit that accepted its event; there [`DueItem::due_ms`] says when it is due.
    pub due_ms: i64,
    /// Unique among all entries that this store ever had. In the strict queue it follows from the event's position in
    /// its commit, and is unique there.
    pub seq: u64,
}

impl Hash for DueKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // No two entries share it.
        self.seq.hash(state);
    }
}

/// A page of a webhook's queue that the scheduler asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Whose queue.
    pub webhook: WebhookId,
    /// The activation that its entries are queued under.
    pub activation: u32,
    /// The ranks that are read, one after the other.
    pub ranks: RangeInclusive<u8>,
    /// The entry that the page begins after; `None`: at the beginning of the first rank. Then the queue is first moved
    /// to the ranks of the webhook's order, if it is in others.
    pub after: Option<DueKey>,
    /// Deliveries in it, roughly.
    pub limit: usize,
    /// The scheduler's number of it.
    pub number: u64,
}

/// The component, format and options that rendered a delivery's first attempt; later ones render the same bytes with
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// SHA-256 of the component.
    pub component: [u8; 32],
    /// SHA-256 of the webhook's format and options then.
    pub rendering: [u8; 32],
}

/// The attempts of a delivery before its next one, as far as the next one depends on them. The codes of the variants
/// are on disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sent {
    /// It was never sent.
    Never,
    /// It was sent, or may have been: it goes out again with what it was sent with. The pin is missing when the attempt
    /// was cut before the component was known.
    Before(Option<Pin>),
    /// It is told of in a digest. Its queue entry has all members of that message, which are sent together until they are
    /// done; with the pin of the last attempt, if there was one.
    Digest {
        /// The message's place among those of its window.
        part: Part,
        /// The pin of the last attempt.
        pin: Option<Pin>,
    },
    /// It was never sent, and goes out by itself: no digest collects it.
    Alone,
}

impl Sent {
    /// The component and options that it was last rendered with, when they are known.
    pub fn pin(self) -> Option<Pin> {
        match self {
            Self::Never | Self::Alone => None,
            Self::Before(pin) | Self::Digest { pin, .. } => pin,
        }
    }

    /// The digest that it is a member of.
    pub fn part(self) -> Option<Part> {
        match self {
            Self::Digest { part, .. } => Some(part),
            Self::Never | Self::Before(_) | Self::Alone => None,
        }
    }

    /// The same after an attempt with this pin.
    #[must_use]
    pub fn again(self, pin: Option<Pin>) -> Self {
        match self {
            Self::Digest { part, .. } => Self::Digest { part, pin },
            Self::Never | Self::Before(_) | Self::Alone => Self::Before(pin),
        }
    }

    /// The same outside its digest, which it is taken out of.
    #[must_use]
    pub fn apart(self, instead: Self) -> Self {
        if self.part().is_some() { instead } else { self }
    }

    /// True if it goes out with the others of its entry, which were sent with it or are of one digest.
    pub fn is_bound(self) -> bool {
        match self {
            Self::Never | Self::Alone => false,
            Self::Before(_) | Self::Digest { .. } => true,
        }
    }

    /// True if it may have reached the destination before.
    pub fn is_again(self) -> bool {
        match self {
            Self::Never | Self::Alone => false,
            Self::Before(_) => true,
            Self::Digest { pin, .. } => pin.is_some(),
        }
    }
}

/// A pending delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueItem {
    /// The event that is delivered.
    pub event: EventId,
    /// The delivery's index in the event's fan-out.
    pub slot: u32,
    /// The delivery's id.
    pub delivery: DeliveryId,
    /// The number of the next attempt, from 1.
    pub attempt: u32,
    /// Attempts of earlier rounds, before an operator or a repair asked for the delivery again: they do not count as
    /// retries.
    pub earlier: u32,
    /// Its attempts so far.
    pub sent: Sent,
    /// The rank of its event's severity; [`super::rank::UNKNOWN`] in entries of before format 6.
    pub rank: u8,
    /// When it is due, in milliseconds of the steady clock, in the strict queue; elsewhere its entry's key says so.
    pub due_ms: Option<i64>,
    /// True if it failed for good and counted, before its webhook healed: another such failure says nothing new of the
    /// destination, and does not count again.
    pub has_failed: bool,
}

impl DueItem {
    /// When it is due in the entry with this key, in milliseconds of the steady clock.
    pub fn due_in(&self, key: DueKey) -> i64 {
        self.due_ms.unwrap_or(key.due_ms)
    }

    /// The number of the next attempt in this round, from 1.
    pub fn try_number(&self) -> u32 {
        self.attempt.saturating_sub(self.earlier).max(1)
    }
}

/// The outcome of one delivery's attempt, or of a delivery that needs none.
#[derive(Debug)]
pub struct Outcome {
    /// The webhook that the delivery goes to.
    pub webhook: WebhookId,
    /// The delivery.
    pub item: DueItem,
    /// The attempt for the history; none when there was nothing to try. The store sets its id and the time of the next
    /// attempt.
    pub attempt: Option<Attempt>,
    /// The delivery's next step.
    pub step: Step,
    /// The attempts so far, for the next one after [`Step::Again`].
    pub sent: Sent,
    /// Outcomes that are recorded together, for one webhook and with one wait, share a queue entry when their group is the
    /// same: what went out in one request goes out in one request again.
    pub group: u32,
    /// The queue entry that can be removed with this: it was the entry's last delivery.
    pub closes: Option<DueKey>,
    /// Where the delivery stands, if this was a probe: the attempt uses up no retry and moves no counter, and the
    /// delivery stays there unless it was accepted or the formatter failed on it.
    pub probe: Option<Origin>,
}

impl Outcome {
    /// An outcome that leaves [`Outcome::sent`] as it was, in group 0.
    pub fn new(
        webhook: WebhookId,
        item: DueItem,
        attempt: Option<Attempt>,
        step: Step,
        closes: Option<DueKey>,
    ) -> Self {
        let sent = item.sent;
        Self { webhook, item, attempt, step, sent, group: 0, closes, probe: None }
    }
}

/// A queue entry in memory.
#[derive(Clone, Debug)]
pub struct DueEntry {
    /// Its key in the queue.
    pub key: DueKey,
    /// The deliveries in it, each with its event when that was just accepted.
    pub items: Vec<(DueItem, Option<Arc<Event>>)>,
}

impl From<(DueKey, Vec<DueItem>)> for DueEntry {
    fn from((key, items): (DueKey, Vec<DueItem>)) -> Self {
        Self { key, items: items.into_iter().map(|item| (item, None)).collect() }
    }
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

/// The result of one page of a recovery.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// The number of deliveries that it queued.
    pub deliveries: usize,
    /// The position of the next page.
    pub next: Cursor,
}
