//! Healing: a webhook whose probe was accepted is switched on again, with its deliveries in order of acceptance.
//!
//! It goes on under the activation that it had, so what is held there needs no change. Deliveries that failed and counted
//! are queued again, and what was queued in another order, for a retry or under another activation, gets a new place: the
//! time of its acceptance, or for the order `strict` its place in the order of acceptance. That is done page by page while the webhook is still off, so that the writer serves others
//! between two pages; a crash only makes it begin again.

use std::collections::HashMap;
use std::sync::Arc;

use super::accept::{ENTRY_ITEMS, Group};
use super::probe::Failures;
use super::record::{self, Entries, Progress, SlotState};
use super::sealed::write_webhook;
use super::tally::Wait;
use super::txn::Txn;
use super::writer::Writer;
use super::{DueItem, DueKey, Sent, StoreError, keys, place};
use crate::model::audit::{Action, Actor, AuditEvent, FieldChange};
use crate::model::host_event::{About, HostEvent, WebhookFacts, url_host};
use crate::model::id::WebhookId;
use crate::model::probe::Trip;
use crate::model::time::Timestamp;
use crate::model::webhook::{Activity, Health, HealthValues, Order, Webhook};
use crate::store::rank;

/// Attempts of the history, or deliveries of the queue, that one page reads.
const PAGE: usize = 512;

/// A webhook that heals.
pub(super) struct Healing {
    webhook: WebhookId,
    failures: Failures,
    /// The last entry of the queue that is in order.
    ordered: Option<DueKey>,
    /// The deliveries that go out.
    deliveries: usize,
}

impl Healing {
    /// The beginning, after a probe was accepted.
    pub(super) fn begin(webhook: WebhookId, trip: &Trip) -> Self {
        Self { webhook, failures: Failures::of(trip), ordered: None, deliveries: 0 }
    }

    /// The healing of a webhook that was read from the disk, if the process ended within it.
    pub(super) fn resumed(webhook: &Webhook) -> Option<Self> {
        let trip = webhook.activity.trip().filter(|trip| trip.is_healing)?;
        Some(Self::begin(webhook.id, trip))
    }
}

/// The changes of one page.
struct Page {
    webhook: WebhookId,
    activation: u32,
    order: Order,
    now_ms: i64,
    txn: Txn,
    entries: Entries,
    waits: Vec<Wait>,
    /// The last entry with this due time, and of this rank where the most severe goes first.
    at: HashMap<(i64, u8), usize>,
}

impl Page {
    /// Adds a delivery that is due then; the mark of its entry.
    fn add(&mut self, item: DueItem, due_ms: i64, next_seq: impl FnOnce() -> u64) -> u64 {
        let shared = (due_ms, if self.order == Order::Severity { item.rank } else { rank::UNKNOWN });
        // What was sent before was not sent with these.
        let is_shared = !item.sent.is_bound();
        let index = match self.at.get(&shared).filter(|_| is_shared) {
            Some(&index) if self.entries[index].1.len() < ENTRY_ITEMS => index,
            _ => {
                let (webhook, activation) = (self.webhook, self.activation);
                let key = DueKey { webhook, activation, rank: item.rank, due_ms, seq: next_seq() };
                self.entries.push((key, Vec::new()));
                // What comes after it stays behind it.
                if is_shared {
                    self.at.insert(shared, self.entries.len() - 1);
                } else {
                    self.at.remove(&shared);
                }
                self.entries.len() - 1
            }
        };
        let (key, items) = &mut self.entries[index];
        key.rank = key.rank.min(item.rank);
        items.push(item);
        key.mark()
    }

    /// Deliveries in entries that the queue's next page does not come to.
    fn behind(&self, last: Option<DueKey>, is_complete: bool) -> usize {
        let behind = self.entries.iter().filter(|(key, _)| is_complete || Some(*key) <= last);
        behind.map(|(_, items)| items.len()).sum()
    }
}

impl Writer {
    /// Makes one page of one webhook that heals.
    pub(super) fn heal(&mut self) {
        if !self.is_writable() {
            return;
        }
        let Some(mut healing) = self.healing.pop_front() else { return };
        // The outcomes so far: the page reads the history.
        self.commit(Group::default());
        match self.heal_page(&mut healing) {
            Ok(true) => {}
            Ok(false) => self.healing.push_back(healing),
            Err(error) => {
                tracing::warn!(%error, webhook = %healing.webhook, "a webhook heals once the store can be written");
                // What the page did to it in memory is not on the disk.
                let owner = self.webhooks.load().get(healing.webhook).cloned();
                self.healing.extend(owner.and_then(|owner| Healing::resumed(&owner)));
            }
        }
    }

    /// Makes a page; returns true if that was the last one.
    fn heal_page(&mut self, healing: &mut Healing) -> Result<bool, StoreError> {
        let Some(owner) = self.webhooks.load().get(healing.webhook).cloned() else { return Ok(true) };
        // An admin who switched it on or off meanwhile decides.
        if !owner.activity.trip().is_some_and(|trip| trip.is_healing) {
            return Ok(true);
        }
        let mut page = Page {
            webhook: owner.id,
            activation: owner.activation,
            order: owner.config.order,
            now_ms: self.clock.steady_ms(),
            txn: Txn::default(),
            entries: Entries::new(),
            waits: Vec::new(),
            at: HashMap::new(),
        };
        let is_last = if healing.failures.is_done {
            self.order_queue(healing, &mut page)?
        } else {
            self.queue_failed(healing, &mut page)?;
            false
        };
        let Page { mut txn, entries, waits, .. } = page;
        let tallies = self.put_waits(&waits, &mut txn);
        for (key, items) in &entries {
            txn.put(key.encode(), record::pack_queue(&items.iter().collect::<Vec<_>>()));
        }
        if !txn.is_empty() {
            self.write(&[Some(&txn)])?;
        }
        self.tallies.set(tallies);
        if is_last {
            self.healed(&owner, healing.deliveries);
        }
        Ok(is_last)
    }

    /// Queues deliveries again that failed and counted.
    fn queue_failed(&mut self, healing: &mut Healing, page: &mut Page) -> Result<(), StoreError> {
        let (failed, _) = self.failed_before(page.webhook, &mut healing.failures, PAGE)?;
        for one in failed {
            self.place(one.item(), one.accepted_at, page)?;
        }
        Ok(())
    }

    /// Puts one page of the queue in order; returns true if the queue ends with it.
    fn order_queue(&mut self, healing: &mut Healing, page: &mut Page) -> Result<bool, StoreError> {
        let (webhook, target) = (page.webhook, page.activation);
        let (found, complete) = self.read_queue(webhook, 0..=target.saturating_add(1), healing.ordered, PAGE)?;
        let last = found.last().map(|(key, _)| *key);
        healing.ordered = last.or(healing.ordered);
        for (key, items) in found {
            let mut left = 0;
            for item in items {
                if !self.still_due(key, &item)? {
                    continue;
                }
                // One that was never tried is queued at the time of its acceptance.
                let queued_at = Timestamp::from_unix_ms(item.due_in(key));
                let accepted_at = match item.attempt {
                    1 => queued_at,
                    _ => place::accepted_at(&self.engine, item.event)?.unwrap_or(queued_at),
                };
                let accepted_ms = accepted_at.unix_ms();
                // A wall clock that jumped makes some later than now: they were placed already, and are due. Of the
                // strict queue the keys say the place.
                let is_strict = key.rank == rank::STRICT;
                let is_there = is_strict || item.due_in(key) == accepted_ms || accepted_ms > page.now_ms;
                let is_due = item.due_in(key) <= page.now_ms;
                let is_of_order = is_strict == (page.order == Order::Strict);
                if key.activation == target && item.try_number() == 1 && is_there && is_due && is_of_order {
                    left += 1;
                    healing.deliveries += 1;
                    continue;
                }
                // A new round: the destination is well again.
                let earlier = item.attempt - 1;
                self.place(DueItem { earlier, ..item }, accepted_at, page)?;
            }
            if left == 0 {
                page.txn.remove(key.encode());
            }
        }
        // A later page comes by the others again.
        healing.deliveries += page.behind(last, complete);
        Ok(complete)
    }

    /// Gives a delivery a place in the queue, by its acceptance.
    fn place(&mut self, item: DueItem, accepted_at: Timestamp, page: &mut Page) -> Result<(), StoreError> {
        let event = item.event;
        let Some(mut states) = self.states_with(&page.txn, event)? else { return Ok(()) };
        let Some(state) = states.get_mut(item.slot as usize) else { return Ok(()) };
        let before = *state;
        // With a place of its own it is in no message any more.
        let sent = item.sent.apart(Sent::Never);
        let item = self.ranked(DueItem { sent, ..item })?;
        // What a wall clock that was set back makes late is not.
        let due_ms = accepted_at.unix_ms().min(page.now_ms);
        let queued = if page.order == Order::Strict {
            let key = self.strict_key(&page.txn, (page.webhook, page.activation), &item)?;
            page.entries.push((key, vec![DueItem { due_ms: Some(due_ms), ..item }]));
            key.mark()
        } else {
            page.add(item, due_ms, || self.seq())
        };
        *state = SlotState {
            progress: Progress::Waiting,
            activation: page.activation,
            next_attempt_at: Some(self.now()),
            queued: Some(queued),
            ..*state
        };
        page.waits.extend(self.waits(page.webhook, event, Some(before), *state)?);
        page.txn.put(keys::state(event), record::pack(&states));
        self.recent.forget(event);
        Ok(())
    }

    /// Switches a healed webhook on. What waits goes out once the scheduler has heard of it.
    fn healed(&mut self, owner: &Webhook, deliveries: usize) {
        let (name, host) = (&owner.config.name, url_host(&owner.config.url));
        tracing::info!(
            webhook = %owner.id, name, host, deliveries,
            "a probe was delivered, so the webhook is switched on again and what it missed is sent"
        );
        let changes = vec![
            FieldChange { field: "is_active".to_owned(), from: false.into(), to: true.into() },
            FieldChange::to("deliveries", deliveries),
        ];
        self.pending.audit_events.push(AuditEvent::webhook(
            Actor::Host,
            Action::WebhookRecovered,
            owner.id,
            name,
            changes,
        ));
        let sent = match deliveries {
            1 => "1 delivery is sent now".to_owned(),
            several => format!("{several} deliveries are sent now"),
        };
        let reason = format!("a probe was delivered; {sent}");
        self.tell(HostEvent::new(About::WebhookRecovered(WebhookFacts::of(owner)), &reason));
        let health = HealthValues { failure_count: 0, ..owner.health.values() };
        let healed = Webhook { activity: Activity::Active, health: Health::new(health), ..owner.changed() };
        // Without randomness it cannot be written now; it heals again after a restart.
        if let Ok(bytes) = write_webhook(&healed, &self.keyring) {
            self.pending.txn.put(keys::webhook(healed.id), bytes);
        }
        self.pending.counters.insert(owner.id);
        self.publish(self.webhooks.load().with(Arc::new(healed)), owner.id);
        self.commit(Group::default());
    }
}
