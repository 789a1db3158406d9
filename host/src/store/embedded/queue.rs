//! Reading queues. A webhook's queue is on the disk; the scheduler holds a window of it and asks for more by pages.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use super::moving::{Moving, is_rest};
use super::record::{self, Entries, Progress};
use super::writer::Writer;
use super::{Change, DueEntry, DueItem, DueKey, PageRequest, StoreError, keys, place};
use crate::model::id::WebhookId;
use crate::model::webhook::Order;
use crate::store::rank;

/// A page as it was read.
struct Page {
    entries: Vec<DueEntry>,
    /// True if the queue ends with it.
    complete: bool,
    /// Something was left behind of a strict entry, and may have another place than the entry says.
    has_rest: bool,
}

impl Writer {
    /// Reads a page of a webhook's queue and sends it to the scheduler. When the store cannot be read, the page is read
    /// once it can.
    pub(super) fn load(&mut self, request: PageRequest) {
        match self.is_misplaced(&request) {
            Ok(true) => self.moving.push_back(Moving::before(request)),
            Ok(false) => self.load_page(request),
            Err(_) => self.unread.push(request),
        }
    }

    /// Reads a page of a queue that is in the ranks of its webhook's order.
    pub(super) fn load_page(&mut self, request: PageRequest) {
        match self.read_page(&request) {
            Ok(Page { has_rest: true, .. }) => self.moving.push_back(Moving::before(request)),
            Ok(Page { entries, complete, .. }) => {
                for done in entries.iter().filter(|entry| entry.items.is_empty()) {
                    let key = done.key.encode();
                    // A strict key may be about to be written again, with the retry of what was there.
                    if self.pending.txn.written(&key).is_none() {
                        self.pending.txn.remove(key);
                    }
                }
                (self.changes)(Change::Loaded { request, entries, complete });
            }
            Err(_) => self.unread.push(request),
        }
    }

    fn read_page(&mut self, request: &PageRequest) -> Result<Page, StoreError> {
        let PageRequest { webhook, activation, ref ranks, after, limit, .. } = *request;
        let order = self.order_of(webhook);
        let (found, complete) = self.read_ranks(webhook, activation..=activation, ranks.clone(), after, limit)?;
        let (mut entries, mut has_rest) = (Vec::with_capacity(found.len()), false);
        for (key, queued) in found {
            let all = queued.len();
            let mut items = self.due_of_entry(key, queued)?;
            has_rest |= order == Some(Order::Strict) && is_rest(all, &items);
            if order == Some(Order::Severity) {
                items = self.split(key, items)?;
            }
            // An entry without items still moves the scheduler's horizon.
            entries.push(DueEntry { key, items: items.into_iter().map(|item| (item, None)).collect() });
        }
        Ok(Page { entries, complete, has_rest })
    }

    /// The deliveries of an entry that have its rank. The others get entries of their own: deliveries of different
    /// severities share one that was queued in another order, or before format 6.
    fn split(&mut self, key: DueKey, items: Vec<DueItem>) -> Result<Vec<DueItem>, StoreError> {
        let is_kept = items.first().is_some_and(|item| item.sent.is_bound());
        // What was sent together stays together, at the rank of the most severe that is left.
        let fits = match is_kept {
            true => place::rank_of_all(&items) == key.rank || items.is_empty(),
            false => items.iter().all(|item| item.rank == key.rank),
        };
        if key.rank != rank::UNKNOWN && fits {
            return Ok(items);
        }
        let mut ranked = Vec::with_capacity(items.len());
        for item in items {
            ranked.push(self.ranked(item)?);
        }
        let together = place::rank_of_all(&ranked);
        let mut parts: BTreeMap<u8, Vec<DueItem>> = BTreeMap::new();
        for item in ranked {
            let rank = if is_kept { together } else { item.rank };
            parts.entry(rank).or_default().push(item);
        }
        let own = parts.remove(&key.rank).unwrap_or_default();
        if !own.is_empty() {
            self.pending.txn.put(key.encode(), record::pack_queue(&own.iter().collect::<Vec<_>>()));
        }
        for (rank, part) in parts {
            // The same number: the deliveries' states know it.
            let key = DueKey { rank, ..key };
            self.pending.txn.put(key.encode(), record::pack_queue(&part.iter().collect::<Vec<_>>()));
            self.pending.due.push(DueEntry::from((key, part)));
        }
        self.has_pending();
        Ok(own)
    }

    /// The order of a webhook's deliveries; `None` when there is no such webhook.
    pub(super) fn order_of(&self, webhook: WebhookId) -> Option<Order> {
        self.webhooks.load().get(webhook).map(|webhook| webhook.config.order)
    }

    /// A page of a webhook's queue under these activations, after an entry, of about `limit` deliveries; and true if
    /// the queue ends with it. The deliveries of a damaged entry are looked for later
    /// ([`super::Embedded::requeue_lost`]).
    pub(super) fn read_queue(
        &self,
        webhook: WebhookId,
        activations: RangeInclusive<u32>,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Entries, bool), StoreError> {
        self.read_ranks(webhook, activations, rank::UNKNOWN..=rank::STRICT, after, limit)
    }

    /// [`Writer::read_queue`] of these ranks; of several activations all ranks are read.
    pub(super) fn read_ranks(
        &self,
        webhook: WebhookId,
        activations: RangeInclusive<u32>,
        ranks: RangeInclusive<u8>,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Entries, bool), StoreError> {
        let from = match after {
            Some(key) => [key.encode(), vec![0]].concat(),
            None => keys::due_ranked(webhook, *activations.start(), *ranks.start()),
        };
        let prefix = keys::due_webhook(webhook);
        let mut found = Entries::new();
        let mut items = 0;
        let mut complete = true;
        self.engine.scan(&from, false, |key, value| {
            if !key.starts_with(&prefix) {
                return false;
            }
            let Some(due) = DueKey::decode(key) else { return true };
            if !activations.contains(&due.activation) || !ranks.contains(&due.rank) {
                return false;
            }
            if items >= limit {
                complete = false;
                return false;
            }
            if !self.pending.txn.removes(key) {
                let queued = record::unpack_queue(value).unwrap_or_else(|_| {
                    self.damage.skipped("queue entry");
                    self.unqueued.store(true, Ordering::Relaxed);
                    Vec::new()
                });
                items += queued.len().max(1);
                found.push((due, queued));
            }
            true
        })?;
        Ok((found, complete))
    }

    /// True if a queued delivery is pending, for this attempt and in this entry: an entry of many is only removed with
    /// the last of them.
    pub(super) fn still_due(&self, key: DueKey, item: &DueItem) -> Result<bool, StoreError> {
        let states = self.states(item.event)?;
        let state = states.and_then(|states| states.get(item.slot as usize).copied());
        Ok(state.is_some_and(|state| {
            state.progress == Progress::Waiting
                && state.attempts + 1 == item.attempt
                && state.queued.is_none_or(|mark| key.has_mark(mark))
        }))
    }
}
