//! Host events: what the writer tells webhooks about the host itself. An event of one kind about one subject is made at
//! most once a minute; what happens in between is counted, and told when the minute is over.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::accept::Group;
use super::downtime::Down;
use super::txn::Txn;
use super::untold;
use super::writer::Writer;
use super::{DueItem, EventVerdicts};
use crate::model::delivery::{Attempt, Step};
use crate::model::event::{EventType, NewEvent};
use crate::model::host_event::{About, DeliveryFacts, HostEvent, HostPart, Subject, WebhookFacts, url_host};
use crate::model::id::{EventId, TokenId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::model::webhook::expression::Verdicts;

/// Between two events of one kind about one subject, in milliseconds.
const APART_MS: i64 = 60_000;
/// The token of host events: nobody posted them.
const NOBODY: TokenId = TokenId::from_bytes([0; 16]);

/// A kind of events and their subject.
pub(super) type Key = (EventType, Subject);

fn key_of(event: &HostEvent) -> Key {
    (event.event_type(), event.subject())
}

/// Events of one kind about one subject, as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summed {
    /// The last of them.
    event: HostEvent,
    /// When it happened.
    at: Timestamp,
    count: u32,
}

/// The last minute of one kind and subject.
#[derive(Debug)]
struct Recent {
    /// When an event was last made, in milliseconds of the steady clock.
    told_ms: i64,
    /// What happened since.
    since: Option<Summed>,
}

/// How long a host event waits for its verdicts, in milliseconds. Then it goes to all that subscribed, as if their
/// expressions had failed.
const JUDGED_WITHIN_MS: i64 = 5_000;

/// A host event whose expressions are evaluated, off this thread.
#[derive(Debug)]
struct Judging {
    summed: Summed,
    event: NewEvent,
    /// When it is made without verdicts, in milliseconds of the steady clock.
    until_ms: i64,
    verdicts: Option<Verdicts>,
}

/// Events that are to be made, and those that were made in the last minute.
#[derive(Debug, Default)]
pub(super) struct Telling {
    ready: Vec<Summed>,
    recent: HashMap<Key, Recent>,
    /// When the next event is due that was held back, in milliseconds of the steady clock.
    next_ms: Option<i64>,
    judging: Vec<Judging>,
    /// Of these the disk does not know yet what waits.
    changed: HashSet<Key>,
}

impl Telling {
    /// With what an earlier process did not tell: it is told now.
    pub(super) fn with(untold: Vec<Summed>, now_ms: i64) -> Self {
        let recent = untold.iter().map(|one| (key_of(&one.event), Recent { told_ms: now_ms, since: None }));
        Self { recent: recent.collect(), ready: untold, ..Self::default() }
    }

    /// Something happened.
    pub(super) fn add(&mut self, event: HostEvent, at: Timestamp, now_ms: i64) {
        let key = key_of(&event);
        let recent = self.recent.entry(key.clone()).or_insert(Recent { told_ms: i64::MIN, since: None });
        // Some may be due and not taken yet.
        let before = recent.since.take().map_or(0, |since| since.count);
        let summed = Summed { event, at, count: before.saturating_add(1) };
        let due = recent.told_ms.saturating_add(APART_MS);
        if due > now_ms {
            recent.since = Some(summed);
            self.next_ms = Some(self.next_ms.map_or(due, |next| next.min(due)));
        } else {
            recent.told_ms = now_ms;
            self.ready.push(summed);
        }
        self.changed.insert(key);
    }

    /// When something is due next; `None`: nothing waits.
    pub(super) fn next_due(&self) -> Option<i64> {
        if self.ready.is_empty() { self.next_ms } else { Some(i64::MIN) }
    }

    /// When something is due that was held back, or that waits for its verdicts.
    pub(super) fn waits_until(&self) -> Option<i64> {
        self.next_ms.into_iter().chain(self.judging.iter().map(|one| one.until_ms)).min()
    }

    /// Takes what has its verdicts, or has waited long enough; with `everything` also what still waits.
    fn take_judged(&mut self, now_ms: i64, everything: bool) -> Vec<Judging> {
        let is_ready = |one: &mut Judging| everything || one.verdicts.is_some() || one.until_ms <= now_ms;
        let taken: Vec<Judging> = self.judging.extract_if(.., is_ready).collect();
        self.changed.extend(taken.iter().map(|one| key_of(&one.summed.event)));
        taken
    }

    /// Adds a host event whose expressions are evaluated.
    fn judge(&mut self, judging: Judging) {
        self.changed.insert(key_of(&judging.summed.event));
        self.judging.push(judging);
    }

    /// Adds what waits where that has changed; those that did.
    pub(super) fn put_untold(&self, txn: &mut Txn) -> HashSet<Key> {
        for key in &self.changed {
            let judged = self.judging.iter().map(|one| &one.summed).filter(|one| key_of(&one.event) == *key);
            let ready = self.ready.iter().filter(|one| key_of(&one.event) == *key);
            let held_back = self.recent.get(key).and_then(|recent| recent.since.as_ref());
            untold::put(key, judged.chain(ready).chain(held_back).cloned().collect(), txn);
        }
        self.changed.clone()
    }

    /// What waits of these is on the disk.
    pub(super) fn written(&mut self, keys: &HashSet<Key>) {
        self.changed.retain(|key| !keys.contains(key));
    }

    /// Takes what is to be told now; with `everything` also what would have to wait.
    pub(super) fn take(&mut self, now_ms: i64, everything: bool) -> Vec<Summed> {
        let mut taken = std::mem::take(&mut self.ready);
        self.changed.extend(taken.iter().map(|one| key_of(&one.event)));
        if everything || self.next_ms.is_some_and(|next| next <= now_ms) {
            let mut next: Option<i64> = None;
            for (key, recent) in &mut self.recent {
                let due = recent.told_ms.saturating_add(APART_MS);
                if everything || due <= now_ms {
                    if let Some(since) = recent.since.take() {
                        recent.told_ms = now_ms;
                        taken.push(since);
                        self.changed.insert(key.clone());
                    }
                } else if recent.since.is_some() {
                    next = Some(next.map_or(due, |next| next.min(due)));
                }
            }
            self.next_ms = next;
            self.recent.retain(|_, recent| recent.told_ms.saturating_add(APART_MS) > now_ms);
            // In an order that does not depend on the map.
            taken.sort_by_key(|one| (one.at, one.event.event_type()));
        }
        taken
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&mut self, taken: Vec<Summed>) {
        self.ready.splice(0..0, taken);
    }
}

impl Writer {
    /// Tells of something. It goes with the next commit, or when the minute is over.
    pub(in crate::store) fn tell(&mut self, event: HostEvent) {
        let (now, now_ms) = (self.now(), self.clock.steady_ms());
        self.telling.add(event, now, now_ms);
        self.has_pending();
    }

    /// Tells, once the store can be written again, for how long it could not.
    pub(super) fn tell_written_again(&mut self) {
        if let Some(down) = self.downtime.end() {
            let event = written_again(&down, self.clock.steady_ms());
            self.tell(event);
        }
    }

    /// Makes the events that are due, in this commit.
    pub(super) fn tell_due(&mut self, group: &mut Group, everything: bool) -> Vec<Summed> {
        let now_ms = self.clock.steady_ms();
        let mut told = Vec::new();
        if everything || self.telling.next_due().is_some_and(|due| due <= now_ms) {
            for summed in self.telling.take(now_ms, everything) {
                let event = summed.event.to_event(summed.count, summed.at);
                if everything || !self.is_unjudged(&event, &EventVerdicts::default()) {
                    self.tell_one(summed, event, Verdicts::default(), group, &mut told);
                    continue;
                }
                // The receiver lives as long as the store.
                let _ = self.unjudged.send(event.clone());
                let until_ms = now_ms.saturating_add(JUDGED_WITHIN_MS);
                self.telling.judge(Judging { summed, event, until_ms, verdicts: None });
            }
        }
        for Judging { summed, event, verdicts, .. } in self.telling.take_judged(now_ms, everything) {
            self.tell_one(summed, event, verdicts.unwrap_or_default(), group, &mut told);
        }
        told
    }

    fn tell_one(
        &mut self,
        summed: Summed,
        event: NewEvent,
        verdicts: Verdicts,
        group: &mut Group,
        told: &mut Vec<Summed>,
    ) {
        let about = subject_webhook(&summed.event);
        self.accept_one(NOBODY, event, about, &EventVerdicts { own: verdicts, derived: None }, group);
        told.push(summed);
    }

    /// The verdicts on a host event; it goes with the next commit.
    pub(in crate::store) fn judged(&mut self, id: EventId, verdicts: Verdicts) {
        if let Some(judging) = self.telling.judging.iter_mut().find(|judging| judging.event.id == Some(id)) {
            judging.verdicts = Some(verdicts);
            self.has_pending();
        }
    }
}

impl Writer {
    /// Logs an attempt's outcome, and tells of a delivery that failed for good. Deliveries of host events are told of
    /// nowhere: no event leads to another one.
    pub(super) fn report(&mut self, owner: &Webhook, item: &DueItem, attempt: &Attempt, step: &Step) {
        let says_nothing = matches!(step, Step::Delivered | Step::Skipped | Step::Dropped);
        if says_nothing && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let (webhook, name, host) = (owner.id, &owner.config.name, url_host(&owner.config.url));
        let error = attempt.error.as_deref().unwrap_or_default();
        let (delivery, number) = (item.delivery, attempt.attempt);
        tracing::debug!(
            %webhook, name, host, %delivery, attempt = number, success = attempt.success, error, "an attempt was made"
        );
        let before = owner.health.values();
        let was_well = before.last_failure_at.is_none_or(|failed| before.last_success_at >= Some(failed));
        if was_well && matches!(step, Step::Again { counts: true, .. } | Step::Failed { .. }) {
            tracing::info!(%webhook, name, host, error, "a webhook begins to fail");
        }
        if !matches!(step, Step::Failed { .. } | Step::Unrendered) {
            return;
        }
        tracing::info!(
            %webhook, name, host, %delivery, event = %item.event, attempts = number, error,
            "a delivery failed for good; `recover` sends it again"
        );
        if EventType::from_name(&attempt.event_type).is_none_or(EventType::is_host) {
            return;
        }
        let facts = WebhookFacts::of(owner);
        let is_first = before.failure_count == 0 && matches!(step, Step::Failed { .. }) && !item.has_failed;
        let about = if is_first {
            About::WebhookFailing(facts)
        } else {
            let event_type = attempt.event_type.to_string();
            About::DeliveryFailed(DeliveryFacts { id: delivery, event_id: item.event, event_type, webhook: facts })
        };
        self.tell(HostEvent::new(about, error));
    }
}

/// The event that tells that the store can be written again.
pub(super) fn written_again(down: &Down, now_ms: i64) -> HostEvent {
    HostEvent::new(About::HostDegraded(HostPart::Store), &down.reason(now_ms))
}

/// The webhook that an event is about: it does not get it.
fn subject_webhook(event: &HostEvent) -> Option<WebhookId> {
    match &event.about {
        About::WebhookFailing(facts) | About::WebhookDisabled(facts) | About::WebhookRecovered(facts) => Some(facts.id),
        About::DeliveryFailed(facts) => Some(facts.webhook.id),
        About::FormatterRejected(_) | About::FormatterRolledBack(_) | About::HostDegraded(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host_event::FormatterFacts;

    fn disk(reason: &str) -> HostEvent {
        HostEvent::new(About::HostDegraded(HostPart::Disk), reason)
    }

    fn add(telling: &mut Telling, event: HostEvent, now_ms: i64) {
        telling.add(event, Timestamp::from_unix_ms(now_ms), now_ms);
    }

    fn told(telling: &mut Telling, now_ms: i64) -> Vec<(String, u32)> {
        telling.take(now_ms, false).into_iter().map(|one| (one.event.reason, one.count)).collect()
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_of_the_minute_as_one() {
        let mut telling = Telling::default();
        assert_eq!(telling.next_due(), None);
        add(&mut telling, disk("a"), 1_000);
        assert_eq!(told(&mut telling, 1_000), [("a".to_owned(), 1)]);
        assert_eq!(telling.next_due(), None);
        for (reason, at) in [("b", 2_000), ("c", 3_000), ("d", 60_999)] {
            add(&mut telling, disk(reason), at);
            assert_eq!(told(&mut telling, at), []);
        }
        assert_eq!(telling.next_due(), Some(61_000));
        assert_eq!(told(&mut telling, 61_000), [("d".to_owned(), 3)], "the last reason, and how many");
        assert_eq!(telling.next_due(), None);
        add(&mut telling, disk("e"), 61_001);
        assert_eq!(told(&mut telling, 120_999), []);
        assert_eq!(told(&mut telling, 121_000), [("e".to_owned(), 1)]);
        add(&mut telling, disk("f"), 200_000);
        assert_eq!(told(&mut telling, 200_000), [("f".to_owned(), 1)]);
        telling.take(300_000, true);
        assert!(telling.recent.is_empty(), "nothing is kept for longer");
    }

    #[test]
    fn kinds_and_subjects_do_not_wait_for_one_another() {
        let formatter = |name: &str| FormatterFacts { name: name.into(), version: None, digest: None };
        let mut telling = Telling::default();
        for event in [
            HostEvent::new(About::FormatterRejected(formatter("a")), "1"),
            HostEvent::new(About::FormatterRejected(formatter("b")), "2"),
            HostEvent::new(About::FormatterRolledBack(formatter("a")), "3"),
            HostEvent::new(About::HostDegraded(HostPart::Disk), "4"),
            HostEvent::new(About::HostDegraded(HostPart::Store), "5"),
        ] {
            add(&mut telling, event, 0);
        }
        assert_eq!(told(&mut telling, 0).len(), 5);
    }

    #[test]
    fn what_could_not_be_written_is_told_later() {
        let mut telling = Telling::default();
        add(&mut telling, disk("a"), 0);
        let taken = telling.take(0, false);
        telling.put_back(taken.clone());
        assert_eq!(telling.next_due(), Some(i64::MIN));
        assert_eq!(telling.take(0, false), taken);
    }

    #[test]
    fn the_end_leaves_nothing_untold() {
        let mut telling = Telling::default();
        add(&mut telling, disk("a"), 0);
        assert_eq!(told(&mut telling, 0).len(), 1);
        add(&mut telling, disk("b"), 1);
        assert_eq!(telling.take(1, true).len(), 1);
    }
}
