//! The drop-in folder, watched: by looking, which works on every file system and for a folder that comes later.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::drop_in::{self as folder, Mark};
use super::Inner;

/// Between two looks. A file is taken once it was the same in two of them: whoever copies one is done then.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Loads uploads and the folder, then watches the folder until the host stops.
pub(in crate::formatter) fn run(inner: &Inner) {
    inner.load_uploads();
    let mut watch = Watch::default();
    watch.look(inner, true);
    inner.settle();
    while !inner.is_stopping() {
        std::thread::park_timeout(LOOK_EVERY);
        watch.look(inner, false);
    }
}

/// How a file was seen at the last look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// With this mark; what cannot be looked at has none.
    There(Option<Mark>),
    Gone,
}

/// What changed and has not come to rest yet.
#[derive(Default)]
struct Watch {
    restless: HashMap<String, Seen>,
    unreadable: bool,
}

impl Watch {
    /// Takes what changed and has come to rest; at the first look everything.
    fn look(&mut self, inner: &Inner, first: bool) {
        let found = match folder::candidates(inner.drop_in()) {
            Ok(found) => found,
            Err(error) => {
                if !std::mem::replace(&mut self.unreadable, true) {
                    let folder = inner.drop_in().display();
                    tracing::warn!(%folder, %error, "the formatters folder cannot be read; what is loaded stays");
                }
                return;
            }
        };
        self.unreadable = false;
        let mut present = HashSet::new();
        for (path, mark) in found {
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            present.insert(file.clone());
            // What has no mark cannot be told from what it was; it is looked at once.
            if inner.mark_of(&file) == Some(mark) {
                self.restless.remove(&file);
            } else if first || self.rests(&file, Seen::There(mark)) {
                inner.take_file(&path, mark);
                if inner.is_stopping() {
                    return;
                }
            }
        }
        // Whoever replaces a file by removing it first gets a moment.
        for file in inner.files().into_iter().filter(|file| !present.contains(file)) {
            if self.rests(&file, Seen::Gone) {
                inner.drop_file(&file);
            }
        }
        self.restless.retain(|file, seen| *seen == Seen::Gone || present.contains(file));
    }

    /// Whether a file was the same at the last look; remembered for the next one if not.
    fn rests(&mut self, file: &str, seen: Seen) -> bool {
        let rests = self.restless.get(file) == Some(&seen);
        if rests {
            self.restless.remove(file);
        } else {
            self.restless.insert(file.to_owned(), seen);
        }
        rests
    }
}
