//! Probing: the state of one webhook that the circuit breaker switched off, between two probes. Pure: no clock, no store.

use crate::model::id::DeliveryId;
use crate::store::{Candidate, Origin};

/// Where a probe stands.
#[derive(Debug, Default)]
enum Phase {
    /// It waits for its time.
    #[default]
    Waiting,
    /// The store was asked for the delivery that is tried.
    Asked,
    /// It waits for a permit.
    Ready(Candidate),
    /// Its attempt is in flight, or its outcome not taken in yet.
    Made,
    /// Nothing failed and nothing is held: the next delivery that is queued is tried.
    Nothing,
}

/// The probes of one lane; by default none are made.
#[derive(Debug, Default)]
pub(super) struct Probing {
    /// When the next one is due, in milliseconds of the steady clock; `None` while none are made.
    due_ms: Option<i64>,
    phase: Phase,
}

impl Probing {
    /// Sets the time of the next probe.
    pub(super) fn schedule(&mut self, due_ms: Option<i64>) {
        self.due_ms = due_ms;
        if due_ms.is_none() {
            self.phase = Phase::Waiting;
        }
    }

    /// When the store is to be asked for a delivery.
    pub(super) fn due(&self) -> Option<i64> {
        self.due_ms.filter(|_| matches!(self.phase, Phase::Waiting))
    }

    /// The store was asked.
    pub(super) fn asked(&mut self) {
        self.phase = Phase::Asked;
    }

    /// The store's response; returns true if there is an attempt to be made. By now the probe may be due later, or not be
    /// made at all.
    pub(super) fn found(&mut self, candidate: Option<Candidate>, now_ms: i64) -> bool {
        if !matches!(self.phase, Phase::Asked) {
            return false;
        }
        let is_due = self.due_ms.is_some_and(|due| due <= now_ms);
        self.phase = match candidate {
            _ if !is_due => Phase::Waiting,
            Some(candidate) => Phase::Ready(candidate),
            None => Phase::Nothing,
        };
        self.is_ready()
    }

    /// A delivery was queued: it may be the next probe.
    pub(super) fn queued(&mut self) {
        if matches!(self.phase, Phase::Nothing) {
            self.phase = Phase::Waiting;
        }
    }

    /// True while a probe waits for a permit.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(_))
    }

    /// Takes the delivery that is tried now.
    pub(super) fn take(&mut self) -> Option<Candidate> {
        match std::mem::take(&mut self.phase) {
            Phase::Ready(candidate) => {
                self.phase = Phase::Made;
                Some(candidate)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// The store has taken in the outcome of the probe.
    pub(super) fn concluded(&mut self) {
        if matches!(self.phase, Phase::Made) {
            self.phase = Phase::Waiting;
        }
    }
}

/// A probe in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// The delivery that it tries.
    pub(super) delivery: DeliveryId,
    /// Where that stands meanwhile.
    pub(super) origin: Origin,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{DeliveryId, EventId};
    use crate::store::{DueItem, Sent};

    fn candidate() -> Candidate {
        let (event, delivery) = (EventId::generate(), DeliveryId::generate());
        let item = DueItem {
            event,
            slot: 0,
            delivery,
            attempt: 5,
            earlier: 4,
            sent: Sent::Never,
            rank: 5,
            due_ms: None,
            has_failed: false,
        };
        Candidate { item, origin: Origin::Failed }
    }

    #[test]
    fn a_probe_is_asked_for_made_and_concluded() {
        let mut probing = Probing::default();
        assert_eq!(probing.due(), None);
        probing.schedule(Some(60));
        assert_eq!(probing.due(), Some(60));
        probing.asked();
        assert_eq!(probing.due(), None, "it is asked for once");
        let candidate = candidate();
        assert!(probing.found(Some(candidate.clone()), 60));
        assert_eq!(probing.take(), Some(candidate));
        assert_eq!((probing.take(), probing.due()), (None, None));
        probing.schedule(Some(300));
        assert_eq!(probing.due(), None, "its outcome is not taken in");
        probing.concluded();
        assert_eq!(probing.due(), Some(300));
    }

    #[test]
    fn the_next_delivery_is_tried_where_there_was_none() {
        let mut probing = Probing::default();
        probing.schedule(Some(60));
        probing.queued();
        probing.asked();
        assert!(!probing.found(None, 61));
        assert_eq!(probing.due(), None);
        probing.queued();
        assert_eq!(probing.due(), Some(60));
    }

    #[test]
    fn a_webhook_that_was_switched_on_meanwhile_is_not_probed() {
        let mut probing = Probing::default();
        probing.schedule(Some(60));
        probing.asked();
        probing.schedule(None);
        assert!(!probing.found(Some(candidate()), 61));
        assert_eq!(probing.due(), None);
        probing.schedule(Some(90));
        probing.asked();
        probing.schedule(Some(120));
        assert!(!probing.found(Some(candidate()), 100));
        assert_eq!(probing.due(), Some(120), "later than it was asked for");
    }
}
