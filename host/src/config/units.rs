//! Durations, sizes and counts in text. Durations and sizes always carry their unit, so that no number is ambiguous.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("min", 60 * 1000), ("h", 60 * 60 * 1000), ("d", 24 * 60 * 60 * 1000)];

const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A whole number of `ms`, `s`, `min`, `h` or `d`, as in `500ms` or `30d`.
///
/// # Errors
/// A phrase with the expected form.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    measured(text, &DURATION_UNITS, "a duration such as `500ms`, `25s`, `30min`, `1h` or `30d`")
        .map(Duration::from_millis)
}

/// A whole number of `B`, `KiB`, `MiB` or `GiB`, as in `64MiB`; returns bytes.
///
/// # Errors
/// A phrase with the expected form.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    measured(text, &SIZE_UNITS, "a size such as `512B`, `256KiB`, `64MiB` or `1GiB`")
}

/// A whole number; `_` may group its digits.
///
/// # Errors
/// A phrase with the expected form.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    digits(text).ok_or_else(|| "expected a whole number without a unit".to_owned())
}

/// Formats a duration in the largest unit that divides it, so that parsing it again gives the same value.
pub(crate) fn show_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

/// Formats a size in the largest unit that divides it.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS)
}

fn measured(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim_start());
    let Some(number) = digits(number) else { return Err(format!("expected {expected}")) };
    if unit.is_empty() {
        return Err(format!("no unit: expected {expected}"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("`{}` is no unit here: expected {expected}", unit.escape_debug()));
    };
    number.checked_mul(*factor).ok_or_else(|| "too large".to_owned())
}

/// Parses digits with `_` between groups: `200_000_000`, but neither `_1` nor `1_`.
fn digits(text: &str) -> Option<u64> {
    if text.split('_').any(|group| group.is_empty() || !group.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |factor: u64| value.is_multiple_of(factor) && (value > 0 || factor == 1);
    let found = units.iter().rev().find(|(_, factor)| fits(*factor));
    let (name, factor) = found.copied().unwrap_or(units[0]);
    format!("{}{name}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, ms) in
            [("500ms", 500), ("25s", 25_000), ("30min", 1_800_000), ("1h", 3_600_000), ("30d", 2_592_000_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(show_duration(Duration::from_millis(ms)), text);
        }
        assert_eq!(duration(" 1_000 ms "), Ok(Duration::from_secs(1)));
        assert_eq!(show_duration(Duration::ZERO), "0s");
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("512B", 512), ("256KiB", 262_144), ("64MiB", 67_108_864), ("1GiB", 1_073_741_824)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(show_size(bytes), text);
        }
    }

    #[test]
    fn counts_have_none() {
        assert_eq!(count("200_000_000"), Ok(200_000_000));
        for text in ["", "_1", "1_", "1__0", "-1", "+1", "1.5", "5s", "99999999999999999999"] {
            assert!(count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        for (text, part) in [
            ("", "expected a duration"),
            ("25", "no unit"),
            ("s", "expected a duration"),
            ("-5s", "expected a duration"),
            ("1.5s", "is no unit here"),
            ("5 weeks", "`weeks` is no unit"),
            ("5S", "`S` is no unit"),
            ("18446744073709551615d", "too large"),
        ] {
            let error = duration(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(size("64MB").expect_err("decimal").contains("`MB` is no unit here"));
    }
}
