//! Wiring: from a checked configuration to a running host. No logic.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::formatter::{Compiler, Registry, RegistryOptions, Rendered, Sample};
use crate::model::audit::Actor;
use crate::model::secret::Secret;
use crate::model::settings::DeliverySettings;
use crate::model::time::Clock;
use crate::model::token::Role;
use crate::scheduler::{Courier, Ear, Scheduler};
use crate::store::{self, Retention, Store};
use crate::telemetry::Telemetry;
use crate::transport::{Guard, Resolve, Tls, Transport};
use crate::{embedded, keyring, samples};

/// How long an answer to an idempotency key is kept.
const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How often what is too old is removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How long requests under way may take once deliveries are drained.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Between two pieces of one sweep, so that others get their turn.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

/// What a host is made of beside its configuration; tests bring their own.
pub struct Parts {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Turns names into addresses; `None`: the system's configuration.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Certificates to trust beside the system's, in DER.
    pub extra_roots: Vec<Vec<u8>>,
    /// Where components are compiled; in a child only where this program's own `main` is at hand.
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

/// Asks a running host to stop.
pub struct ShutdownHandle(watch::Sender<Stage>);

/// What a running host listens to.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<Stage>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Stage {
    Serve,
    Drain,
    Stop,
}

impl Shutdown {
    /// A host's pair of ends.
    pub fn new() -> (ShutdownHandle, Self) {
        let (sender, receiver) = watch::channel(Stage::Serve);
        (ShutdownHandle(sender), Self(receiver))
    }

    async fn reached(&mut self, stage: Stage) {
        // A handle that was dropped never asks for anything.
        if self.0.wait_for(|now| *now >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl ShutdownHandle {
    /// Take no more, finish what is in flight.
    pub fn drain(&self) {
        self.0.send_if_modified(|stage| {
            let serving = *stage == Stage::Serve;
            if serving {
                *stage = Stage::Drain;
            }
            serving
        });
    }

    /// Stop at once.
    pub fn stop_now(&self) {
        self.0.send_replace(Stage::Stop);
    }
}

/// A host, ready to serve.
pub struct App {
    new_admin_token: Option<Secret>,
    store: Arc<Store>,
    registry: Arc<Registry>,
    scheduler: Arc<Scheduler>,
    transport: Arc<Transport>,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    config: Config,
    /// Dropped last: the scheduler's tasks run on it.
    _deliveries: Deliveries,
}

/// The deliveries' own runtime, apart so that no peer can stall the API or the scheduler.
struct Deliveries(Option<Runtime>);

impl Drop for Deliveries {
    fn drop(&mut self) {
        // Dropping a runtime waits for its tasks, which async code may not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Opens the store, loads the formatters, starts the scheduler.
///
/// # Errors
/// Each a sentence that says what to do.
pub async fn build(config: Config, parts: Parts) -> Result<App> {
    let Parts { clock, resolver, extra_roots, compiler } = parts;
    // What the configuration names is judged before anything is made.
    let tls = Tls::new(&config.tls, &extra_roots)?;
    let ear = Ear::new();
    let store = open_store(&config.data, &config, Arc::clone(&clock), ear.changes())?;
    let store = Arc::new(store);
    let new_admin_token = first_token(&store, config.admin_token.as_ref()).await?;
    let host_name = store.setting("host-name", config.host_name.clone(), machine_name()).await?;
    let options = RegistryOptions {
        settings: config.sandbox,
        threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        components: config.data.join("components"),
        drop_in: config.formatters.clone(),
        host_name,
        built_in: embedded::COMPONENTS,
        samples: trial_samples(),
        compiler,
        cache_key: Some(store.keyring().derive(keyring::COMPILED_CODE)),
        clock: Arc::clone(&clock),
        changes: ear.formatters(),
        audit_events: {
            let store = Arc::clone(&store);
            Box::new(move |audit_event| store.audit_soon(audit_event))
        },
    };
    let registry = tokio::task::spawn_blocking(|| Registry::open(options)).await??;
    let registry = Arc::new(registry);
    let telemetry = Arc::new(Telemetry::new());
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("deliveries").enable_all().build()?;
    let handle = runtime.handle().clone();
    let deliveries = Deliveries(Some(runtime));
    let guard = Arc::new(Guard::new(config.allow_net.clone()));
    // Deliveries may begin before the listener is served: what waited from an earlier run is due now.
    guard.set_own(config.listen);
    let resolver = match resolver {
        Some(resolver) => resolver,
        None => crate::transport::system_resolver().context("the system's name resolution cannot be set up")?,
    };
    let transport = Arc::new(Transport::new(guard, resolver, tls, config.proxy.clone())?);
    let courier = Courier {
        store: Arc::clone(&store),
        registry: Arc::clone(&registry),
        rendered: Rendered::default(),
        transport: Arc::clone(&transport),
        clock: Arc::clone(&clock),
        telemetry: Arc::clone(&telemetry),
        #[cfg(test)]
        double: None,
    };
    let scheduler = Arc::new(Scheduler::start(ear, courier, config.delivery, handle));
    Ok(App {
        new_admin_token,
        store,
        registry,
        scheduler,
        transport,
        telemetry,
        clock,
        config,
        _deliveries: deliveries,
    })
}

impl App {
    /// The admin token that was made because the store had none and the environment gave none.
    pub fn new_admin_token(&self) -> Option<&Secret> {
        self.new_admin_token.as_ref()
    }

    /// Serves until asked to stop, then drains: readiness turns false, nothing more is claimed, what is in
    /// flight gets its grace and is parked.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self, listener: TcpListener, mut shutdown: Shutdown) -> Result<()> {
        self.transport.guard().set_own(listener.local_addr()?);
        let draining = CancellationToken::new();
        let closing = CancellationToken::new();
        let router = api::router(Api {
            store: Arc::clone(&self.store),
            scheduler: Arc::clone(&self.scheduler),
            registry: Arc::clone(&self.registry),
            transport: Arc::clone(&self.transport),
            limits: self.config.limits,
            telemetry: Arc::clone(&self.telemetry),
            clock: Arc::clone(&self.clock),
            draining: draining.clone(),
        });
        let server = tokio::spawn(api::serve(listener, router, closing.clone()));
        let sweeper = tokio::spawn(sweep(Arc::clone(&self.store), Arc::clone(&self.registry), self.config.delivery));
        shutdown.reached(Stage::Drain).await;
        draining.cancel();
        tokio::select! {
            () = self.scheduler.drain(self.config.delivery.grace) => {}
            () = shutdown.reached(Stage::Stop) => self.scheduler.drain(Duration::ZERO).await,
        }
        closing.cancel();
        sweeper.abort();
        tokio::select! {
            served = tokio::time::timeout(CLOSE_WITHIN, server) => match served {
                Ok(served) => served??,
                // A client that does not read its answer must not keep the store from being closed.
                Err(_) => tracing::warn!("some requests did not end in time and were cut"),
            },
            () = shutdown.reached(Stage::Stop) => {}
        }
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || store.close()).await?;
        Ok(())
    }
}

/// Every sample event, for trying a component on.
pub fn trial_samples() -> Vec<Sample> {
    let named =
        |sample: &samples::Sample| samples::event(sample).map(|event| Sample { name: sample.name.to_owned(), event });
    samples::all().iter().filter_map(named).collect()
}

/// The files that an export of a stopped host takes along, by their name in the data folder.
pub fn component_files(data: &Path) -> Vec<(String, PathBuf)> {
    crate::formatter::component_files(&data.join("components"))
}

/// Makes a new admin token in the store of a stopped host; the others stay as they are.
///
/// # Errors
/// When the store cannot be opened: the host runs, or another reason that the error says.
pub async fn reset_admin(data: &Path, master_key: Option<Secret>) -> Result<Secret> {
    let config = Config { data: data.to_owned(), master_key, ..Config::default() };
    let store = open_store(data, &config, Arc::new(SystemClock::start()), Box::new(drop))?;
    let (_, text) = store.create_token("admin (reset)".into(), Role::Admin, Actor::CommandLine).await?;
    store.close();
    Ok(text)
}

fn open_store(
    data: &Path,
    config: &Config,
    clock: Arc<dyn Clock>,
    changes: Box<dyn Fn(store::Change) + Send>,
) -> Result<Store> {
    let options = store::Options {
        folder: data.to_owned(),
        cache_bytes: config.store_cache_bytes,
        master_key: config.master_key.clone(),
        breaker_threshold: config.delivery.breaker_threshold,
        idempotency_kept: IDEMPOTENCY_KEPT,
        changes,
        clock,
    };
    Ok(Store::open(options)?)
}

/// The first admin token of an empty store: the environment's, which is known, or a new one to show.
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

/// Removes what is too old, piece by piece.
async fn sweep(store: Arc<Store>, registry: Arc<Registry>, settings: DeliverySettings) {
    if let Err(error) = store.missing_events().await {
        tracing::warn!(%error, "the events could not be counted");
    }
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    let retention = Retention {
        age: settings.retention,
        audit: settings.audit_retention,
        max_events: settings.max_events_kept,
        max_history: settings.max_history,
    };
    loop {
        ticks.tick().await;
        loop {
            match store.sweep(retention).await {
                Ok(true) => tokio::time::sleep(SWEEP_PAUSE).await,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "what is too old could not be removed");
                    break;
                }
            }
        }
        match store.requeue_lost().await {
            Ok(0) => {}
            Ok(deliveries) => tracing::warn!(deliveries, "deliveries of damaged queue entries were queued again"),
            Err(error) => tracing::warn!(%error, "deliveries of damaged queue entries could not be looked for"),
        }
        // A delivery may begin at the end of one retention and wait for another.
        if let Err(error) = crate::formatter::forget_unused(&registry, settings.retention * 2) {
            tracing::warn!(%error, "unused components could not be removed");
        }
    }
}
