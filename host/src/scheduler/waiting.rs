//! The lanes that wait for a permit, by what they need. Pure.

use std::collections::{HashSet, VecDeque};

use super::hold::Need;
use crate::model::id::WebhookId;

/// A queue for each need. A lane has at most one place in each, however often its need changes to and fro.
#[derive(Debug, Default)]
pub(super) struct Waiting([Places; Need::ALL.len()]);

#[derive(Debug, Default)]
struct Places {
    queue: VecDeque<WebhookId>,
    lanes: HashSet<WebhookId>,
}

impl Waiting {
    /// Queues a lane, unless it has a place there.
    pub(super) fn add(&mut self, need: Need, id: WebhookId) {
        let places = &mut self.0[need as usize];
        if places.lanes.insert(id) {
            places.queue.push_back(id);
        }
    }

    /// True if no lane waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|places| places.queue.is_empty())
    }

    /// Takes the lane that has waited longest.
    pub(super) fn pop(&mut self, need: Need) -> Option<WebhookId> {
        let places = &mut self.0[need as usize];
        let id = places.queue.pop_front()?;
        places.lanes.remove(&id);
        Some(id)
    }

    /// Takes the lane of the least `occupied` time, the first of equal ones. Those without one do not wait there any
    /// more, and lose their place.
    pub(super) fn pop_least(&mut self, need: Need, occupied: impl Fn(WebhookId) -> Option<f64>) -> Option<WebhookId> {
        let Places { queue, lanes } = &mut self.0[need as usize];
        queue.retain(|id| occupied(*id).is_some() || !lanes.remove(id));
        let times = queue.iter().map(|id| occupied(*id).unwrap_or_default()).enumerate();
        let (index, _) = times.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let id = queue.remove(index)?;
        lanes.remove(&id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(number: u128) -> WebhookId {
        uuid::Uuid::from_u128(number).to_string().parse().expect("an id")
    }

    #[test]
    fn a_lane_has_one_place_however_often_its_need_changes() {
        let mut waiting = Waiting::default();
        for _ in 0..1000 {
            waiting.add(Need::More, lane(1));
            waiting.add(Need::First, lane(1));
            waiting.add(Need::More, lane(2));
        }
        assert_eq!([waiting.pop(Need::More), waiting.pop(Need::More)], [Some(lane(1)), Some(lane(2))]);
        assert_eq!((waiting.pop(Need::More), waiting.pop(Need::First)), (None, Some(lane(1))));
        assert!(waiting.is_empty());
        // Once it was taken it may wait again.
        waiting.add(Need::More, lane(1));
        assert_eq!(waiting.pop(Need::More), Some(lane(1)));
    }

    #[test]
    fn the_slow_are_taken_by_the_time_that_they_occupied() {
        let mut waiting = Waiting::default();
        (1..=4).for_each(|number| waiting.add(Need::Slow, lane(number)));
        // The second does not wait any more; the third and the fourth are equal.
        let times = [(lane(1), Some(9.0)), (lane(2), None), (lane(3), Some(2.0)), (lane(4), Some(2.0))];
        let occupied = |id: WebhookId| times.iter().find(|(known, _)| *known == id).and_then(|(_, time)| *time);
        assert_eq!(waiting.pop_least(Need::Slow, occupied), Some(lane(3)));
        // Who lost its place gets a new one, behind the others.
        waiting.add(Need::Slow, lane(2));
        assert_eq!(waiting.pop_least(Need::Slow, |_| Some(0.0)), Some(lane(1)));
        assert_eq!(waiting.pop_least(Need::Slow, |_| Some(0.0)), Some(lane(4)));
        assert_eq!(waiting.pop_least(Need::Slow, |_| Some(0.0)), Some(lane(2)));
        assert_eq!(waiting.pop_least(Need::Slow, |_| Some(0.0)), None);
    }
}
