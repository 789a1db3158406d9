//! Bringing a store of an earlier format up to date, when it is opened.
//!
//! The first commit raises the format, so that no older program opens the store from then on, and notes that a
//! migration is under way; each page is a commit of its own; the last one removes the note. A migration that a crash
//! ended goes on with the next opening: what was rewritten already is recognised by its form.

use super::engine::Engine;
use super::txn::Txn;
use super::{StoreError, index, keys, record, tally};

/// The name of the note among the facts about the store.
const NOTE: &str = "migration";
/// Keys that one commit rewrites.
const PAGE: usize = 2_000;

/// Formats 3 and 4: everything of them is read as it is. A migration from an earlier format may still be under way.
pub(super) fn raise(engine: &Engine) -> Result<(), StoreError> {
    engine.commit(&[&raised(engine)?])
}

/// Format 5: everything of it is read as it is, and so are its notes of what is still to be counted and indexed. Its
/// queue entries get the ranks of their events when a webhook's order asks for them.
pub(super) fn raise_from_5(engine: &Engine) -> Result<(), StoreError> {
    let mut txn = Txn::default();
    txn.put(keys::meta(keys::SCHEMA_NAME), record::pack(&keys::SCHEMA));
    engine.commit(&[&txn])
}

/// The changes that raise the format. What format 5 brought is made afterwards: the counts at the opening, the indexes
/// while the host serves.
fn raised(engine: &Engine) -> Result<Txn, StoreError> {
    let mut txn = Txn::default();
    txn.put(keys::meta(keys::SCHEMA_NAME), record::pack(&keys::SCHEMA));
    txn.put(keys::meta(tally::UNCOUNTED), record::pack(&true));
    index::begin(engine, &mut txn)?;
    Ok(txn)
}

/// Formats 1 and 2: queue keys get a rank. Everything else of them is read as it is.
pub(super) struct Migration<'a> {
    engine: &'a Engine,
    /// The last key that was rewritten.
    after: Option<Vec<u8>>,
}

impl<'a> Migration<'a> {
    /// Begins with a store of this format.
    pub(super) fn begin(engine: &'a Engine, from: u32) -> Result<Self, StoreError> {
        let mut txn = raised(engine)?;
        txn.put(keys::meta(NOTE), record::pack(&from));
        engine.commit(&[&txn])?;
        Ok(Self { engine, after: None })
    }

    /// The migration that was under way when the store was last closed.
    pub(super) fn under_way(engine: &'a Engine) -> Result<Option<Self>, StoreError> {
        let note = engine.get(&keys::meta(NOTE))?;
        Ok(note.map(|_| Self { engine, after: None }))
    }

    /// Rewrites everything that is left.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        let mut rewritten = 0;
        loop {
            match self.page()? {
                0 => break,
                keys => rewritten += keys,
            }
        }
        let mut txn = Txn::default();
        txn.remove(keys::meta(NOTE));
        self.engine.commit(&[&txn])?;
        tracing::info!(to = keys::SCHEMA, queue_entries = rewritten, "the store's format was brought up to date");
        Ok(())
    }

    /// Rewrites one page; how many keys, 0 when none is left.
    pub(super) fn page(&mut self) -> Result<usize, StoreError> {
        let mut txn = Txn::default();
        let mut rewritten = 0;
        let after = self.after.take();
        self.engine.scan_prefix(&[keys::DUE], after.as_deref(), |key, value| {
            if let Some(ranked) = keys::due_with_rank(key) {
                // The value stays as it is, damaged or not: its own version says how it is read.
                txn.put(ranked, value.to_vec());
                txn.remove(key.to_vec());
                rewritten += 1;
                self.after = Some(key.to_vec());
            }
            rewritten < PAGE
        })?;
        self.engine.commit(&[&txn])?;
        Ok(rewritten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{DeliveryId, EventId, WebhookId};
    use crate::store::embedded::open;
    use crate::store::{DueItem, DueKey, Sent};

    const ENTRIES: u64 = 100_000;

    /// A key as formats 1 and 2 wrote it.
    fn without_rank(key: &DueKey) -> Vec<u8> {
        let mut key = key.encode();
        key.remove(1 + 16 + 4);
        key
    }

    fn found(engine: &Engine) -> (Vec<DueKey>, usize) {
        let (mut keys, mut other) = (Vec::new(), 0);
        engine
            .scan_prefix(&[keys::DUE], None, |key, value| {
                assert!(record::unpack_queue(value).is_ok());
                match DueKey::decode(key) {
                    Some(key) => keys.push(key),
                    None => other += 1,
                }
                true
            })
            .expect("read");
        (keys, other)
    }

    #[test]
    fn a_long_queue_is_rewritten_once_however_often_it_is_interrupted() {
        let folder = crate::store::conformance::folder_in_memory();
        let open = || Engine::open(folder.path(), 1 << 24).expect("opened");
        let engine = open();
        let webhooks = [WebhookId::generate(), WebhookId::generate()];
        let mut expected = Vec::new();
        let mut txn = Txn::default();
        for seq in 0..ENTRIES {
            let webhook = webhooks[usize::from(seq % 3 == 0)];
            let activation = u32::from(seq % 2 == 0);
            let key = DueKey { webhook, activation, rank: 0, due_ms: (seq % 7).cast_signed(), seq };
            let (event, delivery) = (EventId::generate(), DeliveryId::generate());
            let item = DueItem {
                event,
                slot: 0,
                delivery,
                attempt: 1,
                earlier: 0,
                sent: Sent::Never,
                rank: 0,
                due_ms: None,
                has_failed: false,
            };
            txn.put(without_rank(&key), record::pack_queue(&[&item]));
            expected.push(key);
        }
        txn.put(keys::meta(keys::SCHEMA_NAME), record::pack(&2_u32));
        engine.commit(&[&txn]).expect("written");
        expected.sort();

        let mut migration = Migration::begin(&engine, 2).expect("begun");
        let schema = engine.get(&keys::meta(keys::SCHEMA_NAME)).expect("read").expect("there");
        assert_eq!(
            record::unpack::<u32>(&schema).expect("a number"),
            keys::SCHEMA,
            "no older program opens it from now on"
        );
        assert_eq!(migration.page().expect("rewritten"), PAGE);
        // Each of these lives ends between two pages.
        let mut engine = engine;
        for life in 1..4_usize {
            drop(engine);
            engine = open();
            let (keys, left) = found(&engine);
            assert_eq!((keys.len(), keys.len() + left), (life * PAGE, expected.len()));
            let mut migration = Migration::under_way(&engine).expect("read").expect("not over");
            assert_eq!(migration.page().expect("rewritten"), PAGE);
        }
        drop(engine);
        let engine = open();
        open::check_schema(&engine, folder.path()).expect("brought up to date");
        assert_eq!(found(&engine), (expected, 0));
        assert!(Migration::under_way(&engine).expect("read").is_none());
    }
}
