//! Host events: what the writer tells webhooks about the host itself. An event of one kind about one subject is made at
//! most once a minute; what happens in between is counted, and told when the minute is over.

use std::collections::HashMap;

use super::accept::Group;
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

/// Events of one kind about one subject, as one.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    recent: HashMap<(EventType, Subject), Recent>,
    /// When the next event is due that was held back, in milliseconds of the steady clock.
    next_ms: Option<i64>,
    judging: Vec<Judging>,
}

impl Telling {
    /// Something happened.
    pub(super) fn add(&mut self, event: HostEvent, at: Timestamp, now_ms: i64) {
        let key = (event.event_type(), event.subject());
        let summed = Summed { event, at, count: 1 };
        match self.recent.get_mut(&key) {
            Some(recent) if recent.told_ms.saturating_add(APART_MS) > now_ms => {
                let before = recent.since.as_ref().map_or(0, |since| since.count);
                recent.since = Some(Summed { count: before.saturating_add(1), ..summed });
                let due = recent.told_ms.saturating_add(APART_MS);
                self.next_ms = Some(self.next_ms.map_or(due, |next| next.min(due)));
            }
            _ => {
                self.recent.insert(key, Recent { told_ms: now_ms, since: None });
                self.ready.push(summed);
            }
        }
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
        self.judging.extract_if(.., is_ready).collect()
    }

    /// Takes what is to be told now; with `everything` also what would have to wait.
    pub(super) fn take(&mut self, now_ms: i64, everything: bool) -> Vec<Summed> {
        let mut taken = std::mem::take(&mut self.ready);
        if everything || self.next_ms.is_some_and(|next| next <= now_ms) {
            let mut next: Option<i64> = None;
            for recent in self.recent.values_mut() {
                let due = recent.told_ms.saturating_add(APART_MS);
                if everything || due <= now_ms {
                    if let Some(since) = recent.since.take() {
                        recent.told_ms = now_ms;
                        taken.push(since);
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
        let Some((since_ms, why)) = self.down.take() else { return };
        let seconds = self.clock.steady_ms().saturating_sub(since_ms).max(0) / 1000;
        let reason = format!("the store could not be written for {seconds} s: {why}; it accepts events again");
        self.tell(HostEvent::new(About::HostDegraded(HostPart::Store), &reason));
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
                self.telling.judging.push(Judging { summed, event, until_ms, verdicts: None });
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
        let is_first = before.failure_count == 0 && matches!(step, Step::Failed { .. });
        let about = if is_first {
            About::WebhookFailing(facts)
        } else {
            let event_type = attempt.event_type.to_string();
            About::DeliveryFailed(DeliveryFacts { id: delivery, event_id: item.event, event_type, webhook: facts })
        };
        self.tell(HostEvent::new(about, error));
    }
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
