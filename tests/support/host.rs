//! The real binary as a child process, on a free port, with a folder of its own.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::{Client, PATIENCE, eventually, warm, within};

/// The most log lines shown when a test fails: this many errors, and this many of the last lines.
const LAST_LINES: usize = 30;

/// The start options of a host.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    arguments: Vec<OsString>,
    pub(super) environment: Vec<(String, String)>,
    allow_net: Vec<String>,
    folder: Option<Arc<TempDir>>,
    pub(super) under: Vec<OsString>,
    pub(super) is_cold: bool,
}

impl Options {
    fn new() -> Self {
        let allow_net = ["127.0.0.0/8", "::1/128"].map(str::to_owned).into();
        let (arguments, environment, under) = (Vec::new(), Vec::new(), Vec::new());
        Self { arguments, environment, allow_net, folder: None, under, is_cold: false }
    }

    /// Starts as on a machine that never ran a host: no master key, no compiled formatters.
    pub(crate) fn cold(mut self) -> Self {
        self.is_cold = true;
        self
    }

    /// Adds arguments to the command line, as in `["--retry-base", "50ms"]`.
    pub(crate) fn args<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.arguments.extend(words.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Allows deliveries to these networks instead of loopback.
    pub(crate) fn allow_net(mut self, nets: &[&str]) -> Self {
        self.allow_net = nets.iter().map(|net| (*net).to_owned()).collect();
        self
    }

    /// Fixes the wait between attempts (before jitter).
    pub(crate) fn retry_every(self, wait: &str) -> Self {
        self.args(["--retry-base", wait, "--retry-factor", "1", "--retry-cap", wait])
    }

    /// Uses a folder that the test has filled or that another host has left: data in `data`, drop-in formatters in
    /// `formatters.d`.
    pub(crate) fn folder(mut self, folder: &Arc<TempDir>) -> Self {
        self.folder = Some(Arc::clone(folder));
        self
    }

    /// Starts the host through this command line, which must exec it and not stay its parent.
    pub(crate) fn under<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.under = words.into_iter().map(Into::into).collect();
        self
    }
}

/// The result of a host that exited unexpectedly.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// All output of the process.
    pub(crate) log: String,
}

/// A running host, killed on drop.
#[derive(Debug)]
pub(crate) struct Host {
    child: Child,
    output: Output,
    folder: Arc<TempDir>,
    options: Options,
    origin: String,
    /// The first admin token; a restarted host prints none.
    admin: String,
    /// True if the log may contain a panic.
    may_panic: bool,
}

impl Host {
    /// Starts a host with an empty store that may deliver to this machine.
    pub(crate) async fn start() -> Self {
        Self::with(|options| options).await
    }

    /// Starts a host with these options and waits until it is ready, and its formatters are loaded.
    pub(crate) async fn with(choose: impl FnOnce(Options) -> Options) -> Self {
        let options = choose(Options::new());
        let folder = options.folder.clone().unwrap_or_else(|| Arc::new(new_folder()));
        Self::launch(options, folder, String::new()).await
    }

    /// Starts a host with these options and waits until it listens, ready or not; an error if it exits before.
    pub(crate) async fn attempt(choose: impl FnOnce(Options) -> Options) -> Result<Self, Ended> {
        let options = choose(Options::new());
        let folder = options.folder.clone().unwrap_or_else(|| Arc::new(new_folder()));
        warm::prepare(&options, folder.path());
        Self::spawn(options, folder, String::new()).listening().await
    }

    async fn launch(options: Options, folder: Arc<TempDir>, admin: String) -> Self {
        warm::prepare(&options, folder.path());
        let host = Self::spawn(options, folder, admin).listening().await;
        let host = host.unwrap_or_else(|ended| panic!("the host ended before it listened:\n{}", ended.log));
        let visitor = host.visitor().outside();
        eventually("readiness", async || {
            let answer = visitor.request("GET", "/readyz").try_send().await?;
            (answer.status() == 200).then_some(())
        })
        .await;
        host.formatters_loaded().await;
        host
    }

    /// Waits until everything that was there at the start is loaded.
    pub(crate) async fn formatters_loaded(&self) {
        let visitor = self.visitor().outside();
        // A cold start compiles, and other tests do so beside it.
        within(4 * PATIENCE, "the formatters", async || {
            let metrics = visitor.get("/metrics").await.expect(200);
            metrics.text().lines().any(|line| line == "heraldry_formatters_loading 0").then_some(())
        })
        .await;
    }

    fn spawn(options: Options, folder: Arc<TempDir>, admin: String) -> Self {
        let mut child = command(&options, folder.path()).spawn().expect("the binary starts");
        let output = Output::collect(&mut child);
        Self { child, output, folder, options, origin: String::new(), admin, may_panic: false }
    }

    /// Waits until the host has printed its address.
    async fn listening(mut self) -> Result<Self, Ended> {
        let found = within(PATIENCE, "the line that says where it listens", async || {
            let ended = self.child.try_wait().expect("a child").is_some();
            match self.line_after("listening on ") {
                Some(origin) => Some(Some(origin)),
                None if ended && self.output.is_complete() => Some(None),
                None => None,
            }
        })
        .await;
        let Some(origin) = found else {
            let (code, log) = (self.child.wait().expect("a child").code(), self.log());
            self.may_panic();
            return Err(Ended { code, log });
        };
        self.origin = origin;
        if self.admin.is_empty() {
            let given = self.options.environment.iter().find(|(name, _)| name == "HERALDRY_ADMIN_TOKEN");
            let given = given.map(|(_, text)| text.clone());
            self.admin = given.or_else(|| self.line_after("admin token: ")).unwrap_or_default();
        }
        Ok(self)
    }

    /// The rest of the first output line that contains these words.
    fn line_after(&self, words: &str) -> Option<String> {
        let log = self.output.text();
        log.lines().find_map(|line| line.split_once(words)).map(|(_, rest)| rest.trim().to_owned())
    }

    /// Allows panics in the log from now on, for tests that damage the host's files.
    pub(crate) fn may_panic(&mut self) {
        self.may_panic = true;
    }

    /// Runs `serve` with these options, which must fail to start; returns its exit code and output.
    pub(crate) async fn refused(choose: impl FnOnce(Options) -> Options) -> (Option<i32>, String) {
        let options = choose(Options::new());
        let folder = options.folder.clone().unwrap_or_else(|| Arc::new(new_folder()));
        let mut host = Self::spawn(options, folder, String::new());
        let status = host.exited(PATIENCE).await;
        eventually("all that it printed", async || host.output.is_complete().then_some(())).await;
        (status.code(), host.log())
    }

    /// The host's origin, as in `http://127.0.0.1:40123`.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The host's folder, which contains `data` and `formatters.d`.
    pub(crate) fn folder(&self) -> &Arc<TempDir> {
        &self.folder
    }

    /// The host's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A client with the first admin token.
    pub(crate) fn admin(&self) -> Client {
        assert!(!self.admin.is_empty(), "the host printed no admin token and was given none:\n{}", self.log());
        self.visitor().with_token(&self.admin)
    }

    /// A client without a token.
    pub(crate) fn visitor(&self) -> Client {
        Client::new(&self.origin)
    }

    /// All output of the process so far, from both streams.
    pub(crate) fn log(&self) -> String {
        self.output.text()
    }

    /// Waits for an output line with these words; returns the line.
    pub(crate) async fn logged(&self, words: &str) -> String {
        eventually(&format!("{words:?} in the log"), async || {
            self.log().lines().find(|line| line.contains(words)).map(str::to_owned)
        })
        .await
    }

    /// Kills the process (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the signal is sent");
        self.child.wait().expect("the child ends");
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The resident memory of the process, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.proc_status("VmRSS:")
    }

    /// True if the kernel may give the process huge pages.
    pub(crate) fn may_have_huge_pages(&self) -> bool {
        self.proc_status("THP_enabled:") == 1
    }

    /// A number of the process's status in `/proc`.
    fn proc_status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Sends SIGTERM without waiting for the exit.
    pub(crate) fn ask_to_end(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: no memory is involved. The child was not waited for (that takes `&mut self` and ends the
        // host's life), so the id is still its own.
        let sent = unsafe { libc::kill(id, signal) };
        assert_eq!(sent, 0, "signal {signal} could not be sent");
    }

    /// Changes the soft limit of open files of the running process.
    pub(crate) fn limit_files(&self, files: u64) {
        let id = self.child.id().to_string();
        let changed = Command::new("prlimit").args(["--pid", &id, &format!("--nofile={files}:")]).status();
        assert!(changed.expect("prlimit is installed").success(), "the limit could not be changed");
    }

    /// Sends SIGTERM and waits for the exit.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.exited(PATIENCE).await
    }

    /// Waits for the process to exit by itself.
    pub(crate) async fn exited(&mut self, patience: Duration) -> ExitStatus {
        within(patience, "the process to end", async || self.child.try_wait().expect("a child")).await
    }

    /// Starts the host again after its exit: the same folder and options, another port.
    pub(crate) async fn start_again(self) -> Self {
        self.start_again_with(|options| options).await
    }

    /// Like [`Host::start_again`], with changed options.
    pub(crate) async fn start_again_with(mut self, change: impl FnOnce(Options) -> Options) -> Self {
        assert!(self.child.try_wait().expect("a child").is_some(), "end it first: terminate() or kill()");
        let (options, folder) = (change(self.options.clone()), Arc::clone(&self.folder));
        Self::launch(options, folder, std::mem::take(&mut self.admin)).await
    }

    /// Like [`Host::start_again`], but kills the process (SIGKILL) this long after its start, ready or not.
    pub(crate) async fn start_again_and_kill(mut self, after: Duration) -> Self {
        assert!(self.child.try_wait().expect("a child").is_some(), "end it first: terminate() or kill()");
        self.child = command(&self.options, self.folder.path()).spawn().expect("the binary starts");
        self.output = Output::collect(&mut self.child);
        tokio::time::sleep(after).await;
        self.kill();
        self
    }

    /// Terminates the host gracefully (SIGTERM) and starts it again.
    pub(crate) async fn restart(mut self) -> Self {
        let status = self.terminate().await;
        assert!(status.success(), "{status}:\n{}", self.log());
        self.start_again().await
    }
}

impl Drop for Host {
    #[expect(clippy::print_stderr, reason = "the end of its log is half of why a test failed")]
    fn drop(&mut self) {
        // An error means that the process has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        // A failing test already has its own message.
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            let errors = lines.iter().copied().filter(|line| line.contains(" ERROR ") || line.contains("panicked at"));
            let errors: Vec<&str> = errors.take(LAST_LINES).collect();
            let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
            eprintln!("the host's first errors:\n{}\nand its last lines:\n{last}", errors.join("\n"));
        }
        let fine = std::thread::panicking() || self.may_panic || !log.contains("panicked at ");
        assert!(fine, "the host panicked:\n{log}");
    }
}

/// A temporary folder for one host.
pub(crate) fn new_folder() -> TempDir {
    TempDir::with_prefix("heraldry-it-").expect("a temporary folder")
}

/// The project's binary, without environment variables of this process that would affect it.
pub(crate) fn binary(folder: &Path) -> Command {
    run(&[], folder)
}

/// The binary, started through the command line `under` unless that is empty.
fn run(under: &[OsString], folder: &Path) -> Command {
    let words = under.iter().map(OsString::as_os_str).chain([OsStr::new(env!("CARGO_BIN_EXE_heraldry"))]);
    let words: Vec<&OsStr> = words.collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_lowercase();
        if text.starts_with("heraldry_") || text.ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
    command.env("NO_COLOR", "1").current_dir(folder).stdin(Stdio::null());
    command
}

fn command(options: &Options, folder: &Path) -> Command {
    let mut command = run(&options.under, folder);
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    command.arg("--data").arg(folder.join("data")).arg("--formatters").arg(folder.join("formatters.d"));
    for net in &options.allow_net {
        command.args(["--allow-net", net]);
    }
    command.args(&options.arguments).envs(options.environment.iter().map(|(name, value)| (name, value)));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The output of a process, collected by one thread per stream.
#[derive(Clone, Debug)]
struct Output(Arc<Mutex<Printed>>);

#[derive(Debug, Default)]
struct Printed {
    text: String,
    /// The number of streams that have ended, of two.
    ended: usize,
}

impl Output {
    fn collect(child: &mut Child) -> Self {
        let output = Self(Arc::default());
        output.clone().follow(child.stdout.take().expect("a pipe"));
        output.clone().follow(child.stderr.take().expect("a pipe"));
        output
    }

    fn follow(self, stream: impl Read + Send + 'static) {
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                let mut printed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                printed.text.push_str(&line);
                printed.text.push('\n');
            }
            self.0.lock().unwrap_or_else(PoisonError::into_inner).ended += 1;
        });
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }

    fn is_complete(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ended == 2
    }
}
