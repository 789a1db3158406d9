//! Moving a queue between the ranks of severities and the strict one, when a webhook's order asks for it.
//!
//! That is done before the first page of the queue is read, page by page between two commits; nothing of the webhook goes
//! out meanwhile. A crash only makes it go on with the next first page: what was moved is no longer where it was.

use std::ops::RangeInclusive;

use super::accept::Group;
use super::record::{self, Entries};
use super::txn::Txn;
use super::writer::Writer;
use super::{DueItem, DueKey, PageRequest, StoreError, keys, place};
use crate::model::webhook::Order;
use crate::store::rank;

/// Deliveries that one page moves, roughly.
const PAGE: usize = 512;

/// The ranks that a webhook with this order has nothing in.
fn others(order: Order) -> RangeInclusive<u8> {
    rank::queues(if order == Order::Strict { Order::Arrival } else { Order::Strict })
}

impl Writer {
    /// The beginning of what is to be moved before this page is read.
    fn misplaced(&self, request: &PageRequest, limit: usize) -> Result<Option<(Order, Entries)>, StoreError> {
        let (webhook, activation) = (request.webhook, request.activation);
        let Some(order) = self.order_of(webhook).filter(|_| request.after.is_none()) else { return Ok(None) };
        let (found, _) = self.read_ranks(webhook, activation..=activation, others(order), None, limit)?;
        Ok(Some((order, found)).filter(|(_, found)| !found.is_empty()))
    }

    pub(super) fn is_misplaced(&self, request: &PageRequest) -> Result<bool, StoreError> {
        Ok(self.misplaced(request, 1)?.is_some())
    }

    /// Moves one page of one queue; reads what it was moved for once that was the last one.
    pub(super) fn move_queue(&mut self) {
        if !self.is_writable() {
            return;
        }
        let Some(request) = self.moving.pop_front() else { return };
        // The outcomes so far: the page reads the states.
        self.commit(Group::default());
        match self.move_page(&request) {
            Ok(true) => self.load_page(request),
            Ok(false) => self.moving.push_back(request),
            Err(error) => {
                tracing::warn!(%error, webhook = %request.webhook, "a queue is put in order once the store can be written");
                self.unread.push(request);
            }
        }
    }

    /// Moves a page; returns true if nothing is left to be moved.
    fn move_page(&mut self, request: &PageRequest) -> Result<bool, StoreError> {
        let Some((order, found)) = self.misplaced(request, PAGE)? else { return Ok(true) };
        let mut txn = Txn::default();
        for (key, items) in found {
            txn.remove(key.encode());
            let mut left = Vec::with_capacity(items.len());
            for item in items {
                if self.still_due(key, &item)? {
                    left.push(item);
                }
            }
            let is_kept = left.first().is_some_and(|item| item.sent.is_bound());
            // What was sent together stays together.
            let alone = order == Order::Strict && !is_kept;
            for together in left.chunks(if alone { 1 } else { left.len().max(1) }) {
                self.move_entry(order, key, together, &mut txn)?;
            }
        }
        self.write(&[Some(&txn)])?;
        Ok(false)
    }

    fn move_entry(&mut self, order: Order, from: DueKey, items: &[DueItem], txn: &mut Txn) -> Result<(), StoreError> {
        let Some(first) = items.first() else { return Ok(()) };
        let due_ms = first.due_in(from);
        let mut moved = Vec::with_capacity(items.len());
        for item in items {
            moved.push(self.ranked(item.clone())?);
        }
        let key = if order == Order::Strict {
            moved.iter_mut().for_each(|item| item.due_ms = Some(due_ms));
            self.strict_key(txn, (from.webhook, from.activation), first)?
        } else {
            DueKey { rank: place::rank_of_all(&moved), due_ms, seq: self.seq(), ..from }
        };
        for item in &moved {
            let Some(mut states) = self.states_with(txn, item.event)? else { continue };
            // A state without an entry is in any that has this attempt.
            if let Some(state) = states.get_mut(item.slot as usize)
                && state.queued.is_some_and(|seq| seq != key.seq)
            {
                state.queued = Some(key.seq);
                txn.put(keys::state(item.event), record::pack(&states));
                self.recent.forget(item.event);
            }
        }
        txn.put(key.encode(), record::pack_queue(&moved.iter().collect::<Vec<_>>()));
        Ok(())
    }
}
