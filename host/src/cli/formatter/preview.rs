//! `heraldry formatter preview`: one call, with the delivery as it would be sent and its cost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::failure::Failure;
use super::super::terminal::{self, escape, escape_lines, line, note};
use super::{EventArgs, ToolArgs, diff, digests, event, load_without_samples, options, runtime};
use crate::formatter::{ComponentRuntime, Limits, Loaded, LogLevel, Run};
use crate::model::event::Event;
use crate::model::url::TransportKind;

/// Pause between two checks of the files in watch mode.
const POLL_INTERVAL: Duration = Duration::from_millis(300);

pub(super) struct Args {
    pub(super) file: PathBuf,
    pub(super) event: EventArgs,
    pub(super) watch: bool,
    pub(super) diff: Option<PathBuf>,
    pub(super) tool: ToolArgs,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let runtime = runtime(&args.tool)?;
    if !args.watch {
        return once(&runtime, args);
    }
    let mut seen = None;
    loop {
        let now = modification_times(args);
        if seen.as_ref() != Some(&now) {
            seen = Some(now);
            // The build may still be writing the file: print the failure and go on watching.
            if let Err(failure) = once(&runtime, args) {
                if failure.is_output_closed() {
                    return Err(failure);
                }
                terminal::print_failure(&failure);
            }
            note("watching for changes; Ctrl-C to stop");
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// Modification times of the watched files; None for a missing one.
fn modification_times(args: &Args) -> Vec<Option<SystemTime>> {
    let event = args.event.event.as_deref().map(Path::new);
    let files = [Some(args.file.as_path()), args.diff.as_deref(), event];
    files.into_iter().flatten().map(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok()).collect()
}

fn once(runtime: &ComponentRuntime, args: &Args) -> Result<(), Failure> {
    let loaded = load_without_samples(runtime, &args.file)?;
    let call = Call::read(&args.event)?;
    let options = options(&loaded, &args.event.options)?;
    let run = call.run(runtime, &loaded, &options)?;
    let Some(other) = &args.diff else {
        let rendered = show(&run)?;
        measures(&loaded, &run, &call.limits(runtime.limits(loaded.manifest.size)))?;
        return if rendered { Ok(()) } else { Err(Failure::already_printed()) };
    };
    let other_loaded = load_without_samples(runtime, other)?;
    let other_run = call.run(runtime, &other_loaded, &options)?;
    let (old, new) = (text(&other_run), text(&run));
    if old == new {
        line(format_args!("{}identical output{:#}", terminal::GOOD, terminal::GOOD))?;
    } else {
        diff::show(&format!("{} (-) and {} (+)", other.display(), args.file.display()), &old, &new)?;
    }
    let cost = |name: &str, old: u64, new: u64| line(format_args!("{name}  {old} -> {new}"));
    cost("instructions", other_run.instructions, run.instructions)?;
    cost("memory bytes", other_run.memory_bytes as u64, run.memory_bytes as u64)
}

/// What is shown: the delivery of one event, or of a digest.
enum Call {
    Format(Box<Event>, TransportKind),
    Digest(Vec<Arc<Event>>),
}

impl Call {
    fn read(args: &EventArgs) -> Result<Self, Failure> {
        let name = args.event.as_deref();
        Ok(match (args.digest, name) {
            (None, _) => Self::Format(Box::new(event(name)?), args.transport),
            (Some(_), _) if args.transport != TransportKind::Http => {
                let error = anyhow::anyhow!("--digest with --transport: a digest goes over HTTP only");
                return Err(Failure::usage(error, "leave --transport out"));
            }
            (Some(count), None) => Self::Digest(digests::scan(count as usize)?),
            (Some(count), _) => Self::Digest(digests::repeated(&event(name)?, count as usize)?),
        })
    }

    fn run(&self, runtime: &ComponentRuntime, loaded: &Loaded, options: &str) -> Result<Run, Failure> {
        match self {
            Self::Format(event, transport) => Ok(runtime.run(loaded, event, options, *transport)),
            Self::Digest(events) => {
                let run = digests::make(runtime, loaded, events, options)?;
                if let Ok(made) = &run.result
                    && !made.unsupported.is_empty()
                {
                    note(format_args!("left out: {} of {} events", made.unsupported.len(), events.len()));
                }
                Ok(run.map(|made| made.payload))
            }
        }
    }

    fn limits(&self, limits: Limits) -> Limits {
        match self {
            Self::Format(..) => limits,
            Self::Digest(_) => limits.of_digest(),
        }
    }
}

/// The whole delivery as text, or the error.
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

/// Prints the payload, or the error, and the component's log. True if there is a payload.
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
        note(format_args!("log: {} more lines were dropped (limit of log lines)", run.log_dropped));
    }
    Ok(run.result.is_ok())
}

/// Prints the cost of the call, each number with its limit.
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
