//! Collecting: what waited for the window of a webhook's digest becomes messages.
//!
//! A message is a queue entry with all of its members, written before it is first sent: a retry, also one after a crash,
//! has the same members and so the same id and bytes. Where nothing was written yet, nothing was sent.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::accept::Group;
use super::record;
use super::writer::Writer;
use super::{Change, DueItem, DueKey, Outcome, Rest, Sent, StoreError, keys};
use crate::model::delivery::{Part, Step};
use crate::model::event::Searchable;
use crate::model::id::{EventId, WebhookId};
use crate::model::webhook::{Digest, Order, Webhook};
use crate::store::rank;

/// Deliveries that are put together at a time, roughly: the writer serves nobody else meanwhile. The others are a window
/// of their own, which opened when the first of them was queued.
const AT_ONCE: usize = 5 * Digest::MAX_EVENTS;
/// Deliveries of the queue that are read at a time.
const PAGE: usize = 512;
/// How long a queue waits that could not be read, in milliseconds.
const UNREAD_MS: i64 = 1_000;
/// The group of what was in the first entry with others that wait, and waits for no window itself; that of the next entry
/// is one less. What was in different entries was not sent together.
const OTHERS: u32 = u32::MAX;

/// A delivery that waits for the window.
struct Waiting {
    key: DueKey,
    item: DueItem,
    /// Bytes of its event, at most.
    bytes: usize,
    /// It waits for no window.
    is_alone: bool,
}

impl Writer {
    /// Puts the deliveries together that wait for a webhook's window, if it is `closed`; else queues only those of them that
    /// wait for none. Entries that are `busy` are left out.
    pub(super) fn collect(&mut self, webhook: WebhookId, activation: u32, closed: bool, busy: &[DueKey]) {
        let owner = self.webhooks.load().get(webhook).cloned();
        let owner = owner.filter(|owner| owner.activity.is_active() && owner.activation == activation);
        let rest = match owner.as_ref().and_then(|owner| Some((owner, owner.config.digest?))) {
            None => None,
            Some((owner, digest)) => self.try_collect(owner, digest, closed, busy).unwrap_or_else(|error| {
                tracing::error!(%error, %webhook, "what waits for a digest could not be read; it is tried again");
                // The window seems to close a moment from now, and nothing goes before what is in it.
                let since_ms = self.clock.steady_ms().saturating_add(UNREAD_MS - digest.window_ms());
                let first = DueKey { webhook, activation, rank: rank::UNKNOWN, due_ms: i64::MIN, seq: 0 };
                Some(Rest { first, since_ms })
            }),
        };
        (self.changes)(Change::Collected { webhook, activation, rest });
    }

    /// What still waits.
    fn try_collect(
        &mut self,
        owner: &Webhook,
        digest: Digest,
        closed: bool,
        busy: &[DueKey],
    ) -> Result<Option<Rest>, StoreError> {
        let (mut waiting, mut rest) = self.waiting(owner, digest, busy)?;
        if !closed {
            let stays = |one: &Waiting| one.item.sent == Sent::Never && !one.is_alone;
            let stay = waiting.iter().filter(|one| stays(one));
            let stay = stay.map(|one| Rest { first: one.key, since_ms: one.item.due_in(one.key) });
            rest = stay.chain(rest).reduce(Rest::join);
            waiting.retain(|one| one.is_alone);
        }
        // In order of acceptance: the strict queue is, the others are one for each rank.
        if owner.config.order != Order::Strict {
            waiting.sort_by_key(|one| (one.key.due_ms, one.key.seq));
        }
        let outcomes = outcomes(owner.id, digest, waiting, closed);
        if outcomes.is_empty() {
            return Ok(rest);
        }
        // The scheduler counts the outcomes that it has handed over.
        let handed_over = self.pending.outcomes;
        self.has_pending();
        self.record(outcomes);
        self.pending.outcomes = handed_over;
        self.commit(Group::default());
        Ok(rest)
    }

    /// The deliveries of the entries in which some wait for the window, and those that are not among them.
    fn waiting(
        &self,
        owner: &Webhook,
        digest: Digest,
        busy: &[DueKey],
    ) -> Result<(Vec<Waiting>, Option<Rest>), StoreError> {
        let (mut waiting, mut after) = (Vec::new(), None);
        loop {
            let (entries, complete) = self.read_queue(owner.id, owner.activation..=owner.activation, after, PAGE)?;
            after = entries.last().map(|(key, _)| *key).or(after);
            for (key, items) in entries {
                if busy.contains(&key) || items.iter().all(|item| item.sent != Sent::Never) {
                    continue;
                }
                if waiting.len() >= AT_ONCE {
                    let rest = items.iter().map(|item| Rest { first: key, since_ms: item.due_in(key) });
                    return Ok((waiting, rest.reduce(Rest::join)));
                }
                for item in items {
                    if self.still_due(key, &item)? {
                        let (bytes, is_alone) = self.look_at(item.event, digest)?;
                        let is_alone = is_alone && item.sent == Sent::Never;
                        waiting.push(Waiting { key, item, bytes, is_alone });
                    }
                }
            }
            if complete {
                return Ok((waiting, None));
            }
        }
    }

    /// The bytes of an event, at most, and true if its severity makes it go out at once and alone.
    fn look_at(&self, event: EventId, digest: Digest) -> Result<(usize, bool), StoreError> {
        let Some(bytes) = self.engine.get(&keys::event(event))? else { return Ok((0, false)) };
        if digest.bypass_severity.is_none() {
            return Ok((bytes.len(), false));
        }
        let event = record::unpack_event(&bytes).ok();
        let severity = event.and_then(|event| Searchable::of(event.event_type, &event.json).severity);
        Ok((bytes.len(), digest.is_bypassed_by(severity)))
    }
}

/// What becomes of deliveries that waited: members of messages, or, where there are few, deliveries that go out one by one.
/// The entries that they were in are done with, if the window is `closed`.
fn outcomes(webhook: WebhookId, digest: Digest, waiting: Vec<Waiting>, closed: bool) -> Vec<Outcome> {
    let is_member = |one: &Waiting| one.item.sent == Sent::Never && !one.is_alone;
    let sizes: Vec<usize> = waiting.iter().filter(|one| is_member(one)).map(|one| one.bytes).collect();
    let total = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
    let numbers = if total > digest.over { parts(&sizes) } else { Vec::new() };
    let parts = numbers.last().copied().unwrap_or_default();
    let (mut numbers, mut done, mut others) = (numbers.into_iter(), HashSet::new(), HashMap::new());
    let outcome = |one: Waiting| {
        let number = if is_member(&one) { numbers.next() } else { None };
        let (sent, group) = match (number, one.item.sent) {
            (Some(number), _) => (Sent::Digest { part: Part { number, parts, total }, pin: None }, number),
            (None, Sent::Never) => (Sent::Alone, 0),
            (None, other) => {
                let entries = u32::try_from(others.len()).unwrap_or(u32::MAX);
                (other, *others.entry(one.key).or_insert(OTHERS - entries))
            }
        };
        let closes = (closed && done.insert(one.key)).then_some(one.key);
        let step = Step::Again { after: Duration::ZERO, counts: false };
        Outcome { sent, group, ..Outcome::new(webhook, one.item, None, step, closes) }
    };
    waiting.into_iter().map(outcome).collect()
}

/// The number of the message, from 1, that each of these events goes into, by their bytes.
fn parts(sizes: &[usize]) -> Vec<u32> {
    let (mut number, mut events, mut bytes) = (1, 0, 0);
    let place = |size: &usize| {
        if events > 0 && (events >= Digest::MAX_EVENTS || bytes + size > Digest::MAX_BYTES) {
            (number, events, bytes) = (number + 1, 0, 0);
        }
        (events, bytes) = (events + 1, bytes + size);
        number
    };
    sizes.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::event::Severity;
    use crate::model::id::DeliveryId;

    fn digest(over: u32) -> Digest {
        Digest { window_seconds: 60, over, bypass_severity: Some(Severity::Critical) }
    }

    fn waiting(due_ms: i64, sent: Sent, is_alone: bool, bytes: usize) -> Waiting {
        let key = DueKey { webhook: WebhookId::from_bytes([1; 16]), activation: 0, rank: 0, due_ms, seq: 1 };
        let (event, delivery) = (EventId::generate(), DeliveryId::generate());
        let item = DueItem {
            event,
            slot: 0,
            delivery,
            attempt: 1,
            earlier: 0,
            sent,
            rank: 5,
            due_ms: None,
            has_failed: false,
        };
        Waiting { key, item, bytes, is_alone }
    }

    #[test]
    fn few_go_out_one_by_one_and_more_in_one_message() {
        for (count, over) in [(3, 3), (4, 3), (1, 1), (2, 1)] {
            let all = (0..count).map(|due| waiting(due, Sent::Never, false, 10)).collect();
            let outcomes = outcomes(WebhookId::generate(), digest(over), all, true);
            let total = u32::try_from(count).expect("few");
            let message = (Sent::Digest { part: Part { number: 1, parts: 1, total }, pin: None }, 1);
            let expected = if total > over { message } else { (Sent::Alone, 0) };
            assert!(outcomes.iter().all(|one| (one.sent, one.group) == expected), "{outcomes:?}");
            assert!(outcomes.iter().all(|one| one.closes.is_some()), "each was in an entry of its own");
        }
    }

    #[test]
    fn what_waits_for_no_window_is_not_counted_and_an_entry_is_closed_once() {
        let pin = Sent::Before(None);
        let all = [(Sent::Never, false), (Sent::Never, true), (pin, false), (Sent::Alone, false), (Sent::Never, false)];
        let all: Vec<_> = all.into_iter().map(|(sent, is_alone)| waiting(5, sent, is_alone, 10)).collect();
        let outcomes = outcomes(WebhookId::generate(), digest(1), all, true);
        let message = Sent::Digest { part: Part { number: 1, parts: 1, total: 2 }, pin: None };
        let expected = [(message, 1), (Sent::Alone, 0), (pin, OTHERS), (Sent::Alone, OTHERS), (message, 1)];
        assert_eq!(outcomes.iter().map(|one| (one.sent, one.group)).collect::<Vec<_>>(), expected);
        assert_eq!(outcomes.iter().filter_map(|one| one.closes).count(), 1);
    }

    #[test]
    fn what_was_sent_before_is_not_joined_with_what_is_in_another_entry() {
        let pin = Sent::Before(None);
        let all = [(5, pin), (5, Sent::Never), (6, pin), (6, Sent::Never), (6, pin)];
        let all: Vec<_> = all.into_iter().map(|(due, sent)| waiting(due, sent, false, 10)).collect();
        let outcomes = outcomes(WebhookId::generate(), digest(5), all, true);
        let groups: Vec<u32> = outcomes.iter().filter(|one| one.sent == pin).map(|one| one.group).collect();
        assert_eq!(groups, [OTHERS, OTHERS - 1, OTHERS - 1]);
    }

    proptest! {
        #[test]
        fn each_delivery_is_in_one_message_or_goes_out_by_itself(
            kinds in prop::collection::vec((0..4_u8, 0..5_000_i64, 0..6_000_usize), 0..1500),
            over in 1..1000_u32
        ) {
            let kind = |(kind, due, bytes): &(u8, i64, usize)| match kind {
                0 => waiting(*due, Sent::Before(None), false, *bytes),
                1 => waiting(*due, Sent::Never, true, *bytes),
                _ => waiting(*due, Sent::Never, false, *bytes),
            };
            let all: Vec<Waiting> = kinds.iter().map(kind).collect();
            let deliveries: Vec<_> = all.iter().map(|one| one.item.delivery).collect();
            let outcomes = outcomes(WebhookId::generate(), digest(over), all, true);
            prop_assert_eq!(outcomes.iter().map(|one| one.item.delivery).collect::<Vec<_>>(), deliveries);
            let members = kinds.iter().filter(|(kind, ..)| *kind > 1).count();
            let told: Vec<_> = outcomes.iter().filter_map(|one| Some((one.sent.part()?, one.group))).collect();
            prop_assert_eq!(told.len(), if members > over as usize { members } else { 0 });
            for (part, group) in told {
                prop_assert_eq!((part.total as usize, part.number), (members, group));
                prop_assert!(part.number <= part.parts);
            }
        }

        #[test]
        fn each_event_is_in_one_part_and_no_part_is_too_large(
            sizes in prop::collection::vec(prop_oneof![0..2000_usize, 0..300_000_usize, Just(Digest::MAX_BYTES + 1)], 0..3000)
        ) {
            let numbers = parts(&sizes);
            prop_assert_eq!(numbers.len(), sizes.len());
            prop_assert!(numbers.first().is_none_or(|first| *first == 1));
            prop_assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
            for number in 1..=numbers.last().copied().unwrap_or_default() {
                let of: Vec<usize> =
                    numbers.iter().zip(&sizes).filter(|(of, _)| **of == number).map(|(_, size)| *size).collect();
                prop_assert!((1..=Digest::MAX_EVENTS).contains(&of.len()));
                prop_assert!(of.len() == 1 || of.iter().sum::<usize>() <= Digest::MAX_BYTES);
            }
        }
    }
}
