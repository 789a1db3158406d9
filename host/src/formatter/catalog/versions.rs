//! Which versions of each name there were, and which one is in use: one small file, replaced as a whole.
//!
//! Uploads live by it. Of the drop-in folder it remembers what a file brought before, so that a version that
//! was withdrawn stays withdrawn after a restart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::info::Origin;
use crate::model::time::Timestamp;

/// Versions of one name that are remembered; the oldest that is not in use goes first.
const REMEMBERED: usize = 50;
pub(in crate::formatter) const FILE: &str = "versions.json";

/// Why the host stopped using a version by itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Withdrawn {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What it failed on where the version before did not.
    pub reason: String,
}

/// One version of a formatter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::formatter) struct Version {
    /// SHA-256, in hex.
    pub(in crate::formatter) digest: String,
    /// Its manifest's version.
    pub(in crate::formatter) version: String,
    /// When it came in.
    pub(in crate::formatter) added_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::formatter) withdrawn: Option<Withdrawn>,
}

/// All versions of one name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::formatter) struct History {
    pub(in crate::formatter) origin: Origin,
    /// The digest of the one in use, in hex.
    pub(in crate::formatter) active: String,
    /// The one in use before, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::formatter) previous: Option<String>,
    /// Oldest first.
    pub(in crate::formatter) versions: Vec<Version>,
}

impl History {
    pub(in crate::formatter) fn new(origin: Origin) -> Self {
        Self { origin, active: String::new(), previous: None, versions: Vec::new() }
    }

    pub(in crate::formatter) fn find(&self, digest: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.digest == digest)
    }

    /// Adds a version, or brings a known one to the end, and uses it.
    pub(in crate::formatter) fn add(&mut self, version: Version) {
        self.versions.retain(|known| known.digest != version.digest);
        let digest = version.digest.clone();
        self.versions.push(version);
        self.activate(&digest);
        while self.versions.len() > REMEMBERED {
            let spare =
                |version: &Version| version.digest != self.active && self.previous.as_ref() != Some(&version.digest);
            match self.versions.iter().position(spare) {
                Some(oldest) => drop(self.versions.remove(oldest)),
                None => break,
            }
        }
    }

    /// Uses a version that is known.
    pub(in crate::formatter) fn activate(&mut self, digest: &str) {
        if self.active != digest {
            let before = std::mem::replace(&mut self.active, digest.to_owned());
            self.previous = (!before.is_empty()).then_some(before);
        }
    }

    /// Goes back to `good`, and remembers why `bad` is not used.
    pub(in crate::formatter) fn withdraw(&mut self, bad: &str, good: &str, why: Withdrawn) {
        if let Some(version) = self.versions.iter_mut().find(|version| version.digest == bad) {
            version.withdrawn = Some(why);
        }
        self.activate(good);
    }
}

/// The file.
pub(in crate::formatter) struct Versions {
    path: PathBuf,
    names: BTreeMap<String, History>,
}

impl Versions {
    /// # Errors
    /// When the file is there and cannot be read.
    pub(in crate::formatter) fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let names = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                anyhow::anyhow!(
                    "{} cannot be read ({error}): restore it from a copy, or move it away and install uploaded formatters again",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => anyhow::bail!("{} cannot be read: {error}", path.display()),
        };
        Ok(Self { path, names })
    }

    pub(in crate::formatter) fn get(&self, name: &str) -> Option<&History> {
        self.names.get(name)
    }

    pub(in crate::formatter) fn iter(&self) -> impl Iterator<Item = (&String, &History)> {
        self.names.iter()
    }

    /// Changes one name's history, or removes it (`None`), and writes the file; when that fails nothing changed.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(in crate::formatter) fn set(&mut self, name: &str, history: Option<History>) -> std::io::Result<()> {
        if self.names.get(name) == history.as_ref() {
            return Ok(());
        }
        let mut names = self.names.clone();
        match history {
            Some(history) => names.insert(name.to_owned(), history),
            None => names.remove(name),
        };
        let text = serde_json::to_vec_pretty(&names).map_err(std::io::Error::other)?;
        super::drop_in::replace(&self.path, &text)?;
        self.names = names;
        Ok(())
    }

    /// Every digest that some version has, in hex.
    pub(in crate::formatter) fn digests(&self) -> impl Iterator<Item = &str> {
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
    fn what_is_in_use_is_never_forgotten() {
        let mut history = History::new(Origin::Upload);
        (0..REMEMBERED).for_each(|number| history.add(version(number)));
        history.activate(&version(0).digest);
        (REMEMBERED..3 * REMEMBERED).for_each(|number| {
            history.add(version(number));
            history.activate(&version(0).digest);
        });
        assert_eq!(history.versions.len(), REMEMBERED);
        assert!(history.find(&version(0).digest).is_some() && history.find(&version(1).digest).is_none());
        assert_eq!(history.previous, Some(version(3 * REMEMBERED - 1).digest));
    }

    #[test]
    fn a_file_that_is_no_version_list_is_refused_with_its_name() {
        let folder = tempfile::TempDir::new().expect("a folder");
        std::fs::write(folder.path().join(FILE), "{").expect("a file");
        let error = Versions::open(folder.path()).err().expect("refused").to_string();
        assert!(error.contains(FILE) && error.contains("restore"), "{error}");
    }

    #[test]
    fn histories_survive_a_restart() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut versions = Versions::open(folder.path()).expect("empty");
        let mut history = History::new(Origin::Folder);
        history.add(version(1));
        history.add(version(2));
        let why = Withdrawn { at: Timestamp::default(), reason: "it loops".into() };
        history.withdraw(&version(2).digest, &version(1).digest, why);
        versions.set("a", Some(history.clone())).expect("written");
        let again = Versions::open(folder.path()).expect("read");
        assert_eq!(again.get("a"), Some(&history));
        assert_eq!(again.get("a").map(|history| history.active.clone()), Some(version(1).digest));
    }
}
