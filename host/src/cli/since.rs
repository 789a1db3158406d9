//! Points in time on the command line, and how long ago they are, in words.

use std::time::Duration;

use crate::clock::SystemClock;
use crate::config::units::duration;
use crate::model::time::{Clock as _, Timestamp};

/// A point in time that a command is given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Since {
    At(Timestamp),
    Ago(Duration),
}

impl Since {
    /// The point in time, by this machine's clock.
    pub(super) fn at(self) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(age) => now().minus(age),
        }
    }
}

/// The time by this machine's clock.
pub(super) fn now() -> Timestamp {
    SystemClock::start().now()
}

/// Parses a time (RFC 3339), or how long ago it was.
///
/// # Errors
/// A phrase with the expected form.
pub(super) fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(at) = Timestamp::parse(text) {
        return Ok(Since::At(at));
    }
    let expected = "expected a time, as in 2026-11-17T10:00:00Z, or how long ago it was, as in 24h";
    duration(text).map(Since::Ago).map_err(|_| expected.to_owned())
}

/// A duration in its largest unit, for people: rounded down, so that nothing looks older than it is.
pub(super) fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago a time of the API was; the text itself if it is none.
pub(super) fn ago(now: Timestamp, at: &str) -> String {
    Timestamp::parse(at).map_or_else(|_| at.to_owned(), |at| words(now.since(at)))
}

/// In how long a time of the API comes; the text itself if it is none.
pub(super) fn ahead(now: Timestamp, at: &str) -> String {
    match Timestamp::parse(at) {
        Ok(at) if at <= now => "now".to_owned(),
        Ok(at) => format!("in {}", words(at.since(now))),
        Err(_) => at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_given_or_how_long_ago_it_was() {
        let at = parse_since("2026-11-17T10:00:00Z").expect("a time").at();
        assert_eq!(at.to_string(), "2026-11-17T10:00:00.000Z");
        let hour_ago = parse_since("1h").expect("an age").at();
        assert!((3599..=3601).contains(&now().since(hour_ago).as_secs()));
        for wrong in ["", "yesterday", "24", "2026-11-17", "2026-11-17 10:00:00Z"] {
            assert!(parse_since(wrong).expect_err(wrong).contains("as in 24h"), "{wrong}");
        }
    }

    #[test]
    fn durations_are_words_in_their_largest_unit() {
        for (seconds, shown) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), shown);
        }
        let now = Timestamp::parse("2026-11-17T10:00:00Z").expect("a time");
        assert_eq!(ago(now, "2026-11-17T09:45:00.000Z"), "15 min");
        assert_eq!(ago(now, "2026-11-17T10:45:00.000Z"), "0 s", "another clock is ahead");
        assert_eq!(ahead(now, "2026-11-17T10:00:30.000Z"), "in 30 s");
        assert_eq!((ahead(now, "2026-11-17T09:00:00.000Z"), ahead(now, "soon")), ("now".into(), "soon".into()));
    }
}
