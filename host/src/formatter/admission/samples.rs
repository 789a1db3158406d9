//! Trials of a component on the sample events.

use super::budget::Budget;
use super::interface;
use super::manifest::{Kind, Manifest};
use super::report::{Finding, Report, Trial};
use super::validator::{Sample, Validator, callers, not_deterministic};
use crate::formatter::runtime::{Called, Limit, Linked, Payload, RenderError};
use crate::model::url::TransportKind;

/// Share of a limit, in percent, from which the author is warned.
const NEAR_PERCENT: u64 = 50;
/// Samples that one finding names, and ways of failing that one report lists.
const NAMED_SAMPLES: usize = 5;
/// Samples that may exhaust the limit on instructions or time before the trials stop.
const SLOW_SAMPLES: usize = 2;

/// What went wrong with some of the samples.
#[derive(Default)]
struct Faults {
    failed: Vec<(String, RenderError)>,
    unstable: Vec<String>,
    feeds: Vec<String>,
}

/// Runs every sample twice. A formatter may decline an event; it may not crash, exceed a limit, return an illegal
/// payload, or return something else the second time. What it does with events of types that came after its contract is
/// no reason to reject it: it was built before there were any.
pub(super) fn try_all(
    validator: &Validator<'_>,
    budget: &mut Budget<'_>,
    linked: &Linked,
    manifest: &Manifest,
    report: &mut Report,
) {
    let (mut known, mut newer) = (Faults::default(), Faults::default());
    let contract = report.contract.clone().unwrap_or_default();
    let mut slow = 0;
    let mut run = |sample: &Sample| {
        let Validator { sandbox, host_name, .. } = validator;
        let terms = budget.terms();
        budget.spend(sandbox.format(linked, &sample.event, host_name, TransportKind::Http, "{}", terms))
    };
    for sample in validator.samples {
        let is_newer = interface::is_newer(sample.event.event_type, &contract);
        let mut run = || run(sample).map_err(|finding| if is_newer { finding.softened() } else { finding });
        let Some(first) = report.keep_finding(run()) else { break };
        if matches!(first.result, Err(RenderError::Limit { limit: Limit::Fuel | Limit::Time, .. })) {
            slow += 1;
        }
        if slow > SLOW_SAMPLES {
            // Each further sample would exhaust the limit as well: that takes long and adds nothing to the report.
            break;
        }
        let Some(second) = report.keep_finding(run()) else { break };
        report.trials.push(trial(sample, &first));
        let faults = if is_newer { &mut newer } else { &mut known };
        faults.add(sample, manifest.kind, first.result, &second.result);
    }
    report.findings.extend(known.findings());
    report.findings.extend(newer.warnings(&contract));
    advise(validator, linked, report);
}

impl Faults {
    /// Compares the two results of a sample.
    fn add(
        &mut self,
        sample: &Sample,
        kind: Kind,
        first: Result<Payload, RenderError>,
        second: &Result<Payload, RenderError>,
    ) {
        // The wall clock is the one thing that may differ between two runs.
        let timed_out = |result: &Result<Payload, RenderError>| {
            matches!(result, Err(RenderError::Limit { limit: Limit::Time, .. }))
        };
        if first != *second && !timed_out(&first) && !timed_out(second) {
            self.unstable.push(sample.name.clone());
        }
        match first {
            Ok(payload) if kind == Kind::Line => {
                if payload.body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
                    self.feeds.push(sample.name.clone());
                }
            }
            Ok(_)
            | Err(RenderError::Unsupported(_) | RenderError::InvalidOptions(_) | RenderError::InvalidEvent(_)) => {}
            // The operator limits the size of events; the formatter was not called.
            Err(RenderError::Limit { limit: Limit::Input, .. }) => {}
            Err(error) => self.failed.push((sample.name.clone(), error)),
        }
    }

    /// One finding for each way of failing, however many samples fail so.
    fn findings(self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = ways(self.failed)
            .map(|(message, error, samples)| {
                let message = format!("it fails on sample events ({}): {message}", named(&samples));
                Finding::error("sample_failed", message, fix(&error))
            })
            .collect();
        if !self.unstable.is_empty() {
            findings.push(not_deterministic(&format!("format ({})", named(&self.unstable))));
        }
        if !self.feeds.is_empty() {
            findings.push(Finding::error(
                "line_feed",
                format!("its kind is `line`, but the body has line feeds ({})", named(&self.feeds)),
                "replace line feeds by spaces or escapes, or say \"kind\": \"document\" in the manifest",
            ));
        }
        findings
    }

    /// The same as advice, for samples of types that came after the component's contract.
    fn warnings(self, contract: &str) -> Vec<Finding> {
        let warning = |samples: &[String], message: &str| {
            Finding::warning(
                "newer_event_failed",
                format!(
                    "it fails on events of types that came after contract {contract} ({}): {message}",
                    named(samples)
                ),
                format!(
                    "webhooks in this format do not get them; build it for contract {}, and return `unsupported-event` for types that it has no message for",
                    interface::NEWEST
                ),
            )
        };
        let mut findings: Vec<Finding> =
            ways(self.failed).map(|(message, _, samples)| warning(&samples, &message)).collect();
        if !self.unstable.is_empty() {
            findings.push(warning(&self.unstable, "two runs with the same input gave different results"));
        }
        if !self.feeds.is_empty() {
            findings.push(warning(&self.feeds, "its kind is `line`, but the body has line feeds"));
        }
        findings
    }
}

fn trial(sample: &Sample, called: &Called<Payload>) -> Trial {
    Trial {
        sample: sample.name.clone(),
        outcome: called.result.as_ref().map_or_else(RenderError::code, |_| "ok"),
        error: called.result.as_ref().err().map(ToString::to_string),
        instructions: called.instructions,
        memory_bytes: called.memory_bytes,
        output_bytes: called.result.as_ref().map_or(0, Payload::bytes),
    }
}

/// The ways of failing, as many as one report lists, each with its first error and its samples.
fn ways(failed: Vec<(String, RenderError)>) -> impl Iterator<Item = (String, RenderError, Vec<String>)> {
    let mut ways: Vec<(String, RenderError, Vec<String>)> = Vec::new();
    for (sample, error) in failed {
        let message = format!("{error}{}", callers(&error));
        match ways.iter_mut().find(|(known, ..)| *known == message) {
            Some((.., samples)) => samples.push(sample),
            None => ways.push((message, error, vec![sample])),
        }
    }
    ways.into_iter().take(NAMED_SAMPLES)
}

fn fix(error: &RenderError) -> &'static str {
    match error {
        RenderError::Limit { limit: Limit::Memory | Limit::Table, .. } => {
            "hold less at a time: a call gets a fresh instance, and need not keep anything for the next"
        }
        RenderError::Limit { limit: Limit::Stack, .. } => "recurse less deeply, or use a loop",
        RenderError::Limit { limit: Limit::Output | Limit::Headers, .. } => {
            "cut the content to fit, and say in it that you cut"
        }
        RenderError::Limit { .. } => "do less for one event: `heraldry formatter bench` shows what a call costs",
        RenderError::Trap { backtrace, .. } => trap_fix(backtrace),
        RenderError::Internal(_) => {
            "correct the code at the place that the message names; `heraldry formatter preview FILE --event TYPE` shows one call with its log"
        }
        RenderError::Illegal(_) => "wit/formatter.wit, at `payload` and `header`, has the rules",
        _ => "return `unsupported-event` for event types that the format has no message for",
    }
}

/// The advice on a trap, by the language in which the running functions are written.
fn trap_fix(backtrace: &[String]) -> &'static str {
    let any = |is: fn(&str) -> bool| backtrace.iter().any(|function| is(function));
    if any(|function| function.starts_with("JS_") || function.starts_with("js_")) {
        "catch every exception in the exported functions and throw an error with the payload `{ tag: \"internal\", val: MESSAGE }`, as the template does"
    } else if any(|function| function.starts_with("_Py") || function.starts_with("Py")) {
        "catch every exception in the exported functions and raise `Err(Error_Internal(MESSAGE))`, as the template does"
    } else if any(|function| function.contains("::")) {
        "a panic cannot be caught: return `Err(Error::Internal(..))` there, instead of unwrap, expect or an index that may be out of range"
    } else {
        "return `internal` with a message instead of a trap; catch the exceptions of a language that has them"
    }
}

fn named(samples: &[String]) -> String {
    let shown = &samples[..samples.len().min(NAMED_SAMPLES)];
    let more = samples.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// Warnings about a component that is legal.
fn advise(validator: &Validator<'_>, linked: &Linked, report: &mut Report) {
    if report.trials.is_empty() {
        return;
    }
    let limits = validator.sandbox.limits(linked.size);
    if report.trials.iter().all(|trial| trial.outcome == "unsupported_event") {
        report.findings.push(Finding::warning(
            "supports_nothing",
            "it has no message for any event type",
            "return `unsupported-event` only for types that the format really leaves out",
        ));
    }
    if report.trials.iter().all(|trial| trial.outcome == "invalid_options") {
        report.findings.push(Finding::warning(
            "options_needed",
            "it does nothing without options",
            "give every option a default, so that a webhook works as soon as it names the format",
        ));
    }
    let most = |cost: fn(&Trial) -> u64| report.trials.iter().map(cost).max().unwrap_or_default();
    let near = [
        ("instructions", most(|trial| trial.instructions), limits.instructions),
        ("memory", most(|trial| trial.memory_bytes as u64), limits.memory_bytes),
        ("output", most(|trial| trial.output_bytes as u64), limits.output_bytes),
    ];
    for (limit, used, allowed) in near {
        if used.saturating_mul(100) >= allowed.saturating_mul(NEAR_PERCENT) && used < allowed {
            report.findings.push(Finding::warning(
                "near_limit",
                format!("a sample takes {used} of the {allowed} that the limit on {limit} allows"),
                "real events are larger than the samples: leave room",
            ));
        }
    }
}
