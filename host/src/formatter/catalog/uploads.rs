//! Components that came over the API: installing, activating and deleting their versions.

use std::sync::Arc;

use super::canary;
use super::component::Component;
use super::declared::Loading;
use super::shared::Shared;
use super::table::Rejected;
use super::versions::{History, Origin};
use crate::formatter::admission::Rejection;
use crate::formatter::component_runtime::Turn;
use crate::formatter::digest::{sha256, unhex};

/// A component that was not installed, or a version that was not activated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InstallError {
    /// There is no such formatter, or no such version of it.
    Missing,
    /// The formatter is still loading after the host's start.
    Loading,
    /// The name belongs to another source, or there is no version to go back to; a sentence for the admin.
    Conflict(String),
    /// The caller wanted it only if the name is in use, or only if it is not.
    Unwanted,
    /// The component does not fit.
    Rejected(Rejection),
    /// The disk failed or is full; its error.
    NotStored(String),
}

/// A version of a formatter, by one of its two names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// The newest with this version in its manifest.
    Version(String),
    /// `sha256:` and the digest in hex.
    Digest(String),
}

fn not_stored(error: std::io::Error) -> InstallError {
    InstallError::NotStored(error.to_string())
}

impl Shared {
    /// Admits a component and uses it under `name` from now on, if the caller `wants` that, which is told whether an upload
    /// of this name is there in the moment of the change. Returns true if the name is new.
    pub(super) fn install(
        &self,
        name: &str,
        bytes: &[u8],
        wants: impl FnOnce(bool) -> bool,
    ) -> Result<bool, InstallError> {
        self.may_install(name)?;
        let loaded = self.runtime.admit(bytes, sha256(bytes), Turn::Wait).map_err(InstallError::Rejected)?;
        let component = self.component(loaded, Origin::Upload, None);
        if component.name() != name {
            let reason =
                format!("its manifest says {:?}, the path says {name:?}; use one name for both", component.name());
            return Err(InstallError::Rejected(Rejection::new("other_name", reason)));
        }
        self.files.store(&component.digest(), bytes).map_err(not_stored)?;
        let mut sources = self.sources();
        if !wants(sources.uploads.contains_key(name)) {
            return Err(InstallError::Unwanted);
        }
        let before = sources.uploads.get(name).and_then(|upload| upload.as_ref().ok()).cloned();
        if before.as_ref().is_some_and(|before| before.digest() == component.digest()) {
            return Ok(false);
        }
        let known = sources.versions.get(name).filter(|known| known.origin == Origin::Upload).cloned();
        let is_new = known.is_none();
        let mut history = known.unwrap_or_else(|| History::new(Origin::Upload));
        history.add(self.version(&component));
        sources.versions.set(name, Some(history)).map_err(not_stored)?;
        canary::begin(&component, before);
        sources.forget_loading_upload(name);
        sources.uploads.insert(name.to_owned(), Ok(component));
        self.publish(&sources);
        Ok(is_new)
    }

    /// Rejects names that belong to another source.
    fn may_install(&self, name: &str) -> Result<(), InstallError> {
        let table = self.table.load();
        let (used, loading) = (table.ready.get(name), table.loading(name));
        let origin = used.map(|used| used.origin).or_else(|| loading.map(|loading| loading.origin()));
        if origin == Some(Origin::BuiltIn) {
            return Err(InstallError::Conflict(format!(
                "{name} is a built-in formatter; give yours another name in its manifest"
            )));
        }
        match used {
            Some(used) if used.origin == Origin::Folder => Err(InstallError::Conflict(format!(
                "{name} comes from the formatters folder ({}); replace or remove the file there",
                used.file.as_deref().unwrap_or_default()
            ))),
            _ => Ok(()),
        }
    }

    /// Uses a version of an uploaded formatter; with `None`, the one that was in use before.
    pub(super) fn activate(&self, name: &str, which: Option<&Which>) -> Result<(), InstallError> {
        let history = self.sources().versions.get(name).cloned();
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
        let found = found.cloned().ok_or(InstallError::Missing)?;
        let stored = unhex(&found.digest).and_then(|digest| self.admit_stored(digest, Turn::Wait));
        let loaded = stored.ok_or_else(|| {
            InstallError::Conflict(format!("the component of version {} is gone; install it again", found.version))
        })?;
        let component = self.component(loaded.map_err(InstallError::Rejected)?, Origin::Upload, None);
        let mut sources = self.sources();
        let Some(mut history) = sources.versions.get(name).cloned() else { return Err(InstallError::Missing) };
        history.activate(&found.digest);
        if let Some(version) = history.versions.iter_mut().find(|version| version.digest == found.digest) {
            version.withdrawn = None;
        }
        sources.versions.set(name, Some(history)).map_err(not_stored)?;
        let before = sources.uploads.get(name).and_then(|upload| upload.as_ref().ok()).cloned();
        // An admin who rolls back does not want the host to go forward again: then the version is no canary.
        canary::begin(&component, before.filter(|_| which.is_some()));
        sources.forget_loading_upload(name);
        sources.uploads.insert(name.to_owned(), Ok(component));
        self.publish(&sources);
        Ok(())
    }

    /// Deletes an uploaded formatter with all its versions.
    pub(super) fn delete(&self, name: &str) -> Result<(), InstallError> {
        let mut sources = self.sources();
        if sources.versions.get(name).is_none_or(|history| history.origin != Origin::Upload) {
            drop(sources);
            self.may_install(name)?;
            return Err(InstallError::Missing);
        }
        sources.versions.set(name, None).map_err(not_stored)?;
        sources.forget_loading_upload(name);
        sources.uploads.remove(name);
        self.publish(&sources);
        Ok(())
    }

    /// Loads the active version of an upload after a start.
    pub(super) fn load_upload(&self, loading: &Arc<Loading>) {
        let upload = self.admit_upload(loading);
        let mut sources = self.sources();
        // A change over the API since the start wins.
        if sources.end_loading(loading) {
            sources.uploads.insert(loading.name.clone(), upload);
        }
        self.publish(&sources);
    }

    fn admit_upload(&self, loading: &Loading) -> Result<Arc<Component>, Rejected> {
        let missing =
            || Rejection::new("not_stored", "its component is not in the data folder any more; install it again");
        let loaded = loading.digest.and_then(|digest| self.admit_stored(digest, Turn::Skip));
        let loaded = loaded.unwrap_or_else(|| Err(missing()));
        loaded.map(|loaded| self.component(loaded, Origin::Upload, None)).map_err(|rejection| {
            tracing::error!(
                formatter = loading.name,
                code = rejection.code,
                reason = rejection.reason,
                "an uploaded formatter was rejected at the start, and webhooks that name it wait; install a version that fits"
            );
            Rejected { digest: loading.digest, rejection }
        })
    }
}
