//! Formatters before they are loaded: what is there at the start, and what is known of it by its manifest alone.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::component::Component;
use super::folder::FileStamp;
use super::versions::Origin;
use crate::formatter::admission::{Kind, Manifest, Options};
use crate::json::fault::Fault;

/// A formatter of the program.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// The format's name.
    pub name: &'static str,
    /// The manifest with which the component describes itself, known before that is compiled.
    pub manifest: &'static str,
    /// The component.
    pub component: &'static [u8],
}

/// Where a component that is to be loaded comes from.
pub(super) enum Source {
    BuiltIn(BuiltIn),
    Upload,
    File { path: PathBuf, stamp: Option<FileStamp> },
}

/// A component that was there at the start and is not loaded yet.
pub(super) struct Loading {
    /// The format's name; of a file, whose manifest is not known yet, its stem.
    pub(super) name: String,
    pub(super) source: Source,
    /// `None` for a file.
    pub(super) digest: Option<[u8; 32]>,
    /// Size of the component.
    pub(super) bytes: u64,
    /// The manifest of a built-in formatter, parsed when it is first asked for.
    declared: OnceLock<Option<Declared>>,
    is_taken: AtomicBool,
}

/// What a formatter's manifest says, of one that is in use or that is loading.
#[derive(Clone)]
pub struct Declared(Inner);

#[derive(Clone)]
enum Inner {
    Loaded(Arc<Component>),
    Loading(Arc<(Manifest, Options)>),
}

/// What the catalog has under a name.
pub enum Standing {
    /// The formatter in use.
    Ready(Arc<Component>),
    /// Nothing yet: it is loading, or a file of the drop-in folder is, which may be it. With its manifest, if that is known
    /// already.
    Loading(Option<Declared>),
    /// Nothing.
    Unknown,
}

impl From<Arc<Component>> for Declared {
    fn from(component: Arc<Component>) -> Self {
        Self(Inner::Loaded(component))
    }
}

impl Declared {
    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        match &self.0 {
            Inner::Loaded(component) => component.manifest(),
            Inner::Loading(declared) => &declared.0,
        }
    }

    /// True if its payloads are lines, which syslog can carry.
    pub fn makes_lines(&self) -> bool {
        self.manifest().kind == Kind::Line
    }

    /// True if it makes digests; false also while that is not known, since it is loading.
    pub fn digests(&self) -> bool {
        match &self.0 {
            Inner::Loaded(component) => component.digests(),
            Inner::Loading(_) => false,
        }
    }

    /// All faults of a webhook's options; pointers are relative to them.
    pub fn check_options(&self, options: &Value) -> Vec<Fault> {
        match &self.0 {
            Inner::Loaded(component) => component.check_options(options),
            Inner::Loading(declared) => declared.1.check(options),
        }
    }
}

impl Loading {
    pub(super) fn new(name: String, source: Source, digest: Option<[u8; 32]>, bytes: u64) -> Arc<Self> {
        let (declared, is_taken) = (OnceLock::new(), AtomicBool::new(false));
        Arc::new(Self { name, source, digest, bytes, declared, is_taken })
    }

    pub(super) fn origin(&self) -> Origin {
        match self.source {
            Source::BuiltIn(_) => Origin::BuiltIn,
            Source::Upload => Origin::Upload,
            Source::File { .. } => Origin::Folder,
        }
    }

    /// The file's name in the drop-in folder; `None` for other sources.
    pub(super) fn file(&self) -> Option<String> {
        match &self.source {
            Source::File { path, .. } => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            Source::BuiltIn(_) | Source::Upload => None,
        }
    }

    /// True once a thread loads it.
    pub(super) fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) {
        self.is_taken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.source, Source::File { .. })
    }

    /// What its manifest says, if that is known.
    pub(super) fn declared(&self) -> Option<&Declared> {
        let Source::BuiltIn(BuiltIn { manifest, .. }) = self.source else { return None };
        let parse = || {
            let manifest = Manifest::parse(manifest).ok()?;
            let options = Options::new(&manifest.options_schema).ok()?;
            Some(Declared(Inner::Loading(Arc::new((manifest, options)))))
        };
        self.declared.get_or_init(parse).as_ref()
    }
}
