//! `heraldry formatter check`: reports all findings about a component at once.

use std::path::{Path, PathBuf};

use super::super::failure::Failure;
use super::super::terminal::{self, escape, line, plural};
use super::{ToolArgs, project, read, runtime, show_finding};
use crate::formatter::{Report, Severity, Trial};

/// Exit code when the component could not be checked (unreadable file, or a failure of the tool itself).
const EXIT_NOT_CHECKED: u8 = 2;

pub(super) fn run(file: Option<PathBuf>, json: bool, tool: &ToolArgs) -> Result<(), Failure> {
    let checked = project::component(file).and_then(|file| {
        let runtime = runtime(tool)?;
        let bytes = read_any(&runtime, &file)?;
        Ok((runtime.check(&bytes).0, file))
    });
    let (report, file) = match checked {
        Ok(report) => report,
        Err(failure) => {
            terminal::print_failure(&failure);
            return Err(Failure::already_printed_with(EXIT_NOT_CHECKED));
        }
    };
    if json {
        let text = serde_json::to_string(&report)
            .map_err(|error| Failure::failed(error, "this is a bug in Heraldry: report it"))?;
        line(terminal::escape_json(&text))?;
    } else {
        show(&file, &report)?;
    }
    if report.fits {
        return Ok(());
    }
    Err(if report.is_judged() { Failure::already_printed() } else { Failure::already_printed_with(EXIT_NOT_CHECKED) })
}

/// Reads a file even if it is above the size limit, so that the report can say so.
fn read_any(runtime: &crate::formatter::ComponentRuntime, file: &Path) -> Result<Vec<u8>, Failure> {
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_READ_BYTES => {
            std::fs::read(file).map_err(|error| {
                let error = anyhow::anyhow!("cannot read {}: {error}", file.display());
                Failure::failed(error, "check the file's permissions")
            })
        }
        _ => read(runtime, file),
    }
}

/// Larger files are rejected without being read.
const MAX_READ_BYTES: u64 = 1 << 30;

fn show(file: &Path, report: &Report) -> Result<(), Failure> {
    for finding in &report.findings {
        show_finding(finding)?;
    }
    let errors = report.findings.iter().filter(|finding| finding.severity == Severity::Error).count() as u64;
    let warnings = report.findings.len() as u64 - errors;
    if !report.findings.is_empty() {
        line("")?;
    }
    if let Some(manifest) = &report.manifest {
        let unknown = || "unknown".to_owned();
        let mut rows = vec![
            ("format", format!("{} {}", manifest.name, manifest.version)),
            ("contract", report.contract.clone().unwrap_or_else(unknown)),
            ("size", format!("{} bytes", report.bytes)),
            ("digest", report.digest.clone()),
        ];
        if let Some(costs) = costs(&report.trials, "rendered") {
            rows.push(("samples", costs));
        }
        if let Some(costs) = costs(&report.digest_trials, "made") {
            rows.push(("digests", costs));
        }
        terminal::facts(&rows)?;
    }
    let name = escape(&file.display().to_string()).into_owned();
    let more = match warnings {
        0 => String::new(),
        count => format!(", with {}", plural(count, "warning")),
    };
    if report.fits {
        line(format_args!("{}{name} is accepted{more}{:#}", terminal::GOOD, terminal::GOOD))
    } else {
        line(format_args!("{}{name} is rejected: {}{more}{:#}", terminal::BAD, plural(errors, "error"), terminal::BAD))
    }
}

/// A summary of the sample runs: successes and the largest cost.
fn costs(trials: &[Trial], done: &str) -> Option<String> {
    let instructions = trials.iter().map(|trial| trial.instructions).max()?;
    let memory = trials.iter().map(|trial| trial.memory_bytes).max()?;
    let fine = trials.iter().filter(|trial| trial.outcome == "ok").count();
    Some(format!(
        "{fine} of {} {done}, at most {instructions} instructions and {} KiB of memory",
        trials.len(),
        memory / 1024
    ))
}
