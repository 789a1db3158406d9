//! What the calls of one check may take together. Each of them is within the limits of a call, but a check makes many:
//! a candidate must not keep the host busy for half a minute, nor fill its log.

use std::time::Duration;

use super::report::Finding;
use crate::formatter::runtime::{Called, Terms};
use crate::model::settings::SandboxSettings;

/// Lines that a component may log while it is checked, dropped ones included.
const LOG_LINES: u64 = 10_000;

/// The calls of one check so far, and the limits on all of them together.
pub(super) struct Budget<'a> {
    settings: &'a SandboxSettings,
    calls: u64,
    processor: Duration,
    log_lines: u64,
}

impl<'a> Budget<'a> {
    pub(super) fn new(settings: &'a SandboxSettings) -> Self {
        Self { settings, calls: 0, processor: Duration::ZERO, log_lines: 0 }
    }

    /// The terms of the next call.
    pub(super) fn terms(&self) -> Terms {
        Terms::check(self.settings, self.settings.check_time.saturating_sub(self.processor))
    }

    /// The terms of the next call, if that makes a digest.
    pub(super) fn digest_terms(&self) -> Terms {
        Terms::check_digest(self.settings, self.settings.check_time.saturating_sub(self.processor))
    }

    /// Counts a call.
    ///
    /// # Errors
    /// The finding, once the calls have taken too much together.
    pub(super) fn spend<T>(&mut self, called: Called<T>) -> Result<Called<T>, Finding> {
        self.add(called.processor, called.log.len() as u64 + called.log_dropped)?;
        Ok(called)
    }

    fn add(&mut self, processor: Duration, log_lines: u64) -> Result<(), Finding> {
        self.calls += 1;
        self.processor += processor;
        self.log_lines += log_lines;
        if self.processor >= self.settings.check_time {
            let (used, allowed) = (self.processor.as_millis(), self.settings.check_time.as_millis());
            return Err(Finding::error(
                "check_time",
                format!(
                    "checking it took {used} ms of processor time in {} calls, and {allowed} ms are allowed for all of them together",
                    self.calls
                ),
                "do less for one event: `heraldry formatter bench` shows what a call costs; an operator can raise --formatter-check-time",
            ));
        }
        if self.log_lines > LOG_LINES {
            return Err(Finding::error(
                "check_log",
                format!(
                    "it logged {} lines in {} calls while it was checked, and {LOG_LINES} are allowed for all of them together",
                    self.log_lines, self.calls
                ),
                "log what an author has to look at, a few lines a call at most",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(check_time: Duration) -> SandboxSettings {
        SandboxSettings { check_time, ..SandboxSettings::default() }
    }

    #[test]
    fn the_time_of_all_calls_is_bounded_and_the_finding_names_it() {
        let ms = Duration::from_millis;
        let settings = settings(ms(1000));
        let mut budget = Budget::new(&settings);
        assert!(budget.add(ms(600), 0).is_ok() && budget.add(ms(399), 0).is_ok());
        let finding = budget.add(ms(1), 0).expect_err("1,000 ms in all");
        assert_eq!(finding.code, "check_time");
        assert!(finding.message.contains("1000 ms of processor time in 3 calls"), "{}", finding.message);
    }

    #[test]
    fn the_log_lines_of_all_calls_are_bounded_and_the_finding_names_them() {
        let settings = settings(Duration::from_secs(1));
        let mut budget = Budget::new(&settings);
        assert!(budget.add(Duration::ZERO, LOG_LINES - 1).is_ok() && budget.add(Duration::ZERO, 1).is_ok());
        let finding = budget.add(Duration::ZERO, 1).expect_err("one line too many");
        assert_eq!(finding.code, "check_log");
        assert!(finding.message.contains("10001 lines in 3 calls"), "{}", finding.message);
    }
}
