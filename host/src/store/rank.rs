//! Ranks: a webhook's queue is one queue for each rank, side by side, so that a change of its order needs no other keys.

use std::ops::RangeInclusive;

use crate::model::event::Severity;
use crate::model::webhook::Order;

/// Entries of before format 6, whose severity is not known.
pub const UNKNOWN: u8 = 0;
/// Entries of critical events, or with one. Info has the last rank of the severities.
pub const CRITICAL: u8 = 1;
/// Entries that go out one at a time in the order of acceptance.
pub const STRICT: u8 = 6;

/// The rank of an event: the most severe has the lowest; an event without a severity ranks as info.
pub fn of(severity: Option<Severity>) -> u8 {
    let severity = severity.unwrap_or(Severity::Info);
    let above = Severity::ALL.iter().filter(|other| **other > severity).count();
    CRITICAL + u8::try_from(above).unwrap_or(STRICT - CRITICAL - 1)
}

/// The ranks that a webhook with this order has its queue in.
pub fn queues(order: Order) -> RangeInclusive<u8> {
    match order {
        Order::Arrival | Order::Severity => UNKNOWN..=STRICT - 1,
        Order::Strict => STRICT..=STRICT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_on_disks() {
        let ranks: Vec<u8> = Severity::ALL.into_iter().map(|severity| of(Some(severity))).collect();
        assert_eq!(ranks, [5, 4, 3, 2, 1]);
        assert_eq!(of(None), 5);
        assert!(queues(Order::Severity).contains(&UNKNOWN) && !queues(Order::Strict).contains(&5));
    }
}
