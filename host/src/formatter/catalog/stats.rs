//! Statistics of one component's calls since it was loaded, and the metrics that go with them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::info::{LastError, Numbers};
use crate::formatter::component_runtime::Run;
use crate::formatter::runtime::{Called, Digested, LogLine, RenderError};
use crate::model::event::Event;
use crate::model::time::Timestamp;
use crate::telemetry::{FormatterErrorKind, FormatterMetrics, FormatterSeries};

/// Log lines that are kept for the author, newest last.
const LOG_KEPT: usize = 20;

/// One component's statistics.
pub(super) struct Stats {
    counted: Mutex<Counted>,
    metrics: FormatterMetrics,
    name: String,
    /// The metrics of this name. Created at the first use, since most candidates for admission are never used.
    series: OnceLock<FormatterSeries>,
}

#[derive(Default)]
struct Counted {
    /// The two means in it are not kept; see the totals.
    numbers: Numbers,
    total_us: u64,
    total_instructions: u64,
    log: VecDeque<LogLine>,
    last_error: Option<LastError>,
}

/// The cost of one call.
struct Cost<'a> {
    duration_us: u64,
    processor: Duration,
    instructions: u64,
    memory_bytes: usize,
    log: &'a [LogLine],
    log_dropped: u64,
}

impl<'a> Cost<'a> {
    fn of<T>(run: &'a Run<T>) -> Self {
        Self {
            duration_us: run.duration_us,
            processor: run.processor,
            instructions: run.instructions,
            memory_bytes: run.memory_bytes,
            log: &run.log,
            log_dropped: run.log_dropped,
        }
    }
}

impl Stats {
    pub(super) fn new(metrics: FormatterMetrics, name: String) -> Self {
        Self { counted: Mutex::default(), metrics, name, series: OnceLock::new() }
    }

    /// Makes the name's metrics visible from zero on.
    pub(super) fn show(&self) {
        self.series();
    }

    /// Counts a call of `format`.
    pub(super) fn count(&self, run: &Run, event: &Event, now: impl FnOnce() -> Timestamp) {
        let mut counted = self.lock();
        self.add_cost(&mut counted, &Cost::of(run));
        match &run.result {
            Ok(payload) => {
                counted.numbers.output_bytes += payload.bytes() as u64;
                self.series().add_output(payload.bytes() as u64);
            }
            Err(RenderError::Unsupported(_)) => {
                counted.numbers.skipped += 1;
                self.series().add_skipped();
            }
            Err(error) => self.add_failure(&mut counted, error, Some(event), now()),
        }
    }

    /// Counts a call of `digest`.
    pub(super) fn count_digest(&self, run: &Run<Digested>, now: impl FnOnce() -> Timestamp) {
        let mut counted = self.lock();
        self.add_cost(&mut counted, &Cost::of(run));
        match &run.result {
            Ok(Digested { payload, .. }) => {
                counted.numbers.output_bytes += payload.bytes() as u64;
                self.series().add_output(payload.bytes() as u64);
            }
            Err(error) => self.add_failure(&mut counted, error, None, now()),
        }
    }

    /// Counts a call of `interpret`.
    pub(super) fn count_interpret<T>(&self, called: &Called<T>, now: impl FnOnce() -> Timestamp) {
        let mut counted = self.lock();
        self.add_cost(
            &mut counted,
            &Cost {
                duration_us: u64::try_from(called.duration.as_micros()).unwrap_or(u64::MAX),
                processor: called.processor,
                instructions: called.instructions,
                memory_bytes: called.memory_bytes,
                log: &called.log,
                log_dropped: called.log_dropped,
            },
        );
        if let Err(error) = &called.result {
            self.add_failure(&mut counted, error, None, now());
        }
    }

    /// Calls without an error.
    pub(super) fn successes(&self) -> u64 {
        let numbers = &self.lock().numbers;
        numbers.calls - numbers.errors
    }

    pub(super) fn numbers(&self) -> Numbers {
        let counted = self.lock();
        let mut numbers = counted.numbers.clone();
        numbers.timings.mean_us = counted.total_us / numbers.calls.max(1);
        numbers.instructions.mean = counted.total_instructions / numbers.calls.max(1);
        numbers
    }

    pub(super) fn log(&self) -> Vec<LogLine> {
        self.lock().log.iter().cloned().collect()
    }

    pub(super) fn last_error(&self) -> Option<LastError> {
        self.lock().last_error.clone()
    }

    fn add_cost(&self, counted: &mut Counted, cost: &Cost<'_>) {
        let lines = cost.log.len() as u64 + cost.log_dropped;
        let duration = Duration::from_micros(cost.duration_us);
        self.series().add_call(duration, cost.processor, cost.instructions, lines);
        let numbers = &mut counted.numbers;
        numbers.calls += 1;
        numbers.timings.max_us = numbers.timings.max_us.max(cost.duration_us);
        numbers.instructions.max = numbers.instructions.max.max(cost.instructions);
        numbers.memory_peak_bytes = numbers.memory_peak_bytes.max(cost.memory_bytes as u64);
        numbers.log_lines += lines;
        numbers.log_lines_dropped += cost.log_dropped;
        counted.total_us = counted.total_us.saturating_add(cost.duration_us);
        counted.total_instructions = counted.total_instructions.saturating_add(cost.instructions);
        for line in cost.log {
            if counted.log.len() == LOG_KEPT {
                counted.log.pop_front();
            }
            counted.log.push_back(line.clone());
        }
    }

    fn add_failure(&self, counted: &mut Counted, error: &RenderError, event: Option<&Event>, at: Timestamp) {
        let numbers = &mut counted.numbers;
        numbers.errors += 1;
        let (kind, what, counts): (_, _, &mut BTreeMap<&'static str, u64>) = match error {
            RenderError::Limit { limit, .. } => {
                (FormatterErrorKind::Limit, limit.as_str(), &mut numbers.limits_crossed)
            }
            RenderError::Trap { kind, .. } => (FormatterErrorKind::Trap, *kind, &mut numbers.traps),
            _ => (FormatterErrorKind::Error, error.code(), &mut numbers.typed_errors),
        };
        *counts.entry(what).or_default() += 1;
        self.series().add_error(kind, what);
        counted.last_error = Some(LastError {
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

    fn series(&self) -> &FormatterSeries {
        self.series.get_or_init(|| self.metrics.series(&self.name))
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
