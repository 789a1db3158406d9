//! `heraldry serve`: runs the host.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::{Failure, OrHint as _};
use super::terminal::note;
use super::{logging, terminal};
use crate::app::{self, Front, Parts, Shutdown, ShutdownHandle};
use crate::config::{self, Config, ServeArgs};
use crate::formatter::Compiler;
use crate::watchdog::Need;

pub(super) const HELP: &str = "\
Units: durations are whole numbers of ms, s, min, h or d (25s), sizes of B, KiB, MiB or GiB (64MiB).
A flag overrides the environment, the environment the file, the file the default.

Environment only:
  HERALDRY_MASTER_KEY   base64 of the 32 bytes that encrypt secrets
                        [default: the file DATA/master.key, created on the first start]
  HERALDRY_ADMIN_TOKEN  the first admin token, 16 to 256 printable ASCII characters; never
                        printed, ignored once the store has tokens
                        [default: one is created on the first start and printed once]

Examples:
  heraldry serve
  heraldry serve --listen 0.0.0.0:8080 --data /var/lib/heraldry --log json
  heraldry serve --allow-net 10.20.0.0/16 --allow-net 127.0.0.0/8

  # heraldry.toml
  listen = \"0.0.0.0:8080\"
  allow-net = [\"10.20.0.0/16\"]
  retention = \"90d\"

SIGTERM, SIGHUP, SIGQUIT or Ctrl-C starts no new attempts and gives those in flight --grace to
finish; a second one of these, except SIGHUP, stops at once.";

#[derive(clap::Args, Clone)]
pub(super) struct Args {
    /// Check the configuration and the files that it names, print what is wrong, and start nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: ServeArgs,
}

/// Runs the host until a signal stops it.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let config = config::load(&args.settings).map_err(|error| {
        Failure::usage(error, "`heraldry serve --help` lists every setting with its unit and its default")
    })?;
    if args.check {
        return check(&config);
    }
    logging::start(config.log, config.log_level);
    for unknown in config::unknown_variables() {
        tracing::warn!("{unknown}");
    }
    raise_open_file_limit();
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))
        .or_hint("stop the process that uses the address, or choose another one with --listen")?;
    let address = listener.local_addr().or_hint("choose another address with --listen")?;
    let data = config.data.display().to_string();
    let parts = Parts { compiler: Compiler::Child, ..Parts::default() };
    let front = Front::open(listener, &config, &parts).or_hint("choose another address with --listen")?;
    note(format_args!("starting on http://{address}: opening the store in {data}"));
    let app = app::build(front, config, parts)
        .await
        .or_hint(&format!("the host did not start; correct the problem named above (the data folder is {data})"))?;

    let (handle, shutdown) = Shutdown::new();
    let signals = Signals::new().or_hint("check that the system allows signal handlers")?;
    // Without it the host could only be killed.
    let watched = app.watchdog().watch("signals", Need::Partial, None);
    let watcher = tokio::spawn(watched.task(signals.watch(handle)));
    if let Some(token) = app.new_admin_token() {
        note(format_args!("admin token: {}", token.expose()));
    }
    note(format_args!("listening on http://{address}"));
    note(format_args!("API documentation: http://{address}/docs"));
    if let Some(compiling) = compiling(app.to_compile()) {
        note(compiling);
    }
    let outcome = app.run(shutdown).await;
    watcher.abort();
    outcome.or_hint("see the log above for the cause")
}

/// What a person reads while formatters are compiled: those that active webhooks name, and the others.
fn compiling((first, then): (Vec<String>, Vec<String>)) -> Option<String> {
    let (first, then) = (first.join(", "), then.join(", "));
    let what = match (first.is_empty(), then.is_empty()) {
        (true, true) => return None,
        (true, false) => then,
        (false, true) => format!("{first} (active webhooks name them)"),
        (false, false) => format!("{first} (active webhooks name them), then {then}"),
    };
    Some(format!("compiling formatters, once: {what}; deliveries wait for theirs, and everything else works meanwhile"))
}

/// Judges the files that the configuration names; its values have been checked already.
fn check(config: &Config) -> Result<(), Failure> {
    super::warn_of_unknown_variables();
    app::check(config)
        .map_err(|error| Failure::usage(error, "correct the setting that names it; nothing was started or changed"))?;
    let (listen, data) = (config.listen, config.data.display());
    terminal::line(format_args!("the configuration is valid: a host would listen on {listen}, with its data in {data}"))
}

/// Raises the soft limit of open files (usually 1,024) to the hard limit: each client and each destination takes one.
fn raise_open_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files; set it before the start (LimitNOFILE= or `ulimit -n`)");
    }
}

const HANGUP: &str = "SIGHUP";

/// The signals that ask the host to stop.
struct Signals(Vec<(&'static str, Signal)>);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let mut kinds = vec![
            ("SIGTERM", SignalKind::terminate()),
            ("SIGINT", SignalKind::interrupt()),
            ("SIGQUIT", SignalKind::quit()),
        ];
        // Under nohup the end of the session is to be ignored.
        if !hangup_is_ignored() {
            kinds.push((HANGUP, SignalKind::hangup()));
        }
        let signals = kinds.into_iter().map(|(name, kind)| Ok((name, signal(kind)?)));
        signals.collect::<std::io::Result<_>>().map(Self)
    }

    /// The first signal starts the drain, the second stops at once. A SIGHUP is never the second: a terminal that is closed
    /// and its shell send one each.
    async fn watch(mut self, handle: ShutdownHandle) {
        let name = self.next().await;
        let waiting = "waiting for attempts in flight; a second signal stops at once";
        terminal::note(format_args!("stopping after {name}: {waiting}"));
        handle.drain();
        let mut name = self.next().await;
        while name == HANGUP {
            name = self.next().await;
        }
        terminal::note(format_args!("stopping at once after {name}"));
        handle.stop_now();
        std::future::pending::<()>().await;
    }

    /// The name of the next signal.
    async fn next(&mut self) -> &'static str {
        poll_fn(|context| {
            for (name, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*name);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Returns true if the process was started with SIGHUP ignored.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit 0 is signal 1, SIGHUP.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
