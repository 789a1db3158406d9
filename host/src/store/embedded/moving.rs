//! Putting a queue in order before a page of it is read, page by page between two commits; nothing of the webhook goes out
//! meanwhile.
//!
//! A queue is moved between the ranks of severities and the strict one when its webhook's order asks for it. A crash only
//! makes that go on with the next first page: what was moved is no longer where it was.
//!
//! An entry of the strict queue has the place of its earliest delivery. When a delivery leaves the others behind (a probe has
//! tried it, or only a part of the entry fitted into a request), the rest gets its own place, or it would overtake what was
//! accepted in between.

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

/// A page that is read once its queue is in order.
pub(super) struct Moving {
    request: PageRequest,
    /// The order that the queue is brought into, and the last entry that was looked at: what was moved before it is not
    /// read again.
    so_far: Option<(Order, DueKey)>,
}

impl Moving {
    pub(super) fn before(request: PageRequest) -> Self {
        Self { request, so_far: None }
    }
}

/// The ranks that a webhook with this order has nothing in.
fn others(order: Order) -> RangeInclusive<u8> {
    rank::queues(if order == Order::Strict { Order::Arrival } else { Order::Strict })
}

impl Writer {
    /// What is to be moved before this page is read, after an entry; and true if nothing is left behind it.
    fn misplaced(
        &self,
        request: &PageRequest,
        order: Order,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Entries, bool), StoreError> {
        if request.after.is_some() {
            return Ok((Entries::new(), true));
        }
        let activation = request.activation;
        self.read_ranks(request.webhook, activation..=activation, others(order), after, limit)
    }

    pub(super) fn is_misplaced(&self, request: &PageRequest) -> Result<bool, StoreError> {
        let Some(order) = self.order_of(request.webhook) else { return Ok(false) };
        let (found, _) = self.misplaced(request, order, None, 1)?;
        Ok(!found.is_empty())
    }

    /// Moves one page of one queue; reads what it was moved for once that was the last one.
    pub(super) fn move_queue(&mut self) {
        if !self.is_writable() {
            return;
        }
        let Some(mut moving) = self.moving.pop_front() else { return };
        // The outcomes so far: the page reads the states.
        self.commit(Group::default());
        match self.move_page(&mut moving) {
            Ok(true) => self.load_page(moving.request),
            Ok(false) => self.moving.push_back(moving),
            Err(error) => {
                let webhook = moving.request.webhook;
                tracing::warn!(%error, %webhook, "a queue is put in order once the store can be written");
                self.unread.push(moving.request);
            }
        }
    }

    /// Moves a page; returns true if nothing is left to be moved.
    fn move_page(&mut self, moving: &mut Moving) -> Result<bool, StoreError> {
        let Some(order) = self.order_of(moving.request.webhook) else { return Ok(true) };
        // Another order has other ranks.
        let after = moving.so_far.filter(|(of, _)| *of == order).map(|(_, last)| last);
        let (found, is_last) = self.misplaced(&moving.request, order, after, PAGE)?;
        let Some((last, _)) = found.last() else { return self.move_rests(&moving.request) };
        moving.so_far = Some((order, *last));
        let mut txn = Txn::default();
        for (key, items) in found {
            txn.remove(key.encode());
            let left = self.due_of_entry(key, items)?;
            let is_kept = left.first().is_some_and(|item| item.sent.is_bound());
            // What was sent together stays together.
            let alone = order == Order::Strict && !is_kept;
            for together in left.chunks(if alone { 1 } else { left.len().max(1) }) {
                self.move_entry(order, key, together, &mut txn)?;
            }
        }
        self.write(&[Some(&txn)])?;
        if is_last { self.move_rests(&moving.request) } else { Ok(false) }
    }

    /// Moves what was left behind of this page's entries; returns true, as nothing is left to be moved.
    fn move_rests(&mut self, request: &PageRequest) -> Result<bool, StoreError> {
        let PageRequest { webhook, activation, ref ranks, after, limit, .. } = *request;
        if self.order_of(webhook) != Some(Order::Strict) {
            return Ok(true);
        }
        let (found, _) = self.read_ranks(webhook, activation..=activation, ranks.clone(), after, limit)?;
        let mut txn = Txn::default();
        for (key, items) in found {
            let all = items.len();
            let left = self.due_of_entry(key, items)?;
            if is_rest(all, &left) {
                txn.remove(key.encode());
                self.move_entry(Order::Strict, key, &left, &mut txn)?;
            }
        }
        if !txn.is_empty() {
            self.write(&[Some(&txn)])?;
        }
        Ok(true)
    }

    /// The deliveries of an entry that are pending in it.
    pub(super) fn due_of_entry(&self, key: DueKey, items: Vec<DueItem>) -> Result<Vec<DueItem>, StoreError> {
        let mut due = Vec::with_capacity(items.len());
        for item in items {
            if self.still_due(key, &item)? {
                due.push(item);
            }
        }
        Ok(due)
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
            self.sort_by_place(&mut moved)?;
            let Some(earliest) = self.earliest(&moved)? else { return Ok(()) };
            self.strict_key(txn, (from.webhook, from.activation), earliest)?
        } else {
            DueKey { rank: place::rank_of_all(&moved), due_ms, seq: self.seq(), ..from }
        };
        for item in &moved {
            let Some(mut states) = self.states_with(txn, item.event)? else { continue };
            if let Some(state) = states.get_mut(item.slot as usize) {
                let moved = state.moved(key);
                if std::mem::replace(state, moved) != moved {
                    txn.put(keys::state(item.event), record::pack(&states));
                    self.recent.forget(item.event);
                }
            }
        }
        txn.put(key.encode(), record::pack_queue(&moved.iter().collect::<Vec<_>>()));
        Ok(())
    }
}

/// True if these are what is left of an entry of so many deliveries.
pub(super) fn is_rest(all: usize, left: &[DueItem]) -> bool {
    !left.is_empty() && left.len() < all
}
