//! Scans over the memtable and sled, merged.

use super::StoreError;
use super::memtable::{Memtables, Range, turns};
use super::tree::Tree;

/// Changes of the memtable that a scan copies at first, and at most, while commits wait for it. Most scans read a few
/// entries.
const FIRST_CHUNK: usize = 16;
const LARGEST_CHUNK: usize = 1024;

/// Visits the entries of a range, or backwards from its end, while `visit` says so. No lock is held meanwhile.
///
/// An entry that is there from the beginning to the end of the scan is visited, and one that is not there is not. For
/// that each chunk of the memtable comes with a new iterator of sled, made after it: an iterator reads ahead, and would
/// miss what a checkpoint has moved from the memtable to sled since.
pub(super) fn scan(
    memtables: &Memtables,
    tree: &Tree,
    mut range: Range,
    backwards: bool,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), StoreError> {
    let mut most = FIRST_CHUNK;
    while !range.is_empty() {
        let chunk = memtables.chunk(&range, backwards, most);
        most = (2 * most).min(LARGEST_CHUNK);
        let last = chunk.changes.last().filter(|_| !chunk.is_last).map(|(key, _)| key.clone());
        let (covered, rest) = match last {
            Some(last) => {
                let (covered, rest) = range.split(last, backwards);
                (covered, Some(rest))
            }
            None => (range, None),
        };
        let mut changes = chunk.changes.into_iter();
        let mut entries = tree.range(&covered, backwards);
        let mut change = changes.next();
        let mut entry = entries.next().transpose()?;
        loop {
            let keys = (change.as_ref().map(|(key, _)| key), entry.as_ref().map(|(key, _)| key));
            let (from_memtable, from_tree) = turns(keys.0, keys.1, backwards);
            let visited = match (&change, &entry) {
                (Some((key, value)), _) if from_memtable => value.as_ref().map(|value| (key, value)),
                (_, Some((key, value))) if from_tree => Some((key, value)),
                _ => break,
            };
            if !visited.is_none_or(|(key, value)| visit(key, value)) {
                return Ok(());
            }
            if from_memtable {
                change = changes.next();
            }
            if from_tree {
                entry = entries.next().transpose()?;
            }
        }
        match rest {
            Some(rest) => range = rest,
            None => return Ok(()),
        }
    }
    Ok(())
}
