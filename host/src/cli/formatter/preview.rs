//! `heraldry formatter preview`: one call, as it would be sent, with all that it cost.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::failure::Failure;
use super::super::terminal::{self, escape, escape_lines, line, note};
use super::{EventArgs, ToolArgs, diff, event, load, options, runtime};
use crate::formatter::{ComponentRuntime, Limits, Loaded, LogLevel, Run};

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_millis(300);

pub(super) struct Wanted {
    pub(super) file: PathBuf,
    pub(super) event: EventArgs,
    pub(super) watch: bool,
    pub(super) diff: Option<PathBuf>,
    pub(super) tool: ToolArgs,
}

pub(super) async fn run(wanted: &Wanted) -> Result<(), Failure> {
    let runtime = runtime(&wanted.tool)?;
    if !wanted.watch {
        return once(&runtime, wanted);
    }
    let mut seen = None;
    loop {
        let now = marks(wanted);
        if seen.as_ref() != Some(&now) {
            seen = Some(now);
            // A build in the middle, or a mistake: say it, and look again.
            if let Err(failure) = once(&runtime, wanted) {
                if failure.is_output_closed() {
                    return Err(failure);
                }
                terminal::complain(&failure);
            }
            note("watching; Ctrl-C ends it");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// When each file was changed.
fn marks(wanted: &Wanted) -> Vec<Option<SystemTime>> {
    let event = Path::new(&wanted.event.event);
    let files = [Some(wanted.file.as_path()), wanted.diff.as_deref(), Some(event)];
    files.into_iter().flatten().map(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok()).collect()
}

fn once(runtime: &ComponentRuntime, wanted: &Wanted) -> Result<(), Failure> {
    let loaded = load(runtime, &wanted.file)?;
    let event = event(&wanted.event.event)?;
    let options = options(&loaded, &wanted.event.options)?;
    let run = runtime.run(&loaded, &event, &options, wanted.event.transport);
    let Some(other) = &wanted.diff else {
        let fits = show(&run)?;
        measures(&loaded, &run, &runtime.limits(loaded.manifest.size))?;
        return if fits { Ok(()) } else { Err(Failure::already_said()) };
    };
    let other_loaded = load(runtime, other)?;
    let other_run = runtime.run(&other_loaded, &event, &options, wanted.event.transport);
    let (old, new) = (text(&other_run), text(&run));
    if old == new {
        line(format_args!("{}the same bytes{:#}", terminal::GOOD, terminal::GOOD))?;
    } else {
        diff::show(&format!("{} (-) and {} (+)", other.display(), wanted.file.display()), &old, &new)?;
    }
    let cost = |name: &str, old: u64, new: u64| line(format_args!("{name}  {old} -> {new}"));
    cost("instructions", other_run.instructions, run.instructions)?;
    cost("memory bytes", other_run.memory_bytes as u64, run.memory_bytes as u64)
}

/// What would be sent, whole; or why nothing would.
pub(super) fn text(run: &Run) -> String {
    match &run.result {
        Ok(payload) => {
            let mut text = format!("content-type: {}\n", payload.content_type);
            for (name, value) in &payload.headers {
                text.push_str(&format!("{name}: {value}\n"));
            }
            text.push('\n');
            match std::str::from_utf8(&payload.body) {
                Ok(body) => text.push_str(body),
                Err(_) => {
                    use base64::Engine as _;
                    text.push_str("(base64) ");
                    text.push_str(&base64::engine::general_purpose::STANDARD.encode(&payload.body));
                }
            }
            text.push('\n');
            text
        }
        Err(error) => format!("error: {error}\n"),
    }
}

/// Prints payload and log; whether there was a payload, or none by right.
fn show(run: &Run) -> Result<bool, Failure> {
    match &run.result {
        Ok(_) => line(escape_lines(text(run).trim_end_matches('\n')))?,
        Err(error) => {
            line(format_args!("{}{}: {}{:#}", terminal::BAD, error.code(), escape(&error.to_string()), terminal::BAD))?;
            if let crate::formatter::RenderError::Trap { backtrace, .. } = error {
                for function in backtrace {
                    line(format_args!("  in {}", escape(function)))?;
                }
            }
        }
    }
    for logged in &run.log {
        let level = match logged.level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        };
        note(format_args!("{}log {level}:{:#} {}", terminal::DIM, terminal::DIM, escape(&logged.message)));
    }
    if run.log_dropped > 0 {
        note(format_args!("log: {} more lines were dropped", run.log_dropped));
    }
    Ok(run.result.is_ok())
}

/// What the call cost, each against its limit.
fn measures(loaded: &Loaded, run: &Run, limits: &Limits) -> Result<(), Failure> {
    let share = |used: u64, most: u64| format!("{used} of {most} ({:.1} %)", 100.0 * used as f64 / most.max(1) as f64);
    let output = run.result.as_ref().map_or(0, |payload| payload.bytes() as u64);
    note("");
    for (name, value) in [
        ("formatter", format!("{} {}", loaded.manifest.name, loaded.manifest.version)),
        ("instructions", share(run.instructions, limits.instructions)),
        ("memory bytes", share(run.memory_bytes as u64, limits.memory_bytes)),
        ("output bytes", share(output, limits.output_bytes)),
        ("time", format!("{} us of {} ms", run.duration_us, limits.time_ms)),
    ] {
        note(format_args!("{}{name:12}{:#}  {}", terminal::DIM, terminal::DIM, escape(&value)));
    }
    Ok(())
}
