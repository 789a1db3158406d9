//! Trials of a component's digests: messages of many sample events.

use std::sync::Arc;

use super::budget::Budget;
use super::report::{Finding, Report, Trial};
use super::validator::{Sample, Validator, callers, not_deterministic};
use crate::formatter::runtime::{Called, DIGEST_FACTOR, Digested, Limit, Linked, RenderError};
use crate::model::delivery::Part;
use crate::model::event::Event;
use crate::model::id::EventId;

/// The numbers of events: the fewest, some, and the most.
const SIZES: [usize; 3] = [1, 100, 1000];
/// Digests of so many events and fewer are made twice. What differs there differs in larger ones, which take longer.
const TWICE: usize = 100;
/// Share of a limit, in percent, from which the author is warned.
const NEAR_PERCENT: u64 = 50;
/// Samples that one finding names.
const NAMED_SAMPLES: usize = 5;

/// Makes digests of the samples, of up to 1,000 events, if the component has digests. It may answer with an error
/// or cross a limit: the host then sends the events one by one. A trap, an illegal message, or another message the second
/// time are errors here as in `format`.
pub(super) fn try_all(validator: &Validator<'_>, budget: &mut Budget<'_>, linked: &Linked, report: &mut Report) {
    if !linked.abilities().digests || validator.samples.is_empty() {
        return;
    }
    for size in SIZES {
        let events = cycled(validator.samples, size);
        let mut run = || {
            let terms = budget.digest_terms();
            let part = Part { number: 1, parts: 1, total: u32::try_from(size).unwrap_or(u32::MAX) };
            let called = validator.sandbox.digest(linked, &events, part, validator.host_name, "{}", terms);
            called.map(|called| budget.spend(called)).transpose()
        };
        let Some(Some(first)) = report.keep_finding(run()) else { return };
        if size <= TWICE {
            let Some(Some(second)) = report.keep_finding(run()) else { return };
            if first.result != second.result && !timed_out(&first.result) && !timed_out(&second.result) {
                report.findings.push(not_deterministic(&format!("digest ({})", words(size))));
            }
        }
        report.digest_trials.push(trial(size, &first));
        if size == TWICE
            && let Ok(made) = &first.result
        {
            compare(validator.samples, made, report);
        }
        if let Err(error) = &first.result {
            report.findings.push(failed(size, error));
            // A larger one fails in the same way.
            return;
        }
    }
    advise(validator, linked, report);
}

/// `size` events: the samples again and again, each with an id of its own.
fn cycled(samples: &[Sample], size: usize) -> Vec<Arc<Event>> {
    let own = |(n, sample): (usize, &Sample)| {
        // The same ids in each check, so that the costs in a report are the same.
        let id = format!("019a8f00-0000-7000-9000-{:012x}", n + 1).parse();
        Arc::new(Event { id: id.unwrap_or_else(|_| EventId::generate()), ..sample.event.clone() })
    };
    samples.iter().cycle().take(size).enumerate().map(own).collect()
}

fn trial(size: usize, called: &Called<Digested>) -> Trial {
    Trial {
        sample: words(size),
        outcome: called.result.as_ref().map_or_else(RenderError::code, |_| "ok"),
        error: called.result.as_ref().err().map(ToString::to_string),
        instructions: called.instructions,
        memory_bytes: called.memory_bytes,
        output_bytes: called.result.as_ref().map_or(0, |made| made.payload.bytes()),
    }
}

fn words(size: usize) -> String {
    if size == 1 { "1 event".into() } else { format!("{size} events") }
}

/// The wall clock is the one thing that may differ between two runs.
fn timed_out(result: &Result<Digested, RenderError>) -> bool {
    matches!(result, Err(RenderError::Limit { limit: Limit::Time, .. }))
}

fn failed(size: usize, error: &RenderError) -> Finding {
    let message = format!("its digest of {} of the samples fails: {error}{}", words(size), callers(error));
    match error {
        RenderError::Internal(_) => Finding::warning(
            "digest_failed",
            message,
            "events whose digest fails are sent one by one: return an error only where no message can be made",
        ),
        // Not an error: with lower limits than usual a host must start all the same, and events go out one by one.
        RenderError::Limit { limit: Limit::Output | Limit::Headers, .. } => Finding::warning(
            "digest_failed",
            message,
            "name the worst events only, and count the others: a message has 1 to 1,000 events",
        ),
        RenderError::Limit { .. } => Finding::warning(
            "digest_failed",
            message,
            format!(
                "do less for one event: a digest of 1,000 may take {DIGEST_FACTOR} times the limits of a single call"
            ),
        ),
        RenderError::Illegal(_) => {
            Finding::error("digest_failed", message, "wit/formatter.wit, at `digest.message`, has the rules")
        }
        _ => Finding::error(
            "digest_failed",
            message,
            "return an error with a message instead of a trap; `heraldry formatter preview FILE --digest 100` shows the call",
        ),
    }
}

/// Compares what a digest leaves out with what `format` does: an event must not be lost by being collected.
fn compare(samples: &[Sample], made: &Digested, report: &mut Report) {
    let is_taken = |sample: &Sample| {
        report.trials.iter().find(|trial| trial.sample == sample.name).map(|trial| trial.outcome == "ok")
    };
    let left_out = samples.iter().enumerate().filter(|(place, _)| made.unsupported.contains(place));
    let lost: Vec<&str> =
        left_out.filter(|(_, sample)| is_taken(sample) == Some(true)).map(|(_, sample)| &*sample.name).collect();
    if !lost.is_empty() {
        let shown = lost[..lost.len().min(NAMED_SAMPLES)].join(", ");
        let more = match lost.len() - lost.len().min(NAMED_SAMPLES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        report.findings.push(Finding::warning(
            "digest_leaves_out",
            format!("its digest leaves out events that `format` has a message for ({shown}{more})"),
            "name in `unsupported` only events for which `format` returns `unsupported-event`; the others count in the digest",
        ));
    }
}

fn advise(validator: &Validator<'_>, linked: &Linked, report: &mut Report) {
    let limits = validator.sandbox.limits(linked.size).of_digest();
    let most = |cost: fn(&Trial) -> u64| report.digest_trials.iter().map(cost).max().unwrap_or_default();
    let near = [
        ("instructions", most(|trial| trial.instructions), limits.instructions),
        ("memory", most(|trial| trial.memory_bytes as u64), limits.memory_bytes),
    ];
    for (limit, used, allowed) in near {
        if used.saturating_mul(100) >= allowed.saturating_mul(NEAR_PERCENT) {
            report.findings.push(Finding::warning(
                "near_limit",
                format!("a digest of 1,000 samples takes {used} of the {allowed} that the limit on {limit} allows"),
                "real events are larger than the samples: leave room",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formatter::admission::report::Severity;
    use crate::formatter::runtime::Payload;

    fn report(outcomes: &[(&str, &'static str)]) -> Report {
        let trial = |(sample, outcome): &(&str, &'static str)| Trial {
            sample: (*sample).to_owned(),
            outcome,
            error: None,
            instructions: 0,
            memory_bytes: 0,
            output_bytes: 0,
        };
        Report {
            fits: true,
            bytes: 0,
            digest: String::new(),
            contract: None,
            interprets: false,
            digests: true,
            manifest: None,
            findings: Vec::new(),
            trials: outcomes.iter().map(trial).collect(),
            digest_trials: Vec::new(),
        }
    }

    #[test]
    fn an_event_that_only_the_digest_leaves_out_is_a_warning() {
        let samples: Vec<Sample> = crate::app::trial_samples().into_iter().take(3).collect();
        let names: Vec<&str> = samples.iter().map(|sample| &*sample.name).collect();
        let payload = Payload { content_type: "text/plain".into(), headers: Vec::new(), body: "x".into() };
        let made = |unsupported: &[usize]| Digested { payload: payload.clone(), unsupported: unsupported.into() };
        let outcomes = [(names[0], "ok"), (names[1], "unsupported_event"), (names[2], "ok")];
        for (unsupported, lost) in [(vec![], None), (vec![1], None), (vec![0, 1], Some(names[0]))] {
            let mut report = report(&outcomes);
            compare(&samples, &made(&unsupported), &mut report);
            match lost {
                None => assert!(report.findings.is_empty(), "{:?}", report.findings),
                Some(name) => {
                    assert_eq!((report.findings.len(), report.findings[0].code), (1, "digest_leaves_out"));
                    assert!(report.findings[0].message.contains(&format!("({name})")), "{:?}", report.findings);
                }
            }
        }
    }

    #[test]
    fn a_digest_may_decline_and_may_not_break() {
        let limit = |limit| RenderError::Limit { limit, allowed: "so much".into() };
        let trap = RenderError::Trap { kind: "panic", what: "it panicked".into(), backtrace: Vec::new() };
        for (error, severity) in [
            (RenderError::Internal("not today".into()), Severity::Warning),
            (limit(Limit::Fuel), Severity::Warning),
            (limit(Limit::Output), Severity::Warning),
            (RenderError::Illegal("no content type".into()), Severity::Error),
            (trap, Severity::Error),
        ] {
            let finding = failed(100, &error);
            assert_eq!((finding.code, finding.severity), ("digest_failed", severity), "{error}");
            assert!(
                finding.message.starts_with("its digest of 100 events of the samples fails: "),
                "{}",
                finding.message
            );
        }
    }

    #[test]
    fn each_event_of_a_trial_has_an_id_of_its_own_and_the_same_in_each_check() {
        let samples = crate::app::trial_samples();
        let ids = || cycled(&samples, 1000).iter().map(|event| event.id.to_string()).collect::<Vec<_>>();
        let distinct: std::collections::HashSet<_> = ids().into_iter().collect();
        assert_eq!(distinct.len(), 1000);
        assert_eq!(ids(), ids());
    }
}
