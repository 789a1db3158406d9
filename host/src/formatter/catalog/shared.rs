//! State of the catalog that its handle, the threads of the calls and the folder's watcher share.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::component::Component;
use super::files::ComponentFiles;
use super::pinned::PinnedCache;
use super::table::{ROLLED_BACK, RejectedEntry, Sources, Table};
use super::versions::{History, Origin, Version};
use crate::formatter::admission::Rejection;
use crate::formatter::component_runtime::{ComponentRuntime, Loaded, Run, Turn};
use crate::formatter::digest::{digest_text, hex};
use crate::formatter::runtime::{Digested, LogLine, OnLong, RenderError, Verdict};
use crate::model::audit::AuditEvent;
use crate::model::delivery::{Part, Response};
use crate::model::event::Event;
use crate::model::host_event::{About, FormatterFacts, HostEvent};
use crate::model::time::Clock;
use crate::model::url::TransportKind;
use crate::telemetry::FormatterMetrics;

/// Stack of a thread that runs calls, in bytes: the WebAssembly stack and the host's frames around it.
pub const STACK_BYTES: usize = 3 * 1024 * 1024;

pub(super) struct Shared {
    pub(super) runtime: ComponentRuntime,
    /// Derived from `sources` by [`Shared::publish`]; read without a lock.
    pub(super) table: ArcSwap<Table>,
    pub(super) sources: Mutex<Sources>,
    pub(super) pinned: PinnedCache,
    pub(super) files: ComponentFiles,
    pub(super) drop_in: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: FormatterMetrics,
    pub(super) audit_events: Box<dyn Fn(AuditEvent) + Send + Sync>,
    pub(super) host_events: Box<dyn Fn(HostEvent) + Send + Sync>,
    pub(super) changes: Box<dyn Fn() + Send + Sync>,
    /// The formats that active webhooks name.
    pub(super) wanted: Box<dyn Fn() -> HashSet<String> + Send + Sync>,
    /// Formats that somebody waits for beside.
    pub(super) asked: Mutex<HashSet<String>>,
    /// Sent to with each table, and when loading fails.
    pub(super) published: watch::Sender<()>,
    /// True once everything that was there at the start is loaded.
    pub(super) settled: AtomicBool,
    /// Why a built-in formatter cannot be used.
    pub(super) failure: OnceLock<String>,
    pub(super) stopping: AtomicBool,
}

impl Shared {
    pub(super) fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    pub(super) fn asked(&self) -> MutexGuard<'_, HashSet<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
        self.asked().clear();
        self.published.send_replace(());
        (self.changes)();
        tracing::info!(formatters = self.table.load().ready.len(), "the formatters are loaded");
    }

    /// Loading has failed for good, with this reason.
    pub(super) fn fail(&self, reason: String) {
        self.stopping.store(true, Ordering::Release);
        // The first reason counts.
        let _ = self.failure.set(reason);
        self.published.send_replace(());
    }

    /// The component in use under a name.
    pub(super) fn current(&self, name: &str) -> Option<Arc<Component>> {
        self.table.load().ready.get(name).cloned()
    }

    /// Derives the table from the sources and puts it into use.
    pub(super) fn publish(&self, sources: &Sources) {
        let table = sources.table();
        for component in table.ready.values() {
            component.stats.show();
        }
        let before = self.table.load();
        let same_names =
            before.ready.len() == table.ready.len() && table.ready.keys().all(|name| before.ready.contains_key(name));
        self.tell_rejected(&before, &table);
        drop(before);
        self.table.store(Arc::new(table));
        self.published.send_replace(());
        if !same_names {
            (self.changes)();
        }
    }

    /// Tells of the components that are rejected since this table. A version that was rolled back is told of as such.
    fn tell_rejected(&self, before: &Table, now: &Table) {
        let is_same = |a: &RejectedEntry, b: &RejectedEntry| {
            a.name == b.name && a.digest == b.digest && a.rejection.code == b.rejection.code
        };
        for entry in &now.rejected {
            if entry.rejection.code == ROLLED_BACK || before.rejected.iter().any(|known| is_same(known, entry)) {
                continue;
            }
            let digest = entry.digest.as_ref().map(digest_text);
            let facts = FormatterFacts { name: entry.name.clone(), version: None, digest };
            (self.host_events)(HostEvent::new(About::FormatterRejected(facts), &entry.rejection.reason));
        }
    }

    /// Admits a component of the drop-in folder and stores it under its digest.
    pub(super) fn admit(&self, bytes: &[u8], digest: [u8; 32], file: String) -> Result<Arc<Component>, Rejection> {
        let loaded = self.runtime.admit(bytes, digest, Turn::Wait)?;
        self.store(&digest, bytes)?;
        Ok(self.component(loaded, Origin::Folder, Some(file)))
    }

    /// Admits a component of the program and stores it under its digest.
    pub(super) fn admit_built_in(&self, bytes: &[u8], digest: [u8; 32]) -> Result<Arc<Component>, Rejection> {
        let loaded = self.runtime.admit(bytes, digest, Turn::Skip)?;
        self.store(&digest, bytes)?;
        Ok(self.component(loaded, Origin::BuiltIn, None))
    }

    fn store(&self, digest: &[u8; 32], bytes: &[u8]) -> Result<(), Rejection> {
        self.files.store(digest, bytes).map_err(|error| {
            let reason =
                format!("it cannot be stored in the data folder: {error}; check its free space and permissions");
            Rejection::new("not_stored", reason)
        })
    }

    /// Admits a component from the data folder, where it was stored when it was first admitted; `None` if its file is
    /// gone.
    pub(super) fn admit_stored(&self, digest: [u8; 32], turn: Turn) -> Option<Result<Loaded, Rejection>> {
        self.files.load(digest).map(|bytes| self.runtime.admit(&bytes, digest, turn))
    }

    pub(super) fn component(&self, loaded: Loaded, origin: Origin, file: Option<String>) -> Arc<Component> {
        Component::new(loaded, origin, file, &self.metrics)
    }

    /// The pinned component of a waiting delivery that is not in use any more.
    pub(super) fn load_pinned(&self, digest: [u8; 32]) -> Option<Arc<Component>> {
        self.pinned.get_or_load(digest, || {
            let loaded = self.files.load(digest).and_then(|bytes| self.runtime.load(&bytes, digest));
            loaded.map(|loaded| self.component(loaded, Origin::Folder, None))
        })
    }

    /// Renders one event on the current thread, and counts the call.
    pub(super) fn call(
        &self,
        component: &Component,
        event: &Event,
        options: &str,
        transport_kind: TransportKind,
        on_long: Option<OnLong>,
    ) -> Run {
        let run = self.runtime.run_on(&component.loaded, event, options, transport_kind, on_long);
        self.count(component, &run, event);
        run
    }

    /// Counts a call.
    pub(super) fn count(&self, component: &Component, run: &Run, event: &Event) {
        component.stats.count(run, event, || self.clock.now());
        tell_log(component, &run.log);
    }

    /// Makes one message of many events on the current thread, and counts the call; `None` if the component does not export
    /// `digest`.
    pub(super) fn digest(
        &self,
        component: &Component,
        events: &[Arc<Event>],
        part: Part,
        options: &str,
        on_long: Option<OnLong>,
    ) -> Option<Result<Digested, RenderError>> {
        let run = self.runtime.digest_on(&component.loaded, events, part, options, on_long)?;
        component.stats.count_digest(&run, || self.clock.now());
        tell_log(component, &run.log);
        Some(run.result)
    }

    /// Judges a response on the current thread, and counts the call. A failed call leaves the verdict to the status.
    pub(super) fn interpret(&self, component: &Component, response: &Response, on_long: Option<OnLong>) -> Verdict {
        let called = self.runtime.interpret(&component.loaded, response, on_long);
        let Some(called) = called else { return Verdict::ByStatus };
        component.stats.count_interpret(&called, || self.clock.now());
        called.result.unwrap_or(Verdict::ByStatus)
    }

    /// As [`Shared::interpret`], on a thread that others wait for, with its processor time. Only a verdict counts:
    /// whatever else happens is left to a call on the pool.
    pub(super) fn interpret_here(&self, component: &Component, response: &Response) -> (Duration, Option<Verdict>) {
        let called = self.runtime.interpret_here(&component.loaded, response);
        let Some(called) = called else { return (Duration::ZERO, Some(Verdict::ByStatus)) };
        if called.result.is_ok() {
            component.stats.count_interpret(&called, || self.clock.now());
        }
        (called.processor, called.result.ok())
    }

    /// The list entry of a component that comes in now.
    pub(super) fn version(&self, component: &Component) -> Version {
        Version {
            digest: hex(&component.digest()),
            version: component.manifest().version.clone(),
            added_at: self.clock.now(),
            withdrawn: None,
        }
    }

    /// Writes a name's history. If that fails, the change is in effect and lost at the next start.
    pub(super) fn remember(&self, sources: &mut Sources, name: &str, history: Option<History>) {
        if let Err(error) = sources.versions.set(name, history) {
            tracing::error!(
                formatter = name,
                %error,
                "the versions of a formatter could not be written, so the next start uses the former one; check the data folder's free space and permissions"
            );
        }
    }
}

fn tell_log(component: &Component, lines: &[LogLine]) {
    for line in lines {
        tracing::debug!(formatter = component.name(), level = ?line.level, line = line.message, "a formatter logged");
    }
}
