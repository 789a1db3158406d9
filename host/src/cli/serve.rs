//! `heraldry serve`: the host.

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::failure::{Failure, OrHint as _};
use super::terminal::note;
use super::{logging, terminal};
use crate::app::{self, Parts, Shutdown, ShutdownHandle};
use crate::config::{self, ServeArgs};
use crate::formatter::Compiler;

pub(super) const HELP: &str = "\
Units: durations are whole numbers of ms, s, min, h or d (25s), sizes of B, KiB, MiB or GiB (64MiB).
The first of flag, environment, file and default that has a setting wins.

Environment only:
  HERALDRY_MASTER_KEY   base64 of the 32 bytes that encrypt secrets
                        [default: the file DATA/master.key, made on the first start]
  HERALDRY_ADMIN_TOKEN  the first admin token, 16 to 256 printable ASCII characters; never
                        printed, ignored once the store has tokens
                        [default: one is made on the first start and printed once]

Examples:
  heraldry serve
  heraldry serve --listen 0.0.0.0:8080 --data /var/lib/heraldry --log json
  heraldry serve --allow-net 10.20.0.0/16 --allow-net 127.0.0.0/8

  # heraldry.toml
  listen = \"0.0.0.0:8080\"
  allow-net = [\"10.20.0.0/16\"]
  retention = \"90d\"

SIGTERM or Ctrl-C: no new attempts, those in flight get --grace; a second signal stops at once.";

/// Runs the host until it is told to stop.
pub(super) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    let mut config = config::load(args).map_err(|error| {
        Failure::usage(error, "`heraldry serve --help` lists every setting with its unit and its default")
    })?;
    logging::start(config.log, config.log_level);
    open_more_files();
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))
        .or_hint("stop what listens there, or choose another address with --listen")?;
    // With port 0 only the listener knows; the guard has to know too.
    config.listen = listener.local_addr().or_hint("this is the system's to answer; try another --listen")?;
    let address = config.listen;
    let data = config.data.display().to_string();
    let app = app::build(config, Parts { compiler: Compiler::Child, ..Parts::default() })
        .await
        .or_hint(&format!("nothing was served; correct what is named above (the data folder is {data})"))?;

    let (handle, shutdown) = Shutdown::new();
    let signals = Signals::new().or_hint("the system refuses signal handlers")?;
    let watcher = tokio::spawn(signals.watch(handle));
    if let Some(token) = app.new_admin_token() {
        note(format_args!("admin token: {}", token.expose()));
    }
    note(format_args!("listening on http://{address}"));
    note(format_args!("API documentation: http://{address}/docs"));
    let outcome = app.run(listener, shutdown).await;
    watcher.abort();
    outcome.or_hint("the log above says what happened before")
}

/// Each client and each destination is a file descriptor: as many as the system allows this process, not as few as it
/// gives it at first (1,024 as a rule).
fn open_more_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one struct that they are given.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
        }
    };
    if !raised {
        tracing::warn!("the limit of open files could not be raised");
    }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The first signal drains, the second stops at once.
    async fn watch(mut self, handle: ShutdownHandle) {
        self.next().await;
        terminal::note("stopping: attempts in flight may finish; a second signal stops at once");
        handle.drain();
        self.next().await;
        handle.stop_now();
        std::future::pending::<()>().await;
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
