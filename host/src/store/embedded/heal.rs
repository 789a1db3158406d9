//! Healing: a webhook whose probe was accepted is switched on again, with its deliveries in order of acceptance.
//!
//! It goes on under the activation that it had, so what is held there needs no change. Deliveries that failed and counted
//! are queued again, and what was queued in another order, for a retry or under another activation, gets a new place: the
//! time of its acceptance. That is done page by page while the webhook is still off, so that the writer serves others
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
use super::{DueItem, DueKey, Sent, StoreError, keys};
use crate::model::audit::{Action, Actor, AuditEvent, FieldChange};
use crate::model::host_event::{About, HostEvent, WebhookFacts};
use crate::model::id::{EventId, WebhookId};
use crate::model::probe::Trip;
use crate::model::time::Timestamp;
use crate::model::webhook::{Activity, Health, HealthValues, Webhook};

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
    now_ms: i64,
    txn: Txn,
    entries: Entries,
    waits: Vec<Wait>,
    /// The last entry with this due time.
    at: HashMap<i64, usize>,
}

impl Page {
    /// The entry that a delivery of an event of this time goes into.
    fn entry(&mut self, accepted_ms: i64, next_seq: impl FnOnce() -> u64) -> (DueKey, &mut Vec<DueItem>) {
        // What a wall clock that was set back makes late is not.
        let due_ms = accepted_ms.min(self.now_ms);
        let index = match self.at.get(&due_ms) {
            Some(&index) if self.entries[index].1.len() < ENTRY_ITEMS => index,
            _ => {
                let (webhook, activation) = (self.webhook, self.activation);
                let key = DueKey { webhook, activation, rank: 0, due_ms, seq: next_seq() };
                self.entries.push((key, Vec::new()));
                self.at.insert(due_ms, self.entries.len() - 1);
                self.entries.len() - 1
            }
        };
        let (key, items) = &mut self.entries[index];
        (*key, items)
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
                let queued_at = Timestamp::from_unix_ms(key.due_ms);
                let accepted_at =
                    if item.attempt == 1 { queued_at } else { self.accepted_at(item.event)?.unwrap_or(queued_at) };
                let accepted_ms = accepted_at.unix_ms();
                // A wall clock that jumped makes some later than now: they were placed already, and are due.
                let is_there = key.due_ms == accepted_ms || accepted_ms > page.now_ms;
                let is_due = key.due_ms <= page.now_ms;
                if key.activation == target && item.try_number() == 1 && is_there && is_due {
                    left += 1;
                    healing.deliveries += 1;
                    continue;
                }
                // A new round: the destination is well again.
                let earlier = item.attempt - 1;
                let placed = self.place(DueItem { earlier, ..item }, accepted_at, page)?;
                // A later page comes by it again.
                let is_ahead = !complete && placed > last;
                healing.deliveries += usize::from(!is_ahead);
            }
            if left == 0 {
                page.txn.remove(key.encode());
            }
        }
        Ok(complete)
    }

    /// Gives a delivery a place in the queue, by the time of its acceptance; the entry.
    fn place(&mut self, item: DueItem, accepted_at: Timestamp, page: &mut Page) -> Result<Option<DueKey>, StoreError> {
        let Some(mut states) = self.states_with(&page.txn, item.event)? else { return Ok(None) };
        let Some(state) = states.get_mut(item.slot as usize) else { return Ok(None) };
        let before = *state;
        let (key, items) = page.entry(accepted_at.unix_ms(), || self.seq());
        *state = SlotState {
            progress: Progress::Waiting,
            activation: key.activation,
            next_attempt_at: Some(self.now()),
            queued: Some(key.seq),
            ..*state
        };
        let (event, after) = (item.event, *state);
        // With a place of its own it is in no message any more.
        items.push(DueItem { sent: item.sent.apart(Sent::Never), ..item });
        page.waits.extend(self.waits(page.webhook, event, Some(before), after)?);
        page.txn.put(keys::state(event), record::pack(&states));
        self.recent.forget(event);
        Ok(Some(key))
    }

    /// When an event was accepted.
    fn accepted_at(&self, event: EventId) -> Result<Option<Timestamp>, StoreError> {
        let Some(bytes) = self.engine.get(&keys::event(event))? else { return Ok(None) };
        Ok(record::unpack_event(&bytes).ok().map(|event| event.accepted_at))
    }

    /// Switches a healed webhook on. What waits goes out once the scheduler has heard of it.
    fn healed(&mut self, owner: &Webhook, deliveries: usize) {
        let (name, host) = (&owner.config.name, owner.config.url.host());
        tracing::info!(
            webhook = %owner.id, name, %host, deliveries,
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
