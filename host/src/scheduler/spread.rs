//! Spread: when retries are made that fell due while the host stood still. Pure: no clock.
//!
//! A host that was frozen (SIGSTOP, a suspended machine) or down finds every retry of that time due at once. They get new
//! times: few at first, and twice as many a second every ten seconds, so that hundreds take seconds and a million minutes.
//! One destination has a fifth of that.

/// The time in which the rate doubles, in milliseconds.
const DOUBLES_MS: f64 = 10_000.0;

/// The times of requests that were due before.
#[derive(Debug)]
pub(super) struct Spread {
    /// The time of the next one, in milliseconds of the steady clock.
    at: f64,
    /// Requests that have a time.
    given: f64,
    /// Requests in the time in which the rate doubles.
    first: f64,
}

impl Spread {
    /// Of the host: about 70 requests in the first second.
    pub(super) fn of_the_host() -> Self {
        Self { at: f64::MIN, given: 0.0, first: 1_000.0 }
    }

    /// Of one destination: about 14 requests in the first second.
    pub(super) fn of_one_destination() -> Self {
        Self { first: 200.0, ..Self::of_the_host() }
    }

    /// The time of so many further requests.
    pub(super) fn next(&mut self, now_ms: i64, requests: usize) -> f64 {
        let at = self.at.max(now_ms as f64);
        // With the `given`th request at `DOUBLES_MS × log2(1 + given / first)`, this is the distance to the next.
        let distance = DOUBLES_MS / (std::f64::consts::LN_2 * (self.first + self.given));
        self.at = at + distance * requests as f64;
        self.given += requests as f64;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times of so many requests that were due at 0.
    fn times(mut spread: Spread, requests: usize) -> Vec<f64> {
        (0..requests).map(|_| spread.next(0, 1)).collect()
    }

    fn within(times: &[f64], from: f64, until: f64) -> usize {
        times.iter().filter(|at| (from..until).contains(*at)).count()
    }

    #[test]
    fn a_few_are_made_at_once_hundreds_take_seconds_and_a_million_minutes() {
        for (requests, least, most) in
            [(1, 0.0, 1.0), (10, 0.1, 0.2), (400, 4.0, 6.0), (10_000, 30.0, 40.0), (1_000_000, 90.0, 110.0)]
        {
            let last = times(Spread::of_the_host(), requests)[requests - 1] / 1e3;
            assert!((least..=most).contains(&last), "{requests}: {last} s");
        }
        let of_one = times(Spread::of_one_destination(), 10_000);
        assert!((50.0..70.0).contains(&(of_one[9_999] / 1e3)), "{}", of_one[9_999]);
    }

    #[test]
    fn no_half_second_of_the_first_ten_has_a_burst() {
        for (spread, most) in [(Spread::of_the_host(), 70), (Spread::of_one_destination(), 14)] {
            let times = times(spread, 10_000);
            for half in 0..20 {
                let from = f64::from(half) * 500.0;
                let count = within(&times, from, from + 500.0);
                assert!((1..=most).contains(&count), "{count} from {from} ms on");
            }
        }
    }

    #[test]
    fn what_comes_late_is_no_burst_either() {
        let mut spread = Spread::of_the_host();
        assert!((spread.next(0, 1) - 0.0).abs() < 1e-9);
        let late: Vec<f64> = (0..100).map(|_| spread.next(60_000, 1)).collect();
        assert!((late[0] - 60_000.0).abs() < 1e-9);
        assert!(late.windows(2).all(|pair| pair[1] - pair[0] > 10.0));
    }
}
