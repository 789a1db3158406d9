//! The versions of each name, and the one in use: one small file, replaced as a whole.
//!
//! Uploads are loaded from it after a start. For the drop-in folder it records earlier versions, so that a version that
//! was withdrawn stays withdrawn after a restart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, VERSIONS};
use crate::model::time::Timestamp;

/// Versions of one name that are recorded; the oldest that is not in use is dropped first.
const RECORDED: usize = 50;

/// The source of a formatter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Part of the program.
    BuiltIn,
    /// A file of the drop-in folder.
    Folder,
    /// Uploaded over the API.
    Upload,
}

/// The reason why the host rolled a version back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Withdrawn {
    /// Time of the rollback.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The event and the error that it failed with, where the version before did not.
    pub reason: String,
}

/// One version of a formatter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Version {
    /// SHA-256 of the component, in hex.
    pub(super) digest: String,
    /// The version in its manifest.
    pub(super) version: String,
    /// Time of its first admission, or of the last one if it came in again.
    pub(super) added_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// Set while the version is rolled back.
    pub(super) withdrawn: Option<Withdrawn>,
}

/// The versions of one name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct History {
    pub(super) origin: Origin,
    /// The digest of the one in use, in hex.
    pub(super) active: String,
    /// The one in use before, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    /// Oldest first.
    pub(super) versions: Vec<Version>,
}

impl History {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin, active: String::new(), previous: None, versions: Vec::new() }
    }

    pub(super) fn find(&self, digest: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.digest == digest)
    }

    /// Adds a version, or moves a known one to the end, and activates it.
    pub(super) fn add(&mut self, version: Version) {
        self.versions.retain(|known| known.digest != version.digest);
        let digest = version.digest.clone();
        self.versions.push(version);
        self.activate(&digest);
        while self.versions.len() > RECORDED {
            let unused =
                |version: &Version| version.digest != self.active && self.previous.as_ref() != Some(&version.digest);
            match self.versions.iter().position(unused) {
                Some(oldest) => drop(self.versions.remove(oldest)),
                None => break,
            }
        }
    }

    /// Activates a recorded version.
    pub(super) fn activate(&mut self, digest: &str) {
        if self.active != digest {
            let before = std::mem::replace(&mut self.active, digest.to_owned());
            self.previous = (!before.is_empty()).then_some(before);
        }
    }

    /// Activates `good`, and records the reason why `bad` is not used.
    pub(super) fn withdraw(&mut self, bad: &str, good: &str, reason: Withdrawn) {
        if let Some(version) = self.versions.iter_mut().find(|version| version.digest == bad) {
            version.withdrawn = Some(reason);
        }
        self.activate(good);
    }
}

/// The file, and its content by name.
pub(super) struct Versions {
    path: PathBuf,
    names: BTreeMap<String, History>,
}

impl Versions {
    /// Reads the file; an absent one counts as empty.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(VERSIONS);
        let names = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                anyhow::anyhow!(
                    "{} cannot be read ({error}): restore it from a copy, or move it away and install uploaded formatters again",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => anyhow::bail!("{} cannot be read ({error}); check its permissions", path.display()),
        };
        Ok(Self { path, names })
    }

    pub(super) fn get(&self, name: &str) -> Option<&History> {
        self.names.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &History)> {
        self.names.iter()
    }

    /// Sets one name's history, or removes it (`None`), and writes the file. On failure nothing has changed.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub(super) fn set(&mut self, name: &str, history: Option<History>) -> std::io::Result<()> {
        if self.names.get(name) == history.as_ref() {
            return Ok(());
        }
        let mut names = self.names.clone();
        match history {
            Some(history) => names.insert(name.to_owned(), history),
            None => names.remove(name),
        };
        let text = serde_json::to_vec_pretty(&names).map_err(std::io::Error::other)?;
        files::replace(&self.path, &text)?;
        self.names = names;
        Ok(())
    }

    /// The digests of all versions, in hex.
    pub(super) fn digests(&self) -> impl Iterator<Item = &str> {
        self.names.values().flat_map(|history| &history.versions).map(|version| version.digest.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: usize) -> Version {
        Version {
            digest: format!("{number:064x}"),
            version: format!("1.{number}.0"),
            added_at: Timestamp::default(),
            withdrawn: None,
        }
    }

    #[test]
    fn the_version_in_use_is_never_dropped() {
        let mut history = History::new(Origin::Upload);
        (0..RECORDED).for_each(|number| history.add(version(number)));
        history.activate(&version(0).digest);
        (RECORDED..3 * RECORDED).for_each(|number| {
            history.add(version(number));
            history.activate(&version(0).digest);
        });
        assert_eq!(history.versions.len(), RECORDED);
        assert!(history.find(&version(0).digest).is_some() && history.find(&version(1).digest).is_none());
        assert_eq!(history.previous, Some(version(3 * RECORDED - 1).digest));
    }

    #[test]
    fn an_invalid_version_list_is_rejected_with_its_file_name() {
        let folder = tempfile::TempDir::new().expect("a folder");
        std::fs::write(folder.path().join(VERSIONS), "{").expect("a file");
        let error = Versions::open(folder.path()).err().expect("rejected").to_string();
        assert!(error.contains(VERSIONS) && error.contains("restore"), "{error}");
    }

    #[test]
    fn histories_survive_a_restart() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut versions = Versions::open(folder.path()).expect("empty");
        let mut history = History::new(Origin::Folder);
        history.add(version(1));
        history.add(version(2));
        let reason = Withdrawn { at: Timestamp::default(), reason: "it loops".into() };
        history.withdraw(&version(2).digest, &version(1).digest, reason);
        versions.set("a", Some(history.clone())).expect("written");
        let again = Versions::open(folder.path()).expect("read");
        assert_eq!(again.get("a"), Some(&history));
        assert_eq!(again.get("a").map(|history| history.active.clone()), Some(version(1).digest));
    }
}
