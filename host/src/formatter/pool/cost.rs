//! The expected cost of a call, in processor time, from the calls before it.
//!
//! The cost of a format grows with its input, so each component has an estimate for every size of input: one large event
//! among a thousand small ones must not make the small ones wait as if they were large.

use std::time::Duration;

/// Calls up to this cost are brief: they always find a thread within a moment.
const BRIEF: Duration = Duration::from_micros(500);
/// Calls from this cost on are slow: they run on threads of lower priority.
const SLOW: Duration = Duration::from_millis(2);
/// The cost of a call that nothing is known about.
const UNKNOWN: Duration = Duration::from_millis(2);
/// Weight of the last call in the mean, as a divisor.
const WEIGHT: u32 = 8;
/// Inputs up to this size are of the first class, in bytes; each further class is four times as large.
const FIRST_BYTES: usize = 4 * 1024;
/// Ratio of one class of size to the one before.
const RATIO: u32 = 4;
/// Classes of size of `format`'s input.
const SIZES: usize = 5;
/// The class of `interpret`, whose input is bounded.
const INTERPRET: usize = SIZES;
/// The class of `digest`.
const DIGEST: usize = SIZES + 1;

/// Kind of a call as far as its cost depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::formatter) struct CallClass(usize);

impl CallClass {
    /// Number of classes.
    pub(super) const COUNT: usize = SIZES + 2;

    /// A call of `format` with this many bytes of input.
    pub(in crate::formatter) fn format(bytes: usize) -> Self {
        let mut largest = FIRST_BYTES;
        let mut class = 0;
        while bytes > largest && class + 1 < SIZES {
            largest *= RATIO as usize;
            class += 1;
        }
        Self(class)
    }

    /// A call of `interpret`.
    pub(in crate::formatter) fn interpret() -> Self {
        Self(INTERPRET)
    }

    /// A call of `digest`. Before one was measured it counts as slow.
    pub(in crate::formatter) fn digest() -> Self {
        Self(DIGEST)
    }

    pub(super) fn index(self) -> usize {
        self.0
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }
}

/// The expectation of how long a call will take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// Far below a millisecond, as the built-in formats.
    Brief,
    /// Long enough to be noticed by those that wait behind it.
    Medium,
    /// Long enough for a thread of lower priority.
    Slow,
    /// No call of the component has been measured.
    Unknown,
}

/// One component's estimates, by class.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimates([Option<Duration>; CallClass::COUNT]);

impl Estimates {
    /// The expected cost. A size that has no estimate has that of the nearest smaller one, in proportion, else that of the
    /// nearest larger one.
    fn estimate(&self, class: CallClass) -> Option<Duration> {
        let own = self.0[class.0];
        match class.0 {
            INTERPRET => return own,
            DIGEST => return own.or(Some(SLOW)),
            _ if own.is_some() => return own,
            _ => {}
        }
        let smaller = (0..class.0).rev().find_map(|index| {
            let steps = u32::try_from(class.0 - index).unwrap_or(u32::MAX);
            self.0[index].map(|cost| cost.saturating_mul(RATIO.saturating_pow(steps)))
        });
        smaller.or_else(|| (class.0 + 1..SIZES).find_map(|index| self.0[index]))
    }

    /// The cost that a call's share is charged when it begins.
    pub(super) fn expected(&self, class: CallClass) -> Duration {
        self.estimate(class).unwrap_or(UNKNOWN)
    }

    pub(super) fn pace(&self, class: CallClass) -> Pace {
        match self.estimate(class) {
            None => Pace::Unknown,
            Some(cost) if cost <= BRIEF => Pace::Brief,
            Some(cost) if cost < SLOW => Pace::Medium,
            Some(_) => Pace::Slow,
        }
    }

    /// True if a call is known to cost no more than this.
    pub(super) fn is_within(&self, class: CallClass, cost: Duration) -> bool {
        self.estimate(class).is_some_and(|expected| expected <= cost)
    }

    /// The paces of all classes.
    pub(super) fn paces(&self) -> [Pace; CallClass::COUNT] {
        std::array::from_fn(|index| self.pace(CallClass(index)))
    }

    /// Learns from a finished call. The estimate is a moving average, so that one odd call changes little; a call that was
    /// `long` counts at once and in full, and is outweighed by later ones only.
    pub(super) fn learn(&mut self, class: CallClass, cost: Duration, long: Duration) {
        let known = &mut self.0[class.0];
        let mean = known.map_or(cost, |mean| (mean * (WEIGHT - 1) + cost) / WEIGHT);
        *known = Some(if cost >= long { mean.max(cost) } else { mean });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(5);

    fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn classes_of_size_have_their_bounds() {
        let class = |bytes| CallClass::format(bytes).index();
        let kib = |count: usize| count * 1024;
        assert_eq!([0, kib(4), kib(4) + 1, kib(16), kib(16) + 1].map(class), [0, 0, 1, 1, 2]);
        assert_eq!([kib(64), kib(64) + 1, kib(256), kib(256) + 1, usize::MAX].map(class), [2, 3, 3, 4, 4]);
        assert!(CallClass::all().skip(SIZES).eq([CallClass::interpret(), CallClass::digest()]));
    }

    #[test]
    fn the_pace_follows_the_estimate() {
        let small = CallClass::format(100);
        let pace = |cost| {
            let mut estimates = Estimates::default();
            estimates.learn(small, cost, LONG);
            estimates.pace(small)
        };
        assert_eq!(Estimates::default().pace(small), Pace::Unknown);
        assert_eq!([pace(BRIEF), pace(BRIEF + micros(1))], [Pace::Brief, Pace::Medium]);
        assert_eq!([pace(SLOW - micros(1)), pace(SLOW)], [Pace::Medium, Pace::Slow]);
    }

    #[test]
    fn one_odd_call_changes_little_and_a_long_one_counts_at_once() {
        let small = CallClass::format(100);
        let mut estimates = Estimates::default();
        (0..20).for_each(|_| estimates.learn(small, micros(80), LONG));
        estimates.learn(small, micros(3000), LONG);
        assert_ne!(estimates.pace(small), Pace::Slow);
        estimates.learn(small, LONG, LONG);
        assert_eq!(estimates.pace(small), Pace::Slow);
        assert!(estimates.expected(small) >= LONG);
        // It is forgiven after many brief calls, not after a few.
        (0..4).for_each(|_| estimates.learn(small, micros(80), LONG));
        assert_eq!(estimates.pace(small), Pace::Slow);
        (0..40).for_each(|_| estimates.learn(small, micros(80), LONG));
        assert_eq!(estimates.pace(small), Pace::Brief);
    }

    #[test]
    fn a_size_without_calls_is_estimated_from_its_neighbours() {
        let (small, medium, large) = (CallClass::format(100), CallClass::format(10_000), CallClass::format(50_000));
        let mut estimates = Estimates::default();
        estimates.learn(medium, micros(400), LONG);
        assert_eq!([small, large].map(|class| estimates.expected(class)), [micros(400), micros(1600)]);
        assert_eq!(estimates.pace(CallClass::interpret()), Pace::Unknown);
        assert_eq!(estimates.pace(CallClass::digest()), Pace::Slow, "nobody waits for it on a normal thread");
        estimates.learn(CallClass::digest(), micros(300), LONG);
        assert_eq!(estimates.pace(CallClass::digest()), Pace::Brief);
        // A slow large event says nothing about small ones that were measured.
        estimates.learn(small, micros(60), LONG);
        estimates.learn(large, LONG, LONG);
        assert_eq!([estimates.pace(small), estimates.pace(large)], [Pace::Brief, Pace::Slow]);
    }
}
