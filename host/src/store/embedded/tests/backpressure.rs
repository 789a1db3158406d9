//! The memtable's bound: a commit beyond it waits for a checkpoint, and is rejected when the checkpoint fails.

use std::sync::atomic::AtomicBool;

use super::faults::{Fault, Step as FailingStep};
use super::*;
use crate::store::embedded::engine::{Engine, MEMTABLE_MOST};
use crate::store::embedded::txn::Txn;
use crate::watchdog::{Need, Watchdog};

const MIB: usize = 1024 * 1024;

/// An engine with a thread for its checkpoints.
struct Threaded {
    engine: Arc<Engine>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Dropped last: the engine writes to it until then.
    _folder: TempDir,
}

impl Threaded {
    fn new(fault: Fault, times: u64) -> Self {
        let folder = folder_in_memory();
        let engine = Arc::new(Engine::open(folder.path(), 1 << 20).expect("opened"));
        engine.faults.fail(FailingStep::Apply, 1, times, fault);
        let watched = Watchdog::default().watch("checkpoints", Need::Partial, None);
        let thread = std::thread::spawn({
            let engine = Arc::clone(&engine);
            move || watched.run(|pulse| engine.run_checkpoints(pulse))
        });
        Self { engine, thread: Some(thread), _folder: folder }
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        self.engine.faults.release();
        self.engine.checkpointer.stop();
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// One commit of a MiB.
fn commit(engine: &Engine, number: u8) -> Result<(), StoreError> {
    let mut txn = Txn::default();
    txn.put(vec![number], vec![number; MIB]);
    engine.commit(&[&txn])
}

/// Begins a checkpoint of several commits, which hangs at the first, and fills the memtable up to its bound. Returns the
/// number of the next commit.
fn fill(engine: &Engine) -> u8 {
    let mut numbers = 0..;
    let mut write = || commit(engine, numbers.next().expect("a number"));
    for _ in 0..3 {
        write().expect("written");
    }
    while !engine.faults.happened() {
        engine.checkpointer.signal(true);
        std::thread::yield_now();
    }
    while engine.memtable_bytes() < MEMTABLE_MOST {
        write().expect("what is below the bound is written, also while a checkpoint hangs");
    }
    numbers.start
}

#[test]
fn a_commit_beyond_the_bound_waits_for_the_checkpoint() {
    let threaded = Threaded::new(Fault::Hang, 1);
    let engine = Arc::clone(&threaded.engine);
    let last = fill(&engine);
    let released = Arc::new(AtomicBool::new(false));
    let waiting = std::thread::spawn({
        let (engine, released) = (Arc::clone(&engine), Arc::clone(&released));
        move || (commit(&engine, last), released.load(Ordering::SeqCst))
    });
    // Readers do not wait for it.
    assert_eq!(engine.get(&[0]).expect("read").map(|value| value.len()), Some(MIB));
    let mut seen = 0;
    let scan = engine.scan(&[], false, |_, _| {
        seen += 1;
        true
    });
    scan.expect("read");
    assert!(seen > MEMTABLE_MOST / MIB, "{seen}");
    released.store(true, Ordering::SeqCst);
    engine.faults.release();
    assert_eq!(waiting.join().expect("no panic"), (Ok(()), true));
    assert!(engine.memtable_bytes() < MEMTABLE_MOST);
    for number in 0..=last {
        assert_eq!(engine.get(&[number]).expect("read").map(|value| value[0]), Some(number));
    }
}

#[test]
fn at_the_bound_the_error_of_the_checkpoint_rejects_the_commit() {
    let threaded = Threaded::new(Fault::Hang, 1);
    let engine = Arc::clone(&threaded.engine);
    let last = fill(&engine);
    // The one that hangs goes on, and the next change of it finds no space.
    let waiting = std::thread::spawn({
        let engine = Arc::clone(&engine);
        move || commit(&engine, last)
    });
    engine.faults.fail(FailingStep::Apply, 1, u64::MAX / 2, Fault::NoSpace);
    assert_eq!(waiting.join().expect("no panic"), Err(StoreError::Full));
    assert_eq!(engine.get(&[last]), Ok(None));
    // With space again everything is there, and the rejected one can be written.
    engine.faults.release();
    engine.reopen().expect("opened again");
    commit(&engine, last).expect("written");
    for number in 0..=last {
        assert_eq!(engine.get(&[number]).expect("read").map(|value| value[0]), Some(number));
    }
}

#[test]
fn without_a_thread_the_writer_makes_the_checkpoint() {
    let folder = folder_in_memory();
    let engine = Engine::open(folder.path(), 1 << 20).expect("opened");
    for number in 0..20 {
        commit(&engine, number).expect("written");
        assert!(engine.memtable_bytes() < MEMTABLE_MOST);
    }
    assert!(engine.tree_get(&[0]).expect("read").is_some());
}
