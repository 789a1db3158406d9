//! Reads over memtable and sled: compared with a plain map, with checkpoints, whole and failed half way, at random
//! moments, also in the midst of a scan.

use std::collections::BTreeMap;

use super::faults::{Fault, Step as FailingStep};
use super::*;
use crate::store::embedded::checkpoint::Checkpoint;
use crate::store::embedded::engine::Engine;
use crate::store::embedded::txn::Txn;

/// Enough for several chunks of a scan.
const KEYS: u8 = 120;

/// A key's number and its value; `None` for removed.
type Op = (u8, Option<u16>);
type Plain = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Act {
    Commit(Vec<Op>),
    /// A commit that is rejected and taken back.
    Rejected(Vec<Op>),
    Checkpoint,
    /// A checkpoint that fails at this step of this kind.
    Failed(FailingStep, u64),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    (0..KEYS, proptest::option::weighted(0.7, any::<u16>()))
}

fn act() -> impl Strategy<Value = Act> {
    let ops = || proptest::collection::vec(op(), 1..40);
    prop_oneof![
        8 => ops().prop_map(Act::Commit),
        1 => ops().prop_map(Act::Rejected),
        2 => Just(Act::Checkpoint),
        2 => (1..60_u64).prop_map(|nth| Act::Failed(FailingStep::Apply, nth)),
        1 => prop::sample::select(FailingStep::CHECKPOINT.to_vec()).prop_map(|step| Act::Failed(step, 1)),
        1 => Just(Act::Reopen),
    ]
}

/// Keys of two kinds, some of them longer than what is held in place.
fn key(number: u8) -> Vec<u8> {
    let mut key = vec![b'a' + number % 2];
    key.resize(1 + usize::from(number % 7) * 5, number);
    key.push(number);
    key
}

fn value(value: u16) -> Vec<u8> {
    value.to_be_bytes().repeat(1 + usize::from(value % 16))
}

fn txn(ops: &[Op]) -> Txn {
    let mut txn = Txn::default();
    for (number, written) in ops {
        match written {
            Some(written) => txn.put(key(*number), value(*written)),
            None => txn.remove(key(*number)),
        }
    }
    txn
}

fn apply(plain: &mut Plain, ops: &[Op]) {
    for (number, written) in ops {
        match written {
            Some(written) => drop(plain.insert(key(*number), value(*written))),
            None => drop(plain.remove(&key(*number))),
        }
    }
}

fn carry_out(engine: &Engine, plain: &mut Plain, act: &Act) {
    match act {
        Act::Commit(ops) => {
            engine.commit(&[&txn(ops)]).expect("written");
            apply(plain, ops);
        }
        Act::Rejected(ops) => {
            engine.faults.fail(FailingStep::Sync, 1, 1, Fault::NoSpace);
            assert_eq!(engine.commit(&[&txn(ops)]), Err(StoreError::Full));
            engine.faults.release();
        }
        Act::Checkpoint => assert!(matches!(engine.try_checkpoint(), Checkpoint::Done)),
        Act::Failed(step, nth) => {
            engine.faults.fail(*step, *nth, 1, Fault::NoSpace);
            let made = engine.try_checkpoint();
            assert!(matches!(made, Checkpoint::Failed(StoreError::Full)) || !engine.faults.happened());
            engine.faults.release();
        }
        Act::Reopen => engine.reopen().expect("opened again"),
    }
}

fn open_engine(folder: &Path) -> Engine {
    Engine::open(folder, 1 << 20).expect("opened")
}

/// The entries that a scan visits, at most `most`.
fn scanned(engine: &Engine, from: &[u8], backwards: bool, most: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let scan = engine.scan(from, backwards, |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        found.len() < most
    });
    scan.expect("read");
    found
}

/// Compares every key, and scans from these keys on.
fn compare(engine: &Engine, plain: &Plain, froms: &[u8]) {
    let entries = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    for number in 0..KEYS {
        let found = engine.get(&key(number)).expect("read");
        assert_eq!(found.as_deref(), plain.get(&key(number)).map(Vec::as_slice), "key {number}");
    }
    assert_eq!(scanned(engine, &[], false, usize::MAX), plain.iter().map(entries).collect::<Vec<_>>());
    assert_eq!(scanned(engine, &[255], true, usize::MAX), plain.iter().rev().map(entries).collect::<Vec<_>>());
    for number in froms {
        let from = key(*number);
        let most = 1 + usize::from(*number);
        let expected: Vec<_> = plain.range(from.clone()..).take(most).map(entries).collect();
        assert_eq!(scanned(engine, &from, false, most), expected, "from key {number}");
        let expected: Vec<_> = plain.range(..from.clone()).rev().take(most).map(entries).collect();
        assert_eq!(scanned(engine, &from, true, most), expected, "back from key {number}");
        for prefix in [&from[..1], &from[..]] {
            let mut found = Vec::new();
            let scan = engine.scan_prefix(prefix, Some(&from), |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                true
            });
            scan.expect("read");
            let is_after = |key: &[u8]| key > &*from && key.starts_with(prefix);
            let expected: Vec<_> = plain.iter().filter(|(key, _)| is_after(key)).map(entries).collect();
            assert_eq!(found, expected, "after key {number} with a prefix of {}", prefix.len());
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 60, failure_persistence: None, max_shrink_iters: 5000, ..Config::default() })]

    #[test]
    fn merged_reads_agree_with_a_plain_map(
        acts in proptest::collection::vec(act(), 1..40),
        froms in proptest::collection::vec(0..KEYS, 4),
    ) {
        let folder = folder_in_memory();
        let engine = open_engine(folder.path());
        let mut plain = Plain::new();
        for act in &acts {
            carry_out(&engine, &mut plain, act);
            compare(&engine, &plain, &froms);
        }
        // A killed process leaves what sled and the journal have.
        engine.shut();
        compare(&open_engine(folder.path()), &plain, &froms);
    }

    /// Between two visits of a scan anything may happen. An entry that is not touched meanwhile is visited once, an entry
    /// that is touched has a value that it had in that time, and the order is that of the keys.
    #[test]
    fn a_scan_misses_nothing_that_moves_meanwhile(
        before in proptest::collection::vec(act(), 1..20),
        meanwhile in proptest::collection::vec((0..12_usize, act()), 1..20),
        backwards in any::<bool>(),
    ) {
        let folder = folder_in_memory();
        let engine = open_engine(folder.path());
        let mut plain = Plain::new();
        apply(&mut plain, &(0..KEYS).map(|number| (number, Some(1))).collect::<Vec<_>>());
        engine.commit(&[&txn(&(0..KEYS).map(|number| (number, Some(1))).collect::<Vec<_>>())]).expect("written");
        before.iter().for_each(|act| carry_out(&engine, &mut plain, act));
        let mut values: BTreeMap<Vec<u8>, Vec<Option<Vec<u8>>>> =
            (0..KEYS).map(|number| (key(number), vec![plain.get(&key(number)).cloned()])).collect();
        // The engine cannot be opened again while it is read.
        let mut meanwhile = meanwhile.into_iter().filter(|(_, act)| !matches!(act, Act::Reopen));
        let mut next = meanwhile.next();
        let mut visited: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let (from, mut wait): (&[u8], _) = (if backwards { &[255] } else { &[] }, 0);
        engine.scan(from, backwards, |found, value| {
            visited.push((found.to_vec(), value.to_vec()));
            wait += 1;
            while let Some((after, act)) = next.take_if(|(after, _)| *after < wait) {
                carry_out(&engine, &mut plain, &act);
                values.iter_mut().for_each(|(key, values)| values.push(plain.get(key).cloned()));
                (next, wait) = (meanwhile.next(), wait - after);
            }
            true
        }).expect("read");
        if backwards {
            visited.reverse();
        }
        assert!(visited.is_sorted_by(|(one, _), (other, _)| one < other), "{visited:?}");
        let visited: Plain = visited.into_iter().collect();
        for (key, values) in values {
            let found = visited.get(&key).cloned();
            assert!(values.contains(&found), "{key:?} is {found:?}, was {values:?}");
        }
    }
}

/// A number that is in sled whatever the memtable says.
fn in_sled(engine: &Engine, number: u8) -> bool {
    engine.tree_get(&key(number)).expect("read").is_some()
}

#[test]
fn what_came_and_went_between_two_checkpoints_never_reaches_sled() {
    let folder = folder_in_memory();
    let engine = open_engine(folder.path());
    engine.commit(&[&txn(&[(1, Some(1)), (2, Some(1)), (3, Some(1))])]).expect("written");
    assert!(!in_sled(&engine, 1), "a commit goes to the journal and to memory");
    engine.commit(&[&txn(&[(2, None), (3, Some(2))])]).expect("written");
    // As many changes as there are keys: the removal and the last values.
    engine.faults.fail(FailingStep::Apply, 4, 1, Fault::NoSpace);
    assert!(matches!(engine.try_checkpoint(), Checkpoint::Done));
    engine.faults.release();
    assert!(in_sled(&engine, 1) && !in_sled(&engine, 2) && in_sled(&engine, 3));
    // A removal of what sled has reaches it, also if the key was written in between.
    engine.commit(&[&txn(&[(1, None), (3, Some(3))])]).expect("written");
    engine.commit(&[&txn(&[(3, None)])]).expect("written");
    assert!(in_sled(&engine, 1) && in_sled(&engine, 3));
    assert_eq!((engine.get(&key(1)), engine.get(&key(3))), (Ok(None), Ok(None)));
    assert!(matches!(engine.try_checkpoint(), Checkpoint::Done));
    assert!(!in_sled(&engine, 1) && !in_sled(&engine, 3));
}

#[test]
fn a_removal_while_the_value_is_on_its_way_to_sled_removes_it() {
    let folder = folder_in_memory();
    let engine = open_engine(folder.path());
    engine.commit(&[&txn(&[(1, Some(1)), (2, Some(1))])]).expect("written");
    for step in FailingStep::CHECKPOINT {
        engine.faults.fail(step, 1, 1, Fault::NoSpace);
        assert!(matches!(engine.try_checkpoint(), Checkpoint::Failed(StoreError::Full)), "{step:?}");
    }
    engine.commit(&[&txn(&[(1, None)])]).expect("written");
    assert_eq!(engine.get(&key(1)), Ok(None));
    // The first one brings the value, the second one its removal.
    assert!(matches!(engine.try_checkpoint(), Checkpoint::Done));
    assert!(in_sled(&engine, 1));
    assert_eq!((engine.get(&key(1)), scanned(&engine, &[], false, 9).len()), (Ok(None), 1));
    assert!(matches!(engine.try_checkpoint(), Checkpoint::Done));
    assert!(!in_sled(&engine, 1) && in_sled(&engine, 2));
}

#[test]
fn a_commit_that_was_taken_back_is_not_in_the_memtable_and_not_after_a_restart() {
    let folder = folder_in_memory();
    let engine = open_engine(folder.path());
    engine.commit(&[&txn(&[(1, Some(1))])]).expect("written");
    engine.faults.fail(FailingStep::Sync, 1, 1, Fault::NoSpace);
    assert_eq!(engine.commit(&[&txn(&[(1, None), (2, Some(2))])]), Err(StoreError::Full));
    for _ in 0..2 {
        assert!(engine.get(&key(1)).expect("read").is_some());
        assert_eq!(engine.get(&key(2)), Ok(None));
        assert!(matches!(engine.try_checkpoint(), Checkpoint::Done));
    }
    engine.shut();
    let engine = open_engine(folder.path());
    assert_eq!(scanned(&engine, &[], false, 9), [(key(1), value(1))]);
}

#[test]
fn a_store_whose_large_values_cannot_be_written_ends_and_its_journal_has_them() {
    let folder = TempDir::new().expect("a folder");
    let large = vec![7; 2 << 20];
    let engine = open_engine(folder.path());
    let mut txn = Txn::default();
    txn.put(b"large", large.clone());
    engine.commit(&[&txn]).expect("committed");
    // sled gives such a value a file of its own, in this folder.
    let (blobs, away) = (folder.path().join("blobs"), folder.path().join("away"));
    std::fs::rename(&blobs, &away).expect("moved");
    std::fs::write(&blobs, "no folder").expect("written");
    assert!(matches!(engine.try_checkpoint(), Checkpoint::Failed(_)));
    drop(engine);

    // The files of this process stay open until it ends, so the next one is another folder with the same content.
    let next = TempDir::new().expect("a folder");
    std::fs::rename(away, next.path().join("blobs")).expect("moved");
    for file in std::fs::read_dir(folder.path()).expect("read").map(|file| file.expect("a file").path()) {
        if file.is_file() && file != blobs {
            std::fs::copy(&file, next.path().join(file.file_name().expect("a name"))).expect("copied");
        }
    }
    let engine = open_engine(next.path());
    assert_eq!(engine.get(b"large").expect("read").as_deref(), Some(&*large));
}
