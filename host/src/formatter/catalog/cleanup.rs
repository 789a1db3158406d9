//! Removal of component files that nothing needs any more.

use std::time::Duration;

use super::files;
use super::shared::Shared;
use crate::formatter::digest::unhex;
use crate::formatter::runtime::CodeCache;

/// Age at which machine code of components that are not in use is removed; it can be compiled again at any time.
const CODE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Implements `Catalog::forget_unused`.
pub(super) fn forget_unused(shared: &Shared, kept: Duration) -> std::io::Result<()> {
    // What is loading is in use, and not in the table yet.
    if !shared.is_settled() {
        return Ok(());
    }
    let used: Vec<[u8; 32]> = shared.table.load().ready.values().map(|component| component.digest()).collect();
    // The age of a file counts from its last use.
    for digest in &used {
        shared.files.touch(digest)?;
    }
    let with_code: Vec<[u8; 32]> = used.iter().chain(shared.evaluator.get()).copied().collect();
    let listed: Vec<[u8; 32]> = shared.sources().versions.digests().filter_map(unhex).collect();
    for entry in std::fs::read_dir(&shared.files.folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        let unused = if CodeCache::owns(&name) {
            age > CODE_KEPT && !CodeCache::belongs_to(&name, &with_code)
        } else {
            let digest = files::digest_in(&name);
            digest.is_some_and(|digest| age > kept && !used.contains(&digest) && !listed.contains(&digest))
        };
        if unused {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
