//! Probes of webhooks that the circuit breaker switched off: which delivery is tried, and what its outcome changes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::heal::Healing;
use super::place::{self, Place};
use super::record::{self, Progress, SlotState};
use super::sealed::write_webhook;
use super::txn::Txn;
use super::writer::Writer;
use super::{Candidate, Change, DueItem, DueKey, Origin, Outcome, Sent, StoreError, keys};
use crate::model::audit::{Action, Actor, AuditEvent, FieldChange};
use crate::model::delivery::{Attempt, ErrorClass, Step};
use crate::model::host_event::{About, HostEvent, WebhookFacts, url_host};
use crate::model::id::{AttemptId, DeliveryId, EventId, WebhookId};
use crate::model::probe::{Cause, Probes, Trip};
use crate::model::time::Timestamp;
use crate::model::webhook::{Activity, Health, HealthValues, Order, Webhook};
use crate::store::rank;

/// Attempts of the history that the search for a candidate reads, and held deliveries.
const SEARCHED: usize = 1024;
/// Held deliveries that are read at a time.
const PAGE: usize = 64;
/// How long a probe waits that could not be made, in milliseconds.
const NOT_MADE_MS: i64 = 1_000;
/// The remark that the history has beside a probe.
const NOTE: &str = "a probe of the webhook, which the circuit breaker switched off";

/// The schedule of a webhook that was just read from the disk: none where probes are not made.
pub(super) fn resume(webhook: &mut Webhook, is_probed: bool, now_ms: i64) {
    let Activity::Tripped { trip, .. } = &mut webhook.activity else { return };
    trip.probes = match trip.probes {
        _ if !is_probed || trip.cause != Cause::Breaker => None,
        Some(probes) => Some(probes.resumed(now_ms)),
        // Probes were not made until this start.
        None => Some(Probes::begin(now_ms, fastrand::f64())),
    };
}

/// A webhook's failures in its history since its last success, read backwards page by page.
pub(super) struct Failures {
    /// The attempt with which the webhook was switched off.
    tripped: Option<AttemptId>,
    /// Where the next page ends.
    before: Option<AttemptId>,
    /// Deliveries whose last attempt was read.
    seen: HashSet<DeliveryId>,
    /// True once the last success was read, or the beginning of the history.
    pub(super) is_done: bool,
}

impl Failures {
    pub(super) fn of(trip: &Trip) -> Self {
        Self { tripped: trip.attempt, before: None, seen: HashSet::new(), is_done: false }
    }

    /// Takes one attempt in; its delivery if that failed for good in the end and counted.
    fn take(&mut self, attempt: &Attempt) -> Option<(EventId, DeliveryId)> {
        if attempt.is_test || self.is_done {
            return None;
        }
        if attempt.success {
            // What was under way when the webhook was switched off says nothing about what failed before it.
            self.is_done = self.tripped.is_none_or(|tripped| attempt.id <= tripped);
        }
        let unrendered = is_of_formatter(attempt);
        // A busy machine kept the formatter from it: that says nothing about the attempts before.
        if unrendered && attempt.next_attempt_at.is_some() {
            return None;
        }
        let is_last = self.seen.insert(attempt.delivery_id);
        let failed = is_last && !attempt.success && attempt.next_attempt_at.is_none() && !unrendered;
        attempt.event_id.filter(|_| failed).map(|event| (event, attempt.delivery_id))
    }
}

/// True if the formatter made no payload.
fn is_of_formatter(attempt: &Attempt) -> bool {
    attempt.error.as_ref().is_some_and(|error| error.starts_with(ErrorClass::Formatter.as_str()))
}

/// A failed delivery that counted.
pub(super) struct Failed {
    pub(super) event: EventId,
    pub(super) slot: u32,
    pub(super) delivery: DeliveryId,
    pub(super) accepted_at: Timestamp,
    /// Its attempts so far.
    pub(super) attempts: u32,
}

impl Failed {
    /// Its next attempt, in a round of its own.
    pub(super) fn item(&self) -> DueItem {
        let Self { event, slot, delivery, attempts, .. } = *self;
        let (attempt, earlier, sent) = (attempts + 1, attempts, Sent::Never);
        // A probe stands in no queue.
        DueItem { event, slot, delivery, attempt, earlier, sent, rank: rank::UNKNOWN, due_ms: None, has_failed: true }
    }
}

impl Writer {
    /// Sends the scheduler the delivery that the next probe of this webhook tries. When the store cannot be read there is
    /// none, until something is queued for the webhook.
    pub(super) fn load_probe(&mut self, webhook: WebhookId) {
        let owner = self.webhooks.load().get(webhook).cloned();
        let Some(owner) = owner else { return };
        let candidate = self.candidate(&owner).unwrap_or_else(|error| {
            tracing::error!(%error, %webhook, "the delivery for a probe could not be read");
            None
        });
        (self.changes)(Change::Candidate { webhook, candidate });
    }

    /// The candidate of this probe: those that failed and counted, then the held ones, in turn, so that none of them can
    /// keep the webhook switched off.
    fn candidate(&mut self, owner: &Webhook) -> Result<Option<Candidate>, StoreError> {
        let Some(trip) = owner.activity.trip() else { return Ok(None) };
        let Some(probes) = trip.probing() else { return Ok(None) };
        let mut failures = Failures::of(trip);
        let mut failed = Vec::new();
        let mut read = 0;
        while !failures.is_done && read < SEARCHED {
            let (found, attempts) = self.failed_before(owner.id, &mut failures, SEARCHED)?;
            failed.extend(found);
            read += attempts.max(1);
        }
        failed.sort_by_key(|one: &Failed| (one.accepted_at, one.delivery));
        let number = probes.made as usize;
        let from_failed = |one: &Failed| Candidate { item: one.item(), origin: Origin::Failed };
        if let Some(one) = failed.get(number) {
            return Ok(Some(from_failed(one)));
        }
        let held = match owner.config.order {
            // The others wait for it.
            Order::Strict => self.oldest_held(owner)?.into_iter().collect(),
            Order::Arrival | Order::Severity => self.held(owner, (number - failed.len()) % SEARCHED + 1)?,
        };
        let all = failed.len() + held.len();
        let turn = if all == 0 { 0 } else { number % all };
        let of_held = held.get(turn.wrapping_sub(failed.len())).or(held.last());
        let candidate = match failed.get(turn) {
            Some(one) => Some(from_failed(one)),
            None => of_held.map(|(key, item)| Candidate { item: item.clone(), origin: Origin::Held(*key) }),
        };
        Ok(candidate)
    }

    /// One page of a webhook's failures, newest first, and how many attempts it read.
    pub(super) fn failed_before(
        &self,
        webhook: WebhookId,
        failures: &mut Failures,
        limit: usize,
    ) -> Result<(Vec<Failed>, usize), StoreError> {
        let prefix = keys::attempts_prefix(webhook);
        let from = match failures.before {
            Some(before) => keys::attempts(webhook, before),
            None => [prefix.clone(), vec![0xff; 17]].concat(),
        };
        let (mut found, mut read, mut is_cut) = (Vec::new(), 0, false);
        self.engine.scan(&from, true, |key, value| {
            if !key.starts_with(&prefix) || failures.is_done {
                return false;
            }
            if read >= limit {
                is_cut = true;
                return false;
            }
            if failures.before.is_some_and(|before| key == keys::attempts(webhook, before)) {
                return true;
            }
            let attempts = record::unpack_attempts(value).unwrap_or_else(|_| {
                self.damage.skipped("attempts");
                Vec::new()
            });
            read += attempts.len().max(1);
            found.extend(attempts.iter().rev().filter_map(|attempt| failures.take(attempt)));
            let first = key.get(17..33).and_then(|id| <[u8; 16]>::try_from(id).ok());
            failures.before = first.map(AttemptId::from_bytes);
            true
        })?;
        failures.is_done |= !is_cut;
        let mut failed = Vec::with_capacity(found.len());
        for (event, delivery) in found {
            let Some((slot, accepted_at)) = self.slot_of(event, webhook, delivery)? else { continue };
            let Some(states) = self.states(event)? else { continue };
            let Some(state) = states.get(slot as usize) else { continue };
            // Others were recovered meanwhile.
            if state.progress == Progress::Failed {
                failed.push(Failed { event, slot, delivery, accepted_at, attempts: state.attempts });
            }
        }
        Ok((failed, read))
    }

    /// The first held deliveries of a webhook that is off, in the order of its queue.
    fn held(&self, owner: &Webhook, count: usize) -> Result<Vec<(DueKey, DueItem)>, StoreError> {
        let mut held = Vec::new();
        let mut after = None;
        loop {
            let (entries, complete) = self.read_queue(owner.id, 0..=owner.activation.saturating_add(1), after, PAGE)?;
            after = entries.last().map(|(key, _)| *key).or(after);
            for (key, items) in entries {
                for item in items {
                    if self.still_due(key, &item)? && self.engine.get(&keys::event(item.event))?.is_some() {
                        held.push((key, item));
                    }
                    if held.len() >= count {
                        return Ok(held);
                    }
                }
            }
            if complete {
                return Ok(held);
            }
        }
    }

    /// The held delivery whose event was accepted first. Those that were queued in another order are compared by the
    /// first of each rank.
    fn oldest_held(&mut self, owner: &Webhook) -> Result<Option<(DueKey, DueItem)>, StoreError> {
        let mut oldest: Option<(Place, DueKey, DueItem)> = None;
        for activation in self.tallies.of(owner.id).activations() {
            for rank in rank::UNKNOWN..=rank::STRICT {
                for (key, item) in self.first_held(owner, activation, rank)? {
                    let place = self.places.find(&self.engine, item.event)?;
                    if oldest.as_ref().is_none_or(|(other, _, _)| place < *other) {
                        oldest = Some((place, key, item));
                    }
                }
            }
        }
        Ok(oldest.map(|(_, key, item)| (key, item)))
    }

    /// The held deliveries of a rank's first entry, one of which is the oldest, and those that were left behind of strict
    /// entries before it: their place may be after its.
    fn first_held(&self, owner: &Webhook, activation: u32, rank: u8) -> Result<Vec<(DueKey, DueItem)>, StoreError> {
        let (mut first, mut after) = (Vec::new(), None);
        loop {
            let (entries, complete) = self.read_ranks(owner.id, activation..=activation, rank..=rank, after, PAGE)?;
            after = entries.last().map(|(key, _)| *key).or(after);
            for (key, items) in entries {
                let (before, all) = (first.len(), items.len());
                for item in self.due_of_entry(key, items)? {
                    if self.engine.get(&keys::event(item.event))?.is_some() {
                        first.push((key, item));
                    }
                }
                let held = first.len() - before;
                if held > 0 && (held == all || rank != rank::STRICT) {
                    return Ok(first);
                }
            }
            if complete {
                return Ok(first);
            }
        }
    }

    /// Takes in the outcome of a probe.
    pub(super) fn record_probe(&mut self, outcome: Outcome, origin: Origin, now: Timestamp) -> Result<(), StoreError> {
        let webhook = outcome.webhook;
        let result = self.place_probed(&outcome, origin, now);
        let Some(owner) = self.webhooks.load().get(webhook).cloned() else { return result };
        let Outcome { item, attempt, step, .. } = outcome;
        if let Some(attempt) = &attempt {
            // A delivery that failed before has failed once.
            let again = Step::Again { after: Duration::ZERO, counts: false };
            self.report(&owner, &item, attempt, if step == Step::Unrendered { &step } else { &again });
        }
        let error = attempt.as_ref().and_then(|attempt| attempt.error.clone());
        if let Some(attempt) = attempt {
            let note = attempt.note.as_ref().map_or_else(|| NOTE.to_owned(), |note| format!("{NOTE}; {note}"));
            let next_attempt_at = match step {
                Step::Again { after, counts: true } if is_of_formatter(&attempt) => Some(now.plus(after)),
                _ => None,
            };
            self.add_attempt(webhook, Attempt { note: Some(note), next_attempt_at, ..attempt })?;
        }
        let before = owner.health.values();
        let health = match &step {
            Step::Delivered => HealthValues { failure_count: 0, last_success_at: Some(now), ..before },
            Step::Failed { .. } | Step::Unrendered | Step::Again { counts: true, .. } => {
                HealthValues { last_failure_at: Some(now), ..before }
            }
            Step::Again { counts: false, .. } | Step::Skipped | Step::Dropped => before,
        };
        owner.health.set(health);
        self.pending.counters.insert(webhook);
        // An admin may have switched it on or off meanwhile.
        if let Activity::Tripped { reason, trip } = &owner.activity
            && let Some(probes) = trip.probing()
        {
            let (reason, trip) = self.after_probe(&owner, reason, trip, probes, &step, error.as_deref());
            self.set_trip(&owner, Activity::Tripped { reason, trip });
        }
        (self.changes)(Change::Probed(webhook));
        result
    }

    /// The trip after a probe with this step, and its reason.
    fn after_probe(
        &mut self,
        owner: &Webhook,
        reason: &str,
        trip: &Trip,
        probes: Probes,
        step: &Step,
        error: Option<&str>,
    ) -> (String, Trip) {
        let (now_ms, reason) = (self.clock.steady_ms(), reason.to_owned());
        let with = |probes| Trip { probes: Some(probes), ..trip.clone() };
        match step {
            Step::Delivered => {
                self.healing.push_back(Healing::begin(owner.id, trip));
                (reason, Trip { is_healing: true, ..trip.clone() })
            }
            // It ended there; the next one is taken at once.
            Step::Skipped | Step::Unrendered => (reason, with(probes.by(now_ms))),
            Step::Failed { deactivate: Some(why) } => {
                let last = error.map(|error| format!("; the last: {error}")).unwrap_or_default();
                let (name, host) = (&owner.config.name, owner.config.url.host());
                let reason = format!("{why}{last} (webhook {name:?}, host {host})");
                tracing::warn!(
                    webhook = %owner.id, name, host = url_host(&owner.config.url), reason,
                    "a probe found that a webhook's destination wants no more deliveries; it is not probed any more"
                );
                let changes = vec![FieldChange::to("disabled_reason", reason.as_str())];
                self.pending.audit_events.push(AuditEvent::webhook(
                    Actor::Host,
                    Action::WebhookDisabled,
                    owner.id,
                    name,
                    changes,
                ));
                self.tell(HostEvent::new(About::WebhookDisabled(WebhookFacts::of(owner)), &format!("{why}{last}")));
                (reason, Trip { cause: Cause::Gone, probes: None, ..trip.clone() })
            }
            Step::Failed { deactivate: None } | Step::Again { counts: true, .. } => {
                (reason, with(probes.failed(now_ms, fastrand::f64())))
            }
            Step::Again { counts: false, .. } | Step::Dropped => {
                (reason, with(Probes { next_ms: now_ms.saturating_add(NOT_MADE_MS), ..probes }))
            }
        }
    }

    /// Publishes a webhook's trip. It is no change of the configuration: the revision stays.
    fn set_trip(&mut self, owner: &Webhook, activity: Activity) {
        let changed = Webhook { activity, health: Health::new(owner.health.values()), ..owner.unchanged() };
        // Without randomness it cannot be written now; the schedule begins where it was after a restart.
        if let Ok(bytes) = write_webhook(&changed, &self.keyring) {
            self.pending.txn.put(keys::webhook(changed.id), bytes);
        }
        self.publish(self.webhooks.load().with(Arc::new(changed)), owner.id);
    }

    /// Writes the state of a delivery that was probed. It stays where it was unless it is settled now.
    fn place_probed(&mut self, outcome: &Outcome, origin: Origin, now: Timestamp) -> Result<(), StoreError> {
        let Outcome { item, step, sent, .. } = outcome;
        let Some(before) = self.pending_state(item.event, item.slot)? else { return Ok(()) };
        let mut state = before;
        let is_there = state.attempts + 1 == item.attempt
            && match origin {
                Origin::Failed => state.progress == Progress::Failed,
                Origin::Held(key) => {
                    state.progress == Progress::Waiting && state.queued.is_none_or(|mark| key.has_mark(mark))
                }
            };
        match step {
            Step::Delivered => {
                state =
                    SlotState { progress: Progress::Delivered, attempts: item.attempt, next_attempt_at: None, ..state };
            }
            // Recovered meanwhile: it goes out again as it is queued now.
            _ if !is_there => return Ok(()),
            Step::Skipped => state.progress = Progress::Skipped,
            Step::Unrendered => {
                state =
                    SlotState { progress: Progress::Failed, attempts: item.attempt, next_attempt_at: None, ..state };
            }
            Step::Failed { .. } | Step::Again { counts: true, .. } => {
                state.attempts = item.attempt;
                if let Origin::Held(key) = origin {
                    // No retry is used up: the attempt belongs to no round.
                    let (attempt, earlier) = (item.attempt + 1, item.earlier + 1);
                    let next = DueItem { attempt, earlier, sent: *sent, ..item.clone() };
                    let rank = place::rank_of(&self.engine, &next)?;
                    let key = if key.rank == rank::STRICT {
                        self.strict_key(&Txn::default(), (key.webhook, key.activation), &next)?
                    } else {
                        // By itself it ranks as itself.
                        DueKey { rank, seq: self.seq(), ..key }
                    };
                    let next = DueItem { rank, ..next };
                    self.pending.txn.put(key.encode(), record::pack_queue(&[&next]));
                    (state.queued, state.next_attempt_at) = (Some(key.mark()), Some(now));
                }
            }
            Step::Again { counts: false, .. } | Step::Dropped => return Ok(()),
        }
        let waits = self.waits(outcome.webhook, item.event, Some(before), state)?;
        self.pending.waits.extend(waits);
        self.set_state(item.event, item.slot, state);
        Ok(())
    }
}
