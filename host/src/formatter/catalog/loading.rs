//! Loading at the start: what the host finds there is compiled on several threads while the host already works, first what
//! somebody waits for.

use std::sync::Arc;

use super::declared::{BuiltIn, Loading, Source, Standing};
use super::folder;
use super::shared::{STACK_BYTES, Shared};
use super::table::{Sources, Table};
use super::versions::Origin;
use crate::formatter::digest::{sha256, unhex};
use crate::formatter::thread::lower_priority;

/// Everything that there is at the start. Files come in the order of their names.
///
/// # Errors
/// When the drop-in folder exists and cannot be read.
pub(super) fn find(shared: &Shared, built_in: &[BuiltIn]) -> std::io::Result<Vec<Arc<Loading>>> {
    let built_in = built_in.iter().map(|built_in| {
        let (digest, bytes) = (sha256(built_in.component), built_in.component.len() as u64);
        Loading::new(built_in.name.to_owned(), Source::BuiltIn(*built_in), Some(digest), bytes)
    });
    let mut found: Vec<_> = built_in.collect();
    let sources = shared.sources();
    for (name, history) in sources.versions.iter().filter(|(_, history)| history.origin == Origin::Upload) {
        let Some(digest) = unhex(&history.active) else { continue };
        found.push(Loading::new(name.clone(), Source::Upload, Some(digest), shared.files.bytes(&digest)));
    }
    drop(sources);
    for (path, stamp) in folder::list(&shared.drop_in)? {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = stamp.map_or(0, |stamp| stamp.bytes());
        found.push(Loading::new(name, Source::File { path, stamp }, None, bytes));
    }
    Ok(found)
}

impl Sources {
    /// Takes a component off the list; false if it is there no more: an admin replaced or deleted it meanwhile.
    pub(super) fn end_loading(&mut self, ended: &Arc<Loading>) -> bool {
        let before = self.loading.len();
        self.loading.retain(|loading| !Arc::ptr_eq(loading, ended));
        self.loading.len() < before
    }

    /// Takes an upload off the list, whose name has got another component, or none.
    pub(super) fn forget_loading_upload(&mut self, name: &str) {
        self.loading.retain(|loading| !(matches!(loading.source, Source::Upload) && loading.name == name));
    }
}

impl Table {
    /// The formatter of this name that the program brings along or that was uploaded, and that is not loaded yet.
    pub(super) fn loading(&self, name: &str) -> Option<&Arc<Loading>> {
        self.loading.iter().find(|loading| loading.name == name && !loading.is_file())
    }

    /// What there is under this name.
    pub(super) fn standing(&self, name: &str) -> Standing {
        if let Some(component) = self.ready.get(name) {
            return Standing::Ready(Arc::clone(component));
        }
        match self.loading(name) {
            Some(loading) => Standing::Loading(loading.declared().cloned()),
            // The manifest of a file can say any name.
            None if self.loading.iter().any(|loading| loading.is_file()) => Standing::Loading(None),
            None => Standing::Unknown,
        }
    }
}

impl Shared {
    /// Loads everything that was found at the start, on at most `threads` threads. What is wanted comes first and alone, so
    /// that nothing else takes a processor from it.
    pub(super) fn load_all(&self, threads: usize) {
        self.load_on(threads, true);
        self.load_on(threads, false);
    }

    fn load_on(&self, threads: usize, only_wanted: bool) {
        let threads = threads.min(self.sources().loading.len());
        std::thread::scope(|scope| {
            for number in 1..threads {
                let thread = std::thread::Builder::new().name(format!("formatters-{number}")).stack_size(STACK_BYTES);
                if let Err(error) = thread.spawn_scoped(scope, move || self.load_in_turn(only_wanted)) {
                    tracing::warn!(%error, "formatters are loaded on fewer threads; raise the limit on threads");
                }
            }
            self.load_in_turn(only_wanted);
        });
    }

    fn load_in_turn(&self, only_wanted: bool) {
        let mut is_lowered = false;
        while let Some((loading, is_wanted)) = self.take_next(only_wanted) {
            // Deliveries go before what nobody waits for.
            if !is_wanted && !is_lowered {
                lower_priority();
                is_lowered = true;
            }
            self.load(&loading);
        }
    }

    /// The next component to load, and true if somebody waits for it. Of those that are wanted, and of the others, the
    /// smallest comes first. Files come one at a time and in the order of their names, which decides who gets a name that
    /// two of them have.
    fn take_next(&self, only_wanted: bool) -> Option<(Arc<Loading>, bool)> {
        if self.is_stopping() {
            return None;
        }
        let mut wanted = (self.wanted)();
        wanted.extend(self.asked().iter().cloned());
        let sources = self.sources();
        let table = self.table.load();
        let is_elsewhere = |name: &String| table.ready.contains_key(name) || table.loading(name).is_some();
        let wants_files = wanted.iter().any(|name| !is_elsewhere(name));
        let is_wanted =
            |loading: &Loading| if loading.is_file() { wants_files } else { wanted.contains(&loading.name) };
        let first_file = sources.loading.iter().find(|loading| loading.is_file());
        let may_come =
            |loading: &&Arc<Loading>| !loading.is_file() || first_file.is_some_and(|first| Arc::ptr_eq(first, loading));
        let free = sources.loading.iter().filter(|loading| !loading.is_taken()).filter(may_come);
        let free = free.filter(|loading| !only_wanted || is_wanted(loading));
        let next = free.min_by_key(|loading| (!is_wanted(loading), loading.bytes))?;
        next.take();
        Some((Arc::clone(next), is_wanted(next)))
    }

    fn load(&self, loading: &Arc<Loading>) {
        match &loading.source {
            Source::BuiltIn(built_in) => self.load_built_in(loading, built_in),
            Source::Upload => self.load_upload(loading),
            Source::File { path, stamp } => self.load_file(path, *stamp, Some(loading)),
        }
    }

    fn load_built_in(&self, loading: &Arc<Loading>, built_in: &BuiltIn) {
        let digest = loading.digest.unwrap_or_else(|| sha256(built_in.component));
        match self.admit_built_in(built_in.component, digest) {
            Ok(component) => {
                let mut sources = self.sources();
                sources.end_loading(loading);
                sources.built_in.push(component);
                self.publish(&sources);
            }
            Err(rejection) => self.fail(format!("a built-in formatter does not fit: {}", rejection.reason)),
        }
    }

    /// Formats that somebody waits for beside active webhooks.
    pub(super) fn ask_for(&self, name: &str) {
        self.asked().insert(name.to_owned());
    }

    /// The names of the formats that have to be compiled, the smallest first. Files are left out, since it takes reading
    /// them to know.
    pub(super) fn without_code(&self) -> Vec<String> {
        let mut loading = self.sources().loading.clone();
        loading.retain(|loading| loading.digest.is_some_and(|digest| !self.runtime.has_code(&digest)));
        loading.sort_by_key(|loading| loading.bytes);
        loading.iter().map(|loading| loading.name.clone()).collect()
    }
}
