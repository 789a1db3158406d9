//! The catalog: the formatters that are loaded, by name.
//!
//! Components come from three sources: the program, [`uploads`] and the [`drop_in`] folder. All pass the same admission.
//! What is there at the start is [`loading`] while the host already works; of a built-in formatter the manifest is
//! [`declared`] before. The names in use are derived from the sources ([`table`]) and published as a whole. A call keeps the component that
//! it began with, and a waiting delivery finds it again by digest ([`pinned`]). A new version is a [`canary`] at first.

mod canary;
mod cleanup;
mod component;
mod declared;
mod drop_in;
mod files;
mod folder;
mod info;
mod loading;
mod pinned;
mod shared;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod uploads;
mod versions;
mod views;
mod watch;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch as channel};

pub use canary::{RenderedDigest, Rendering};
pub use component::Component;
pub use declared::{BuiltIn, Declared, Standing};
pub use files::{component_files, read_component};
pub use info::{FormatterInfo, Instructions, LastError, Numbers, State, Timings, Traits, VersionInfo};
pub use shared::STACK_BYTES;
pub use uploads::{InstallError, Which};
pub use versions::{Origin, Withdrawn};

use declared::Loading;
use files::ComponentFiles;
use pinned::PinnedCache;
use shared::Shared;
use table::Sources;
use versions::Versions;

use super::admission::Sample;
use super::component_runtime::{ComponentRuntime, ComponentRuntimeOptions, Run};
use super::digest::sha256;
use super::pool::{COST_HERE, CallClass, Order, Pool, Sizes};
use super::runtime::{CodeCache, Compiler, Evaluator, Payload, RenderError, Verdict};
use super::thread::lower_priority;
use crate::model::audit::AuditEvent;
use crate::model::delivery::{Part, Response};
use crate::model::event::Event;
use crate::model::host_event::HostEvent;
use crate::model::settings::SandboxSettings;
use crate::model::time::Clock;
use crate::model::url::TransportKind;
use crate::telemetry::FormatterMetrics;
use crate::watchdog::{Need, Watchdog};

/// Instances beside those of the calling threads: for checks, and for the components of an author's tools.
const SPARE_CALLS: u32 = 4;
/// Threads that load components at the start, at most. Each compiles in a process of its own.
const MAX_LOADERS: usize = 8;
/// How long a request waits for a formatter that is loading. Longer than compiling one takes, shorter than clients wait.
const LOAD_WAIT: Duration = Duration::from_secs(5);

/// Settings of a [`Catalog`].
pub struct CatalogOptions {
    /// Limits of the sandboxes.
    pub settings: SandboxSettings,
    /// Processors of the machine, for which there are threads that run calls.
    pub processors: usize,
    /// The largest expected cost of a call on its caller's thread, where that permits calls.
    pub cost_here: Duration,
    /// The folder where components are stored by digest, so that a waiting delivery finds the one it began with.
    pub components: PathBuf,
    /// The drop-in folder for third-party components; may be absent.
    pub drop_in: PathBuf,
    /// The host name that formatters are told.
    pub host_name: String,
    /// The program's own components.
    pub built_in: &'static [BuiltIn],
    /// Events that a component must render before it is loaded.
    pub samples: Vec<Sample>,
    /// The process that compiles components.
    pub compiler: Compiler,
    /// The cache of machine code; without one, every start compiles every component.
    pub code_cache: Option<CodeCache>,
    /// The clock of version lists and last errors.
    pub clock: Arc<dyn Clock>,
    /// Watches the threads.
    pub watchdog: Watchdog,
    /// Counts calls, by formatter.
    pub metrics: FormatterMetrics,
    /// The formats that active webhooks name: they are loaded first. Asked for each component that is loaded at the start.
    pub wanted: Box<dyn Fn() -> HashSet<String> + Send + Sync>,
    /// Called when a name becomes usable or stops being so. Must not block.
    pub changes: Box<dyn Fn() + Send + Sync>,
    /// Called with the catalog's own actions, for the audit log. Must not block.
    pub audit_events: Box<dyn Fn(AuditEvent) + Send + Sync>,
    /// Called with what webhooks are to be told of. Must not block.
    pub host_events: Box<dyn Fn(HostEvent) + Send + Sync>,
}

impl CatalogOptions {
    /// Options for tests and benchmarks: default limits, one processor, no code cache, all files below `folder`.
    pub fn in_folder(folder: &Path, built_in: &'static [BuiltIn], clock: Arc<dyn Clock>) -> Self {
        Self {
            settings: SandboxSettings::default(),
            processors: 1,
            cost_here: COST_HERE,
            components: folder.join("components"),
            drop_in: folder.join("formatters.d"),
            host_name: "heraldry.example".into(),
            built_in,
            samples: Vec::new(),
            compiler: Compiler::Here,
            code_cache: None,
            watchdog: Watchdog::new(Arc::clone(&clock)),
            clock,
            metrics: FormatterMetrics::default(),
            wanted: Box::new(HashSet::new),
            changes: Box::new(|| {}),
            audit_events: Box::new(drop),
            host_events: Box::new(drop),
        }
    }
}

/// All formatters, and the threads that run them.
pub struct Catalog {
    shared: Arc<Shared>,
    pool: Pool,
    /// The formats that this start has to compile, the smallest first.
    without_code: Vec<String>,
    watcher: Option<std::thread::JoinHandle<()>>,
}

impl Catalog {
    /// Starts the engines. Threads then load what is there, in the order that [`CatalogOptions::wanted`] says, and one of
    /// them watches the drop-in folder after that ([`Catalog::is_settled`]): compiling does not delay the start.
    ///
    /// # Errors
    /// When the engine cannot start, or the data folder or the drop-in folder cannot be used.
    pub fn start(options: CatalogOptions) -> anyhow::Result<Self> {
        let sizes = Sizes::for_processors(options.processors).with_cost_here(options.cost_here);
        let loaders = options.processors.clamp(1, MAX_LOADERS);
        let calls = u32::try_from(sizes.calls() + loaders).unwrap_or(u32::MAX).saturating_add(SPARE_CALLS);
        let files = ComponentFiles::open(options.components)?;
        let runtime = ComponentRuntime::new(ComponentRuntimeOptions {
            settings: options.settings,
            calls,
            compiler: options.compiler,
            code_cache: options.code_cache,
            host_name: options.host_name,
            samples: options.samples,
            watchdog: options.watchdog.clone(),
        })?;
        let shared = Arc::new(Shared {
            runtime,
            table: ArcSwap::default(),
            sources: Mutex::new(Sources::new(Versions::open(&files.folder)?)),
            pinned: PinnedCache::default(),
            files,
            drop_in: options.drop_in,
            clock: options.clock,
            metrics: options.metrics,
            changes: options.changes,
            audit_events: options.audit_events,
            host_events: options.host_events,
            wanted: options.wanted,
            asked: Mutex::default(),
            published: channel::Sender::new(()),
            settled: AtomicBool::new(false),
            failure: OnceLock::new(),
            stopping: AtomicBool::new(false),
            evaluator: OnceLock::new(),
        });
        // A folder that exists and cannot be read is a mistake in the set-up: the start fails.
        let found = loading::find(&shared, options.built_in).map_err(|error| {
            let folder = shared.drop_in.display();
            anyhow::anyhow!("the formatters folder {folder} cannot be read ({error}); check its permissions")
        })?;
        let mut sources = shared.sources();
        sources.loading = found;
        shared.publish(&sources);
        drop(sources);
        let without_code = shared.without_code();
        let pool = Pool::new(sizes, STACK_BYTES, &options.watchdog)?;
        let watched = Arc::clone(&shared);
        // A component may take minutes to compile.
        let loader = options.watchdog.watch("formatters", Need::Partial, None);
        let watcher = std::thread::Builder::new()
            .name("formatters".into())
            .stack_size(STACK_BYTES)
            .spawn(move || loader.run(|_| watch::run(&watched, loaders)))?;
        Ok(Self { shared, pool, without_code, watcher: Some(watcher) })
    }

    /// As [`Catalog::start`], and waits until everything that is there is loaded, for tests and benchmarks.
    ///
    /// # Errors
    /// Also when a built-in component does not fit.
    pub fn open(options: CatalogOptions) -> anyhow::Result<Self> {
        let catalog = Self::start(options)?;
        while !catalog.is_settled() {
            if let Some(reason) = catalog.shared.failure.get() {
                anyhow::bail!("{reason}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(catalog)
    }

    /// True once everything that was there at the start has been loaded.
    pub fn is_settled(&self) -> bool {
        self.shared.is_settled()
    }

    /// Waits until a built-in component does not fit, which ends loading; the reason.
    pub async fn failure(&self) -> String {
        let mut published = self.shared.published.subscribe();
        loop {
            published.borrow_and_update();
            if let Some(reason) = self.shared.failure.get() {
                return reason.clone();
            }
            // The sender lives as long as `self`.
            let _ = published.changed().await;
        }
    }

    /// The names of the formats that this start has to compile, in order: those that active webhooks name, and the others.
    /// Files are left out.
    pub fn to_compile(&self) -> (Vec<String>, Vec<String>) {
        let wanted = (self.shared.wanted)();
        self.without_code.iter().cloned().partition(|name| wanted.contains(name))
    }

    /// What there is under a name.
    pub fn standing(&self, name: &str) -> Standing {
        self.shared.table.load().standing(name)
    }

    /// As [`Catalog::standing`]; waits for a formatter that is loading, which then is the next to be loaded, but not
    /// longer than a client does.
    pub async fn standing_soon(&self, name: &str) -> Standing {
        let mut published = self.shared.published.subscribe();
        let loaded = async {
            while matches!(self.standing(name), Standing::Loading(_)) {
                self.shared.ask_for(name);
                // The sender lives as long as `self`.
                let _ = published.changed().await;
            }
        };
        // What it is by then is the answer.
        let _ = tokio::time::timeout(LOAD_WAIT, loaded).await;
        self.standing(name)
    }

    /// The component in use under a name.
    pub fn current(&self, name: &str) -> Option<Arc<Component>> {
        self.shared.current(name)
    }

    /// The component with this digest, in use or not, if its file is still there: a delivery keeps the one that it
    /// began with.
    pub async fn pinned(&self, digest: [u8; 32]) -> Option<Arc<Component>> {
        let table = self.shared.table.load();
        let current = table.ready.values().find(|component| component.digest() == digest).cloned();
        drop(table);
        if current.is_some() {
            return current;
        }
        let shared = Arc::clone(&self.shared);
        // Compiling, or waiting for another thread that does, would block a worker of the deliveries' runtime.
        let loaded = tokio::task::spawn_blocking(move || shared.load_pinned(digest)).await;
        loaded.ok().flatten()
    }

    /// Renders one event with a component: on the current thread if it permits it
    /// ([`crate::formatter::allow_calls_here`]) and the call is known to be brief, else on one of the pool's. If the
    /// component is a canary and fails on an event that its predecessor can format, the predecessor renders this event and
    /// is used again.
    ///
    /// # Errors
    /// [`RenderError`].
    pub async fn render(
        &self,
        component: &Arc<Component>,
        event: &Arc<Event>,
        options: &str,
        transport_kind: TransportKind,
    ) -> Result<Rendering, RenderError> {
        let (key, class) = (component.digest(), CallClass::format(event.json.len() + options.len()));
        let here = || self.shared.render_here(component, event, options, transport_kind);
        if let Some(rendering) = self.pool.run_here(key, class, here) {
            return Ok(rendering);
        }
        let order = Order::Delivery(key, class);
        let (shared, component) = (Arc::clone(&self.shared), Arc::clone(component));
        let (event, options) = (Arc::clone(event), options.to_owned());
        let call = move |on_long| shared.render(&component, &event, &options, transport_kind, on_long);
        self.pool.run(order, call).await?
    }

    /// Renders one event on the current thread, for benchmarks.
    ///
    /// # Errors
    /// [`RenderError`].
    pub fn render_here(&self, component: &Component, event: &Event, options: &str) -> Result<Payload, RenderError> {
        self.shared.call(component, event, options, TransportKind::Http, None).result
    }

    /// Renders an event for a preview, after the deliveries that wait. `slot` is dropped when the call has ended, also if
    /// its caller has gone before: it is the caller's bound on the previews that wait.
    ///
    /// # Errors
    /// When no formatter of this name is loaded, or the host is stopping; a formatter's own errors are in the run.
    pub async fn preview(
        &self,
        name: &str,
        event: &Event,
        options: &str,
        transport_kind: TransportKind,
        slot: impl Send + 'static,
    ) -> Result<Run, RenderError> {
        let component = self.current(name).ok_or_else(|| RenderError::NotLoaded(name.to_owned()))?;
        let shared = Arc::clone(&self.shared);
        let (event, options) = (event.clone(), options.to_owned());
        let call = move |on_long| {
            let run = shared.call(&component, &event, &options, transport_kind, on_long);
            drop(slot);
            run
        };
        self.pool.run(Order::Background, call).await
    }

    /// The component's verdict on a destination's response; [`Verdict::ByStatus`] if it does not judge responses, or
    /// fails.
    pub async fn interpret(&self, component: &Arc<Component>, response: Response) -> Verdict {
        if !component.interprets() {
            return Verdict::ByStatus;
        }
        let (key, class) = (component.digest(), CallClass::interpret());
        if let Some(verdict) = self.pool.run_here(key, class, || self.shared.interpret_here(component, &response)) {
            return verdict;
        }
        let order = Order::Delivery(key, class);
        let (shared, component) = (Arc::clone(&self.shared), Arc::clone(component));
        let call = move |on_long| shared.interpret(&component, &response, on_long);
        self.pool.run(order, call).await.unwrap_or(Verdict::ByStatus)
    }

    /// Makes one message of many events, on one of the pool's threads, as [`Catalog::render`] does of one. `None` if the
    /// component does not export `digest`.
    ///
    /// # Errors
    /// [`RenderError`].
    pub async fn digest(
        &self,
        component: &Arc<Component>,
        events: &[Arc<Event>],
        part: Part,
        options: &str,
    ) -> Option<Result<RenderedDigest, RenderError>> {
        if !component.digests() {
            return None;
        }
        let order = Order::Delivery(component.digest(), CallClass::digest());
        let (shared, component) = (Arc::clone(&self.shared), Arc::clone(component));
        let (events, options) = (events.to_vec(), options.to_owned());
        let call = move |on_long| shared.render_digest(&component, &events, part, &options, on_long);
        Some(self.pool.run(order, call).await.unwrap_or_else(Err))
    }

    /// Number of calls of the formatter in use under this name that wait for a thread.
    pub fn calls_waiting(&self, name: &str) -> usize {
        self.current(name).map_or(0, |component| self.pool.waiting(&component.digest()))
    }

    /// Number of previews that wait for a thread.
    pub fn previews_waiting(&self) -> usize {
        self.pool.waiting_in_background()
    }

    /// The files that belong into an export of this host; see [`component_files`].
    pub fn files(&self) -> Vec<(String, PathBuf)> {
        component_files(&self.shared.files.folder)
    }

    /// The host name that formatters are told.
    pub fn host_name(&self) -> &str {
        self.shared.runtime.host_name()
    }

    /// The largest component that is admitted, in bytes.
    pub fn component_bytes(&self) -> usize {
        self.shared.runtime.settings().component_bytes
    }

    /// Compiles the evaluator of filter expressions, through the cache of machine code, and loads it. Takes as long as that.
    ///
    /// # Errors
    /// When it cannot be compiled, or the machine does not let it be loaded.
    pub fn evaluator(&self, bytes: &[u8]) -> anyhow::Result<Evaluator> {
        // Its code is not to be removed as that of a component that no name is for.
        let _ = self.shared.evaluator.set(sha256(bytes));
        self.shared.runtime.evaluator(bytes)
    }

    /// Removes components that no version list names and that were not in use for `kept`, the longest time that a delivery
    /// can wait; and the machine code of components that are not in use.
    ///
    /// # Errors
    /// When the folder cannot be read or a file not removed.
    pub fn forget_unused(&self, kept: Duration) -> std::io::Result<()> {
        cleanup::forget_unused(&self.shared, kept)
    }

    /// The names that webhooks may use, sorted.
    pub fn ready_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.shared.table.load().ready.keys().cloned().collect();
        names.sort();
        names
    }

    /// Number of components that were there at the start and are not loaded yet.
    pub fn loading(&self) -> usize {
        self.shared.table.load().loading.len()
    }

    /// The formatters whose manifest is known, loaded or not, sorted by name.
    pub fn declared(&self) -> Vec<Declared> {
        let table = self.shared.table.load();
        let ready = table.ready.values().map(|component| Declared::from(Arc::clone(component)));
        let loading = table.loading.iter().filter_map(|loading| loading.declared().cloned());
        let mut all: Vec<_> = ready.chain(loading).collect();
        all.sort_by(|a, b| a.manifest().name.cmp(&b.manifest().name));
        all
    }

    /// All components, loaded, loading or rejected, sorted by name.
    pub fn list(&self) -> Vec<FormatterInfo> {
        let table = self.shared.table.load();
        let ready = table.ready.values().map(|component| self.ready_info(component));
        let loading = table.loading.iter().map(|loading| self.loading_info(loading));
        let rejected = table.rejected.iter().map(|entry| self.rejected_info(entry));
        let mut all: Vec<_> = ready.chain(loading).chain(rejected).collect();
        all.sort_by(|a, b| (&a.name, &a.file).cmp(&(&b.name, &b.file)));
        all
    }

    /// The formatter of this name; the one in use before one that is loading, that before a rejected one.
    pub fn get(&self, name: &str) -> Option<FormatterInfo> {
        let table = self.shared.table.load();
        if let Some(component) = table.ready.get(name) {
            return Some(self.ready_info(component));
        }
        if let Some(loading) = table.loading.iter().find(|loading| loading.name == name) {
            return Some(self.loading_info(loading));
        }
        table.rejected.iter().find(|entry| entry.name == name).map(|entry| self.rejected_info(entry))
    }

    fn ready_info(&self, component: &Component) -> FormatterInfo {
        FormatterInfo::ready(component, self.shared.runtime.limits(component.manifest().size))
    }

    fn loading_info(&self, loading: &Loading) -> FormatterInfo {
        let size = loading.declared().map(|declared| declared.manifest().size).unwrap_or_default();
        FormatterInfo::loading(loading, self.shared.runtime.limits(size))
    }

    fn rejected_info(&self, entry: &table::RejectedEntry) -> FormatterInfo {
        FormatterInfo::rejected(entry, self.shared.runtime.limits(Default::default()))
    }

    /// All versions of a formatter, newest first.
    pub fn versions(&self, name: &str) -> Option<Vec<VersionInfo>> {
        let sources = self.shared.sources();
        if let Some(history) = sources.versions.get(name) {
            let versions = history.versions.iter().rev();
            return Some(versions.map(|version| VersionInfo::of(history, version)).collect());
        }
        drop(sources);
        // A built-in formatter has one version and no history.
        let table = self.shared.table.load();
        let only = match (table.ready.get(name), table.loading(name)) {
            (Some(component), _) => VersionInfo::only(component.manifest(), &component.digest()),
            (None, Some(loading)) => VersionInfo::only(loading.declared()?.manifest(), &loading.digest?),
            (None, None) => return None,
        };
        Some(vec![only])
    }

    /// Admits a component and uses it as the version of `name` from now on, if `wants` says so, which is told in the moment
    /// of the change whether an upload of this name is there. Returns true if the name is new. `slot` is dropped when the
    /// work has ended, also if its caller has gone before.
    ///
    /// # Errors
    /// [`InstallError`]; the catalog is unchanged then.
    pub async fn install(
        &self,
        name: String,
        bytes: Vec<u8>,
        wants: impl FnOnce(bool) -> bool + Send + 'static,
        slot: impl Send + 'static,
    ) -> Result<bool, InstallError> {
        self.until_loaded(&name).await?;
        self.check_apart(slot, move |shared| shared.install(&name, &bytes, wants)).await
    }

    /// Uses another version of an uploaded formatter. `slot`: as for [`Catalog::install`].
    ///
    /// # Errors
    /// [`InstallError`]; the catalog is unchanged then.
    pub async fn activate(&self, name: String, which: Which, slot: impl Send + 'static) -> Result<(), InstallError> {
        self.until_loaded(&name).await?;
        self.check_apart(slot, move |shared| shared.activate(&name, Some(&which))).await
    }

    /// Uses the version of an uploaded formatter that was in use before.
    ///
    /// # Errors
    /// [`InstallError`]; the catalog is unchanged then.
    pub async fn roll_back(&self, name: String) -> Result<(), InstallError> {
        self.until_loaded(&name).await?;
        self.check_apart((), move |shared| shared.activate(&name, None)).await
    }

    /// Deletes an uploaded formatter with all its versions.
    ///
    /// # Errors
    /// [`InstallError`]; the catalog is unchanged then.
    pub async fn delete(&self, name: String) -> Result<(), InstallError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || shared.delete(&name)).await;
        done.unwrap_or_else(|_| Err(stopped()))
    }

    /// Waits until the upload in use under a name is loaded, since another version has it as its predecessor.
    async fn until_loaded(&self, name: &str) -> Result<(), InstallError> {
        let is_upload = |loading: &Arc<Loading>| loading.origin() == Origin::Upload;
        if !self.shared.table.load().loading(name).is_some_and(is_upload) {
            return Ok(());
        }
        match self.standing_soon(name).await {
            Standing::Loading(_) => Err(InstallError::Loading),
            Standing::Ready(_) | Standing::Unknown => Ok(()),
        }
    }

    /// Does work that may check a component on a thread of its own, of low priority: checks come after deliveries.
    async fn check_apart<T: Send + 'static>(
        &self,
        slot: impl Send + 'static,
        work: impl FnOnce(&Shared) -> Result<T, InstallError> + Send + 'static,
    ) -> Result<T, InstallError> {
        let shared = Arc::clone(&self.shared);
        let (reply, response) = oneshot::channel();
        let run = move || {
            lower_priority();
            let result = work(&shared);
            drop(slot);
            let _ = reply.send(result);
        };
        let thread = std::thread::Builder::new().name("formatter-check".into()).stack_size(STACK_BYTES).spawn(run);
        thread.map_err(|error| InstallError::NotStored(error.to_string()))?;
        response.await.unwrap_or_else(|_| Err(stopped()))
    }
}

fn stopped() -> InstallError {
    InstallError::NotStored("the host is stopping".into())
}

impl Drop for Catalog {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // A watcher that still compiles is not waited for: its child ends with this process.
        if let Some(watcher) = self.watcher.take().filter(|_| self.is_settled()) {
            watcher.thread().unpark();
            let _ = watcher.join();
        }
    }
}
