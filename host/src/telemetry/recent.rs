//! Attempts of the last minute, for people who look now.

use std::sync::atomic::{AtomicU64, Ordering};

/// The seconds that are looked back upon.
const SECONDS: i64 = 60;
/// Seconds that are kept: the minute, and the one that runs.
const SLOTS: usize = 64;

/// How many attempts there were in each of the last seconds. A slot holds its second in the upper half and the count in the
/// lower, so that one atomic operation counts and forgets what is older.
pub(super) struct Recent([AtomicU64; SLOTS]);

impl Default for Recent {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Recent {
    /// Counts an attempt at this time of the steady clock.
    pub(super) fn count(&self, now_ms: i64) {
        let second = second(now_ms);
        let slot = &self.0[second as usize % SLOTS];
        let counted = |value: u64| if value >> 32 == second { value + 1 } else { (second << 32) | 1 };
        // The closure always gives a value.
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| Some(counted(value)));
    }

    /// Attempts in the last minute that is over.
    pub(super) fn in_last_minute(&self, now_ms: i64) -> u64 {
        let now = second(now_ms);
        let is_recent = |of: u64| (1..=SECONDS as u64).contains(&now.wrapping_sub(of));
        let values = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        values.filter(|value| is_recent(value >> 32)).map(|value| value & u64::from(u32::MAX)).sum()
    }
}

/// The second of a time, as far as 32 bits hold it.
fn second(now_ms: i64) -> u64 {
    u64::from(now_ms.div_euclid(1000) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_counted_and_then_forgotten() {
        let recent = Recent::default();
        let start = 1_790_000_000_000;
        assert_eq!(recent.in_last_minute(start), 0);
        for second in 0..90 {
            (0..=second).for_each(|_| recent.count(start + second * 1000));
        }
        // The seconds 30 to 89, the 90th having begun.
        assert_eq!(recent.in_last_minute(start + 90_000), (31..=90).sum::<u64>());
        assert_eq!(recent.in_last_minute(start + 90_999), (31..=90).sum::<u64>());
        assert_eq!(
            recent.in_last_minute(start + 89_500),
            (30..=89).sum::<u64>(),
            "the second that runs is not counted"
        );
        assert_eq!(recent.in_last_minute(start + 148_000), 89 + 90);
        assert_eq!(recent.in_last_minute(start + 150_000), 0);
    }
}
