//! The drop-in folder, watched: by looking, which works on every file system and for a folder that comes later.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use super::folder::{self, Mark};
use super::registry::Inner;

/// Between two looks. A file is taken once it was the same in two of them: whoever copies one is done then.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Loads uploads and the folder, then watches the folder until the host stops.
pub(super) fn run(inner: &Inner) {
    inner.load_uploads();
    let mut watch = Watch::default();
    watch.look(inner, true);
    inner.settle();
    while !inner.is_stopping() {
        std::thread::park_timeout(LOOK_EVERY);
        watch.look(inner, false);
    }
}

/// What was seen at the last look and not taken yet; no mark's place is for what was gone.
#[derive(Default)]
struct Watch {
    restless: HashMap<String, Option<Option<Mark>>>,
    unreadable: bool,
}

impl Watch {
    /// Takes what changed and has come to rest; at the first look everything.
    fn look(&mut self, inner: &Inner, first: bool) {
        let found = match folder::candidates(inner.drop_in()) {
            Ok(found) => found,
            Err(error) => {
                if !std::mem::replace(&mut self.unreadable, true) {
                    tracing::warn!(folder = %inner.drop_in().display(), %error, "the formatters folder cannot be read; what is loaded stays");
                }
                return;
            }
        };
        self.unreadable = false;
        let name =
            |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let present: HashMap<String, (PathBuf, Option<Mark>)> =
            found.iter().map(|(path, mark)| (name(path), (path.clone(), *mark))).collect();
        for (path, mark) in &found {
            let file = name(path);
            let taken = inner.mark_of(&file);
            // What has no mark cannot be told from what it was; it is looked at once.
            if taken == Some(*mark) {
                self.restless.remove(&file);
            } else if first || self.restless.get(&file) == Some(&Some(*mark)) {
                self.restless.remove(&file);
                inner.take_file(path, *mark);
                if inner.is_stopping() {
                    return;
                }
            } else {
                self.restless.insert(file, Some(*mark));
            }
        }
        for file in inner.files().into_iter().filter(|file| !present.contains_key(file)) {
            // Whoever replaces a file by removing it first gets a moment.
            if self.restless.get(&file) == Some(&None) {
                self.restless.remove(&file);
                inner.drop_file(&file);
            } else {
                self.restless.insert(file, None);
            }
        }
        self.restless.retain(|file, seen| seen.is_none() || present.contains_key(file));
    }
}
