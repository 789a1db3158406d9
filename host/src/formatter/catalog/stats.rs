//! What a formatter's calls came to, since it was loaded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::formatter::runtime::error::RenderError;
use super::info::{LastError, LogLine, Numbers};
use crate::formatter::runtime::sandbox::Called;
use crate::formatter::component_runtime::Run;
use crate::model::event::Event;
use crate::model::time::Timestamp;

/// Log lines that are kept for the author, newest last.
const LOG_KEPT: usize = 20;

/// One component's numbers.
#[derive(Default)]
pub(in crate::formatter) struct Stats(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    numbers: Numbers,
    total_us: u64,
    log: VecDeque<LogLine>,
    last_error: Option<LastError>,
}

impl Stats {
    /// Counts a call of `format`.
    pub(in crate::formatter) fn count(&self, run: &Run, event: &Event, now: impl FnOnce() -> Timestamp) {
        let mut counted = self.lock();
        let Run { log, log_dropped, instructions, memory_bytes, duration_us, .. } = run;
        counted.cost(*duration_us, *instructions, *memory_bytes, log, *log_dropped);
        match &run.result {
            Ok(payload) => counted.numbers.output_bytes += payload.bytes() as u64,
            Err(RenderError::Unsupported(_)) => counted.numbers.skipped += 1,
            Err(error) => counted.failed(error, Some(event), now()),
        }
    }

    /// Counts a call of `interpret`.
    pub(in crate::formatter) fn count_interpret<T>(&self, called: &Called<T>, now: impl FnOnce() -> Timestamp) {
        let mut counted = self.lock();
        let us = u64::try_from(called.duration.as_micros()).unwrap_or(u64::MAX);
        counted.cost(us, called.instructions, called.memory_bytes, &called.log, called.log_dropped);
        if let Err(error) = &called.result {
            counted.failed(error, None, now());
        }
    }

    /// Calls that gave what they should.
    pub(in crate::formatter) fn successes(&self) -> u64 {
        let numbers = &self.lock().numbers;
        numbers.calls - numbers.errors
    }

    pub(in crate::formatter) fn numbers(&self) -> Numbers {
        let counted = self.lock();
        let mut numbers = counted.numbers.clone();
        numbers.timings.mean_us = counted.total_us / numbers.calls.max(1);
        numbers.instructions.mean /= numbers.calls.max(1);
        numbers
    }

    pub(in crate::formatter) fn log(&self) -> Vec<LogLine> {
        self.lock().log.iter().cloned().collect()
    }

    pub(in crate::formatter) fn last_error(&self) -> Option<LastError> {
        self.lock().last_error.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn cost(&mut self, us: u64, instructions: u64, memory_bytes: usize, log: &[LogLine], dropped: u64) {
        let numbers = &mut self.numbers;
        numbers.calls += 1;
        self.total_us = self.total_us.saturating_add(us);
        numbers.timings.max_us = numbers.timings.max_us.max(us);
        // The sum until it is shown.
        numbers.instructions.mean = numbers.instructions.mean.saturating_add(instructions);
        numbers.instructions.max = numbers.instructions.max.max(instructions);
        numbers.memory_peak_bytes = numbers.memory_peak_bytes.max(memory_bytes as u64);
        numbers.log_lines += log.len() as u64 + dropped;
        numbers.log_lines_dropped += dropped;
        for line in log {
            if self.log.len() == LOG_KEPT {
                self.log.pop_front();
            }
            self.log.push_back(line.clone());
        }
    }

    fn failed(&mut self, error: &RenderError, event: Option<&Event>, at: Timestamp) {
        self.numbers.errors += 1;
        let kind = match error {
            RenderError::Limit { limit, .. } => limit.as_str(),
            RenderError::Trap { kind, .. } => kind,
            _ => error.code(),
        };
        let kinds: &mut BTreeMap<&'static str, u64> = match error {
            RenderError::Limit { .. } => &mut self.numbers.limits_crossed,
            RenderError::Trap { .. } => &mut self.numbers.traps,
            _ => &mut self.numbers.typed_errors,
        };
        *kinds.entry(kind).or_default() += 1;
        self.last_error = Some(LastError {
            at,
            code: error.code(),
            message: error.to_string(),
            backtrace: match error {
                RenderError::Trap { backtrace, .. } => backtrace.clone(),
                _ => Vec::new(),
            },
            event_id: event.map(|event| event.id),
            event_type: event.map(|event| event.event_type.as_str()),
        });
    }
}
