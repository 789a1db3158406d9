//! What waits for each webhook: how many deliveries, under which activation, and since when.
//!
//! A tally is part of its webhook's counters, and is written in the commits that change it: a start reads no queue. How
//! many wait is exact. Since when is kept as a few spans of acceptance times, so that a long backlog costs no memory: it
//! is exact until there are more than [`SPANS`] different times, and then at most a span too early.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::record::{self, Counters, EventRecord, Further, Progress};
use super::txn::Txn;
use super::{Backlog, DueItem, DueKey, StoreError, keys, lost};
use crate::model::id::{EventId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;

/// Spans of acceptance times in a tally.
const SPANS: usize = 32;

/// The deliveries of one webhook that are pending or held. The fields' order is on disks.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    /// How many wait under each activation.
    activations: Vec<(u32, u64)>,
    /// Spans of acceptance times, in order: the beginning of each, and how many wait in it.
    spans: Vec<(Timestamp, u64)>,
}

impl Tally {
    fn total(&self) -> u64 {
        self.activations.iter().map(|(_, waiting)| waiting).sum()
    }

    /// The activations under which something waits.
    pub(super) fn activations(&self) -> impl Iterator<Item = u32> {
        self.activations.iter().map(|(activation, _)| *activation)
    }

    pub(super) fn add(&mut self, activation: u32, accepted_at: Timestamp) {
        match self.activations.iter_mut().find(|(known, _)| *known == activation) {
            Some((_, waiting)) => *waiting += 1,
            None => self.activations.push((activation, 1)),
        }
        let after = self.spans.partition_point(|(begin, _)| *begin <= accepted_at);
        match after.checked_sub(1).and_then(|last| self.spans.get_mut(last)) {
            Some((begin, waiting)) if *begin == accepted_at => *waiting += 1,
            _ => self.spans.insert(after, (accepted_at, 1)),
        }
        if self.spans.len() > SPANS {
            self.join();
        }
    }

    /// Joins the two neighbours that have the fewest together. The first span stays as it is: its beginning is what is
    /// shown.
    fn join(&mut self) {
        let pairs = self.spans.windows(2).enumerate().skip(1);
        if let Some((at, _)) = pairs.min_by_key(|(_, pair)| pair[0].1 + pair[1].1) {
            let (_, waiting) = self.spans.remove(at + 1);
            self.spans[at].1 += waiting;
        }
    }

    fn remove(&mut self, activation: u32, accepted_at: Timestamp) {
        if let Some((_, waiting)) = self.activations.iter_mut().find(|(known, _)| *known == activation) {
            *waiting = waiting.saturating_sub(1);
        }
        self.activations.retain(|(_, waiting)| *waiting > 0);
        let span = self.spans.partition_point(|(begin, _)| *begin <= accepted_at).saturating_sub(1);
        if let Some((_, waiting)) = self.spans.get_mut(span) {
            *waiting = waiting.saturating_sub(1);
        }
        self.spans.retain(|(_, waiting)| *waiting > 0);
        if self.activations.is_empty() {
            self.spans.clear();
        }
    }

    /// What the webhook shows of it. Deliveries of another activation than its own are held.
    fn backlog(&self, webhook: &Webhook) -> Backlog {
        let own = self.activations.iter().find(|(activation, _)| *activation == webhook.activation);
        let waiting = own.filter(|_| webhook.activity.is_active()).map_or(0, |(_, waiting)| *waiting);
        Backlog {
            waiting,
            held: self.total() - waiting,
            oldest_waiting_at: self.spans.first().map(|(begin, _)| *begin),
        }
    }
}

/// A delivery that begins or ceases to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) webhook: WebhookId,
    pub(super) activation: u32,
    /// When its event was accepted.
    pub(super) accepted_at: Timestamp,
    pub(super) begins: bool,
}

/// The tallies of all webhooks, as they are on the disk. The writer changes them, readers share them.
#[derive(Clone, Default)]
pub(super) struct Tallies(Arc<RwLock<HashMap<WebhookId, Tally>>>);

impl Tallies {
    pub(super) fn new(tallies: HashMap<WebhookId, Tally>) -> Self {
        Self(Arc::new(RwLock::new(tallies)))
    }

    pub(super) fn of(&self, webhook: WebhookId) -> Tally {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&webhook).cloned().unwrap_or_default()
    }

    pub(super) fn backlog(&self, webhook: &Webhook) -> Backlog {
        let tallies = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tallies.get(&webhook.id).map(|tally| tally.backlog(webhook)).unwrap_or_default()
    }

    /// The tallies that these changes lead to, of the webhooks that they touch.
    pub(super) fn after<'a>(&self, waits: impl IntoIterator<Item = &'a Wait>) -> BTreeMap<WebhookId, Tally> {
        let mut changed: BTreeMap<WebhookId, Tally> = BTreeMap::new();
        for wait in waits {
            let tally = changed.entry(wait.webhook).or_insert_with(|| self.of(wait.webhook));
            if wait.begins {
                tally.add(wait.activation, wait.accepted_at);
            } else {
                tally.remove(wait.activation, wait.accepted_at);
            }
        }
        changed
    }

    /// Shows changed tallies, now that they are written.
    pub(super) fn set(&self, changed: BTreeMap<WebhookId, Tally>) {
        if !changed.is_empty() {
            self.0.write().unwrap_or_else(PoisonError::into_inner).extend(changed);
        }
    }

    pub(super) fn forget(&self, webhook: WebhookId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&webhook);
    }
}

/// The name of the note, among the facts about a store of before format 5, that what waits is still to be counted.
pub(super) const UNCOUNTED: &str = "uncounted";

/// Counts what waits in a store of before format 5, once, by its queues: what waits is in one.
pub(super) fn upgrade(engine: &Engine) -> Result<(), StoreError> {
    if engine.get(&keys::meta(UNCOUNTED))?.is_none() {
        return Ok(());
    }
    let mut tallies: HashMap<WebhookId, Tally> = HashMap::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let mut page: Vec<(DueKey, Vec<DueItem>)> = Vec::new();
        let mut last = None;
        engine.scan_prefix(&[keys::DUE], after.as_deref(), |key, value| {
            last = Some(key.to_vec());
            page.extend(DueKey::decode(key).map(|due| (due, record::unpack_queue(value).unwrap_or_default())));
            page.len() < PAGE
        })?;
        let Some(last) = last else { break };
        after = Some(last);
        for (key, item) in page.into_iter().flat_map(|(key, items)| items.into_iter().map(move |item| (key, item))) {
            let Some(known) = event_of(engine, item.event)? else { continue };
            let states = lost::states_of(engine, item.event)?;
            let waits = states.get(item.slot as usize).filter(|state| {
                state.progress == Progress::Waiting
                    && state.attempts + 1 == item.attempt
                    && state.queued.is_none_or(|mark| key.has_mark(mark))
            });
            if let Some(state) = waits {
                tallies.entry(key.webhook).or_default().add(state.activation, known.accepted_at);
            }
        }
    }
    let waiting: u64 = tallies.values().map(Tally::total).sum();
    let mut txn = Txn::default();
    txn.remove(keys::meta(UNCOUNTED));
    put(engine, tallies, &mut txn)?;
    engine.commit(&[&txn])?;
    tracing::info!(deliveries = waiting, "what waits was counted, once for this store");
    Ok(())
}

/// Queue entries or events that are read in one page.
const PAGE: usize = 512;

fn event_of(engine: &Engine, event: EventId) -> Result<Option<EventRecord<'static>>, StoreError> {
    Ok(engine.get(&keys::event(event))?.and_then(|bytes| record::unpack_event(&bytes).ok()))
}

/// Counts what waits by all events.
pub(super) fn count(engine: &Engine) -> Result<HashMap<WebhookId, Tally>, StoreError> {
    let mut tallies: HashMap<WebhookId, Tally> = HashMap::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let mut page = Vec::new();
        engine.scan_prefix(&[keys::EVENT], after.as_deref(), |key, value| {
            page.push((key.to_vec(), record::unpack_event(value).ok()));
            page.len() < PAGE
        })?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, known) in page {
            let (Some(event), Some(known)) = (keys::id_of(&key).map(EventId::from_bytes), known) else { continue };
            let states = lost::states_of(engine, event)?;
            if states.iter().all(|state| state.progress != Progress::Waiting) {
                continue;
            }
            let mut webhooks: Vec<WebhookId> = known.slots.iter().map(|slot| slot.webhook).collect();
            engine.scan_prefix(&keys::further_prefix(event), None, |_, value| {
                webhooks.extend(record::unpack::<Further>(value).map(|further| further.slot.webhook));
                true
            })?;
            for (webhook, state) in webhooks.into_iter().zip(states) {
                if state.progress == Progress::Waiting {
                    tallies.entry(webhook).or_default().add(state.activation, known.accepted_at);
                }
            }
        }
    }
    Ok(tallies)
}

/// Adds the counters with these tallies, of the webhooks that there are. Those without a tally have nothing that waits.
pub(super) fn put(engine: &Engine, mut tallies: HashMap<WebhookId, Tally>, txn: &mut Txn) -> Result<(), StoreError> {
    for (webhook, counters) in stored(engine)? {
        let tally = tallies.remove(&webhook).unwrap_or_default();
        txn.put(keys::counters(webhook), Counters { tally, ..counters }.pack());
    }
    Ok(())
}

/// The counters of every webhook.
fn stored(engine: &Engine) -> Result<Vec<(WebhookId, Counters)>, StoreError> {
    let mut webhooks = Vec::new();
    engine.scan_prefix(&[keys::WEBHOOK], None, |key, _| {
        webhooks.extend(keys::id_of(key).map(WebhookId::from_bytes));
        true
    })?;
    let counters = webhooks.into_iter().map(|webhook| {
        let bytes = engine.get(&keys::counters(webhook))?;
        let counters = bytes.and_then(|bytes| Counters::unpack(&bytes).ok()).unwrap_or_default();
        Ok((webhook, counters))
    });
    counters.collect()
}

/// The number of webhooks whose counters are not what [`count`] finds.
pub(super) fn wrong(engine: &Engine) -> Result<usize, StoreError> {
    let counted = count(engine)?;
    let none = Tally::default();
    let sorted = |tally: &Tally| {
        let mut activations = tally.activations.clone();
        activations.sort_unstable();
        activations
    };
    let differ = |(webhook, counters): &(WebhookId, Counters)| {
        sorted(&counters.tally) != sorted(counted.get(webhook).unwrap_or(&none))
    };
    Ok(stored(engine)?.iter().filter(|one| differ(one)).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn oldest(tally: &Tally) -> Option<i64> {
        tally.spans.first().map(|(begin, _)| begin.unix_ms())
    }

    #[test]
    fn few_times_are_exact() {
        let mut tally = Tally::default();
        for ms in [5, 3, 5, 9] {
            tally.add(1, at(ms));
        }
        assert_eq!((tally.total(), oldest(&tally)), (4, Some(3)));
        tally.remove(1, at(3));
        assert_eq!(oldest(&tally), Some(5));
        tally.remove(1, at(5));
        assert_eq!(oldest(&tally), Some(5), "another one of that time waits");
        tally.remove(1, at(5));
        tally.remove(1, at(9));
        assert_eq!(tally, Tally::default());
        // What was never counted takes nothing away.
        tally.remove(1, at(9));
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn a_long_backlog_costs_a_few_spans_and_is_at_most_one_too_old() {
        let mut tally = Tally::default();
        for ms in 0..100_000 {
            tally.add(0, at(ms));
        }
        assert!(tally.spans.len() <= SPANS);
        assert_eq!((tally.total(), oldest(&tally)), (100_000, Some(0)));
        let widest = tally.spans.windows(2).map(|pair| pair[1].0.unix_ms() - pair[0].0.unix_ms()).max().expect("spans");
        assert!(widest < 100_000 / 8, "{widest}");
        for ms in 0..100_000 {
            tally.remove(0, at(ms));
            if let Some(oldest) = oldest(&tally) {
                assert!((ms + 1 - widest..=ms + 1).contains(&oldest), "{oldest} after {ms}");
            }
        }
        assert_eq!(tally, Tally::default());
    }
}
