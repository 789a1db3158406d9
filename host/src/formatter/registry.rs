//! The formatters that are loaded, and the one door by which they come in.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::COMPONENT_BYTES;
use super::bindings::FormatterPre;
use super::check::{self, Rejection};
use super::error::RenderError;
use super::info::{FormatterInfo, Limits, Origin, Preview, State, Timings};
use super::manifest::{Manifest, Options};
use super::pool::Pool;
use super::sandbox::{Called, Host, Payload, Sandbox, Surroundings};
use crate::model::delivery::FormatterRef;
use crate::model::event::Event;
use crate::model::fault::Fault;
use crate::model::settings::SandboxSettings;

/// What the registry is opened with.
pub struct RegistryOptions {
    /// What one call may use.
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
    pub samples: Vec<Event>,
}

/// A component that may be used.
pub struct Component {
    /// What it says of itself.
    pub manifest: Manifest,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    origin: Origin,
    file: Option<String>,
    linked: FormatterPre<Host>,
    options: Options,
    stats: Stats,
}

impl Component {
    /// How the history names it.
    pub fn reference(&self) -> FormatterRef {
        FormatterRef {
            name: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            digest: digest_text(&self.digest),
        }
    }
}

#[derive(Default)]
struct Stats {
    calls: AtomicU64,
    errors: AtomicU64,
    total_us: AtomicU64,
    max_us: AtomicU64,
}

impl Stats {
    fn count<T>(&self, called: &Called<T>) {
        let us = u64::try_from(called.duration.as_micros()).unwrap_or(u64::MAX);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
        if called.result.is_err() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A file that was refused.
#[derive(Clone)]
struct Refused {
    name: String,
    file: String,
    digest: Option<[u8; 32]>,
    rejection: Rejection,
}

#[derive(Default, Clone)]
struct Table {
    ready: HashMap<String, Arc<Component>>,
    refused: Vec<Refused>,
}

struct Inner {
    sandbox: Sandbox,
    around: Surroundings,
    table: ArcSwap<Table>,
    /// Components that waiting deliveries began with and that are not the current ones.
    earlier: Mutex<HashMap<[u8; 32], Option<Arc<Component>>>>,
    components: PathBuf,
}

/// All formatters.
pub struct Registry {
    inner: Arc<Inner>,
    pool: Pool,
}

impl Registry {
    /// Starts the engine and loads the built-in components and the drop-in folder. A component that does
    /// not fit is listed with its reason and keeps no other from loading.
    ///
    /// # Errors
    /// When the engine cannot start, a built-in component does not fit, or the data folder cannot be used.
    pub fn open(options: RegistryOptions) -> anyhow::Result<Self> {
        let calls = u32::try_from(options.threads).unwrap_or(u32::MAX).saturating_add(2);
        let inner = Inner {
            sandbox: Sandbox::new(options.settings, calls)?,
            around: Surroundings { host_name: options.host_name },
            table: ArcSwap::default(),
            earlier: Mutex::default(),
            components: options.components,
        };
        std::fs::create_dir_all(&inner.components)?;
        let mut table = Table::default();
        for bytes in options.built_in {
            let component = inner
                .admit(bytes, Origin::BuiltIn, None, &options.samples)
                .map_err(|rejection| anyhow::anyhow!("a built-in formatter does not fit: {}", rejection.reason))?;
            table.ready.insert(component.manifest.name.clone(), component);
        }
        for path in candidates(&options.drop_in)? {
            inner.drop_in(&path, &options.samples, &mut table);
        }
        inner.table.store(Arc::new(table));
        Ok(Self { pool: Pool::new(options.threads)?, inner: Arc::new(inner) })
    }

    /// The component that a format's name stands for now.
    pub fn current(&self, name: &str) -> Option<Arc<Component>> {
        self.inner.table.load().ready.get(name).cloned()
    }

    /// The component with this digest, if it is still there: a delivery keeps the one it began with.
    pub async fn pinned(&self, digest: [u8; 32]) -> Option<Arc<Component>> {
        let current = self.inner.table.load().ready.values().find(|component| component.digest == digest).cloned();
        if current.is_some() {
            return current;
        }
        let inner = Arc::clone(&self.inner);
        // Compiling, and waiting for another that compiles, takes long for a worker of the deliveries' runtime.
        let loaded = tokio::task::spawn_blocking(move || inner.load_earlier(digest)).await;
        loaded.ok().flatten()
    }

    /// Renders one event with a component.
    ///
    /// # Errors
    /// [`RenderError`].
    pub async fn render(
        &self,
        component: &Arc<Component>,
        event: &Arc<Event>,
        options: &Arc<str>,
    ) -> Result<Payload, RenderError> {
        let (inner, component) = (Arc::clone(&self.inner), Arc::clone(component));
        let (event, options) = (Arc::clone(event), Arc::clone(options));
        let called = self.pool.run(move || inner.call(&component, &event, &options)).await?;
        called.result
    }

    /// Renders one event on this very thread, for benchmarks.
    ///
    /// # Errors
    /// [`RenderError`].
    pub fn render_here(&self, component: &Component, event: &Event, options: &str) -> Result<Payload, RenderError> {
        self.inner.call(component, event, options).result
    }

    /// Renders an event to look at.
    ///
    /// # Errors
    /// [`RenderError`].
    pub async fn preview(&self, name: &str, event: &Event, options: &str) -> Result<Preview, RenderError> {
        let component = self.current(name).ok_or_else(|| RenderError::NotLoaded(name.to_owned()))?;
        let inner = Arc::clone(&self.inner);
        let (event, options) = (event.clone(), options.to_owned());
        let called = self.pool.run(move || inner.call(&component, &event, &options)).await?;
        let Payload { content_type, headers, body } = called.result?;
        Ok(Preview {
            content_type,
            headers,
            body: body.to_vec(),
            log: called.log,
            duration_us: u64::try_from(called.duration.as_micros()).unwrap_or(u64::MAX),
        })
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
        let faults = component.options.check(options);
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

    /// The formatter of this name; a ready one before a refused file of the same stem.
    pub fn get(&self, name: &str) -> Option<FormatterInfo> {
        let table = self.inner.table.load();
        match table.ready.get(name) {
            Some(component) => Some(self.inner.ready_info(component)),
            None => table.refused.iter().find(|refused| refused.name == name).map(|r| self.inner.refused_info(r)),
        }
    }
}

impl Inner {
    /// The one door: checks the bytes, tries them on the samples, keeps them by digest.
    fn admit(
        &self,
        bytes: &[u8],
        origin: Origin,
        file: Option<String>,
        samples: &[Event],
    ) -> Result<Arc<Component>, Rejection> {
        let fitting = check::check(&self.sandbox, bytes, samples, &self.around)?;
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        if let Err(error) = keep(&self.components, &digest, bytes) {
            return Err(Rejection::new("not_stored", format!("it cannot be kept in the data folder: {error}")));
        }
        let options = Options::new(&fitting.manifest.options_schema)
            .map_err(|error| Rejection::new("invalid_manifest", error))?;
        Ok(Arc::new(Component {
            manifest: fitting.manifest,
            digest,
            origin,
            file,
            linked: fitting.linked,
            options,
            stats: Stats::default(),
        }))
    }

    /// Takes one file of the drop-in folder into the table, as a formatter or as a refusal.
    fn drop_in(&self, path: &Path, samples: &[Event], table: &mut Table) {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut digest = None;
        let admitted = read(path).and_then(|bytes| {
            digest = Some(<[u8; 32]>::from(Sha256::digest(&bytes)));
            self.admit(&bytes, Origin::Folder, Some(file.clone()), samples)
        });
        let admitted = admitted.and_then(|component| match table.ready.get(&component.manifest.name) {
            Some(taken) if taken.origin == Origin::BuiltIn => Err(Rejection::new(
                "reserved_name",
                format!(
                    "its name {:?} is a built-in formatter's; give it another in its manifest",
                    component.manifest.name
                ),
            )),
            Some(taken) => Err(Rejection::new(
                "duplicate_name",
                format!(
                    "its name {:?} is taken by {}; of two files the first by file name is used",
                    component.manifest.name,
                    taken.file.as_deref().unwrap_or_default()
                ),
            )),
            None => Ok(component),
        });
        match admitted {
            Ok(component) => {
                let name = component.manifest.name.clone();
                tracing::info!(
                    file,
                    formatter = name,
                    digest = digest_text(&component.digest),
                    "a formatter was loaded"
                );
                table.ready.insert(name, component);
            }
            Err(rejection) => {
                tracing::warn!(file, code = rejection.code, reason = rejection.reason, "a formatter was refused");
                let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                table.refused.push(Refused { name: stem, file, digest, rejection });
            }
        }
    }

    fn call(&self, component: &Component, event: &Event, options: &str) -> Called<Payload> {
        let called = self.sandbox.format(&component.linked, event, &self.around, options);
        component.stats.count(&called);
        called
    }

    fn earlier(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Option<Arc<Component>>>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load_earlier(&self, digest: [u8; 32]) -> Option<Arc<Component>> {
        let mut earlier = self.earlier();
        if let Some(known) = earlier.get(&digest) {
            return known.clone();
        }
        let bytes = read(&self.components.join(file_name(&digest))).ok();
        let bytes = bytes.filter(|bytes| Sha256::digest(bytes)[..] == digest);
        let component = bytes.and_then(|bytes| self.admit(&bytes, Origin::Folder, None, &[]).ok());
        earlier.insert(digest, component.clone());
        component
    }

    fn limits(&self) -> Limits {
        let settings = self.sandbox.settings();
        Limits {
            instructions: settings.fuel,
            time_ms: u64::try_from(settings.timeout.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: settings.memory_bytes as u64,
            output_bytes: settings.output_bytes as u64,
        }
    }

    fn ready_info(&self, component: &Component) -> FormatterInfo {
        let calls = component.stats.calls.load(Ordering::Relaxed);
        FormatterInfo {
            name: component.manifest.name.clone(),
            version: Some(component.manifest.version.clone()),
            description: component.manifest.description.clone(),
            options_schema: Some(component.manifest.options_schema.clone()),
            digest: Some(digest_text(&component.digest)),
            origin: component.origin,
            file: component.file.clone(),
            state: State::Ready,
            calls,
            errors: component.stats.errors.load(Ordering::Relaxed),
            timings: Timings {
                mean_us: component.stats.total_us.load(Ordering::Relaxed) / calls.max(1),
                max_us: component.stats.max_us.load(Ordering::Relaxed),
            },
            limits: self.limits(),
        }
    }

    fn refused_info(&self, refused: &Refused) -> FormatterInfo {
        FormatterInfo {
            name: refused.name.clone(),
            version: None,
            description: None,
            options_schema: None,
            digest: refused.digest.as_ref().map(digest_text),
            origin: Origin::Folder,
            file: Some(refused.file.clone()),
            state: State::Rejected {
                code: refused.rejection.code.to_owned(),
                reason: refused.rejection.reason.clone(),
            },
            calls: 0,
            errors: 0,
            timings: Timings::default(),
            limits: self.limits(),
        }
    }
}

/// Removes components that nothing named for so long that no waiting delivery can have begun with them.
///
/// # Errors
/// When the folder cannot be read.
pub fn forget_unused(registry: &Registry, kept: Duration) -> std::io::Result<()> {
    let used: Vec<String> =
        registry.inner.table.load().ready.values().map(|component| file_name(&component.digest)).collect();
    // Their age counts from when they were last in use.
    for name in &used {
        let file = std::fs::File::options().append(true).open(registry.inner.components.join(name))?;
        file.set_modified(std::time::SystemTime::now())?;
    }
    for entry in std::fs::read_dir(&registry.inner.components)? {
        let entry = entry?;
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if age > kept && !used.iter().any(|name| entry.file_name() == name.as_str()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// `sha256:` and lower-case hex.
fn digest_text(digest: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::from("sha256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn file_name(digest: &[u8; 32]) -> String {
    format!("{}.wasm", digest_text(digest).trim_start_matches("sha256:"))
}

/// The drop-in folder's files, by name. Whatever ends in `.wasm` is looked at, also what is no file.
fn candidates(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => anyhow::bail!("the formatters folder {} cannot be read: {error}", folder.display()),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    paths.sort();
    Ok(paths)
}

/// Reads a file that may be anything: a pipe must not block, a huge one must not fill the memory.
fn read(path: &Path) -> Result<Vec<u8>, Rejection> {
    let unreadable = |error: std::io::Error| Rejection::new("unreadable", format!("it cannot be read: {error}"));
    // O_NONBLOCK: opening a pipe that nobody writes to returns at once.
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Rejection::new("not_a_file", "it is not a regular file"));
    }
    if metadata.len() > COMPONENT_BYTES {
        return Err(check::too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    file.take(COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Keeps a component under its digest: written beside, synced, moved into place.
fn keep(folder: &Path, digest: &[u8; 32], bytes: &[u8]) -> std::io::Result<()> {
    let path = folder.join(file_name(digest));
    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == bytes.len() as u64) {
        // Its age says when it was last in use.
        return std::fs::File::options().append(true).open(&path)?.set_modified(std::time::SystemTime::now());
    }
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut beside, bytes)?;
    beside.as_file().sync_all()?;
    beside.persist(&path)?;
    std::fs::File::open(folder)?.sync_all()
}
