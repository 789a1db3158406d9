//! Pace: how fast one webhook may be sent to, by its rate limit and by its destination's requests to slow down. Pure: no
//! clock.
//!
//! A destination that asks for a pause says which rate is too high, not which one is right. After a pause, attempts are
//! spaced as far apart as the pause was long, and the spacing shrinks by a fifth after every few that are delivered in a
//! row: multiplicative decrease at once, a gentle increase after it, as in congestion control.

use std::collections::VecDeque;

use crate::model::webhook::RateLimit;

/// Attempts after a pause are at most so far apart, in milliseconds.
pub(super) const LONGEST_SPACING: i64 = 5_000;
/// Attempts that must be delivered at one spacing before a shorter one is tried.
const IN_A_ROW: u32 = 8;
/// A spacing below this is dropped, in milliseconds.
const SHORTEST_SPACING: i64 = 50;

/// The pace of one lane, in milliseconds of the steady clock.
#[derive(Debug, Default)]
pub(super) struct Pace {
    limit: Option<RateLimit>,
    /// When the last attempts were begun: as many as the limit counts.
    begun: VecDeque<i64>,
    /// The end of the pause that the destination asked for.
    paused_until: Option<i64>,
    /// Spacing of attempts since the last pause; 0: none.
    spacing: i64,
    last_begun: Option<i64>,
    /// Attempts delivered in a row at this spacing.
    in_a_row: u32,
}

impl Pace {
    /// Sets the webhook's rate limit. Attempts begun under the one before count.
    pub(super) fn limit(&mut self, limit: Option<RateLimit>) {
        if self.limit == limit {
            return;
        }
        self.limit = limit;
        self.shorten();
    }

    /// An attempt is begun.
    pub(super) fn begin(&mut self, now_ms: i64) {
        self.last_begun = Some(now_ms);
        if self.limit.is_some() {
            self.begun.push_back(now_ms);
            self.shorten();
        }
    }

    /// The destination asked for a pause. It never shortens one that is under way.
    pub(super) fn pause(&mut self, now_ms: i64, pause_ms: i64) {
        self.paused_until = self.paused_until.max(Some(now_ms.saturating_add(pause_ms)));
        self.spacing = self.spacing.max(pause_ms.min(LONGEST_SPACING));
        self.in_a_row = 0;
    }

    /// An attempt was delivered.
    pub(super) fn accepted(&mut self) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.spacing > 0 && self.in_a_row >= IN_A_ROW {
            self.in_a_row = 0;
            self.spacing =
                Some(self.spacing * 4 / 5).filter(|spacing| *spacing >= SHORTEST_SPACING).unwrap_or_default();
        }
    }

    /// The destination changed: the pauses of the one before are over.
    pub(super) fn forget_pause(&mut self) {
        self.paused_until = None;
        self.spacing = 0;
    }

    /// The earliest time for the next attempt, by the pace alone.
    pub(super) fn ready_at(&self) -> i64 {
        let paused = self.paused_until.unwrap_or(i64::MIN);
        let limited = self.limit.and_then(|limit| {
            // A sliding window: the oldest of the last `count` attempts must have left it.
            let full = self.begun.len() >= limit.count as usize;
            self.begun.front().filter(|_| full).map(|first| first.saturating_add(i64::from(limit.per_seconds) * 1000))
        });
        let spaced = self.last_begun.filter(|_| self.spacing > 0).map(|last| last.saturating_add(self.spacing));
        paused.max(limited.unwrap_or(i64::MIN)).max(spaced.unwrap_or(i64::MIN))
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
        pace.pause(0, 5_000);
        pace.pause(0, 2_000);
        assert_eq!(pace.ready_at(), 5_000);
        pace.limit(Some(RateLimit { count: 1, per_seconds: 60 }));
        pace.begin(4_000);
        assert_eq!(pace.ready_at(), 64_000);
        pace.limit(None);
        assert_eq!(pace.ready_at(), 9_000, "as long after the last one as the pause was");
        pace.forget_pause();
        assert_eq!(pace.ready_at(), i64::MIN);
    }

    /// A destination that accepts one request a second and asks for a second's pause otherwise: few attempts are wasted on
    /// it, and the spacing goes once it is no longer needed.
    #[test]
    fn spacing_after_a_pause_finds_a_rate_that_is_accepted() {
        let (mut pace, mut now, mut accepted_at, mut rejected) = (Pace::default(), 0, i64::MIN / 2, 0);
        for _ in 0..1_000 {
            now = pace.ready_at().max(now + 1);
            pace.begin(now);
            if now - accepted_at >= 1_000 {
                accepted_at = now;
                pace.accepted();
            } else {
                rejected += 1;
                pace.pause(now, 1_000);
            }
        }
        assert!(rejected < 130, "{rejected} of 1000 were rejected");
        for _ in 0..30 * IN_A_ROW {
            pace.accepted();
        }
        assert_eq!(pace.spacing, 0);
    }
}
