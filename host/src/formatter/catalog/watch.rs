//! The watcher of the drop-in folder. It polls, which works on every file system and for a folder that is created later.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::folder::{self, FileStamp};
use super::shared::Shared;
use crate::formatter::thread::lower_priority;

/// Interval between two polls. A file is loaded once two polls in a row saw it unchanged: then its copy is complete.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Loads what was there at the start, on at most `threads` threads, then watches the folder until the host stops.
pub(super) fn run(shared: &Shared, threads: usize) {
    shared.load_all(threads);
    if shared.is_stopping() {
        return;
    }
    shared.settle();
    // From now on candidates come after deliveries.
    lower_priority();
    let mut watcher = Watcher::default();
    while !shared.is_stopping() {
        std::thread::park_timeout(POLL_INTERVAL);
        watcher.poll(shared);
    }
}

/// State of a file at the last poll.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Present with this stamp; without one if it could not be examined.
    Present(Option<FileStamp>),
    Absent,
}

#[derive(Default)]
struct Watcher {
    /// Files that changed and were not the same in two polls in a row yet.
    unsettled: HashMap<String, Seen>,
    /// True if the folder could not be read, which is logged once.
    unreadable: bool,
}

impl Watcher {
    /// Loads the files that changed and have settled.
    fn poll(&mut self, shared: &Shared) {
        let found = match folder::list(&shared.drop_in) {
            Ok(found) => found,
            Err(error) => {
                if !std::mem::replace(&mut self.unreadable, true) {
                    let folder = shared.drop_in.display();
                    tracing::warn!(
                        %folder,
                        %error,
                        "the formatters folder cannot be read, so its formatters stay as they are; check its permissions"
                    );
                }
                return;
            }
        };
        self.unreadable = false;
        let mut present = HashSet::new();
        for (path, stamp) in found {
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            present.insert(file.clone());
            // Without a stamp a change cannot be noticed: such a file is loaded once.
            if shared.stamp_of(&file) == Some(stamp) {
                self.unsettled.remove(&file);
            } else if self.has_settled(&file, Seen::Present(stamp)) {
                shared.load_file(&path, stamp, None);
                if shared.is_stopping() {
                    return;
                }
            }
        }
        // A file that is replaced by removing it first is absent for a short time.
        for file in shared.drop_in_files().into_iter().filter(|file| !present.contains(file)) {
            if self.has_settled(&file, Seen::Absent) {
                shared.remove_file(&file);
            }
        }
        self.unsettled.retain(|file, seen| *seen == Seen::Absent || present.contains(file));
    }

    /// True if the last poll saw the file in the same state; otherwise the state is kept for the next poll.
    fn has_settled(&mut self, file: &str, seen: Seen) -> bool {
        let settled = self.unsettled.get(file) == Some(&seen);
        if settled {
            self.unsettled.remove(file);
        } else {
            self.unsettled.insert(file.to_owned(), seen);
        }
        settled
    }
}
