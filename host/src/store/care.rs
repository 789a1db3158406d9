//! Care of a stopped host's store: is everything there and readable, what can be mended, and giving space back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::audit::{Chain, ChainReport};
use super::engine::{Bulk, Engine, Txn};
use super::keys::{self, DueKey};
use super::record::{
    self, Answered, Counters, Counts, DueItem, Entries, EventRecord, Further, Progress, Sent, SlotState,
};
use super::vault::Vault;
use super::{OpenError, StoreError, export, manage, open};
use crate::model::audit::{Action, Actor, AuditEvent};
use crate::model::id::{DeliveryId, EventId, WebhookId};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::model::token::Token;
use crate::model::webhook::HealthValues;

/// sled's cache for the time of the care.
pub(super) const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Deliveries that one commit queues again.
const REQUEUE: usize = 256;
/// Events looked at in one go.
const PIECE: usize = 512;

/// A stopped host's store.
pub struct Care {
    folder: PathBuf,
    engine: Engine,
    vault: Vault,
    _lock: File,
}

/// What a check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CheckReport {
    /// Records by kind: how many there are, how many of them cannot be read.
    pub kinds: Vec<KindReport>,
    /// Deliveries that wait and stand in no queue: they would never be made.
    pub lost: u64,
    /// What the store should have by its own count and has not.
    pub missing: Missing,
    /// What is wrong with the audit log, in sentences.
    pub audit: Vec<String>,
}

/// What a store should have and has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Events.
    pub events: u64,
    /// Webhooks.
    pub webhooks: u64,
    /// Tokens.
    pub tokens: u64,
    /// Commits that stood in a damaged place of the journal.
    pub journal: u64,
}

/// How many records of one kind there are.
#[derive(Clone, Debug, Serialize)]
pub struct KindReport {
    /// What they are.
    pub kind: &'static str,
    /// All of them.
    pub records: u64,
    /// Those that cannot be read.
    pub damaged: u64,
}

/// What was mended.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Repaired {
    /// Deliveries that are queued again.
    pub requeued: u64,
    /// Records that could not be read and were removed.
    pub removed: u64,
}

impl CheckReport {
    /// Whether there is nothing to complain about.
    pub fn is_clean(&self) -> bool {
        self.kinds.iter().all(|kind| kind.damaged == 0)
            && self.lost == 0
            && self.missing == Missing::default()
            && self.audit.is_empty()
    }
}

/// A delivery that waits and stands in no queue.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) event: EventId,
    pub(super) place: u32,
    pub(super) webhook: WebhookId,
    pub(super) delivery: DeliveryId,
    pub(super) state: SlotState,
}

impl Care {
    /// Opens a stopped host's store.
    ///
    /// # Errors
    /// [`OpenError`]; also when there is no store in the folder.
    pub fn open(folder: &Path, master_key: Option<Secret>) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Folder { folder: folder.into(), error };
        if !folder.is_dir() {
            return Err(unusable(std::io::Error::from(std::io::ErrorKind::NotFound)));
        }
        let lock = open::lock(folder)?;
        open::finish_compaction(folder).map_err(unusable)?;
        if !folder.join("store").is_dir() {
            return Err(unusable(std::io::Error::new(std::io::ErrorKind::NotFound, "there is no store in it")));
        }
        let engine = Engine::open(&folder.join("store"), CACHE_BYTES)?;
        open::check_schema(&engine, folder)?;
        let vault = open::unlock(&engine, folder, master_key)?;
        Ok(Self { folder: folder.into(), engine, vault, _lock: lock })
    }

    /// Reads everything once.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read at all.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        let mut report = CheckReport::default();
        let mut kinds: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
        self.engine.scan(&[], false, |key, value| {
            let tag = key.first().copied().unwrap_or_default();
            let (records, damaged) = kinds.entry(tag).or_default();
            *records += 1;
            *damaged += u64::from(!readable(key, value, &self.vault));
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
        lost(&self.engine, &mut |lost| {
            report.lost += lost.len() as u64;
            Ok(())
        })?;
        report.audit = self.chain_report()?.faults;
        Ok(report)
    }

    fn chain_report(&self) -> Result<ChainReport, StoreError> {
        Chain::load(&self.engine, self.vault.derive("audit log"))?.check(&self.engine)
    }

    /// Queues again what waits and stands in no queue, removes what cannot be read, counts anew.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written.
    pub fn repair(&self, now: Timestamp) -> Result<Repaired, StoreError> {
        repair(&self.engine, &self.vault, now)
    }

    /// Everything, line by line, as [`super::Store::export`].
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn export(
        &self,
        files: &[(String, PathBuf)],
        now: Timestamp,
        sink: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<(), StoreError> {
        note(&self.engine, &self.vault, AuditEvent::store(Actor::CommandLine, Action::StoreExported), now)?;
        export::write(&self.engine, files, now, sink)
    }

    /// Writes the store anew without what it no longer needs; its size before and after, in bytes.
    ///
    /// # Errors
    /// When there is no space for the copy, or the folder cannot be written. The store is as it was.
    pub fn compact(self) -> Result<(u64, u64), CompactError> {
        let Self { folder, engine, vault: _, _lock } = self;
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
        // A crash between the two leaves a folder that the next opening puts back (`open::finish_compaction`).
        std::fs::rename(&store, &old)?;
        std::fs::rename(&fresh, &store)?;
        File::open(&folder)?.sync_all()?;
        std::fs::remove_dir_all(&old)?;
        Ok((before, size(&store)?))
    }
}

/// Why a store was not compacted.
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

/// Whether a record is what was written.
fn readable(key: &[u8], value: &[u8], vault: &Vault) -> bool {
    let id = keys::id_of(key).map(WebhookId::from_bytes);
    match key.first().copied().unwrap_or_default() {
        keys::META => record::is_whole(value),
        keys::WEBHOOK => id.is_some_and(|id| manage::read_webhook(id, value, HealthValues::default(), vault).is_some()),
        keys::COUNTERS => Counters::unpack(value).is_ok(),
        keys::TOKEN => record::unpack_json::<Token>(value).is_ok(),
        keys::EVENT => record::unpack::<EventRecord>(value).is_ok(),
        keys::STATE => record::unpack::<Vec<SlotState>>(value).is_ok(),
        keys::FURTHER => record::unpack::<Further>(value).is_ok(),
        keys::REDELIVERY => record::unpack::<(EventId, u32)>(value).is_ok(),
        keys::DUE => DueKey::decode(key).is_some() && record::unpack_queue(value).is_ok(),
        keys::ATTEMPTS => record::unpack_attempts(value).is_ok(),
        keys::ACCEPTED => record::unpack::<Vec<EventId>>(value).is_ok(),
        keys::IDEMPOTENCY => record::unpack::<Answered>(value).is_ok(),
        keys::EXPIRY => record::unpack::<Vec<Vec<u8>>>(value).is_ok(),
        keys::AUDIT | keys::TOMBSTONE => record::is_whole(value),
        _ => false,
    }
}

/// Which records cannot be read and are of no more use to anybody. Webhooks and tokens stay, for whoever finds the
/// right key; the audit log stays as it is.
fn is_useless(key: &[u8], value: &[u8], vault: &Vault) -> bool {
    let tag = key.first().copied().unwrap_or_default();
    !matches!(tag, keys::META | keys::WEBHOOK | keys::TOKEN | keys::AUDIT) && !readable(key, value, vault)
}

/// Adds a line to the audit log of a store that nobody else has open.
pub(super) fn note(engine: &Engine, vault: &Vault, audit_event: AuditEvent, now: Timestamp) -> Result<(), StoreError> {
    let chain = Chain::load(engine, vault.derive("audit log"))?;
    let (lines, _) = chain.extended(&[audit_event], now);
    engine.commit(&[&lines])
}

/// Mends a store that nobody else has open.
pub(super) fn repair(engine: &Engine, vault: &Vault, now: Timestamp) -> Result<Repaired, StoreError> {
    let mut repaired = Repaired::default();
    let (mut txn, mut counts) = (Txn::default(), Counts::default());
    let mut history: HashMap<WebhookId, u64> = HashMap::new();
    engine.scan(&[], false, |key, value| {
        if is_useless(key, value, vault) {
            txn.remove(key.to_vec());
            repaired.removed += 1;
        } else if key.first() == Some(&keys::EVENT) {
            counts.events += 1;
        } else if key.first() == Some(&keys::WEBHOOK) {
            counts.webhooks += u64::from(readable(key, value, vault));
        } else if key.first() == Some(&keys::TOKEN) {
            counts.tokens += u64::from(readable(key, value, vault));
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
            txn.put(key, record::pack(&Counters { attempts, ..counters }));
        }
    }
    engine.commit(&[&txn])?;
    Chain::load(engine, vault.derive("audit log"))?.mend(engine)?;
    let mut seq = open::next_run(engine)? << 32;
    lost(engine, &mut |lost| {
        for some in lost.chunks(REQUEUE) {
            let (txn, _) = requeue(engine, some, now.unix_ms(), || {
                seq += 1;
                seq
            })?;
            engine.commit(&[&txn])?;
        }
        repaired.requeued += lost.len() as u64;
        Ok(())
    })?;
    Ok(repaired)
}

/// The changes that queue these deliveries again, one entry for each webhook and activation; with the entries. `next_seq`
/// gives a number that no entry had before.
pub(super) fn requeue(
    engine: &Engine,
    lost: &[Lost],
    due_ms: i64,
    mut next_seq: impl FnMut() -> u64,
) -> Result<(Txn, Entries), StoreError> {
    let mut txn = Txn::default();
    let mut entries: BTreeMap<(WebhookId, u32), (DueKey, Vec<DueItem>)> = BTreeMap::new();
    for Lost { event, place, webhook, delivery, state } in lost {
        let mut states = match txn.written(&keys::state(*event)) {
            Some(bytes) => record::unpack(bytes).unwrap_or_default(),
            None => states_of(engine, *event)?,
        };
        // The concurrent write wins.
        let Some(now) = states.get_mut(*place as usize).filter(|now| **now == *state) else { continue };
        let (webhook, activation) = (*webhook, state.activation);
        let (key, items) = entries
            .entry((webhook, activation))
            .or_insert_with(|| (DueKey { webhook, activation, rank: 0, due_ms, seq: next_seq() }, Vec::new()));
        now.queued = Some(key.seq);
        txn.put(keys::state(*event), record::pack(&states));
        // The entry knew the attempts of earlier rounds and the state does not. Taken as retries they could leave none, and
        // the first failure would be the last; so a new round begins.
        let earlier = state.attempts;
        let sent = Sent::Never;
        items.push(DueItem { event: *event, slot: *place, delivery: *delivery, attempt: earlier + 1, earlier, sent });
    }
    for (key, items) in entries.values() {
        txn.put(key.encode(), record::pack_queue(&items.iter().collect::<Vec<_>>()));
    }
    Ok((txn, entries.into_values().collect()))
}

fn states_of(engine: &Engine, event: EventId) -> Result<Vec<SlotState>, StoreError> {
    if let Some(bytes) = engine.get(&keys::state(event))?
        && let Ok(states) = record::unpack(&bytes)
    {
        return Ok(states);
    }
    let known = engine.get(&keys::event(event))?.and_then(|bytes| record::unpack::<EventRecord>(&bytes).ok());
    Ok(known.map(|known| record::initial_states(&known.slots, known.accepted_at)).unwrap_or_default())
}

/// Events that were accepted before this time, those that cannot be read included.
pub(super) fn events_before(engine: &Engine, at: Timestamp) -> Result<u64, StoreError> {
    let (mut events, mut after) = (0, None::<Vec<u8>>);
    loop {
        let mut seen = 0;
        let mut last = None;
        engine.scan_prefix(&[keys::EVENT], after.as_deref(), |key, value| {
            seen += 1;
            events += u64::from(record::accepted_at(value).is_none_or(|accepted| accepted < at));
            last = (seen >= PIECE).then(|| key.to_vec());
            seen < PIECE
        })?;
        if last.is_none() {
            return Ok(events);
        }
        after = last;
        // It is in no hurry.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Finds the deliveries that wait and stand in no queue, and hands them on in pieces. It remembers a few bytes for
/// every delivery that does.
pub(super) fn lost(
    engine: &Engine,
    found: &mut dyn FnMut(&[Lost]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let hasher = RandomState::new();
    let mut queued: HashSet<u64> = HashSet::new();
    engine.scan_prefix(&[keys::DUE], None, |key, value| {
        let Some(key) = DueKey::decode(key) else { return true };
        for item in record::unpack_queue(value).unwrap_or_default() {
            queued.insert(hasher.hash_one((item.event, item.slot, item.attempt, Some(key.seq))));
            queued.insert(hasher.hash_one((item.event, item.slot, item.attempt, None::<u64>)));
        }
        true
    })?;
    let mut webhooks = HashSet::new();
    engine.scan_prefix(&[keys::WEBHOOK], None, |key, _| {
        webhooks.extend(keys::id_of(key).map(WebhookId::from_bytes));
        true
    })?;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let mut piece = Vec::new();
        engine.scan_prefix(&[keys::EVENT], after.as_deref(), |key, value| {
            piece.push((key.to_vec(), record::unpack::<EventRecord>(value).ok()));
            piece.len() < PIECE
        })?;
        let Some((last, _)) = piece.last() else { return Ok(()) };
        after = Some(last.clone());
        let mut lost = Vec::new();
        for (key, known) in piece {
            let (Some(id), Some(known)) = (keys::id_of(&key).map(EventId::from_bytes), known) else { continue };
            let states = engine.get(&keys::state(id))?;
            let states: Vec<SlotState> = states
                .and_then(|bytes| record::unpack(&bytes).ok())
                .unwrap_or_else(|| record::initial_states(&known.slots, known.accepted_at));
            let mut slots: Vec<_> = known.slots.iter().map(|slot| (slot.webhook, slot.delivery)).collect();
            if states.len() > slots.len() {
                engine.scan_prefix(&keys::further_prefix(id), None, |_, value| {
                    let further = record::unpack::<Further>(value);
                    slots.extend(further.map(|further| (further.slot.webhook, further.slot.delivery)));
                    true
                })?;
            }
            for (place, ((webhook, delivery), state)) in (0..).zip(slots.into_iter().zip(states)) {
                let wanted = hasher.hash_one((id, place, state.attempts + 1, state.queued));
                let waits = state.progress == Progress::Waiting && webhooks.contains(&webhook);
                if waits && !queued.contains(&wanted) {
                    lost.push(Lost { event: id, place, webhook, delivery, state });
                }
            }
        }
        if !lost.is_empty() {
            found(&lost)?;
        }
    }
}
