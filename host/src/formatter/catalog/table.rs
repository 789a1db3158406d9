//! The names in use, derived from the sources of components.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::component::Component;
use super::declared::Loading;
use super::folder::FileStamp;
use super::versions::{Origin, Versions};
use crate::formatter::admission::Rejection;

/// The components in use, and those that were rejected. Replaced as a whole, so that a reader sees the state before a
/// change or the state after it.
#[derive(Default, Clone)]
pub(super) struct Table {
    pub(super) ready: HashMap<String, Arc<Component>>,
    pub(super) rejected: Vec<RejectedEntry>,
    /// Those that are still loading after the start.
    pub(super) loading: Vec<Arc<Loading>>,
}

/// A rejected component, as the API lists it.
#[derive(Clone)]
pub(super) struct RejectedEntry {
    pub(super) name: String,
    pub(super) file: Option<String>,
    pub(super) origin: Origin,
    pub(super) digest: Option<[u8; 32]>,
    pub(super) rejection: Rejection,
}

/// The code of a version that was rolled back.
pub(super) const ROLLED_BACK: &str = "rolled_back";

/// Rejected bytes, and the reason.
#[derive(Clone)]
pub(super) struct Rejected {
    /// `None` if they could not be read.
    pub(super) digest: Option<[u8; 32]>,
    pub(super) rejection: Rejection,
}

/// One file of the drop-in folder. A rejected replacement leaves the good component in use.
#[derive(Default)]
pub(super) struct DropInFile {
    /// The file's stamp when it was last loaded.
    pub(super) stamp: Option<FileStamp>,
    pub(super) good: Option<Arc<Component>>,
    pub(super) rejected: Option<Rejected>,
}

/// All components that came in, by source: the program, uploads, the drop-in folder.
pub(super) struct Sources {
    pub(super) built_in: Vec<Arc<Component>>,
    /// What was there at the start and is not loaded yet; as long as it is, its name is its own.
    pub(super) loading: Vec<Arc<Loading>>,
    /// By the format's name.
    pub(super) uploads: BTreeMap<String, Result<Arc<Component>, Rejected>>,
    /// By file name.
    pub(super) files: BTreeMap<String, DropInFile>,
    pub(super) versions: Versions,
}

impl Sources {
    pub(super) fn new(versions: Versions) -> Self {
        Self { built_in: Vec::new(), loading: Vec::new(), uploads: BTreeMap::new(), files: BTreeMap::new(), versions }
    }

    /// Derives the table. For one name, built-in components come first, then uploads, then files by file name.
    pub(super) fn table(&self) -> Table {
        let mut table = Table { loading: self.loading.clone(), ..Table::default() };
        for component in &self.built_in {
            table.ready.insert(component.name().to_owned(), Arc::clone(component));
        }
        for (name, upload) in &self.uploads {
            table.add_upload(name, upload);
        }
        for (file, drop_in) in &self.files {
            table.add_file(file, drop_in);
        }
        table
    }
}

impl Table {
    fn add_upload(&mut self, name: &str, upload: &Result<Arc<Component>, Rejected>) {
        let (digest, rejection) = match upload {
            Ok(component) if !self.ready.contains_key(name) && self.loading(name).is_none() => {
                self.ready.insert(name.to_owned(), Arc::clone(component));
                return;
            }
            // A built-in formatter of this name came with a later version of the program.
            Ok(component) => (Some(component.digest()), reserved(name)),
            Err(rejected) => (rejected.digest, rejected.rejection.clone()),
        };
        let name = name.to_owned();
        self.rejected.push(RejectedEntry { name, file: None, origin: Origin::Upload, digest, rejection });
    }

    fn add_file(&mut self, file: &str, drop_in: &DropInFile) {
        if let Some(rejected) = &drop_in.rejected {
            self.reject_file(file, rejected.digest, rejected.rejection.clone());
        }
        let Some(component) = &drop_in.good else { return };
        let name = component.name();
        let rejection = match (self.ready.get(name), self.loading(name)) {
            (Some(used), _) if used.origin == Origin::BuiltIn => reserved(name),
            (Some(used), _) => duplicate(name, used.file.as_deref()),
            (None, Some(loading)) if loading.origin() == Origin::BuiltIn => reserved(name),
            (None, Some(_)) => duplicate(name, None),
            (None, None) => {
                self.ready.insert(name.to_owned(), Arc::clone(component));
                return;
            }
        };
        self.reject_file(file, Some(component.digest()), rejection);
    }

    fn reject_file(&mut self, file: &str, digest: Option<[u8; 32]>, rejection: Rejection) {
        let name = file.strip_suffix(".wasm").unwrap_or(file).to_owned();
        let file = Some(file.to_owned());
        self.rejected.push(RejectedEntry { name, file, origin: Origin::Folder, digest, rejection });
    }
}

fn reserved(name: &str) -> Rejection {
    Rejection::new(
        "reserved_name",
        format!("its name {name:?} is a built-in formatter's; give it another in its manifest"),
    )
}

/// The rejection for a name that another file has, or an upload.
fn duplicate(name: &str, file: Option<&str>) -> Rejection {
    let by = match file {
        Some(file) => format!("{file}; of two files the first by file name is used"),
        None => "an uploaded formatter, which goes before the folder".to_owned(),
    };
    Rejection::new("duplicate_name", format!("its name {name:?} is taken by {by}"))
}
