//! Hold: how long the attempts of one webhook occupy a permit. Pure: no clock.
//!
//! What an attempt costs the other webhooks is time, not failure: a response of 500 after 5 ms costs as little as a 200, and
//! a 200 after 29 s as much as a timeout. So a webhook's [`Tier`] follows from how long its attempts take, and neither one
//! failure nor being new says anything.

use std::collections::VecDeque;

/// An attempt that takes at least this long is slow, in milliseconds.
const SLOW_MS: i64 = 1_000;
/// One that takes at least this long hangs, in milliseconds.
const HANGING_MS: i64 = 4_000;
/// No attempt is overdue before this, in milliseconds: most destinations respond much sooner.
const OVERDUE_MS: i64 = 100;
/// The durations that the usual one is computed from. Two of the last three decide: one exception does not.
const REMEMBERED: usize = 3;
/// With so many slow attempts in flight a webhook is slow, even if others of its attempts were quick meanwhile.
const STRAGGLERS: usize = 4;
/// Half of the occupied time is forgotten after this, in milliseconds.
const HALF_LIFE_MS: f64 = 30_000.0;

/// How long an attempt, or the usual attempt of a webhook, occupies its permit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Tier {
    /// Less than a second, or not known yet.
    Quick,
    /// One second to four, or longer than this webhook's attempts usually take.
    Slow,
    /// Four seconds and more.
    Hanging,
}

impl Tier {
    /// All tiers, in order.
    pub(super) const ALL: [Self; 3] = [Self::Quick, Self::Slow, Self::Hanging];

    fn of(ms: i64) -> Self {
        match ms {
            ..SLOW_MS => Self::Quick,
            SLOW_MS..HANGING_MS => Self::Slow,
            _ => Self::Hanging,
        }
    }

    /// The next tier, and the age at which a running attempt of this one moves there. `overdue` is the webhook's
    /// [`Hold::overdue_ms`].
    pub(super) fn next(self, overdue: i64) -> Option<(Self, i64)> {
        match self {
            Self::Quick => Some((Self::Slow, overdue)),
            Self::Slow => Some((Self::Hanging, HANGING_MS)),
            Self::Hanging => None,
        }
    }
}

/// The permit that a webhook needs for its next attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// The only attempt in flight of a webhook that is known to be quick.
    First,
    /// The only one of a webhook of which nothing is known.
    FirstUnknown,
    /// One more beside others in flight.
    More,
    /// The same, of a webhook of which nothing is known.
    MoreUnknown,
    /// One of a slow webhook.
    Slow,
    /// One of a webhook that hangs.
    Hanging,
}

impl Need {
    /// All needs, in the order of their numbers.
    pub(super) const ALL: [Self; 6] =
        [Self::First, Self::FirstUnknown, Self::More, Self::MoreUnknown, Self::Slow, Self::Hanging];

    /// The tier that the attempt begins in.
    pub(super) fn tier(self) -> Tier {
        match self {
            Self::First | Self::FirstUnknown | Self::More | Self::MoreUnknown => Tier::Quick,
            Self::Slow => Tier::Slow,
            Self::Hanging => Tier::Hanging,
        }
    }

    /// True if nothing is known of the webhook.
    pub(super) fn is_unknown(self) -> bool {
        matches!(self, Self::FirstUnknown | Self::MoreUnknown)
    }
}

/// The durations of one webhook's attempts, in milliseconds of the steady clock.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Those of the last attempts.
    last: VecDeque<i64>,
    /// The lower median of these; `None` before the first.
    usual: Option<i64>,
    /// True if the last attempt before the start was delivered.
    delivered_before: bool,
    /// The highest tier that a running attempt has reached, until one ends quickly: the destination may have stopped
    /// responding.
    suspected: Option<Tier>,
    /// Attempts in flight.
    running: usize,
    /// Those of them that are not quick.
    running_slow: usize,
    /// The sum of the times at which those in flight began.
    began_sum: i64,
    /// The time that ended attempts occupied permits for, decayed up to `occupied_at`.
    occupied: f64,
    occupied_at: i64,
}

impl Hold {
    /// The webhook's last attempt before the start was delivered.
    pub(super) fn delivered_before(&mut self) {
        self.delivered_before = true;
    }

    /// The destination is another one: nothing is known of it.
    pub(super) fn forget(&mut self) {
        self.last.clear();
        self.usual = None;
        self.suspected = None;
        self.delivered_before = false;
    }

    /// Remembers how long an attempt took.
    fn remember(&mut self, took: i64) {
        self.last.push_back(took);
        if self.last.len() > REMEMBERED {
            self.last.pop_front();
        }
        let mut sorted = [i64::MAX; REMEMBERED];
        sorted.iter_mut().zip(&self.last).for_each(|(place, took)| *place = *took);
        sorted.sort_unstable();
        self.usual = Some(sorted[(self.last.len() - 1) / 2]);
    }

    /// The webhook's tier.
    pub(super) fn tier(&self) -> Tier {
        let usual = self.usual.map_or(Tier::Quick, Tier::of);
        let running = if self.running_slow >= STRAGGLERS { Tier::Slow } else { Tier::Quick };
        usual.max(running).max(self.suspected.unwrap_or(Tier::Quick))
    }

    /// What the next attempt needs.
    pub(super) fn need(&self) -> Need {
        let is_known = self.delivered_before || self.last.iter().any(|ms| Tier::of(*ms) == Tier::Quick);
        match (self.tier(), self.running == 0) {
            (Tier::Quick, true) if is_known => Need::First,
            (Tier::Quick, true) => Need::FirstUnknown,
            (Tier::Quick, false) if is_known => Need::More,
            (Tier::Quick, false) => Need::MoreUnknown,
            (Tier::Slow, _) => Need::Slow,
            (Tier::Hanging, _) => Need::Hanging,
        }
    }

    /// The age from which on a quick attempt is slow: twice the usual, within bounds.
    pub(super) fn overdue_ms(&self) -> i64 {
        self.usual.unwrap_or_default().saturating_mul(2).clamp(OVERDUE_MS, SLOW_MS)
    }

    /// An attempt begins, in this tier.
    pub(super) fn begin(&mut self, now_ms: i64, tier: Tier) {
        self.running += 1;
        self.running_slow += usize::from(tier != Tier::Quick);
        self.began_sum += now_ms;
    }

    /// A running attempt has moved to this tier.
    pub(super) fn aged(&mut self, tier: Tier) {
        self.running_slow += usize::from(tier == Tier::Slow);
        self.suspected = self.suspected.max(Some(tier));
    }

    /// An attempt that began then is over, in this tier. `tells`: it says something about the destination; one that was
    /// cut or that sent nothing does not.
    pub(super) fn end(&mut self, now_ms: i64, began_ms: i64, tier: Tier, tells: bool) {
        self.running = self.running.saturating_sub(1);
        self.running_slow = self.running_slow.saturating_sub(usize::from(tier != Tier::Quick));
        self.began_sum -= began_ms;
        let took = now_ms.saturating_sub(began_ms).max(0);
        self.occupied = self.decayed(now_ms) + took as f64;
        self.occupied_at = now_ms;
        if tells {
            self.remember(took);
        }
        if self.running == 0 || (tells && Tier::of(took) == Tier::Quick) {
            self.suspected = None;
        }
    }

    /// The time that attempts occupied permits for, those in flight included: recent time weighs more.
    pub(super) fn occupied(&self, now_ms: i64) -> f64 {
        let running = i64::try_from(self.running).unwrap_or(i64::MAX).saturating_mul(now_ms) - self.began_sum;
        self.decayed(now_ms) + running.max(0) as f64
    }

    fn decayed(&self, now_ms: i64) -> f64 {
        let elapsed = now_ms.saturating_sub(self.occupied_at).max(0) as f64;
        self.occupied * (-elapsed / HALF_LIFE_MS).exp2()
    }

    /// The host stood still for so long: that was not the destination's time.
    pub(super) fn shift(&mut self, gap_ms: i64) {
        self.began_sum += i64::try_from(self.running).unwrap_or_default().saturating_mul(gap_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts one after the other, of these durations.
    fn after(durations: &[i64]) -> Hold {
        let (mut hold, mut now) = (Hold::default(), 1_000_000);
        for &took in durations {
            let tier = hold.need().tier();
            hold.begin(now, tier);
            let reached = if took >= HANGING_MS { Tier::Hanging } else { tier };
            if reached != tier {
                Tier::ALL.into_iter().filter(|next| *next > tier && *next <= reached).for_each(|next| hold.aged(next));
            }
            hold.end(now + took, now, reached, true);
            now += took;
        }
        hold
    }

    #[test]
    fn two_of_the_last_three_attempts_decide_or_the_only_one() {
        for (durations, tier) in [
            (&[] as &[i64], Tier::Quick),
            (&[5], Tier::Quick),
            (&[999], Tier::Quick),
            (&[1_000], Tier::Slow),
            (&[3_999], Tier::Slow),
            (&[4_000], Tier::Hanging),
            (&[10_000], Tier::Hanging),
            (&[10_000, 5], Tier::Quick),
            (&[5, 10_000], Tier::Quick),
            (&[5, 5, 10_000], Tier::Quick),
            (&[5, 10_000, 10_000], Tier::Hanging),
            (&[10_000, 10_000, 5], Tier::Hanging),
            (&[10_000, 10_000, 5, 5], Tier::Quick),
        ] {
            assert_eq!(after(durations).tier(), tier, "{durations:?}");
        }
    }

    #[test]
    fn a_webhook_is_known_by_a_quick_attempt_or_by_what_was_before_the_start() {
        assert_eq!(after(&[]).need(), Need::FirstUnknown);
        assert_eq!(after(&[5]).need(), Need::First);
        assert_eq!(after(&[10_000]).need(), Need::Hanging);
        let mut hold = Hold::default();
        hold.delivered_before();
        assert_eq!(hold.need(), Need::First);
        hold.begin(0, Tier::Quick);
        assert_eq!(hold.need(), Need::More);
        hold.forget();
        assert_eq!(hold.need(), Need::MoreUnknown);
    }

    #[test]
    fn a_running_attempt_that_is_overdue_is_a_suspicion_until_another_ends_quickly() {
        let mut hold = after(&[5, 5]);
        hold.begin(0, Tier::Quick);
        hold.begin(0, Tier::Quick);
        hold.aged(Tier::Slow);
        assert_eq!(hold.need(), Need::Slow);
        hold.aged(Tier::Hanging);
        assert_eq!(hold.need(), Need::Hanging);
        hold.end(4_500, 4_400, Tier::Quick, false);
        assert_eq!(hold.need(), Need::Hanging, "an attempt that was cut says nothing");
        hold.begin(4_500, Tier::Quick);
        hold.end(4_510, 4_500, Tier::Quick, true);
        assert_eq!(hold.need(), Need::More, "a straggler");
        for _ in 1..STRAGGLERS {
            hold.begin(5_000, Tier::Quick);
            hold.aged(Tier::Slow);
        }
        hold.begin(5_000, Tier::Quick);
        hold.end(5_001, 5_000, Tier::Quick, true);
        assert_eq!(hold.need(), Need::Slow, "so many are none");
    }

    #[test]
    fn an_attempt_is_overdue_after_twice_the_usual_time_within_bounds() {
        for (durations, overdue) in [
            (&[] as &[i64], OVERDUE_MS),
            (&[5], OVERDUE_MS),
            (&[50], 100),
            (&[51], 102),
            (&[499], 998),
            (&[700], SLOW_MS),
        ] {
            assert_eq!(after(durations).overdue_ms(), overdue, "{durations:?}");
        }
    }

    #[test]
    fn occupied_time_counts_what_runs_and_decays() {
        let mut hold = Hold::default();
        hold.begin(0, Tier::Quick);
        hold.begin(1_000, Tier::Quick);
        assert!((hold.occupied(3_000) - 5_000.0).abs() < 1.0);
        hold.shift(2_000);
        assert!((hold.occupied(3_000) - 1_000.0).abs() < 1.0, "the host stood still for two seconds");
        hold.end(3_000, 2_000, Tier::Slow, true);
        hold.end(3_000, 3_000, Tier::Quick, true);
        assert!((hold.occupied(3_000) - 1_000.0).abs() < 1.0);
        assert!((hold.occupied(33_000) - 500.0).abs() < 1.0);
    }
}
