//! Wiring: builds a host from a checked configuration, serves it and shuts it down. No logic: what recurs while the
//! host runs is in `upkeep`.
//!
//! A start has three steps. [`Front::open`] answers on the listener; [`build`] opens the store, after which the whole API
//! is there; the formatters are loaded meanwhile.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api, Entrance};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::filter::Expressions;
use crate::formatter::{
    COST_HERE, Catalog, CatalogOptions, CodeCache, Compiler, STACK_BYTES, Sample, allow_calls_here,
};
use crate::model::audit::Actor;
use crate::model::secret::Secret;
use crate::model::settings::ConsoleSettings;
use crate::model::time::Clock;
use crate::model::token::Role;
use crate::scheduler::{ATTEMPTS_PER_PERMIT, Inbox, Scheduler};
use crate::store::{self, Store};
use crate::telemetry::Telemetry;
use crate::transport::{Guard, Resolve, Tls, Transport};
use crate::watchdog::{Need, Pulse, Watchdog, Watched};
use crate::{console, delivery, keyring, samples, upkeep};

/// How long the response to an idempotency key is kept.
const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Time limit for requests still in flight once deliveries are drained.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that the API's accept loop may block, and the runtime of deliveries stand still.
const STANDSTILL: Duration = Duration::from_secs(30);
/// Interval of the deliveries runtime's beat.
const BEAT: Duration = Duration::from_secs(1);
/// How long a host without a vital thread still answers: its probes see why it ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The dependencies of a host beside its configuration; tests bring their own.
pub struct Parts {
    /// Wall clock and steady clock.
    pub clock: Arc<dyn Clock>,
    /// Resolves destination names; `None` for the system's DNS configuration.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Root certificates to trust beside the system's, in DER.
    pub extra_roots: Vec<Vec<u8>>,
    /// Where components are compiled. In a child process only if this program's own `main` is the executable: the
    /// child is the same binary, started with another command.
    pub compiler: Compiler,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock::start()),
            resolver: None,
            extra_roots: Vec::new(),
            compiler: Compiler::Here,
        }
    }
}

/// The sending half: asks a running host to stop.
pub struct ShutdownHandle(watch::Sender<Stage>);

/// The receiving half: tells a running host to drain or to stop.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<Stage>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Stage {
    Serve,
    Drain,
    Stop,
}

impl Shutdown {
    /// A connected pair.
    pub fn new() -> (ShutdownHandle, Self) {
        let (sender, receiver) = watch::channel(Stage::Serve);
        (ShutdownHandle(sender), Self(receiver))
    }

    async fn reached(&mut self, stage: Stage) {
        // Without a handle no shutdown can ever be requested.
        if self.0.wait_for(|now| *now >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl ShutdownHandle {
    /// Requests an orderly shutdown: no new work, work in flight may finish.
    pub fn drain(&self) {
        self.0.send_if_modified(|stage| {
            let serving = *stage == Stage::Serve;
            if serving {
                *stage = Stage::Drain;
            }
            serving
        });
    }

    /// Requests an immediate stop: attempts in flight are cut and made again after the next start.
    pub fn stop_now(&self) {
        self.0.send_replace(Stage::Stop);
    }
}

/// The listener of a host that starts: `/healthz` is answered, and everything else as soon as there is a host behind it.
pub struct Front {
    address: SocketAddr,
    entrance: Entrance,
    server: JoinHandle<io::Result<()>>,
    closing: CancellationToken,
    clock: Arc<dyn Clock>,
    watchdog: Watchdog,
    _guard: FrontGuard,
}

/// Closes the listener of a host that is not built.
struct FrontGuard {
    closing: CancellationToken,
    watchdog: Watchdog,
}

impl Drop for FrontGuard {
    fn drop(&mut self) {
        // Its end is no death.
        self.watchdog.close();
        self.closing.cancel();
    }
}

impl Front {
    /// Serves on the listener from now on.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn open(listener: TcpListener, config: &Config, parts: &Parts) -> Result<Self> {
        let address = listener.local_addr()?;
        let (entrance, closing, clock) = (Entrance::new(), CancellationToken::new(), Arc::clone(&parts.clock));
        let watchdog = Watchdog::new(Arc::clone(&clock));
        // Each attempt has a connection of its own, those that hang and have left their permits too.
        let (connections, attempts) = (config.connections, ATTEMPTS_PER_PERMIT * config.delivery.concurrency);
        let watched = watchdog.watch("api", Need::Vital, Some(STANDSTILL));
        let server = api::serve(listener, entrance.clone(), connections, attempts, closing.clone());
        let server = tokio::spawn(watched.task(server));
        let guard = FrontGuard { closing: closing.clone(), watchdog: watchdog.clone() };
        Ok(Self { address, entrance, server, closing, clock, watchdog, _guard: guard })
    }
}

/// A host that is built but not yet serving.
pub struct App {
    front: Front,
    new_admin_token: Option<Secret>,
    store: Arc<Store>,
    catalog: Arc<Catalog>,
    expressions: Arc<Expressions>,
    scheduler: Arc<Scheduler>,
    transport: Arc<Transport>,
    telemetry: Arc<Telemetry>,
    config: Config,
    /// Declared last so that it is dropped last: the scheduler's tasks run on it.
    _delivery_runtime: DeliveryRuntime,
}

/// The deliveries' own runtime, separate so that slow destinations cannot stall the API or the scheduler.
struct DeliveryRuntime(Option<Runtime>);

impl Drop for DeliveryRuntime {
    fn drop(&mut self) {
        // Dropping a runtime blocks until its tasks end, which is not allowed in async code.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Judges the files and folders that a configuration names, and changes nothing.
///
/// # Errors
/// The first that cannot be used.
pub fn check(config: &Config) -> Result<()> {
    Tls::new(&config.tls, &[])?;
    for (name, folder) in [("data", &config.data), ("formatters", &config.formatters)] {
        // Either may be absent: the data folder is created, and the drop-in folder may come later.
        anyhow::ensure!(
            folder.is_dir() || folder.symlink_metadata().is_err(),
            "--{name}: {} is not a folder",
            folder.display()
        );
    }
    Ok(())
}

/// Opens the store and starts the scheduler. The formatters are loaded from then on.
///
/// # Errors
/// If a part cannot be set up; each error names the cause and the remedy.
pub async fn build(front: Front, mut config: Config, parts: Parts) -> Result<App> {
    let Parts { clock, resolver, extra_roots, compiler } = parts;
    // With port 0 only the listener knows the port, which the SSRF guard needs too.
    config.listen = front.address;
    // Certificates and keys are read first, so that a wrong path leaves no half-made data folder behind.
    let tls = Tls::new(&config.tls, &extra_roots)?;
    let watchdog = front.watchdog.clone();
    let inbox = Inbox::new();
    let opening = {
        let (config, clock, watchdog) = (config.clone(), Arc::clone(&clock), watchdog.clone());
        let changes = inbox.changes();
        move || open_store(&config.data, &config, clock, changes, watchdog)
    };
    let store = Arc::new(tokio::task::spawn_blocking(opening).await??);
    let new_admin_token = first_token(&store, config.admin_token.as_ref()).await?;
    let host_name = store.setting("host-name", config.host_name.clone(), machine_name()).await?;
    let telemetry = Arc::new(Telemetry::bounded(config.metrics_webhooks));
    let components = config.data.join("components");
    let code_cache = CodeCache { folder: components.clone(), key: store.keyring().derive(keyring::COMPILED_CODE) };
    let options = CatalogOptions {
        metrics: telemetry.formatters(),
        settings: config.sandbox,
        processors: processors(),
        cost_here: COST_HERE,
        components,
        drop_in: config.formatters.clone(),
        host_name,
        built_in: crate::built_in(),
        samples: trial_samples(),
        compiler,
        code_cache: Some(code_cache),
        clock: Arc::clone(&clock),
        watchdog: watchdog.clone(),
        wanted: {
            let store = Arc::clone(&store);
            Box::new(move || store.webhooks().active_formats())
        },
        changes: inbox.formatters(),
        audit_events: {
            let store = Arc::clone(&store);
            Box::new(move |audit_event| store.audit_soon(audit_event))
        },
        host_events: {
            let store = Arc::clone(&store);
            Box::new(move |event| store.tell(event))
        },
    };
    let catalog = tokio::task::spawn_blocking(|| Catalog::start(options)).await??;
    let catalog = Arc::new(catalog);
    let expressions = expressions(&store, &catalog, &telemetry, &watchdog);
    // Formatters whose calls are known to be brief run on its workers.
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("deliveries")
        .thread_stack_size(STACK_BYTES)
        .on_thread_start(allow_calls_here)
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    let deliveries = watchdog.watch("deliveries", Need::Partial, Some(STANDSTILL));
    handle.spawn(beat(deliveries.pulse(), deliveries));
    let delivery_runtime = DeliveryRuntime(Some(runtime));
    let guard = Arc::new(Guard::new(config.allow_net.clone()));
    // Before the scheduler starts: deliveries left from an earlier run are due at once, and none of them may reach the
    // host's own API.
    guard.set_own(config.listen);
    let resolver = match resolver {
        Some(resolver) => resolver,
        None => crate::transport::system_resolver().context("cannot set up DNS resolution; check /etc/resolv.conf")?,
    };
    let transport = Arc::new(Transport::new(guard, resolver, tls, config.proxy.clone())?);
    let parts = delivery::Parts {
        store: Arc::clone(&store),
        catalog: Arc::clone(&catalog),
        transport: Arc::clone(&transport),
        clock: Arc::clone(&clock),
        telemetry: Arc::clone(&telemetry),
    };
    let scheduler = Arc::new(Scheduler::start(inbox, parts, config.delivery, handle, &watchdog));
    Ok(App {
        front,
        new_admin_token,
        store,
        catalog,
        expressions,
        scheduler,
        transport,
        telemetry,
        config,
        _delivery_runtime: delivery_runtime,
    })
}

impl App {
    /// The admin token, if one was generated: the store had no token and the environment named none.
    pub fn new_admin_token(&self) -> Option<&Secret> {
        self.new_admin_token.as_ref()
    }

    /// Knows of every thread of the host; a caller's own tasks may join.
    pub fn watchdog(&self) -> &Watchdog {
        &self.front.watchdog
    }

    /// The names of the formats that this start has to compile, in order: those that active webhooks name, and the others.
    pub fn to_compile(&self) -> (Vec<String>, Vec<String>) {
        self.catalog.to_compile()
    }

    /// Serves until a shutdown is requested, then drains: `/readyz` fails, no delivery is claimed any more, attempts in
    /// flight get the grace period, and what is unfinished then stays queued for the next start.
    ///
    /// # Errors
    /// If the listener fails, a task panicked, a thread has died without which nothing works, or a built-in formatter does
    /// not fit.
    pub async fn run(self, mut shutdown: Shutdown) -> Result<()> {
        let Front { entrance, server, closing, clock, watchdog, .. } = self.front;
        let draining = CancellationToken::new();
        let settings = self.config.console.then(|| ConsoleSettings { origin: self.config.console_origin.clone() });
        let service = api::router(Api {
            store: Arc::clone(&self.store),
            scheduler: Arc::clone(&self.scheduler),
            catalog: Arc::clone(&self.catalog),
            expressions: Arc::clone(&self.expressions),
            transport: Arc::clone(&self.transport),
            limits: self.config.limits,
            telemetry: Arc::clone(&self.telemetry),
            clock: Arc::clone(&clock),
            watchdog: watchdog.clone(),
            draining: draining.clone(),
            metrics_webhooks: self.config.metrics_webhooks,
            metrics_labels: self.config.metrics_labels,
            console: settings.clone(),
        });
        entrance.open(match settings.zip(service.inside()) {
            Some((settings, inside)) => service.with_console(console::router(inside, settings)),
            None => service,
        });
        let certificates = self.transport.tls().expiries().to_vec();
        let (store, catalog) = (Arc::clone(&self.store), Arc::clone(&self.catalog));
        let upkeep = upkeep::run(store, catalog, self.config.delivery, Arc::clone(&clock), certificates);
        let upkeep = tokio::spawn(watchdog.watch("upkeep", Need::Partial, Some(STANDSTILL)).task(upkeep));
        let host_events = upkeep::judge_host_events(Arc::clone(&self.store), Arc::clone(&self.expressions));
        let host_events =
            tokio::spawn(watchdog.watch("host-events", Need::Partial, Some(STANDSTILL)).task(host_events));
        let reports = tokio::spawn({
            let watchdog = watchdog.clone();
            async move { watchdog.report().await }
        });
        let end = tokio::select! {
            () = shutdown.reached(Stage::Drain) => End::Requested,
            reason = self.catalog.failure() => End::Unfit(reason),
            death = watchdog.vital_death() => {
                tokio::select! {
                    () = shutdown.reached(Stage::Drain) => {}
                    () = tokio::time::sleep(LAST_WORDS) => {}
                }
                End::Death(death)
            }
        };
        draining.cancel();
        watchdog.close();
        // What has died cannot finish anything.
        let is_dead = matches!(end, End::Death(_));
        let grace = if is_dead { Duration::ZERO } else { self.config.delivery.grace };
        tokio::select! {
            () = self.scheduler.drain(grace) => {}
            () = shutdown.reached(Stage::Stop) => self.scheduler.drain(Duration::ZERO).await,
        }
        closing.cancel();
        upkeep.abort();
        host_events.abort();
        reports.abort();
        tokio::select! {
            served = tokio::time::timeout(CLOSE_TIMEOUT, server) => match served {
                // A loop that has died is what the host ends for.
                Ok(Err(_)) if is_dead => {}
                Ok(served) => served??,
                // A client that does not read its response must not keep the store from being closed.
                Err(_) => tracing::warn!("some requests did not end within {CLOSE_TIMEOUT:?} and were cut"),
            },
            () = shutdown.reached(Stage::Stop) => {}
        }
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || store.close()).await?;
        match end {
            End::Requested => Ok(()),
            End::Unfit(reason) => anyhow::bail!("{reason}"),
            End::Death(death) => {
                anyhow::bail!("{death}, and nothing works without it; what was accepted is on the disk")
            }
        }
    }
}

/// Why a host ends.
enum End {
    Requested,
    /// A built-in formatter does not fit, for example because a limit is set too low.
    Unfit(String),
    /// A thread has died without which nothing works.
    Death(String),
}

/// The evaluator of filter expressions. It is loaded now if a webhook has one, else with the first one that is saved.
fn expressions(
    store: &Store,
    catalog: &Arc<Catalog>,
    telemetry: &Arc<Telemetry>,
    watchdog: &Watchdog,
) -> Arc<Expressions> {
    let catalog = Arc::clone(catalog);
    let load = move || catalog.evaluator(crate::embedded::EVALUATOR);
    let expressions = Expressions::new(processors(), Arc::clone(telemetry), watchdog.clone(), load);
    if store.webhooks().has_expressions() {
        expressions.start();
    }
    Arc::new(expressions)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// Shows that a runtime moves, until the host ends.
async fn beat(pulse: Pulse, _watched: Watched) {
    loop {
        pulse.beat();
        tokio::time::sleep(BEAT).await;
    }
}

/// Every sample event, for the trial run of a component: first those of a platform.
pub fn trial_samples() -> Vec<Sample> {
    let named =
        |sample: &samples::Sample| samples::event(sample).map(|event| Sample { name: sample.name.to_owned(), event });
    let mut samples: Vec<Sample> = samples::all().iter().filter_map(named).collect();
    samples.sort_by_key(|sample| sample.event.event_type.is_host());
    samples
}

/// The component files that belong into an export of a stopped host: name in the data folder, path.
pub fn component_files(data: &Path) -> Vec<(String, PathBuf)> {
    crate::formatter::component_files(&data.join("components"))
}

/// Creates another admin token in the store of a stopped host; existing tokens stay valid.
///
/// # Errors
/// If the store cannot be opened (for example because the host is running) or written.
pub async fn reset_admin(data: &Path, master_key: Option<Secret>) -> Result<Secret> {
    let config = Config { data: data.to_owned(), master_key, ..Config::default() };
    let store = open_store(data, &config, Arc::new(SystemClock::start()), Box::new(drop), Watchdog::default())?;
    let (_, text) = store.create_token("admin (reset)".into(), Role::Admin, Actor::CommandLine).await?;
    store.close();
    Ok(text)
}

fn open_store(
    data: &Path,
    config: &Config,
    clock: Arc<dyn Clock>,
    changes: Box<dyn Fn(store::Change) + Send>,
    watchdog: Watchdog,
) -> Result<Store> {
    let options = store::Options {
        folder: data.to_owned(),
        cache_bytes: config.store_cache_bytes,
        master_key: config.master_key.clone(),
        breaker_threshold: config.delivery.breaker_threshold,
        breaker_probe: config.delivery.breaker_probe,
        idempotency_kept: IDEMPOTENCY_KEPT,
        changes,
        clock,
        watchdog,
    };
    Ok(Store::open(options)?)
}

/// Gives an empty store its first admin token: the one of the environment, or a new one, which is returned to be shown.
async fn first_token(store: &Store, given: Option<&Secret>) -> Result<Option<Secret>> {
    if !store.tokens().is_empty() {
        return Ok(None);
    }
    match given {
        Some(text) => {
            store.add_token("admin".into(), Role::Admin, text, Actor::Host).await?;
            Ok(None)
        }
        None => Ok(Some(store.create_token("admin".into(), Role::Admin, Actor::Host).await?.1)),
    }
}

fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".into() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::model::settings::SandboxSettings;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("a response");
        response
    }

    /// A host with its threads, on a port of its own.
    async fn start(folder: &Path) -> (Watchdog, SocketAddr, ShutdownHandle, JoinHandle<Result<()>>) {
        start_with(folder, Config::default()).await
    }

    async fn start_with(
        folder: &Path,
        config: Config,
    ) -> (Watchdog, SocketAddr, ShutdownHandle, JoinHandle<Result<()>>) {
        let config = Config { data: folder.join("data"), formatters: folder.join("none"), ..config };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let parts = Parts::default();
        let front = Front::open(listener, &config, &parts).expect("it listens");
        let (watchdog, address) = (front.watchdog.clone(), front.address);
        let app = build(front, config, parts).await.expect("built");
        let (handle, shutdown) = Shutdown::new();
        (watchdog, address, handle, tokio::spawn(app.run(shutdown)))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dead_thread_is_seen_and_a_vital_one_ends_the_host() {
        let folder = tempfile::tempdir().expect("a folder");
        let (watchdog, address, _handle, running) = start(folder.path()).await;
        while !get(address, "/readyz").await.starts_with("HTTP/1.1 200") {
            tokio::task::yield_now().await;
        }
        let metrics = get(address, "/metrics").await;
        let threads = [
            "store-writer",
            "store-checkpoint",
            "formatter-epoch",
            "formatters",
            "formatter",
            "formatter-slow",
            "formatter-background",
            "deliveries",
            "scheduler",
            "api",
            "upkeep",
        ];
        for thread in threads {
            assert!(
                metrics.contains(&format!("heraldry_thread_healthy{{thread=\"{thread}\"}} 1")),
                "{thread}: {metrics}"
            );
        }

        // A part that the rest goes on without.
        let part = watchdog.watch("a part", Need::Partial, None);
        std::thread::spawn(move || part.run(|_| panic!("on purpose"))).join().expect_err("it panicked");
        let response = get(address, "/readyz").await;
        assert!(response.starts_with("HTTP/1.1 503") && response.contains("a part has died"), "{response}");
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").await.contains("heraldry_thread_healthy{thread=\"a part\"} 0"));
        assert!(!running.is_finished());

        let vital = watchdog.watch("a vital part", Need::Vital, None);
        std::thread::spawn(move || vital.run(|_| panic!("on purpose"))).join().expect_err("it panicked");
        // It still answers for a while.
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        let ended = running.await.expect("no panic").expect_err("the process is to end");
        assert!(ended.to_string().contains("a vital part has died"), "{ended}");
        // The store was closed in order all the same.
        assert!(watchdog.threads().iter().all(|thread| thread.name != "store-writer"));
        drop(open_store(
            &folder.path().join("data"),
            &Config::default(),
            Arc::new(SystemClock::start()),
            Box::new(drop),
            Watchdog::default(),
        ));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_built_in_formatter_that_does_not_fit_ends_the_host_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config { sandbox: SandboxSettings { fuel: 10_000, ..Default::default() }, ..Config::default() };
        let (watchdog, _, _handle, running) = start_with(folder.path(), config).await;
        let ended = running.await.expect("no panic").expect_err("10,000 instructions are too few").to_string();
        assert!(ended.contains("a built-in formatter does not fit"), "{ended}");
        assert!(ended.contains("limit on instructions, which is 10000"), "{ended}");
        // The store was closed in order.
        assert!(watchdog.threads().iter().all(|thread| thread.name != "store-writer"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_host_that_is_not_built_leaves_its_address() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config { data: folder.path().join("file"), ..Config::default() };
        std::fs::write(&config.data, "no folder").expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let parts = Parts::default();
        let front = Front::open(listener, &config, &parts).expect("it listens");
        let address = front.address;
        // Alive from the first moment, whatever becomes of it.
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let response = get(address, "/readyz").await;
        assert!(response.starts_with("HTTP/1.1 503") && response.contains("the store is being opened"), "{response}");
        assert!(build(front, config, parts).await.is_err());
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stop_is_nobodys_death() {
        let folder = tempfile::tempdir().expect("a folder");
        let (watchdog, _, handle, running) = start(folder.path()).await;
        handle.drain();
        running.await.expect("no panic").expect("an orderly end");
        assert_eq!(watchdog.fault(), None);
    }
}
