//! Since when nothing can be written, and why: in a file beside the store, which cannot say so itself. A store that a failed
//! fsync has closed, or that was full when the process ended, is told of after the restart.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name in the data folder.
const FILE: &str = "store-down.json";

/// A time in which nothing could be written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Down {
    /// Its beginning, in milliseconds of the steady clock.
    since_ms: i64,
    /// The error, in words.
    why: String,
}

impl Down {
    /// What is told of it at its end.
    pub(super) fn reason(&self, now_ms: i64) -> String {
        let seconds = now_ms.saturating_sub(self.since_ms).max(0) / 1000;
        format!("the store could not be written for {seconds} s: {}; it accepts events again", self.why)
    }
}

/// What is known of such a time.
pub(super) struct Downtime {
    file: PathBuf,
    down: Option<Down>,
    /// The file is there, although it is over: what tells of it is not written yet.
    is_over: bool,
}

impl Downtime {
    /// That of the process before, if it ended while nothing could be written.
    pub(super) fn load(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let down = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
            Err(_) => None,
        };
        Self { file, down, is_over: false }
    }

    /// Nothing can be written from now on, unless that is known already.
    pub(super) fn begin(&mut self, now_ms: i64, why: impl Into<String>) {
        if self.down.is_some() {
            return;
        }
        let down = self.down.insert(Down { since_ms: now_ms, why: why.into() });
        self.is_over = false;
        // On a disk that takes nothing at all only this process knows.
        let written = serde_json::to_vec(down).map_err(Into::into).and_then(|bytes| std::fs::write(&self.file, bytes));
        if let Err(error) = written {
            tracing::debug!(%error, "it could not be noted beside the store that it cannot be written");
        }
    }

    /// It can be written again.
    pub(super) fn end(&mut self) -> Option<Down> {
        let ended = self.down.take();
        self.is_over |= ended.is_some();
        ended
    }

    /// True if it is over, and [`Downtime::told`] is still to come.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What tells of it is on the disk.
    pub(super) fn told(&mut self) {
        self.is_over = false;
        if let Err(error) = std::fs::remove_file(&self.file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %self.file.display(), "a file of the data folder could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::folder_in_memory;

    #[test]
    fn a_process_learns_of_the_one_before_until_it_has_told() {
        let folder = folder_in_memory();
        let mut downtime = Downtime::load(folder.path());
        assert_eq!(downtime.end(), None);
        downtime.begin(5_000, "the disk is full");
        downtime.begin(9_000, "something else");
        let mut next = Downtime::load(folder.path());
        let reason = next.end().expect("down").reason(8_500);
        assert_eq!(reason, "the store could not be written for 3 s: the disk is full; it accepts events again");
        assert!(next.is_over() && next.end().is_none());
        assert!(Downtime::load(folder.path()).end().is_some(), "a kill before it is told loses nothing");
        next.told();
        assert!(!next.is_over() && Downtime::load(folder.path()).end().is_none());
    }

    #[test]
    fn a_file_that_cannot_be_read_says_nothing() {
        let folder = folder_in_memory();
        std::fs::write(folder.path().join(FILE), "{").expect("written");
        assert_eq!(Downtime::load(folder.path()).end(), None);
    }
}
