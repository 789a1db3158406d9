//! Deliveries that are pending and in no queue: the disk changed their queue entry, or an export read the queue before
//! they were put into it. They are found by comparing events with queues.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::engine::Engine;
use super::place::{self, Places};
use super::record::{self, Entries, Further, Progress, SlotState};
use super::txn::Txn;
use super::{DueItem, DueKey, Embedded, Sent, StoreError, keys};
use crate::model::id::{DeliveryId, EventId, WebhookId};
use crate::model::webhook::Order;
use crate::store::rank;

/// Events that are read in one page.
const PAGE: usize = 512;

/// A delivery that is pending and in no queue.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) event: EventId,
    pub(super) slot: u32,
    pub(super) webhook: WebhookId,
    pub(super) delivery: DeliveryId,
    pub(super) state: SlotState,
}

impl Embedded {
    pub(in crate::store) async fn missing_events(&self) -> Result<u64, StoreError> {
        let (engine, since) = (Arc::clone(&self.engine), self.accepted_since.clone());
        let counted = tokio::task::spawn_blocking(move || events_before(&engine, &since)).await;
        self.accepted_since.end();
        let missing = self.events_at_start.saturating_sub(counted.map_err(|_| StoreError::Unavailable)??);
        if missing > 0 {
            tracing::error!(
                missing,
                "events are missing from the store; stop the host and run `heraldry store check` to see what is damaged"
            );
            self.damage.add(missing);
        }
        Ok(missing)
    }

    pub(in crate::store) async fn requeue_lost(&self) -> Result<usize, StoreError> {
        if !self.unqueued.swap(false, Ordering::Relaxed) {
            return Ok(0);
        }
        let requeued = self.requeue_all().await;
        if requeued.is_err() {
            self.unqueued.store(true, Ordering::Relaxed);
        }
        requeued
    }

    async fn requeue_all(&self) -> Result<usize, StoreError> {
        let engine = Arc::clone(&self.engine);
        let (found, mut pages) = tokio::sync::mpsc::channel(1);
        let search = tokio::task::spawn_blocking(move || {
            find(&engine, &mut |lost| found.blocking_send(lost.to_vec()).map_err(|_| StoreError::Unavailable))
        });
        let mut requeued = 0;
        while let Some(page) = pages.recv().await {
            requeued += page.len();
            self.manage(move |writer| writer.requeue(&page)).await?;
        }
        search.await.map_err(|_| StoreError::Unavailable)??;
        Ok(requeued)
    }
}

/// The changes that queue these deliveries again, one entry for each webhook, activation and rank; with the entries.
/// `order` is that of a webhook, as far as it is known: in the ranks of another one they are found too. `next_seq` gives a
/// number that no entry had before.
pub(super) fn requeue(
    engine: &Engine,
    lost: &[Lost],
    order: impl Fn(WebhookId) -> Order,
    due_ms: i64,
    mut next_seq: impl FnMut() -> u64,
) -> Result<(Txn, Entries), StoreError> {
    let mut txn = Txn::default();
    let mut entries: BTreeMap<(WebhookId, u32, u8), (DueKey, Vec<DueItem>)> = BTreeMap::new();
    let (mut strict, mut places) = (Entries::new(), Places::default());
    for Lost { event, slot, webhook, delivery, state } in lost {
        let mut states = match txn.written(&keys::state(*event)) {
            Some(bytes) => record::unpack(bytes).unwrap_or_default(),
            None => states_of(engine, *event)?,
        };
        // The concurrent write wins.
        let Some(now) = states.get_mut(*slot as usize).filter(|now| **now == *state) else { continue };
        let (webhook, activation) = (*webhook, state.activation);
        // The entry knew the attempts of earlier rounds and the state does not. Taken as retries they could leave none,
        // and the first failure would be the last; so a new round begins.
        let (attempt, earlier, sent) = (state.attempts + 1, state.attempts, Sent::Never);
        let (event, slot, delivery) = (*event, *slot, *delivery);
        let item = DueItem {
            event,
            slot,
            delivery,
            attempt,
            earlier,
            sent,
            rank: rank::UNKNOWN,
            due_ms: None,
            has_failed: false,
        };
        let item = DueItem { rank: place::rank_of(engine, &item)?, ..item };
        let mark = if order(webhook) == Order::Strict {
            let place = places.find(engine, event)?;
            let key = place::strict_key(engine, &[&txn], place, (webhook, activation), &item)?;
            strict.push((key, vec![DueItem { due_ms: Some(due_ms), ..item }]));
            key.mark()
        } else {
            let rank = item.rank;
            let (key, items) = entries
                .entry((webhook, activation, rank))
                .or_insert_with(|| (DueKey { webhook, activation, rank, due_ms, seq: next_seq() }, Vec::new()));
            items.push(item);
            key.mark()
        };
        now.queued = Some(mark);
        txn.put(keys::state(event), record::pack(&states));
    }
    let entries: Entries = entries.into_values().chain(strict).collect();
    for (key, items) in &entries {
        txn.put(key.encode(), record::pack_queue(&items.iter().collect::<Vec<_>>()));
    }
    Ok((txn, entries))
}

/// Removes deliveries from queue entries that wait in an earlier entry too; how many. An export of a running host may have
/// read a queue before and after it was moved to other ranks.
pub(super) fn remove_repeated(engine: &Engine) -> Result<u64, StoreError> {
    let hasher = RandomState::new();
    let (mut seen, mut repeated, mut after): (HashSet<u64>, u64, Option<Vec<u8>>) = Default::default();
    loop {
        let mut page = Vec::new();
        engine.scan_prefix(&[keys::DUE], after.as_deref(), |key, value| {
            page.push((key.to_vec(), record::unpack_queue(value).unwrap_or_default()));
            page.len() < PAGE
        })?;
        let Some((last, _)) = page.last() else { return Ok(repeated) };
        after = Some(last.clone());
        let mut txn = Txn::default();
        for (key, items) in page {
            let mut kept = Vec::with_capacity(items.len());
            for item in &items {
                let is_new = seen.insert(hasher.hash_one((item.event, item.slot, item.attempt)));
                // A state that names its entry is in that one only.
                let named = |states: Vec<SlotState>| states.get(item.slot as usize)?.queued;
                if is_new || named(states_of(engine, item.event)?).is_some() {
                    kept.push(item);
                }
            }
            repeated += (items.len() - kept.len()) as u64;
            if kept.len() < items.len() {
                match kept.is_empty() {
                    true => txn.remove(key),
                    false => txn.put(key, record::pack_queue(&kept)),
                }
            }
        }
        engine.commit(&[&txn])?;
    }
}

/// The states of an event's deliveries: their own record first, since a checkpoint may join it to the event's.
pub(super) fn states_of(engine: &Engine, event: EventId) -> Result<Vec<SlotState>, StoreError> {
    if let Some(bytes) = engine.get(&keys::state(event))?
        && let Ok(states) = record::unpack(&bytes)
    {
        return Ok(states);
    }
    let known = engine.get(&keys::event(event))?.and_then(|bytes| record::unpack_event(&bytes).ok());
    Ok(known.map(|known| known.states()).unwrap_or_default())
}

/// The events that this process has accepted, while those from before it are being counted. By what was written and not
/// by time: the clock may have been set since.
#[derive(Clone)]
pub(super) struct AcceptedSince(Arc<Mutex<Option<HashSet<EventId>>>>);

impl AcceptedSince {
    pub(super) fn begin() -> Self {
        Self(Arc::new(Mutex::new(Some(HashSet::new()))))
    }

    fn events(&self) -> MutexGuard<'_, Option<HashSet<EventId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event before its commit: the count may see it from then on.
    pub(super) fn add(&self, event: EventId) {
        if let Some(events) = &mut *self.events() {
            events.insert(event);
        }
    }

    fn has(&self, event: EventId) -> bool {
        self.events().as_ref().is_some_and(|events| events.contains(&event))
    }

    fn end(&self) {
        *self.events() = None;
    }
}

/// The number of events from before this process, including those that cannot be read.
fn events_before(engine: &Engine, since: &AcceptedSince) -> Result<u64, StoreError> {
    let (mut events, mut after) = (0, None::<Vec<u8>>);
    loop {
        let mut seen = 0;
        let mut last = None;
        engine.scan_prefix(&[keys::EVENT], after.as_deref(), |key, _| {
            seen += 1;
            let id = keys::id_of(key).map(EventId::from_bytes);
            events += u64::from(id.is_none_or(|id| !since.has(id)));
            last = (seen >= PAGE).then(|| key.to_vec());
            seen < PAGE
        })?;
        if last.is_none() {
            return Ok(events);
        }
        after = last;
        // There is no hurry: the host's own reads go first.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Finds the lost deliveries and calls `found` with a page of them at a time. Holds 16 bytes in memory for every queued
/// delivery, or 24 in a strict queue.
pub(super) fn find(
    engine: &Engine,
    found: &mut dyn FnMut(&[Lost]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let hasher = RandomState::new();
    let mut queued: HashSet<u64> = HashSet::new();
    engine.scan_prefix(&[keys::DUE], None, |key, value| {
        let Some(key) = DueKey::decode(key) else { return true };
        for item in record::unpack_queue(value).unwrap_or_default() {
            for mark in [Some(key.mark()), Some(key.seq), None] {
                queued.insert(hasher.hash_one((item.event, item.slot, item.attempt, mark)));
            }
        }
        true
    })?;
    let mut webhooks = HashSet::new();
    engine.scan_prefix(&[keys::WEBHOOK], None, |key, _| {
        webhooks.extend(keys::id_of(key).map(WebhookId::from_bytes));
        true
    })?;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let mut page = Vec::new();
        engine.scan_prefix(&[keys::EVENT], after.as_deref(), |key, value| {
            page.push((key.to_vec(), record::unpack_event(value).ok()));
            page.len() < PAGE
        })?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        let mut lost = Vec::new();
        for (key, known) in page {
            let (Some(id), Some(known)) = (keys::id_of(&key).map(EventId::from_bytes), known) else { continue };
            let states = states_of(engine, id)?;
            let mut slots: Vec<_> = known.slots.iter().map(|slot| (slot.webhook, slot.delivery)).collect();
            if states.len() > slots.len() {
                engine.scan_prefix(&keys::further_prefix(id), None, |_, value| {
                    let further = record::unpack::<Further>(value);
                    slots.extend(further.map(|further| (further.slot.webhook, further.slot.delivery)));
                    true
                })?;
            }
            for (slot, ((webhook, delivery), state)) in (0..).zip(slots.into_iter().zip(states)) {
                let wanted = hasher.hash_one((id, slot, state.attempts + 1, state.queued));
                let waits = state.progress == Progress::Waiting && webhooks.contains(&webhook);
                if waits && !queued.contains(&wanted) {
                    lost.push(Lost { event: id, slot, webhook, delivery, state });
                }
            }
        }
        if !lost.is_empty() {
            found(&lost)?;
        }
    }
}
