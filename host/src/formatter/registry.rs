//! The formatters that are loaded, and the one door by which they come in.
//!
//! Components come from three places: the program, uploads, the drop-in folder. What is in use is worked out
//! of these ([`Shelf::table`]) and published as a whole, so that a reader sees the state before a change or
//! the state after it. A call keeps the component that it began with.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::compile::{Compile, Compiler, Kept};
use super::error::{Limit, RenderError};
use super::info::{FormatterInfo, Origin, State, Traits, VersionInfo};
use super::manifest::{Kind, Manifest};
use super::pool::Pool;
use super::report::Rejection;
use super::sandbox::{Payload, Verdict};
use super::stats::Stats;
use super::versions::{History, Version, Versions, Withdrawn};
use super::workbench::{Loaded, Run, Sample, Workbench, WorkbenchOptions};
use super::{digest_text, folder, hex};
use crate::json::fault::Fault;
use crate::model::audit::{Action, Actor, AuditEvent, FieldChange};
use crate::model::delivery::{FormatterRef, Response};
use crate::model::event::Event;
use crate::model::settings::SandboxSettings;
use crate::model::time::Clock;
use crate::model::url::TransportKind;

/// Calls without a failure after which a new version has proven itself: then it is not rolled back any more.
const PROVEN: u64 = 1000;
/// Components kept loaded for deliveries that began with them, beside the current ones.
const EARLIER: usize = 16;

/// What the registry is opened with.
pub struct RegistryOptions {
    /// What a formatter may use.
    pub settings: SandboxSettings,
    /// Threads for calls.
    pub threads: usize,
    /// Where components are kept by digest, so that a waiting delivery finds the one it began with.
    pub components: PathBuf,
    /// Where strangers' components are dropped; may be absent.
    pub drop_in: PathBuf,
    /// The name of the machine that Heraldry speaks for.
    pub host_name: String,
    /// The program's own components.
    pub built_in: &'static [&'static [u8]],
    /// What a new component is tried on.
    pub samples: Vec<Sample>,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// What authenticates compiled code on the disk; `None`: none is kept.
    pub cache_key: Option<[u8; 32]>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Told when a name becomes usable or stops being so. Must not block.
    pub changes: Box<dyn Fn() + Send + Sync>,
    /// Told what the registry did by itself, for the audit log. Must not block.
    pub audit_events: Box<dyn Fn(AuditEvent) + Send + Sync>,
}

impl RegistryOptions {
    /// What a test or a benchmark starts from: default limits, one thread, nothing kept but the components, in
    /// a folder of its own.
    pub fn in_folder(folder: &Path, built_in: &'static [&'static [u8]], clock: Arc<dyn Clock>) -> Self {
        Self {
            settings: SandboxSettings::default(),
            threads: 1,
            components: folder.join("components"),
            drop_in: folder.join("formatters.d"),
            host_name: "heraldry.example".into(),
            built_in,
            samples: Vec::new(),
            compiler: Compiler::Here,
            cache_key: None,
            clock,
            changes: Box::new(|| {}),
            audit_events: Box::new(drop),
        }
    }
}

/// A component that may be used.
pub struct Component {
    loaded: Loaded,
    origin: Origin,
    file: Option<String>,
    stats: Stats,
    /// The version before, until this one has proven itself.
    predecessor: ArcSwapOption<Component>,
}

impl Component {
    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.loaded.manifest
    }

    /// SHA-256 of its bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.loaded.digest
    }

    /// Whether it reads what destinations answer.
    pub fn interprets(&self) -> bool {
        self.loaded.interprets()
    }

    /// Whether it makes lines, which may go over syslog.
    pub fn makes_lines(&self) -> bool {
        self.manifest().kind == Kind::Line
    }

    /// How the history names it.
    pub fn reference(&self) -> FormatterRef {
        FormatterRef {
            name: self.manifest().name.clone(),
            version: self.manifest().version.clone(),
            digest: digest_text(&self.loaded.digest),
        }
    }

    fn name(&self) -> &str {
        &self.manifest().name
    }
}

/// What was rendered, and by which component.
pub struct Rendering {
    /// What is sent.
    pub payload: Payload,
    /// What made it instead of the component that was asked, when that one failed and was rolled back.
    pub instead: Option<Arc<Component>>,
    /// Why, for the webhook's admin.
    pub note: Option<String>,
}

/// Why a component was not installed, or a version not used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InstallError {
    /// There is no such formatter, or no such version of it.
    Missing,
    /// The name belongs to somebody else.
    Conflict(String),
    /// It does not fit.
    Rejected(Rejection),
    /// The disk does not take it.
    NotStored(String),
}

/// How a version is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// The newest with this version in its manifest.
    Version(String),
    /// `sha256:` and the digest in hex.
    Digest(String),
}

/// A component that was refused.
#[derive(Clone)]
struct Refused {
    name: String,
    file: Option<String>,
    origin: Origin,
    digest: Option<[u8; 32]>,
    rejection: Rejection,
}

/// What is in use, and what was refused.
#[derive(Default, Clone)]
struct Table {
    ready: HashMap<String, Arc<Component>>,
    refused: Vec<Refused>,
}

/// Bytes that do not fit, and why.
#[derive(Clone)]
struct Misfit {
    /// None: they could not even be read.
    digest: Option<[u8; 32]>,
    rejection: Rejection,
}

/// A component that waiting deliveries began with; `None`: it is not there any more.
struct Earlier {
    digest: [u8; 32],
    component: Option<Arc<Component>>,
}

/// One file of the drop-in folder. A bad replacement leaves the good one where it is.
#[derive(Default)]
struct Dropped {
    mark: Option<folder::Mark>,
    good: Option<Arc<Component>>,
    refused: Option<Misfit>,
}

/// Everything that came in, by where it came from.
struct Shelf {
    built_in: Vec<Arc<Component>>,
    uploads: BTreeMap<String, Result<Arc<Component>, Misfit>>,
    files: BTreeMap<String, Dropped>,
    versions: Versions,
}

impl Shelf {
    fn table(&self) -> Table {
        let mut table = Table::default();
        for component in &self.built_in {
            table.ready.insert(component.name().to_owned(), Arc::clone(component));
        }
        for (name, upload) in &self.uploads {
            match upload {
                Ok(component) if !table.ready.contains_key(name) => {
                    table.ready.insert(name.clone(), Arc::clone(component));
                }
                Ok(component) => table.refused.push(Refused {
                    name: name.clone(),
                    file: None,
                    origin: Origin::Upload,
                    digest: Some(component.digest()),
                    rejection: reserved(name),
                }),
                Err(misfit) => table.refused.push(Refused {
                    name: name.clone(),
                    file: None,
                    origin: Origin::Upload,
                    digest: misfit.digest,
                    rejection: misfit.rejection.clone(),
                }),
            }
        }
        for (file, dropped) in &self.files {
            let mut refuse = |digest, rejection| {
                let name = file.strip_suffix(".wasm").unwrap_or(file).to_owned();
                table.refused.push(Refused {
                    name,
                    file: Some(file.clone()),
                    origin: Origin::Folder,
                    digest,
                    rejection,
                });
            };
            if let Some(misfit) = &dropped.refused {
                refuse(misfit.digest, misfit.rejection.clone());
            }
            let Some(component) = &dropped.good else { continue };
            match table.ready.get(component.name()) {
                Some(taken) if taken.origin == Origin::BuiltIn => {
                    refuse(Some(component.digest()), reserved(component.name()));
                }
                Some(taken) => refuse(Some(component.digest()), duplicate(component.name(), taken)),
                None => {
                    table.ready.insert(component.name().to_owned(), Arc::clone(component));
                }
            }
        }
        table
    }
}

fn reserved(name: &str) -> Rejection {
    Rejection::new(
        "reserved_name",
        format!("its name {name:?} is a built-in formatter's; give it another in its manifest"),
    )
}

fn duplicate(name: &str, taken: &Component) -> Rejection {
    let by = match &taken.file {
        Some(file) => format!("{file}; of two files the first by file name is used"),
        None => "an uploaded formatter, which goes before the folder".to_owned(),
    };
    Rejection::new("duplicate_name", format!("its name {name:?} is taken by {by}"))
}

pub(super) struct Inner {
    bench: Workbench,
    table: ArcSwap<Table>,
    shelf: Mutex<Shelf>,
    /// Components that waiting deliveries began with and that are not the current ones, last used last.
    earlier: Mutex<Vec<Earlier>>,
    components: PathBuf,
    drop_in: PathBuf,
    clock: Arc<dyn Clock>,
    audit_events: Box<dyn Fn(AuditEvent) + Send + Sync>,
    changes: Box<dyn Fn() + Send + Sync>,
    /// Whether uploads and the folder were looked at once.
    settled: AtomicBool,
    stopping: AtomicBool,
}

/// All formatters.
pub struct Registry {
    inner: Arc<Inner>,
    pool: Pool,
    watcher: Option<std::thread::JoinHandle<()>>,
}

impl Registry {
    /// Starts the engines and loads the built-in components. Uploads and the drop-in folder follow at once on
    /// a thread of their own ([`Registry::is_settled`]), which then watches the folder: a component that takes
    /// long to compile keeps nothing else from starting.
    ///
    /// # Errors
    /// When the engine cannot start, a built-in component does not fit, or the data folder cannot be used.
    pub fn open(options: RegistryOptions) -> anyhow::Result<Self> {
        let calls = u32::try_from(options.threads).unwrap_or(u32::MAX).saturating_add(4);
        std::fs::create_dir_all(&options.components)?;
        let bench = Workbench::new(WorkbenchOptions {
            settings: options.settings,
            calls,
            compiler: options.compiler,
            kept: options.cache_key.map(|key| Kept { folder: options.components.clone(), key }),
            host_name: options.host_name,
            samples: options.samples,
        })?;
        let inner = Arc::new(Inner {
            bench,
            table: ArcSwap::default(),
            shelf: Mutex::new(Shelf {
                built_in: Vec::new(),
                uploads: BTreeMap::new(),
                files: BTreeMap::new(),
                versions: Versions::open(&options.components)?,
            }),
            earlier: Mutex::default(),
            components: options.components,
            drop_in: options.drop_in,
            clock: options.clock,
            changes: options.changes,
            audit_events: options.audit_events,
            settled: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        });
        // A folder that is there and cannot be read is a mistake to say at once.
        folder::candidates(&inner.drop_in).map_err(|error| {
            anyhow::anyhow!("the formatters folder {} cannot be read: {error}", inner.drop_in.display())
        })?;
        for bytes in options.built_in {
            let component = inner
                .admit(bytes, Sha256::digest(bytes).into(), Origin::BuiltIn, None)
                .map_err(|rejection| anyhow::anyhow!("a built-in formatter does not fit: {}", rejection.reason))?;
            inner.shelf().built_in.push(component);
        }
        inner.publish(&inner.shelf());
        let watching = Arc::clone(&inner);
        let watcher = std::thread::Builder::new()
            .name("formatters".into())
            .stack_size(STACK_BYTES)
            .spawn(move || super::watch::run(&watching))?;
        let pool = Pool::new(options.threads, STACK_BYTES)?;
        Ok(Self { inner, pool, watcher: Some(watcher) })
    }

    /// Whether uploads and the drop-in folder were looked at since the start.
    pub fn is_settled(&self) -> bool {
        self.inner.settled.load(Ordering::Acquire)
    }

    /// The component that a format's name stands for now.
    pub fn current(&self, name: &str) -> Option<Arc<Component>> {
        self.inner.current(name)
    }

    /// The component with this digest, if it is still there: a delivery keeps the one it began with.
    pub async fn pinned(&self, digest: [u8; 32]) -> Option<Arc<Component>> {
        let current = self.inner.table.load().ready.values().find(|component| component.digest() == digest).cloned();
        if current.is_some() {
            return current;
        }
        let inner = Arc::clone(&self.inner);
        // Compiling, and waiting for another that compiles, takes long for a worker of the deliveries' runtime.
        let loaded = tokio::task::spawn_blocking(move || inner.load_earlier(digest)).await;
        loaded.ok().flatten()
    }

    /// Renders one event with a component. Where a new version fails and the one before does not, the host
    /// goes back to that one, and it renders this event.
    ///
    /// # Errors
    /// [`RenderError`].
    pub async fn render(
        &self,
        component: &Arc<Component>,
        event: &Arc<Event>,
        options: &Arc<str>,
        transport_kind: TransportKind,
    ) -> Result<Rendering, RenderError> {
        let (inner, component) = (Arc::clone(&self.inner), Arc::clone(component));
        let (event, options) = (Arc::clone(event), Arc::clone(options));
        self.pool.run(move || inner.render(&component, &event, &options, transport_kind)).await?
    }

    /// Renders one event on this very thread, for benchmarks.
    ///
    /// # Errors
    /// [`RenderError`].
    pub fn render_here(&self, component: &Component, event: &Event, options: &str) -> Result<Payload, RenderError> {
        self.inner.call(component, event, options, TransportKind::Http).result
    }

    /// Renders an event to look at.
    ///
    /// # Errors
    /// When no formatter of this name is loaded, or the host is stopping; a formatter's own errors stand in
    /// the run.
    pub async fn preview(
        &self,
        name: &str,
        event: &Event,
        options: &str,
        transport_kind: TransportKind,
    ) -> Result<Run, RenderError> {
        let component = self.current(name).ok_or_else(|| RenderError::NotLoaded(name.to_owned()))?;
        let inner = Arc::clone(&self.inner);
        let (event, options) = (event.clone(), options.to_owned());
        self.pool.run(move || inner.call(&component, &event, &options, transport_kind)).await
    }

    /// What a destination's answer means to the component; [`Verdict::ByStatus`] when it does not read
    /// answers, or fails at it.
    pub async fn interpret(&self, component: &Arc<Component>, response: Response) -> Verdict {
        if !component.interprets() {
            return Verdict::ByStatus;
        }
        let (inner, component) = (Arc::clone(&self.inner), Arc::clone(component));
        self.pool.run(move || inner.interpret(&component, &response)).await.unwrap_or(Verdict::ByStatus)
    }

    /// The files that belong to a copy of this host; see [`component_files`].
    pub fn files(&self) -> Vec<(String, PathBuf)> {
        component_files(&self.inner.components)
    }

    /// The name of the machine that formatters are told.
    pub fn host_name(&self) -> &str {
        self.inner.bench.host_name()
    }

    /// Components larger than this are refused, in bytes.
    pub fn component_bytes(&self) -> usize {
        self.inner.bench.settings().component_bytes
    }

    /// Everything that is wrong with a webhook's options; pointers begin at the options.
    ///
    /// # Errors
    /// The faults; one at the whole when the format is not loaded.
    pub fn check_options(&self, name: &str, options: &Value) -> Result<(), Vec<Fault>> {
        let Some(component) = self.current(name) else {
            let detail = format!("no formatter named {name} is loaded");
            return Err(vec![Fault { pointer: String::new(), code: "unknown_format", detail }]);
        };
        let faults = component.loaded.check_options(options);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The names that webhooks may give, in order.
    pub fn ready_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.inner.table.load().ready.keys().cloned().collect();
        names.sort();
        names
    }

    /// Everything that is loaded or was refused, by name.
    pub fn list(&self) -> Vec<FormatterInfo> {
        let table = self.inner.table.load();
        let ready = table.ready.values().map(|component| self.inner.ready_info(component));
        let refused = table.refused.iter().map(|refused| self.inner.refused_info(refused));
        let mut all: Vec<_> = ready.chain(refused).collect();
        all.sort_by(|a, b| (&a.name, &a.file).cmp(&(&b.name, &b.file)));
        all
    }

    /// The formatter of this name; a ready one before a refused one.
    pub fn get(&self, name: &str) -> Option<FormatterInfo> {
        let table = self.inner.table.load();
        match table.ready.get(name) {
            Some(component) => Some(self.inner.ready_info(component)),
            None => table.refused.iter().find(|refused| refused.name == name).map(|r| self.inner.refused_info(r)),
        }
    }

    /// Every version of a formatter, newest first.
    pub fn versions(&self, name: &str) -> Option<Vec<VersionInfo>> {
        let shelf = self.inner.shelf();
        if let Some(history) = shelf.versions.get(name) {
            let versions = history.versions.iter().rev();
            return Some(versions.map(|version| version_info(history, version)).collect());
        }
        drop(shelf);
        let component = self.current(name)?;
        Some(vec![VersionInfo {
            version: component.manifest().version.clone(),
            digest: digest_text(&component.digest()),
            added_at: None,
            active: true,
            rolled_back: None,
        }])
    }

    /// Checks a component, keeps it as a version of `name` and uses it from now on; whether the name is new.
    ///
    /// # Errors
    /// [`InstallError`]; then everything is as before.
    pub async fn install(&self, name: String, bytes: Vec<u8>) -> Result<bool, InstallError> {
        self.blocking(move |inner| inner.install(&name, &bytes)).await
    }

    /// Uses another version of an uploaded formatter.
    ///
    /// # Errors
    /// [`InstallError`].
    pub async fn activate(&self, name: String, which: Which) -> Result<(), InstallError> {
        self.blocking(move |inner| inner.activate(&name, Some(&which))).await
    }

    /// Uses the version of an uploaded formatter that was in use before.
    ///
    /// # Errors
    /// [`InstallError`].
    pub async fn roll_back(&self, name: String) -> Result<(), InstallError> {
        self.blocking(move |inner| inner.activate(&name, None)).await
    }

    /// Forgets an uploaded formatter with all its versions.
    ///
    /// # Errors
    /// [`InstallError`].
    pub async fn delete(&self, name: String) -> Result<(), InstallError> {
        self.blocking(move |inner| inner.delete(&name)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, InstallError> + Send + 'static,
    ) -> Result<T, InstallError> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|_| Err(InstallError::NotStored("the host is stopping".into())))
    }
}

/// What a thread that runs a call needs: the wasm stack and what is around it.
const STACK_BYTES: usize = 3 * 1024 * 1024;

impl Drop for Registry {
    fn drop(&mut self) {
        self.inner.stopping.store(true, Ordering::Release);
        // A watcher in the middle of a compilation is let go of: its child ends with the process.
        if let Some(watcher) = self.watcher.take().filter(|_| self.is_settled()) {
            watcher.thread().unpark();
            let _ = watcher.join();
        }
    }
}

fn version_info(history: &History, version: &Version) -> VersionInfo {
    VersionInfo {
        version: version.version.clone(),
        digest: format!("sha256:{}", version.digest),
        added_at: Some(version.added_at),
        active: version.digest == history.active,
        rolled_back: version.withdrawn.clone(),
    }
}

impl Inner {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
        (self.changes)();
    }

    pub(super) fn drop_in(&self) -> &Path {
        &self.drop_in
    }

    fn current(&self, name: &str) -> Option<Arc<Component>> {
        self.table.load().ready.get(name).cloned()
    }

    /// Makes what is on the shelf what is in use.
    fn publish(&self, shelf: &Shelf) {
        let table = shelf.table();
        let before = self.table.load();
        let same =
            before.ready.len() == table.ready.len() && table.ready.keys().all(|name| before.ready.contains_key(name));
        drop(before);
        self.table.store(Arc::new(table));
        if !same {
            (self.changes)();
        }
    }

    /// The one door: checks the bytes, tries them on the samples, keeps them by digest.
    fn admit(
        &self,
        bytes: &[u8],
        digest: [u8; 32],
        origin: Origin,
        file: Option<String>,
    ) -> Result<Arc<Component>, Rejection> {
        let loaded = self.bench.admit(bytes, digest)?;
        if let Err(error) = keep(&self.components, &loaded.digest, bytes) {
            return Err(Rejection::new("not_stored", format!("it cannot be kept in the data folder: {error}")));
        }
        Ok(component(loaded, origin, file))
    }

    fn call(&self, component: &Component, event: &Event, options: &str, transport_kind: TransportKind) -> Run {
        let run = self.bench.run(&component.loaded, event, options, transport_kind);
        component.stats.count(&run, event, || self.clock.now());
        for line in &run.log {
            tracing::debug!(formatter = component.name(), level = ?line.level, line = line.message, "a formatter logged");
        }
        run
    }

    fn render(
        &self,
        component: &Arc<Component>,
        event: &Event,
        options: &str,
        transport_kind: TransportKind,
    ) -> Result<Rendering, RenderError> {
        let error = match self.call(component, event, options, transport_kind).result {
            Ok(payload) => {
                if component.predecessor.load().is_some() && component.stats.successes() >= PROVEN {
                    component.predecessor.store(None);
                }
                return Ok(Rendering { payload, instead: None, note: None });
            }
            Err(error) if !error.is_fault() => return Err(error),
            Err(error) => error,
        };
        let other = component.predecessor.load_full().or_else(|| {
            // Replaced while this call ran: whoever is in use now has the word.
            self.current(component.name()).filter(|current| current.origin != Origin::BuiltIn)
        });
        let Some(other) = other.filter(|other| other.digest() != component.digest()) else { return Err(error) };
        // A busy machine is no fault of the version: it must take too long a second time.
        let error = match error {
            RenderError::Limit { limit: Limit::Time, .. } => {
                match self.call(component, event, options, transport_kind).result {
                    Ok(payload) => return Ok(Rendering { payload, instead: None, note: None }),
                    Err(again) => again,
                }
            }
            error => error,
        };
        let Ok(payload) = self.call(&other, event, options, transport_kind).result else { return Err(error) };
        let then = if self.withdraw(component, &other, event, &error) { ", and was rolled back" } else { "" };
        let note = format!(
            "formatted by version {} of {}: version {} fails on this event, where {0} does not{then} ({error})",
            other.manifest().version,
            other.name(),
            component.manifest().version,
        );
        Ok(Rendering { payload, instead: Some(other), note: Some(note) })
    }

    /// Goes back to the version before; whether that was still to be done.
    fn withdraw(&self, bad: &Arc<Component>, good: &Arc<Component>, event: &Event, error: &RenderError) -> bool {
        let name = bad.name();
        let mut shelf = self.shelf();
        if self.current(name).is_none_or(|current| current.digest() != bad.digest()) {
            return false;
        }
        let reason = format!(
            "version {} failed on a {} event ({}) where version {} did not: {error}",
            bad.manifest().version,
            event.event_type.as_str(),
            event.id,
            good.manifest().version
        );
        tracing::warn!(
            formatter = name,
            from = bad.manifest().version,
            to = good.manifest().version,
            reason,
            "a formatter was rolled back"
        );
        let version = FieldChange {
            field: "version".into(),
            from: bad.manifest().version.as_str().into(),
            to: good.manifest().version.as_str().into(),
        };
        let changes = vec![version, FieldChange::to("reason", reason.as_str())];
        (self.audit_events)(AuditEvent::formatter(Actor::Host, Action::FormatterRolledBack, name, changes));
        if bad.origin == Origin::Upload {
            shelf.uploads.insert(name.to_owned(), Ok(Arc::clone(good)));
        } else if let Some(dropped) = bad.file.as_ref().and_then(|file| shelf.files.get_mut(file)) {
            dropped.good = Some(Arc::clone(good));
            dropped.refused = Some(rolled_back(bad, &reason));
        }
        if let Some(mut history) = shelf.versions.get(name).cloned() {
            let why = Withdrawn { at: self.clock.now(), reason };
            history.withdraw(&hex(&bad.digest()), &hex(&good.digest()), why);
            self.remember(&mut shelf, name, Some(history));
        }
        self.publish(&shelf);
        true
    }

    /// Writes a history; a disk that does not take it costs the memory of it at the next start.
    fn remember(&self, shelf: &mut Shelf, name: &str, history: Option<History>) {
        if let Err(error) = shelf.versions.set(name, history) {
            tracing::error!(formatter = name, %error, "the versions of a formatter could not be written");
        }
    }

    fn interpret(&self, component: &Component, response: &Response) -> Verdict {
        let Some(called) = self.bench.interpret(&component.loaded, response) else { return Verdict::ByStatus };
        component.stats.count_interpret(&called, || self.clock.now());
        called.result.unwrap_or(Verdict::ByStatus)
    }

    fn install(&self, name: &str, bytes: &[u8]) -> Result<bool, InstallError> {
        self.may_install(name)?;
        let loaded = self.bench.admit(bytes, Sha256::digest(bytes).into()).map_err(InstallError::Rejected)?;
        let component = component(loaded, Origin::Upload, None);
        if component.name() != name {
            let reason =
                format!("its manifest says {:?}, the path says {name:?}; use one name for both", component.name());
            return Err(InstallError::Rejected(Rejection::new("other_name", reason)));
        }
        keep(&self.components, &component.digest(), bytes)
            .map_err(|error| InstallError::NotStored(error.to_string()))?;
        let mut shelf = self.shelf();
        let before = shelf.uploads.get(name).and_then(|upload| upload.as_ref().ok()).cloned();
        if before.as_ref().is_some_and(|before| before.digest() == component.digest()) {
            return Ok(false);
        }
        let known = shelf.versions.get(name).filter(|known| known.origin == Origin::Upload).cloned();
        let is_new = known.is_none();
        let mut history = known.unwrap_or_else(|| History::new(Origin::Upload));
        history.add(self.version(&component));
        shelf.versions.set(name, Some(history)).map_err(|error| InstallError::NotStored(error.to_string()))?;
        succeed(&component, before);
        shelf.uploads.insert(name.to_owned(), Ok(component));
        self.publish(&shelf);
        Ok(is_new)
    }

    fn may_install(&self, name: &str) -> Result<(), InstallError> {
        match self.current(name) {
            Some(taken) if taken.origin == Origin::BuiltIn => Err(InstallError::Conflict(format!(
                "{name} is a built-in formatter; give yours another name in its manifest"
            ))),
            Some(taken) if taken.origin == Origin::Folder => Err(InstallError::Conflict(format!(
                "{name} comes from the formatters folder ({}); replace or remove the file there",
                taken.file.as_deref().unwrap_or_default()
            ))),
            _ => Ok(()),
        }
    }

    /// Uses a version, or the one that was in use before.
    fn activate(&self, name: &str, which: Option<&Which>) -> Result<(), InstallError> {
        let history = self.shelf().versions.get(name).cloned();
        let Some(history) = history.filter(|history| history.origin == Origin::Upload) else {
            self.may_install(name)?;
            return Err(InstallError::Missing);
        };
        let found = match which {
            Some(Which::Digest(text)) => history.find(text.strip_prefix("sha256:").unwrap_or(text)),
            Some(Which::Version(text)) => history.versions.iter().rev().find(|version| version.version == *text),
            None => {
                let previous = history.previous.as_ref().and_then(|digest| history.find(digest));
                Some(previous.ok_or_else(|| {
                    InstallError::Conflict(format!("{name} has no version that was in use before this one"))
                })?)
            }
        };
        let Some(found) = found.cloned() else { return Err(InstallError::Missing) };
        let loaded = unhex(&found.digest).ok_or(InstallError::Missing).and_then(|digest| self.load_upload(digest));
        let component = component(
            loaded.map_err(|error| match error {
                InstallError::Missing => InstallError::Conflict(format!(
                    "the component of version {} is gone; install it again",
                    found.version
                )),
                error => error,
            })?,
            Origin::Upload,
            None,
        );
        let mut shelf = self.shelf();
        let Some(mut history) = shelf.versions.get(name).cloned() else { return Err(InstallError::Missing) };
        history.activate(&found.digest);
        if let Some(version) = history.versions.iter_mut().find(|version| version.digest == found.digest) {
            version.withdrawn = None;
        }
        shelf.versions.set(name, Some(history)).map_err(|error| InstallError::NotStored(error.to_string()))?;
        let before = shelf.uploads.get(name).and_then(|upload| upload.as_ref().ok()).cloned();
        // Who goes back by hand does not want to be sent forward again.
        succeed(&component, before.filter(|_| which.is_some()));
        shelf.uploads.insert(name.to_owned(), Ok(component));
        self.publish(&shelf);
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<(), InstallError> {
        let mut shelf = self.shelf();
        if shelf.versions.get(name).is_none_or(|history| history.origin != Origin::Upload) {
            drop(shelf);
            self.may_install(name)?;
            return Err(InstallError::Missing);
        }
        shelf.versions.set(name, None).map_err(|error| InstallError::NotStored(error.to_string()))?;
        shelf.uploads.remove(name);
        self.publish(&shelf);
        Ok(())
    }

    fn version(&self, component: &Component) -> Version {
        Version {
            digest: hex(&component.digest()),
            version: component.manifest().version.clone(),
            added_at: self.clock.now(),
            withdrawn: None,
        }
    }

    /// A component that was checked when it came in, by its digest.
    fn load_upload(&self, digest: [u8; 32]) -> Result<Loaded, InstallError> {
        let bytes = self.stored(digest).ok_or(InstallError::Missing)?;
        self.bench.admit(&bytes, digest).map_err(InstallError::Rejected)
    }

    /// A component's bytes, as long as they are those that were kept under this digest.
    fn stored(&self, digest: [u8; 32]) -> Option<Vec<u8>> {
        // What came in was within the limit of its day.
        let bytes = folder::read(&self.components.join(file_name(&digest)), usize::MAX >> 1).ok()?;
        (Sha256::digest(&bytes)[..] == digest).then_some(bytes)
    }

    /// Loads what was uploaded before this start.
    pub(super) fn load_uploads(&self) {
        let active: Vec<(String, [u8; 32])> = {
            let shelf = self.shelf();
            let uploads = shelf.versions.iter().filter(|(_, history)| history.origin == Origin::Upload);
            uploads.filter_map(|(name, history)| Some((name.clone(), unhex(&history.active)?))).collect()
        };
        for (name, digest) in active {
            let loaded = self.load_upload(digest).map_err(|error| match error {
                InstallError::Rejected(rejection) => rejection,
                _ => Rejection::new("not_stored", "its component is not in the data folder any more; install it again"),
            });
            if let Err(rejection) = &loaded {
                tracing::error!(
                    formatter = name,
                    code = rejection.code,
                    reason = rejection.reason,
                    "an uploaded formatter could not be loaded"
                );
            }
            let upload = loaded
                .map(|loaded| component(loaded, Origin::Upload, None))
                .map_err(|rejection| Misfit { digest: Some(digest), rejection });
            let mut shelf = self.shelf();
            // Somebody may have been faster over the API.
            shelf.uploads.entry(name).or_insert(upload);
            self.publish(&shelf);
        }
    }

    /// Which mark the file had when it was last taken.
    pub(super) fn mark_of(&self, file: &str) -> Option<Option<folder::Mark>> {
        self.shelf().files.get(file).map(|dropped| dropped.mark)
    }

    pub(super) fn files(&self) -> Vec<String> {
        self.shelf().files.keys().cloned().collect()
    }

    /// Takes a file of the drop-in folder, as a formatter or as a refusal.
    pub(super) fn take_file(&self, path: &Path, mark: Option<folder::Mark>) {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let good = self.shelf().files.get(&file).and_then(|dropped| dropped.good.clone());
        let mut digest = None;
        let admitted = folder::read(path, self.bench.settings().component_bytes).and_then(|bytes| {
            let found: [u8; 32] = Sha256::digest(&bytes).into();
            digest = Some(found);
            match &good {
                Some(good) if good.digest() == found => Ok(Arc::clone(good)),
                _ => self.admit(&bytes, found, Origin::Folder, Some(file.clone())),
            }
        });
        let mut shelf = self.shelf();
        let (good, refused) = match admitted {
            Ok(component) => self.accept_file(&mut shelf, &file, component, good),
            Err(rejection) => {
                let kept = good.is_some();
                tracing::warn!(file, code = rejection.code, reason = rejection.reason, kept, "a formatter was refused");
                (good, Some(Misfit { digest, rejection }))
            }
        };
        shelf.files.insert(file, Dropped { mark, good, refused });
        self.publish(&shelf);
    }

    /// A file brought a component that fits: remembered, and set in the place of the one before.
    fn accept_file(
        &self,
        shelf: &mut Shelf,
        file: &str,
        component: Arc<Component>,
        before: Option<Arc<Component>>,
    ) -> (Option<Arc<Component>>, Option<Misfit>) {
        let name = component.name().to_owned();
        let digest = hex(&component.digest());
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &component)) {
            return (Some(component), None);
        }
        let taken = self.current(&name).is_some_and(|current| current.file.as_deref() != Some(file));
        if taken {
            // Listed as refused for as long as that is so.
            tracing::warn!(file, formatter = name, "a formatter was refused: its name is taken");
            return (Some(component), None);
        }
        let known = shelf.versions.get(&name).filter(|history| history.origin == Origin::Folder).cloned();
        if let Some(why) = known.as_ref().and_then(|history| history.find(&digest)?.withdrawn.clone()) {
            let good = before.or_else(|| {
                let active = known.as_ref().and_then(|history| unhex(&history.active))?;
                self.load_upload(active)
                    .ok()
                    .map(|loaded| self::component(loaded, Origin::Folder, Some(file.to_owned())))
            });
            return (good, Some(rolled_back(&component, &why.reason)));
        }
        let mut history = known.unwrap_or_else(|| History::new(Origin::Folder));
        if history.active != digest {
            history.add(self.version(&component));
            self.remember(shelf, &name, Some(history));
        }
        succeed(&component, before.filter(|before| before.name() == name));
        tracing::info!(file, formatter = name, digest, "a formatter was loaded");
        (Some(component), None)
    }

    /// A file is gone, and with it what it brought.
    pub(super) fn drop_file(&self, file: &str) {
        let mut shelf = self.shelf();
        let Some(dropped) = shelf.files.remove(file) else { return };
        if let Some(component) = dropped.good {
            let name = component.name().to_owned();
            let others = shelf.files.values().any(|other| other.good.as_ref().is_some_and(|good| good.name() == name));
            tracing::info!(file, formatter = name, "a formatter was removed");
            if !others && shelf.versions.get(&name).is_some_and(|history| history.origin == Origin::Folder) {
                self.remember(&mut shelf, &name, None);
            }
        }
        self.publish(&shelf);
    }

    fn load_earlier(&self, digest: [u8; 32]) -> Option<Arc<Component>> {
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let known = earlier.iter().position(|known| known.digest == digest);
        let entry = match known {
            Some(place) => earlier.remove(place),
            None => {
                let loaded = self.stored(digest).and_then(|bytes| self.bench.load(&bytes, digest));
                Earlier { digest, component: loaded.map(|loaded| component(loaded, Origin::Folder, None)) }
            }
        };
        let found = entry.component.clone();
        earlier.push(entry);
        if earlier.len() > EARLIER {
            earlier.remove(0);
        }
        found
    }

    fn ready_info(&self, component: &Component) -> FormatterInfo {
        let manifest = component.manifest();
        let word = |value: Value| value.as_str().map(str::to_owned);
        FormatterInfo {
            name: manifest.name.clone(),
            version: Some(manifest.version.clone()),
            description: manifest.description.clone(),
            options_schema: Some(manifest.options_schema.clone()),
            digest: Some(digest_text(&component.digest())),
            origin: component.origin,
            file: component.file.clone(),
            state: State::Ready,
            numbers: component.stats.numbers(),
            traits: Traits {
                title: manifest.title.clone(),
                kind: word(serde_json::json!(manifest.kind)),
                join: word(serde_json::json!(manifest.join)),
                size: word(serde_json::json!(manifest.size)),
                interprets: Some(component.interprets()),
            },
            limits: self.bench.limits(manifest.size),
            last_error: component.stats.last_error(),
            log: Some(component.stats.log()),
        }
    }

    fn refused_info(&self, refused: &Refused) -> FormatterInfo {
        FormatterInfo {
            name: refused.name.clone(),
            version: None,
            description: None,
            options_schema: None,
            digest: refused.digest.as_ref().map(digest_text),
            origin: refused.origin,
            file: refused.file.clone(),
            state: State::Rejected {
                code: refused.rejection.code.to_owned(),
                reason: refused.rejection.reason.clone(),
            },
            numbers: Default::default(),
            traits: Traits::default(),
            limits: self.bench.limits(Default::default()),
            last_error: None,
            log: None,
        }
    }
}

fn rolled_back(component: &Component, reason: &str) -> Misfit {
    let reason = format!("{reason}; the version before is used until the file changes");
    Misfit { digest: Some(component.digest()), rejection: Rejection::new("rolled_back", reason) }
}

/// A component in the place of another: until it has proven itself, that one stays at hand.
fn succeed(component: &Arc<Component>, before: Option<Arc<Component>>) {
    if let Some(before) = before.filter(|before| before.digest() != component.digest()) {
        before.predecessor.store(None);
        component.predecessor.store(Some(before));
    }
}

fn component(loaded: Loaded, origin: Origin, file: Option<String>) -> Arc<Component> {
    Arc::new(Component { loaded, origin, file, stats: Stats::default(), predecessor: ArcSwapOption::empty() })
}

/// The files of a folder of components that an export takes along, by their name in the data folder: the components
/// and the list of their versions. What is compiled of them is made again.
pub fn component_files(components: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(components).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            (name.ends_with(".wasm") || name == super::versions::FILE)
                .then(|| (format!("components/{name}"), entry.path()))
        })
        .collect();
    files.sort();
    files
}

/// Removes components that no version list names, and that nothing used for so long that no waiting delivery
/// can have begun with them; of their machine code all but what is in use.
///
/// # Errors
/// When the folder cannot be read.
pub fn forget_unused(registry: &Registry, kept: Duration) -> std::io::Result<()> {
    let inner = &registry.inner;
    let used: Vec<[u8; 32]> = inner.table.load().ready.values().map(|component| component.digest()).collect();
    // Their age counts from when they were last in use.
    for digest in &used {
        let file = std::fs::File::options().append(true).open(inner.components.join(file_name(digest)))?;
        file.set_modified(std::time::SystemTime::now())?;
    }
    let listed: Vec<[u8; 32]> = inner.shelf().versions.digests().filter_map(unhex).collect();
    for entry in std::fs::read_dir(&inner.components)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        let spare = if Compile::is_code(&name) {
            // It can be made again at any time.
            age > CODE_KEPT && !Compile::is_code_of(&name, &used)
        } else {
            let digest = name.strip_suffix(".wasm").and_then(unhex);
            digest.is_some_and(|digest| age > kept && !used.contains(&digest) && !listed.contains(&digest))
        };
        if spare {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// How long machine code of components that are not in use is kept.
const CODE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

fn file_name(digest: &[u8; 32]) -> String {
    format!("{}.wasm", hex(digest))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(digest)
}

/// Keeps a component under its digest.
fn keep(components: &Path, digest: &[u8; 32], bytes: &[u8]) -> std::io::Result<()> {
    let path = components.join(file_name(digest));
    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == bytes.len() as u64) {
        // Its age says when it was last in use.
        return std::fs::File::options().append(true).open(&path)?.set_modified(std::time::SystemTime::now());
    }
    folder::replace(&path, bytes)
}
