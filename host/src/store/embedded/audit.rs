//! The audit log: every management change, in the same commit as the change, in a chain of authentication codes.
//!
//! An entry's code (HMAC-SHA256) covers the entry and the code before it, under a key derived from the master key: a
//! program that can write the files but has no key can neither change nor remove an entry unnoticed. The fact `audit`
//! has the end of the chain, and its beginning once old entries were removed.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::engine::Engine;
use super::txn::Txn;
use super::writer::Writer;
use super::{StoreError, keys, record};
use crate::model::audit::{AuditEntry, AuditEvent};
use crate::model::id::AuditId;
use crate::model::time::Timestamp;

/// The name of the chain's ends among the facts about the store.
const ENDS: &str = "audit";

type Code = [u8; 32];

/// The beginning and the end of the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ends {
    /// The sequence number of the last entry that was removed for its age; 0: none was.
    removed: u64,
    /// The code of that entry, which the first one left was chained to.
    removed_code: Code,
    /// The sequence number of the last entry.
    last: u64,
    /// The code of that entry, which the next one is chained to.
    last_code: Code,
}

/// An entry on the disk: its text, exactly as its code covers it.
#[derive(Serialize, Deserialize)]
struct Linked {
    text: String,
    code: Code,
}

/// The chain, ready for the next entry.
pub(super) struct Chain {
    key: Code,
    ends: Ends,
    last_id: AuditId,
}

/// The result of a check of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ChainReport {
    /// The number of entries.
    pub entries: u64,
    /// The faults, each a sentence; empty when the chain is whole.
    pub faults: Vec<String>,
}

fn code(key: &Code, before: &Code, text: &str) -> Code {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(before);
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

impl Chain {
    /// The chain of a store that is being opened.
    pub(super) fn load(engine: &Engine, key: Code) -> Result<Self, StoreError> {
        let bytes = engine.get(&keys::meta(ENDS))?;
        let ends = bytes.and_then(|bytes| record::unpack(&bytes).ok()).unwrap_or_default();
        let mut last_id = AuditId::from_bytes([0; 16]);
        engine.scan(&[keys::AUDIT + 1], true, |entry, _| {
            if entry.first() == Some(&keys::AUDIT) {
                last_id = keys::id_of(entry).map_or(last_id, AuditId::from_bytes);
            }
            false
        })?;
        Ok(Self { key, ends, last_id })
    }

    /// The transaction that appends these entries, and the chain as it is once that is written.
    pub(super) fn extended(&self, audit_events: &[AuditEvent], now: Timestamp) -> (Txn, Self) {
        let mut next = Self { ..*self };
        let mut txn = Txn::default();
        for audit_event in audit_events {
            let AuditEvent { actor, action, target, changes } = audit_event.clone();
            // Later in order than every entry before it, even if the clock was set back.
            let id = AuditId::generate().max(next.last_id.successor());
            let sequence = next.ends.last + 1;
            let entry = AuditEntry { id, sequence, actor, action, target, changes, created_at: now };
            let text = serde_json::to_string(&entry).unwrap_or_default();
            let code = code(&self.key, &next.ends.last_code, &text);
            txn.put(keys::audit(id), record::pack(&Linked { text, code }));
            next.ends = Ends { last: sequence, last_code: code, ..next.ends };
            next.last_id = id;
        }
        if !audit_events.is_empty() {
            txn.put(keys::meta(ENDS), record::pack(&next.ends));
        }
        (txn, next)
    }

    /// Moves the chain's end to the end of its unbroken part. An export of a running host reads the facts before the
    /// log, so its log may have entries after the end. A gap stays a gap.
    pub(super) fn repair(&self, engine: &Engine) -> Result<(), StoreError> {
        let mut ends = self.ends;
        engine.scan_prefix(&[keys::AUDIT], None, |_, value| {
            let Ok(linked) = record::unpack::<Linked>(value) else { return false };
            let sequence = serde_json::from_str::<AuditEntry>(&linked.text).map_or(0, |entry| entry.sequence);
            if sequence == ends.last + 1 && code(&self.key, &ends.last_code, &linked.text) == linked.code {
                ends = Ends { last: sequence, last_code: linked.code, ..ends };
            }
            true
        })?;
        if ends == self.ends {
            return Ok(());
        }
        let mut txn = Txn::default();
        txn.put(keys::meta(ENDS), record::pack(&ends));
        engine.commit(&[&txn])
    }

    /// Reads the whole chain.
    pub(super) fn check(&self, engine: &Engine) -> Result<ChainReport, StoreError> {
        let mut report = ChainReport::default();
        let (mut sequence, mut before) = (self.ends.removed, self.ends.removed_code);
        engine.scan_prefix(&[keys::AUDIT], None, |_, value| {
            report.entries += 1;
            let linked = record::unpack::<Linked>(value).ok();
            let entry = linked.as_ref().and_then(|linked| serde_json::from_str::<AuditEntry>(&linked.text).ok());
            let (Some(linked), Some(entry)) = (linked, entry) else {
                report.faults.push(format!("the entry after number {sequence} cannot be read"));
                return report.faults.len() < 100;
            };
            if entry.sequence != sequence + 1 {
                report.faults.push(format!("between the entries {sequence} and {} some are missing", entry.sequence));
            } else if code(&self.key, &before, &linked.text) != linked.code {
                report.faults.push(format!("the entry {} is not what the host wrote", entry.sequence));
            }
            (sequence, before) = (entry.sequence, linked.code);
            report.faults.len() < 100
        })?;
        if sequence != self.ends.last || before != self.ends.last_code {
            let last = self.ends.last;
            report.faults.push(format!("the log ends with entry {sequence}, the last one written was {last}"));
        }
        Ok(report)
    }
}

impl Writer {
    /// Writes one line in a commit of its own.
    pub(in crate::store) fn audit(&mut self, audit_event: AuditEvent) -> Result<(), StoreError> {
        self.write_audited(&Txn::default(), &[audit_event])
    }

    /// Writes a change together with its lines in the audit log.
    pub(super) fn write_audited(&mut self, txn: &Txn, audit_events: &[AuditEvent]) -> Result<(), StoreError> {
        let (lines, chain) = self.chain.extended(audit_events, self.now());
        self.write(&[Some(txn), Some(&lines)])?;
        self.chain = chain;
        Ok(())
    }

    /// The pending lines, and the chain as it is with them.
    pub(super) fn pending_lines(&self, audit_events: &[AuditEvent]) -> (Txn, Chain) {
        self.chain.extended(audit_events, self.now())
    }

    /// Removes a page of entries from before the cutoff; true if there may be more.
    pub(super) fn sweep_audit(&mut self, cutoff: Timestamp, most: usize) -> Result<bool, StoreError> {
        let mut txn = Txn::default();
        let mut ends = self.chain.ends;
        let mut removed = 0;
        self.engine.scan_prefix(&[keys::AUDIT], None, |key, value| {
            let linked = record::unpack::<Linked>(value).ok();
            let entry = linked.as_ref().and_then(|linked| serde_json::from_str::<AuditEntry>(&linked.text).ok());
            // A damaged entry stays: `store check` reports it.
            let (Some(linked), Some(entry)) = (linked, entry) else { return false };
            if entry.created_at >= cutoff || removed >= most {
                return false;
            }
            txn.remove(key.to_vec());
            ends = Ends { removed: entry.sequence, removed_code: linked.code, ..ends };
            removed += 1;
            true
        })?;
        if removed > 0 {
            txn.put(keys::meta(ENDS), record::pack(&ends));
            self.write(&[Some(&txn)])?;
            self.chain.ends = ends;
        }
        Ok(removed >= most)
    }
}

/// A page of the log, newest first, and true if older entries follow; `None` when no entry has the id `before`.
pub(super) fn page(
    engine: &Engine,
    limit: usize,
    before: Option<AuditId>,
) -> Result<Option<(Vec<AuditEntry>, bool)>, StoreError> {
    if let Some(before) = before
        && engine.get(&keys::audit(before))?.is_none()
    {
        return Ok(None);
    }
    let from = before.map_or_else(|| vec![keys::AUDIT + 1], keys::audit);
    let mut entries = Vec::new();
    engine.scan(&from, true, |key, value| {
        if key.first() != Some(&keys::AUDIT) {
            return false;
        }
        // A damaged entry is left out: `store check` reports it.
        let linked = record::unpack::<Linked>(value).ok();
        entries.extend(linked.and_then(|linked| serde_json::from_str::<AuditEntry>(&linked.text).ok()));
        entries.len() <= limit
    })?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(Some((entries, more)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of both records and an entry's code, as they are on existing disks.
    #[test]
    fn entries_are_chained_and_written_as_before() {
        let code = code(&[1; 32], &[2; 32], "{}");
        let ends = Ends { removed: 1, removed_code: [1; 32], last: 300, last_code: code };
        let written = [record::pack(&ends), record::pack(&Linked { text: "{}".into(), code })];
        let pinned = [
            "01a9767b36010101010101010101010101010101010101010101010101010101010101010101ac02568926049a509d604b52cde1b0017f3018052283953a3796e1edb5dad65f667d",
            "0146e6031c027b7d568926049a509d604b52cde1b0017f3018052283953a3796e1edb5dad65f667d",
        ];
        assert_eq!(written.map(|bytes| data_encoding::HEXLOWER.encode(&bytes)), pinned);
    }
}
