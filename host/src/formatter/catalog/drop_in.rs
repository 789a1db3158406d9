//! Components of the drop-in folder: a file was added, changed or removed.

use std::path::Path;
use std::sync::Arc;

use super::canary;
use super::component::Component;
use super::declared::Loading;
use super::files;
use super::folder::FileStamp;
use super::shared::Shared;
use super::table::{DropInFile, Rejected, Sources};
use super::versions::{History, Origin};
use crate::formatter::component_runtime::Turn;
use crate::formatter::digest::{hex, sha256, unhex};

impl Shared {
    /// The stamp that a file had when it was last loaded; `None` if it never was.
    pub(super) fn stamp_of(&self, file: &str) -> Option<Option<FileStamp>> {
        self.sources().files.get(file).map(|drop_in| drop_in.stamp)
    }

    /// Names of the files that were loaded.
    pub(super) fn drop_in_files(&self) -> Vec<String> {
        self.sources().files.keys().cloned().collect()
    }

    /// Loads a new or changed file, as a component or as a rejection. `loading` is its place in the list of those that
    /// were there at the start.
    pub(super) fn load_file(&self, path: &Path, stamp: Option<FileStamp>, loading: Option<&Arc<Loading>>) {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let good = self.sources().files.get(&file).and_then(|drop_in| drop_in.good.clone());
        let mut digest = None;
        let admitted = files::read(path, self.runtime.settings().component_bytes).and_then(|bytes| {
            let found = sha256(&bytes);
            digest = Some(found);
            match &good {
                Some(good) if good.digest() == found => Ok(Arc::clone(good)),
                _ => self.admit(&bytes, found, file.clone()),
            }
        });
        let mut sources = self.sources();
        let (good, rejected) = match admitted {
            Ok(component) => self.accept_file(&mut sources, &file, component, good),
            Err(rejection) => {
                let (code, reason) = (rejection.code, &rejection.reason);
                if good.is_some() {
                    tracing::warn!(
                        file,
                        code,
                        reason,
                        "a formatter file was rejected; the version before stays in use"
                    );
                } else {
                    tracing::warn!(file, code, reason, "a formatter file was rejected; replace it by one that fits");
                }
                (good, Some(Rejected { digest, rejection }))
            }
        };
        if let Some(loading) = loading {
            sources.end_loading(loading);
        }
        sources.files.insert(file, DropInFile { stamp, good, rejected });
        self.publish(&sources);
    }

    /// Puts the component of a file into use in place of `before`, and records its version.
    fn accept_file(
        &self,
        sources: &mut Sources,
        file: &str,
        component: Arc<Component>,
        before: Option<Arc<Component>>,
    ) -> (Option<Arc<Component>>, Option<Rejected>) {
        let name = component.name().to_owned();
        let digest = hex(&component.digest());
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &component)) {
            return (Some(component), None);
        }
        let is_taken = self.current(&name).is_some_and(|current| current.file.as_deref() != Some(file));
        if is_taken || self.table.load().loading(&name).is_some() {
            // The table lists it as rejected for as long as the other component has the name.
            tracing::warn!(
                file,
                formatter = name,
                "a formatter file was rejected, since its name is taken; give it another in its manifest"
            );
            return (Some(component), None);
        }
        let known = sources.versions.get(&name).filter(|history| history.origin == Origin::Folder).cloned();
        if let Some(why) = known.as_ref().and_then(|history| history.find(&digest)?.withdrawn.clone()) {
            let good = before.or_else(|| {
                let active = known.as_ref().and_then(|history| unhex(&history.active))?;
                let loaded = self.admit_stored(active, Turn::Wait)?.ok()?;
                Some(self.component(loaded, Origin::Folder, Some(file.to_owned())))
            });
            return (good, Some(canary::rolled_back(&component, &why.reason)));
        }
        let mut history = known.unwrap_or_else(|| History::new(Origin::Folder));
        if history.active != digest {
            history.add(self.version(&component));
            self.remember(sources, &name, Some(history));
        }
        canary::begin(&component, before.filter(|before| before.name() == name));
        tracing::info!(file, formatter = name, digest, "a formatter was loaded");
        (Some(component), None)
    }

    /// Drops a removed file with its component.
    pub(super) fn remove_file(&self, file: &str) {
        let mut sources = self.sources();
        let Some(drop_in) = sources.files.remove(file) else { return };
        if let Some(component) = drop_in.good {
            let name = component.name().to_owned();
            let others =
                sources.files.values().any(|other| other.good.as_ref().is_some_and(|good| good.name() == name));
            tracing::info!(file, formatter = name, "a formatter was removed");
            if !others && sources.versions.get(&name).is_some_and(|history| history.origin == Origin::Folder) {
                self.remember(&mut sources, &name, None);
            }
        }
        self.publish(&sources);
    }
}
