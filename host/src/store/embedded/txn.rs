//! Transactions: the changes of a commit, before they are journalled.

use std::collections::BTreeMap;

use super::StoreError;
use super::engine::Engine;

/// A key or a value. Short ones are held in place; copies of longer ones share their bytes, also with sled's cache.
pub(super) type Bytes = sled::IVec;

/// A transaction: the final value of each key, `None` for removed. The writer's reads look here first.
#[derive(Default)]
pub(super) struct Txn {
    ops: BTreeMap<Bytes, Option<Bytes>>,
    bytes: usize,
}

impl Txn {
    pub(super) fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.ops.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: impl Into<Bytes>) {
        self.ops.insert(key.into(), None);
    }

    /// Drops the change of a key.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.ops.remove(key);
    }

    /// Its changes, in the order of their keys.
    pub(super) fn ops(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.ops.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// The value that this commit writes under a key.
    pub(super) fn written(&self, key: &[u8]) -> Option<&[u8]> {
        self.ops.get(key)?.as_deref()
    }

    /// True if this commit removes the key.
    pub(super) fn removes(&self, key: &[u8]) -> bool {
        self.ops.get(key).is_some_and(Option::is_none)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes put so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value as it will be after this commit.
    pub(super) fn get(&self, engine: &Engine, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.ops.get(key) {
            Some(value) => Ok(value.clone()),
            None => engine.get(key),
        }
    }
}

/// Fills an engine with many records, in commits of a bounded size.
pub(super) struct Bulk<'a> {
    engine: &'a Engine,
    txn: Txn,
}

impl<'a> Bulk<'a> {
    /// Bytes that one commit writes, approximately.
    const COMMIT_BYTES: usize = 4 * 1024 * 1024;

    pub(super) fn into(engine: &'a Engine) -> Self {
        Self { engine, txn: Txn::default() }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.txn.put(key, value);
        if self.txn.bytes() < Self::COMMIT_BYTES { Ok(()) } else { self.finish() }
    }

    /// Writes what is left.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        self.engine.commit(&[&std::mem::take(&mut self.txn)])
    }
}
