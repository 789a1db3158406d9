//! The wall clock as retention sees it. A clock that jumps years ahead makes everything look expired, so after a jump
//! nothing is removed for its age until the clock has kept its course for a day.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::txn::Txn;
use super::{StoreError, keys, record};
use crate::model::time::Timestamp;

/// The name of this record among the facts about the store.
const NAME: &str = "retention-clock";
/// A difference between the wall clock and the steady clock that is a jump, and the time that the wall clock must keep
/// its course after one.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The age at which the record is written again, far below [`DAY`]. A commit for every sweep would keep idle disks awake.
const WRITTEN_EVERY: Duration = Duration::from_secs(60 * 60);

/// What a sweep leaves for the next one. The fields' order is on disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct RetentionClock {
    /// The wall clock at the last sweep.
    seen: Timestamp,
    /// The wall clock is believed from this time of its own on.
    trusted_from: Timestamp,
}

impl RetentionClock {
    /// The clock of a store that has seen none before.
    fn first(now: Timestamp) -> Self {
        Self { seen: now, trusted_from: Timestamp::from_unix_ms(i64::MIN) }
    }

    /// The clock after `elapsed`, by the steady clock, when the wall clock shows `now`.
    fn after(self, now: Timestamp, elapsed: Duration) -> Self {
        let expected = self.seen.plus(elapsed);
        let jump = now.since(expected).max(expected.since(now));
        let trusted_from = if jump > DAY { now.plus(DAY) } else { self.trusted_from };
        Self { seen: now, trusted_from }
    }

    /// True if ages by this clock are believed. A clock at the end of all times never is.
    fn is_trusted(self) -> bool {
        self.seen >= self.trusted_from && self.seen < Timestamp::LAST
    }
}

/// The clock of the writer, with what is on the disk of it.
pub(super) struct Watched {
    clock: Option<RetentionClock>,
    /// Milliseconds of the steady clock at the last sweep; `None` before the first one of this process.
    steady_ms: Option<i64>,
    written: Option<RetentionClock>,
}

impl Watched {
    /// The clock that the last process has left. A store of before this record is known by its newest event.
    pub(super) fn load(engine: &Engine) -> Result<Self, StoreError> {
        let written = engine.get(&keys::meta(NAME))?.and_then(|bytes| record::unpack::<RetentionClock>(&bytes).ok());
        let clock = match written {
            Some(written) => Some(written),
            None => newest_acceptance(engine)?.map(RetentionClock::first),
        };
        Ok(Self { clock, steady_ms: None, written })
    }

    /// Called by each sweep; true if it may remove what is too old.
    pub(super) fn sees(&mut self, now: Timestamp, steady_ms: i64) -> bool {
        let elapsed = self.steady_ms.map_or(0, |before| steady_ms.saturating_sub(before).max(0).unsigned_abs());
        let before = self.clock;
        let clock =
            before.map_or_else(|| RetentionClock::first(now), |clock| clock.after(now, Duration::from_millis(elapsed)));
        if let Some(before) = before
            && before.trusted_from != clock.trusted_from
        {
            tracing::warn!(
                expected = %before.seen.plus(Duration::from_millis(elapsed)),
                %now,
                "the wall clock has jumped, or the host was stopped for long; nothing is removed for its age for a day"
            );
        }
        (self.clock, self.steady_ms) = (Some(clock), Some(steady_ms));
        clock.is_trusted()
    }

    /// The record to write, when the one on the disk is too old or says otherwise.
    pub(super) fn unwritten(&self) -> Option<(RetentionClock, Txn)> {
        let clock = self.clock?;
        let is_due = self.written.is_none_or(|written| {
            written.trusted_from != clock.trusted_from
                || clock.seen.since(written.seen) >= WRITTEN_EVERY
                || clock.seen < written.seen
        });
        is_due.then(|| {
            let mut txn = Txn::default();
            txn.put(keys::meta(NAME), record::pack(&clock));
            (clock, txn)
        })
    }

    pub(super) fn is_written(&mut self, clock: RetentionClock) {
        self.written = Some(clock);
    }
}

/// The time of the newest entry in the acceptance index.
fn newest_acceptance(engine: &Engine) -> Result<Option<Timestamp>, StoreError> {
    let mut newest = None;
    engine.scan(&[keys::ACCEPTED + 1], true, |key, _| {
        newest = keys::time_of(keys::ACCEPTED, key).map(Timestamp::from_unix_ms);
        false
    })?;
    Ok(newest)
}

/// The time beyond which no expiry can lie that was set by a clock on course, when something is kept for `kept`.
pub(super) fn latest_expiry(now: Timestamp, kept: Duration) -> Timestamp {
    now.plus(kept).plus(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes as they are on existing disks.
    #[test]
    fn the_record_is_written_as_before() {
        let clock = RetentionClock { seen: at(NOW), trusted_from: at(NOW + 1) };
        let written = data_encoding::HEXLOWER.encode(&record::pack(&clock));
        assert_eq!(written, "012679b70780c0e285e36882c0e285e368");
    }

    const NOW: i64 = 1_800_000_000_000;
    const MINUTE: i64 = 60_000;
    const DAY_MS: i64 = 24 * 60 * MINUTE;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    /// Runs sweeps at these times, wall and steady; which of them may remove what is old.
    fn sweeps(times: &[(i64, i64)]) -> Vec<bool> {
        let mut watched = Watched { clock: None, steady_ms: None, written: None };
        times.iter().map(|(wall, steady)| watched.sees(at(*wall), *steady)).collect()
    }

    #[test]
    fn a_day_is_a_step_and_more_than_a_day_is_a_jump() {
        let (before, after) = ((NOW, 0), NOW + MINUTE);
        assert_eq!(sweeps(&[before, (after + DAY_MS, MINUTE)]), [true, true]);
        assert_eq!(sweeps(&[before, (after + DAY_MS + 1, MINUTE)]), [true, false]);
        assert_eq!(sweeps(&[before, (after - DAY_MS, MINUTE)]), [true, true]);
        assert_eq!(sweeps(&[before, (after - DAY_MS - 1, MINUTE)]), [true, false]);
    }

    #[test]
    fn ages_count_again_when_the_clock_has_kept_its_course_for_a_day() {
        let ahead = NOW + 1000 * DAY_MS;
        let mut times = vec![(NOW, 0), (ahead, MINUTE)];
        times.extend([DAY_MS - 1, DAY_MS].map(|later| (ahead + later, MINUTE + later)));
        assert_eq!(sweeps(&times), [true, false, false, true]);
    }

    #[test]
    fn a_jump_to_the_end_of_all_times_and_back_removes_nothing() {
        let mut times = vec![(NOW, 0)];
        times.extend((1..=5000).map(|minute| (i64::MAX, minute * MINUTE)));
        times.extend((5001..=5010).map(|minute| (NOW + minute * MINUTE, minute * MINUTE)));
        let may = sweeps(&times);
        assert!(may[0] && may[1..].iter().all(|may| !may));
    }

    #[test]
    fn a_host_that_is_restarted_often_is_believed_in_the_end() {
        let mut watched = Watched { clock: Some(RetentionClock::first(at(NOW))), steady_ms: None, written: None };
        // After a long stop it runs for an hour at a time, once every three.
        let mut may = Vec::new();
        for hour in (0..30).step_by(3) {
            watched.steady_ms = None;
            may.push(watched.sees(at(NOW + 100 * DAY_MS + hour * 60 * MINUTE), 0));
        }
        assert_eq!(may, [false, false, false, false, false, false, false, false, true, true]);
    }
}
