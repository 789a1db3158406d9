//! How fast one webhook may be sent to: what its owner allows, and what its destination asked for. Pure: no clock.

use std::collections::VecDeque;

use crate::model::webhook::RateLimit;

/// The pace of one lane, in milliseconds of the steady clock.
#[derive(Debug, Default)]
pub(super) struct Pace {
    limit: Option<RateLimit>,
    /// When the last attempts were begun: as many as the limit counts.
    begun: VecDeque<i64>,
    /// Until when the destination wants nothing.
    paused_until: Option<i64>,
}

impl Pace {
    /// Takes the owner's limit. What was begun under another counts.
    pub(super) fn limit(&mut self, limit: Option<RateLimit>) {
        if self.limit == limit {
            return;
        }
        self.limit = limit;
        self.shorten();
    }

    /// An attempt is begun.
    pub(super) fn begin(&mut self, now_ms: i64) {
        if self.limit.is_some() {
            self.begun.push_back(now_ms);
            self.shorten();
        }
    }

    /// The destination asked for a pause; a longer one that it asked for before goes on.
    pub(super) fn pause(&mut self, until_ms: i64) {
        self.paused_until = self.paused_until.max(Some(until_ms));
    }

    /// The earliest time for the next attempt, as far as the pace goes.
    pub(super) fn ready_at(&self) -> i64 {
        let paused = self.paused_until.unwrap_or(i64::MIN);
        let limited = self.limit.and_then(|limit| {
            // The window is any stretch of so many seconds: the oldest of the last `count` must have left it.
            let full = self.begun.len() >= limit.count as usize;
            self.begun.front().filter(|_| full).map(|first| first.saturating_add(i64::from(limit.per_seconds) * 1000))
        });
        paused.max(limited.unwrap_or(i64::MIN))
    }

    fn shorten(&mut self) {
        let most = self.limit.map_or(0, |limit| limit.count as usize);
        while self.begun.len() > most {
            self.begun.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stretch_of_so_many_seconds_has_more_attempts_than_allowed() {
        let mut rng = fastrand::Rng::with_seed(7);
        for (count, per_seconds) in [(1, 1), (3, 1), (4, 10), (10, 2)] {
            let mut pace = Pace::default();
            pace.limit(Some(RateLimit { count, per_seconds }));
            let (mut now, mut begun) = (1_000, Vec::new());
            for _ in 0..500 {
                now = (now + rng.i64(0..400)).max(pace.ready_at());
                pace.begin(now);
                begun.push(now);
            }
            for window in begun.windows(count as usize + 1) {
                let stretch = window[count as usize] - window[0];
                assert!(stretch >= i64::from(per_seconds) * 1000, "{count} in {per_seconds} s: {window:?}");
            }
        }
    }

    #[test]
    fn a_pause_holds_and_a_shorter_one_does_not_end_it() {
        let mut pace = Pace::default();
        assert_eq!(pace.ready_at(), i64::MIN);
        pace.pause(5_000);
        pace.pause(2_000);
        assert_eq!(pace.ready_at(), 5_000);
        pace.limit(Some(RateLimit { count: 1, per_seconds: 60 }));
        pace.begin(4_000);
        assert_eq!(pace.ready_at(), 64_000);
        pace.limit(None);
        assert_eq!(pace.ready_at(), 5_000);
    }
}
