//! The outcomes of one turn of the loop, which go to the store together: each call may wake the store's thread. Pure.

use crate::store::Outcome;

/// Outcomes up to which more are gathered, roughly: the store compares those of one call with one another.
const TOGETHER: usize = 256;
/// The groups that one request's outcomes may have: the halves of a batch that is split are two.
const GROUPS: u32 = 2;

/// Outcomes that the store has not heard of.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    gathered: Vec<Outcome>,
    /// The first group of the next request.
    next_group: u32,
}

impl Outcomes {
    /// Adds those of one request. They get groups of their own: what went out in two requests goes out in two again.
    pub(super) fn add(&mut self, mut outcomes: Vec<Outcome>) {
        if outcomes.is_empty() {
            return;
        }
        outcomes.iter_mut().for_each(|outcome| outcome.group += self.next_group);
        self.next_group += GROUPS;
        if self.gathered.is_empty() {
            self.gathered = outcomes;
        } else {
            self.gathered.append(&mut outcomes);
        }
    }

    /// True if there are enough for one call.
    pub(super) fn are_many(&self) -> bool {
        self.gathered.len() >= TOGETHER
    }

    /// Takes all; `None` if there are none.
    pub(super) fn take(&mut self) -> Option<Vec<Outcome>> {
        self.next_group = 0;
        Some(std::mem::take(&mut self.gathered)).filter(|outcomes| !outcomes.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::delivery::Step;
    use crate::model::id::{DeliveryId, EventId, WebhookId};
    use crate::store::{DueItem, Sent};

    fn outcome(group: u32) -> Outcome {
        let item = DueItem {
            event: EventId::generate(),
            slot: 0,
            delivery: DeliveryId::generate(),
            attempt: 1,
            earlier: 0,
            sent: Sent::Never,
            rank: 5,
            due_ms: None,
            has_failed: false,
        };
        Outcome { group, ..Outcome::new(WebhookId::generate(), item, None, Step::Skipped, None) }
    }

    #[test]
    fn requests_share_a_call_but_no_group() {
        let mut outcomes = Outcomes::default();
        assert!(outcomes.take().is_none());
        for request in [vec![outcome(0), outcome(0)], vec![], vec![outcome(0), outcome(1)], vec![outcome(0)]] {
            outcomes.add(request);
        }
        let taken = outcomes.take().expect("some");
        assert_eq!(taken.iter().map(|outcome| outcome.group).collect::<Vec<_>>(), [0, 0, 2, 3, 4]);
        outcomes.add((1..TOGETHER).map(|_| outcome(0)).collect());
        assert!(!outcomes.are_many());
        outcomes.add(vec![outcome(0)]);
        assert!(outcomes.are_many());
        assert_eq!(outcomes.take().map(|taken| taken.len()), Some(TOGETHER));
    }
}
