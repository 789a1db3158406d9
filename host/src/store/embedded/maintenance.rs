//! Maintenance of a stopped host's store: check, repair, export, compaction.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::audit::{Chain, ChainReport};
use super::engine::Engine;
use super::export::UnsignedImport;
use super::index::{Backfill, Fingerprints};
use super::lock::FolderLock;
use super::record::{self, Answered, Counters, Counts, Damage, Further, SlotState};
use super::txn::{Bulk, Txn};
use super::{DueKey, OpenError, StoreError, export, index, keys, lost, open, sealed, tally};
use crate::keyring::{AUDIT_LOG, Keyring};
use crate::model::audit::{Action, Actor, AuditEvent};
use crate::model::id::{EventId, WebhookId};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::model::token::Token;
use crate::model::webhook::{HealthValues, Order};

/// sled's cache during maintenance, in bytes.
pub(super) const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Deliveries that one commit of a repair queues again.
const REQUEUE: usize = 256;

/// A stopped host's store.
pub struct Maintenance {
    folder: PathBuf,
    engine: Engine,
    keyring: Keyring,
    _lock: FolderLock,
}

/// The findings of a check.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CheckReport {
    /// The records by kind.
    pub kinds: Vec<KindReport>,
    /// Deliveries that are pending and in no queue: they would never be made.
    pub lost: u64,
    /// Records that are missing, by the store's own count.
    pub missing: Missing,
    /// The faults of the audit log, each a sentence.
    pub audit: Vec<String>,
    /// The faults of indexes and of the counts of what waits, each a sentence. Nothing is lost: a repair makes them
    /// again.
    pub indexes: Vec<String>,
    /// The import that the store comes from, when the export was not authenticated. That is no damage.
    pub imported_unsigned: Option<UnsignedImport>,
}

/// The number of missing records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Missing events.
    pub events: u64,
    /// Missing webhooks.
    pub webhooks: u64,
    /// Missing tokens.
    pub tokens: u64,
    /// Damaged spots of the journal, each of which may have been a commit.
    pub journal: u64,
}

/// The records of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct KindReport {
    /// The kind's name.
    pub kind: &'static str,
    /// The number of records.
    pub records: u64,
    /// The number of records that cannot be read.
    pub damaged: u64,
}

/// The result of a repair.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Repaired {
    /// Lost deliveries that were queued again.
    pub requeued: u64,
    /// Damaged records that were removed.
    pub removed: u64,
}

impl CheckReport {
    /// True if nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.kinds.iter().all(|kind| kind.damaged == 0)
            && self.lost == 0
            && self.missing == Missing::default()
            && self.audit.is_empty()
            && self.indexes.is_empty()
    }
}

impl Maintenance {
    /// Opens a stopped host's store.
    ///
    /// # Errors
    /// [`OpenError`]; also when there is no store in the folder.
    pub fn open(folder: &Path, master_key: Option<Secret>) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Folder { folder: folder.into(), error };
        if !folder.is_dir() {
            return Err(unusable(std::io::Error::from(std::io::ErrorKind::NotFound)));
        }
        let lock = FolderLock::take(folder)?;
        open::finish_compaction(folder).map_err(unusable)?;
        if !folder.join("store").is_dir() {
            return Err(unusable(std::io::Error::new(std::io::ErrorKind::NotFound, "there is no store in it")));
        }
        let engine = Engine::open(&folder.join("store"), CACHE_BYTES)?;
        open::check_schema(&engine, folder)?;
        let keyring = open::unlock(&engine, folder, master_key.as_ref())?;
        Ok(Self { folder: folder.into(), engine, keyring, _lock: lock })
    }

    /// Reads every record once.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read at all.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        let mut report = CheckReport::default();
        let mut kinds: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
        let mut fingerprints = Fingerprints::default();
        self.engine.scan(&[], false, |key, value| {
            let tag = key.first().copied().unwrap_or_default();
            let (records, damaged) = kinds.entry(tag).or_default();
            *records += 1;
            *damaged += u64::from(!readable(key, value, &self.keyring));
            fingerprints.add(key, value);
            true
        })?;
        for kind in keys::KINDS {
            let (records, damaged) = kinds.remove(&kind.tag).unwrap_or_default();
            report.kinds.push(KindReport { kind: kind.name, records, damaged });
        }
        let (records, damaged) = kinds.into_values().fold((0, 0), |all, kind| (all.0 + kind.0, all.1 + kind.1));
        if records > 0 {
            report.kinds.push(KindReport { kind: "unknown", records, damaged: records.max(damaged) });
        }
        let counts = self.engine.get(&keys::meta(record::COUNTS))?;
        let counts: Counts = counts.and_then(|bytes| record::unpack(&bytes).ok()).unwrap_or_default();
        let there = |tag: u8| {
            let kinds = keys::KINDS.iter().zip(&report.kinds);
            kinds.filter(|(kind, _)| kind.tag == tag).map(|(_, found)| found.records).sum()
        };
        report.missing = Missing {
            events: counts.events.saturating_sub(there(keys::EVENT)),
            webhooks: counts.webhooks.saturating_sub(there(keys::WEBHOOK)),
            tokens: counts.tokens.saturating_sub(there(keys::TOKEN)),
            journal: self.engine.damaged(),
        };
        lost::find(&self.engine, &mut |lost| {
            report.lost += lost.len() as u64;
            Ok(())
        })?;
        // The indexes of a store of an earlier format are made while a host serves it.
        if Backfill::load(&self.engine)?.is_done() {
            report.indexes = fingerprints.faults();
        }
        let wrong = tally::wrong(&self.engine)?;
        if wrong > 0 && self.engine.get(&keys::meta(tally::UNCOUNTED))?.is_none() {
            let fault = format!("the counts of what waits are wrong for {wrong} webhooks; --repair counts again");
            report.indexes.push(fault);
        }
        report.audit = self.chain_report()?.faults;
        report.imported_unsigned = export::unsigned_import(&self.engine)?;
        Ok(report)
    }

    fn chain_report(&self) -> Result<ChainReport, StoreError> {
        Chain::load(&self.engine, self.keyring.derive(AUDIT_LOG))?.check(&self.engine)
    }

    /// Queues lost deliveries again, removes damaged records, counts everything again.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written.
    pub fn repair(&self, now: Timestamp) -> Result<Repaired, StoreError> {
        repair(&self.engine, &self.keyring, now)
    }

    /// Writes an export, like [`crate::store::Store::export`], with a line in the audit log.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn export(
        &self,
        files: &[(String, PathBuf)],
        now: Timestamp,
        sink: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<(), StoreError> {
        audit(&self.engine, &self.keyring, AuditEvent::store(Actor::CommandLine, Action::StoreExported), now)?;
        export::write(&self.engine, &self.keyring, files, now, sink)
    }

    /// Compacts the store by copying it; its size before and after, in bytes.
    ///
    /// # Errors
    /// When there is no space for the copy, or the folder cannot be written. The store is as it was.
    pub fn compact(self) -> Result<(u64, u64), CompactError> {
        let Self { folder, engine, keyring: _, _lock } = self;
        let (store, fresh, old) = (folder.join("store"), folder.join("store.compacting"), folder.join("store.old"));
        if fresh.exists() {
            std::fs::remove_dir_all(&fresh)?;
        }
        let copied = copy(&engine, &fresh);
        drop(engine);
        if let Err(error) = copied {
            let _ = std::fs::remove_dir_all(&fresh);
            return Err(error);
        }
        let before = size(&store)?;
        // A crash between the two renames leaves a folder that the next opening moves back (`open::finish_compaction`).
        std::fs::rename(&store, &old)?;
        std::fs::rename(&fresh, &store)?;
        File::open(&folder)?.sync_all()?;
        std::fs::remove_dir_all(&old)?;
        Ok((before, size(&store)?))
    }
}

/// The reason why a store was not compacted.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what it is in its message")]
pub enum CompactError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn copy(engine: &Engine, fresh: &Path) -> Result<(), CompactError> {
    let target = Engine::open(fresh, CACHE_BYTES)?;
    let mut bulk = Bulk::into(&target);
    let mut written = Ok(());
    let mut copied = 0_u64;
    engine.scan(&[], false, |key, value| {
        written = bulk.put(key.to_vec(), value.to_vec());
        copied += 1;
        written.is_ok()
    })?;
    written?;
    bulk.finish()?;
    let mut there = 0_u64;
    target.scan(&[], false, |_, _| {
        there += 1;
        true
    })?;
    if there == copied { Ok(()) } else { Err(CompactError::Io(std::io::Error::other("the copy is not whole"))) }
}

fn size(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// True if a record is intact.
fn readable(key: &[u8], value: &[u8], keyring: &Keyring) -> bool {
    let id = keys::id_of(key).map(WebhookId::from_bytes);
    match key.first().copied().unwrap_or_default() {
        keys::META => record::is_whole(value),
        keys::WEBHOOK => {
            id.is_some_and(|id| sealed::read_webhook(id, value, HealthValues::default(), keyring).is_some())
        }
        keys::COUNTERS => Counters::unpack(value).is_ok(),
        keys::TOKEN => record::unpack_json::<Token>(value).is_ok(),
        keys::EVENT => record::unpack_event(value).is_ok(),
        keys::STATE => record::unpack::<Vec<SlotState>>(value).is_ok(),
        keys::FURTHER => record::unpack::<Further>(value).is_ok(),
        keys::REDELIVERY => record::unpack::<(EventId, u32)>(value).is_ok(),
        keys::DUE => DueKey::decode(key).is_some() && record::unpack_queue(value).is_ok(),
        keys::ATTEMPTS => record::unpack_attempts(value).is_ok(),
        keys::ACCEPTED => record::unpack_listed(value).is_ok(),
        keys::IDEMPOTENCY => record::unpack::<Answered>(value).is_ok(),
        keys::EXPIRY => record::unpack::<Vec<Vec<u8>>>(value).is_ok(),
        keys::AUDIT | keys::TOMBSTONE => record::is_whole(value),
        keys::RECENT => index::readable_rows(value),
        keys::BLOCK => index::readable_column(key, value),
        _ => false,
    }
}

/// True for a damaged record that a repair removes. Webhooks and tokens stay, since the key may be the wrong one; the
/// audit log stays, as evidence.
fn is_useless(key: &[u8], value: &[u8], keyring: &Keyring) -> bool {
    let tag = key.first().copied().unwrap_or_default();
    !matches!(tag, keys::META | keys::WEBHOOK | keys::TOKEN | keys::AUDIT) && !readable(key, value, keyring)
}

/// Adds a line to the audit log of a store that has no writer.
pub(super) fn audit(
    engine: &Engine,
    keyring: &Keyring,
    audit_event: AuditEvent,
    now: Timestamp,
) -> Result<(), StoreError> {
    let chain = Chain::load(engine, keyring.derive(AUDIT_LOG))?;
    let (lines, _) = chain.extended(&[audit_event], now);
    engine.commit(&[&lines])
}

/// Repairs a store that has no writer.
pub(super) fn repair(engine: &Engine, keyring: &Keyring, now: Timestamp) -> Result<Repaired, StoreError> {
    let mut repaired = Repaired::default();
    let (mut txn, mut counts) = (Txn::default(), Counts::default());
    let mut history: HashMap<WebhookId, u64> = HashMap::new();
    let mut fingerprints = Fingerprints::default();
    engine.scan(&[], false, |key, value| {
        if is_useless(key, value, keyring) {
            txn.remove(key.to_vec());
            repaired.removed += 1;
            return true;
        }
        fingerprints.add(key, value);
        if key.first() == Some(&keys::EVENT) {
            counts.events += 1;
        } else if key.first() == Some(&keys::WEBHOOK) {
            counts.webhooks += u64::from(readable(key, value, keyring));
        } else if key.first() == Some(&keys::TOKEN) {
            counts.tokens += u64::from(readable(key, value, keyring));
        } else if key.first() == Some(&keys::ATTEMPTS)
            && let Some(id) = keys::id_of(key)
        {
            let attempts = record::unpack_attempts(value).unwrap_or_default();
            *history.entry(WebhookId::from_bytes(id)).or_default() += attempts.len() as u64;
        }
        true
    })?;
    txn.put(keys::meta(record::COUNTS), record::pack(&counts));
    for (webhook, attempts) in history {
        let key = keys::counters(webhook);
        if let Some(bytes) = engine.get(&key)? {
            let counters = Counters::unpack(&bytes).unwrap_or_default();
            txn.put(key, Counters { attempts, ..counters }.pack());
        }
    }
    engine.commit(&[&txn])?;
    Chain::load(engine, keyring.derive(AUDIT_LOG))?.repair(engine)?;
    let mut seq = open::next_run(engine)? << 32;
    if !fingerprints.faults().is_empty() || !Backfill::load(engine)?.is_done() {
        index::clear(engine)?;
        index::rebuild(engine, Damage::default(), || {
            seq += 1;
            seq
        })?;
    }
    let mut txn = Txn::default();
    txn.remove(keys::meta(tally::UNCOUNTED));
    tally::put(engine, tally::count(engine)?, &mut txn)?;
    engine.commit(&[&txn])?;
    lost::remove_repeated(engine)?;
    lost::find(engine, &mut |found| {
        for page in found.chunks(REQUEUE) {
            let (txn, _) = lost::requeue(
                engine,
                page,
                |_| Order::Arrival,
                now.unix_ms(),
                || {
                    seq += 1;
                    seq
                },
            )?;
            engine.commit(&[&txn])?;
        }
        repaired.requeued += found.len() as u64;
        Ok(())
    })?;
    Ok(repaired)
}
