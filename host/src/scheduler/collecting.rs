//! Collecting: the window of one webhook's digest. Pure: no clock, no store.
//!
//! What waits for the window stays on the disk, however much it is. The lane knows since when something waits; once the
//! window is closed, the store puts the messages together and queues them.

use std::sync::Arc;

use crate::model::event::Event;
use crate::model::webhook::Digest;
use crate::store::{DueItem, DueKey, Rest, Sent};

/// The window of one lane; by default nothing is collected.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    digest: Option<Digest>,
    /// When the first delivery was queued of those that wait, in milliseconds of the steady clock.
    since: Option<i64>,
    /// The first entry of those that it is known of.
    first: Option<DueKey>,
    /// True if some of them may wait for no window: their severity is not known here.
    is_unsorted: bool,
    /// True while the store puts them together.
    is_asked: bool,
}

impl Collecting {
    /// Sets the webhook's digest; true if that changes it. What waits is noted again then.
    pub(super) fn set(&mut self, digest: Option<Digest>) -> bool {
        if self.digest == digest {
            return false;
        }
        let is_unsorted = digest.is_some_and(|digest| digest.bypass_severity.is_some());
        *self = Self { digest, since: None, first: None, is_unsorted, ..*self };
        true
    }

    /// Nothing waits that is known here. What the store was asked for may be of an activation that is over.
    pub(super) fn forget(&mut self) {
        (self.since, self.first, self.is_asked) = (None, None, false);
    }

    /// Notes a queue entry, if deliveries in it wait for the window; true if they do. It `is_new` if it was just queued.
    pub(super) fn takes<'a>(
        &mut self,
        key: DueKey,
        items: impl IntoIterator<Item = &'a (DueItem, Option<Arc<Event>>)>,
        is_new: bool,
    ) -> bool {
        let Some(digest) = self.digest else { return false };
        let mut is_waiting = false;
        for (item, event) in items.into_iter().filter(|(item, _)| item.sent == Sent::Never) {
            is_waiting = true;
            // Those of events that were just accepted are sorted; what was recovered or redelivered is not.
            self.is_unsorted |= is_new && digest.bypass_severity.is_some() && event.is_none();
            self.since = self.since.into_iter().chain([item.due_in(key)]).min();
        }
        if is_waiting {
            self.first = self.first.into_iter().chain([key]).min();
        }
        is_waiting
    }

    /// True if an entry is before this one of which deliveries wait for the window.
    pub(super) fn is_before(&self, key: DueKey) -> bool {
        self.first.is_some_and(|first| first < key)
    }

    /// When the store is to be asked next, and true if the window is closed then; else it sorts what waits.
    pub(super) fn next(&mut self, now_ms: i64) -> Option<(i64, bool)> {
        let digest = self.digest.filter(|_| !self.is_asked)?;
        // What seems to have been queued later was queued before the wall clock was set back.
        let since = self.since?.min(now_ms);
        self.since = Some(since);
        if self.is_unsorted { Some((now_ms, false)) } else { Some((since.saturating_add(digest.window_ms()), true)) }
    }

    /// The store was asked.
    pub(super) fn asked(&mut self) {
        self.is_asked = true;
    }

    /// The store has queued what it put together; this still waits.
    pub(super) fn collected(&mut self, rest: Option<Rest>) {
        (self.is_asked, self.is_unsorted) = (false, false);
        (self.since, self.first) = rest.map(|rest| (rest.since_ms, rest.first)).unzip();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Severity;
    use crate::model::id::{DeliveryId, EventId, WebhookId};

    const DIGEST: Digest = Digest { window_seconds: 60, over: 3, bypass_severity: None };

    fn key(due_ms: i64) -> DueKey {
        DueKey { webhook: WebhookId::from_bytes([1; 16]), activation: 0, rank: 0, due_ms, seq: 1 }
    }

    fn items(sent: &[Sent]) -> Vec<(DueItem, Option<Arc<Event>>)> {
        let item = |sent| {
            let (event, delivery) = (EventId::generate(), DeliveryId::generate());
            DueItem { event, slot: 0, delivery, attempt: 1, earlier: 0, sent, rank: 5, due_ms: None, has_failed: false }
        };
        sent.iter().map(|sent| (item(*sent), None)).collect()
    }

    fn rest(due_ms: i64) -> Option<Rest> {
        Some(Rest { first: key(due_ms), since_ms: due_ms })
    }

    #[test]
    fn a_window_closes_so_long_after_the_first_delivery_was_queued() {
        let mut collecting = Collecting::default();
        assert!(!collecting.takes(key(5), &items(&[Sent::Never]), true), "nothing is collected");
        assert!(collecting.set(Some(DIGEST)) && !collecting.set(Some(DIGEST)));
        assert_eq!(collecting.next(0), None);
        assert!(!collecting.takes(key(1), &items(&[Sent::Alone, Sent::Before(None)]), true), "they wait for no window");
        for due in [1_000, 30_000, 500] {
            assert!(collecting.takes(key(due), &items(&[Sent::Before(None), Sent::Never]), true));
        }
        assert_eq!(collecting.next(40_000), Some((60_500, true)));
        assert!(collecting.is_before(key(501)) && !collecting.is_before(key(500)));
        collecting.asked();
        assert_eq!(collecting.next(70_000), None, "once");
        collecting.forget();
        collecting.takes(key(1_000), &items(&[Sent::Never]), false);
        assert_eq!(collecting.next(70_000), Some((61_000, true)), "another activation asks for itself");
        collecting.collected(rest(69_000));
        assert_eq!(collecting.next(70_000), Some((129_000, true)));
        assert!(collecting.is_before(key(69_001)) && !collecting.is_before(key(69_000)), "the rest is not overtaken");
        // The wall clock was set back before this start.
        collecting.collected(rest(1_000_000));
        assert_eq!((collecting.next(70_000), collecting.next(80_000)), (Some((130_000, true)), Some((130_000, true))));
        assert!(collecting.set(Some(Digest { window_seconds: 5, ..DIGEST })));
        assert_eq!(collecting.next(80_000), None, "it is noted again");
        collecting.takes(key(79_000), &items(&[Sent::Never]), false);
        assert_eq!(collecting.next(80_000), Some((84_000, true)));
        collecting.set(None);
        assert_eq!(collecting.next(80_000), None);
    }

    #[test]
    fn what_may_wait_for_no_window_is_sorted_at_once() {
        let mut collecting = Collecting::default();
        collecting.set(Some(Digest { bypass_severity: Some(Severity::High), ..DIGEST }));
        collecting.takes(key(1_000), &items(&[Sent::Never]), false);
        assert_eq!(collecting.next(2_000), Some((2_000, false)), "it waited before there was a digest");
        collecting.asked();
        collecting.collected(rest(1_000));
        assert_eq!(collecting.next(2_000), Some((61_000, true)));
        collecting.takes(key(1_500), &items(&[Sent::Never]), false);
        assert_eq!(collecting.next(2_000), Some((61_000, true)), "a page of what is sorted");
        collecting.takes(key(1_500), &items(&[Sent::Never]), true);
        assert_eq!(collecting.next(2_000), Some((2_000, false)), "a recovery");
    }
}
