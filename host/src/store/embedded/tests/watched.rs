//! The writer's thread when the disk does the unthinkable: its death and its standstill are seen.

use super::faults::{Fault, Step as FailingStep};
use super::*;

/// Waits until the watchdog says this.
async fn says(opened: &Opened, fault: Option<&str>) {
    let told = tokio::time::timeout(Duration::from_secs(30), async {
        while opened.watchdog.fault().as_deref() != fault {
            tokio::task::yield_now().await;
        }
    });
    told.await.unwrap_or_else(|_| panic!("{:?} instead of {fault:?}", opened.watchdog.fault()));
}

#[tokio::test]
async fn a_writer_that_panics_is_dead_and_the_next_process_has_everything_that_was_acknowledged() {
    for step in FailingStep::COMMIT {
        let folder = TempDir::new().expect("a folder");
        let opened = open(folder.path());
        opened.webhook().await;
        let kept = opened.post(event(None, 1)).await;
        opened.store.faults().fail(step, 1, 1, Fault::Panic);
        let lost = opened.accept(TokenId::from_bytes([1; 16]), None, vec![event(None, 2)]).await;
        assert_eq!(lost, Err(AcceptError::Store(StoreError::Unavailable)));
        says(&opened, Some("store-writer has died; the host must be restarted")).await;
        assert_eq!(opened.watchdog.vital_death().await, "store-writer has died");
        assert!(!opened.store.is_writable());
        drop(opened);

        let opened = open(folder.path());
        assert_eq!((opened.watchdog.fault(), opened.store.is_writable()), (None, true));
        assert_eq!(opened.status(kept.id).await, Status::Pending);
        assert_eq!((opened.store.missing_events().await, opened.store.damaged_records()), (Ok(0), 0));
        opened.post(event(None, 3)).await;
    }
}

#[tokio::test]
async fn without_the_thread_for_checkpoints_the_writer_makes_them_and_nothing_is_lost() {
    let folder = TempDir::new().expect("a folder");
    let opened = open(folder.path());
    opened.webhook().await;
    let first = opened.post(event(None, 1)).await;
    // sled's panics are contained; one of ours, with the journal locked, is not.
    opened.store.faults().fail(FailingStep::Settle, 1, 1, Fault::Panic);
    opened.store.engine.engine.checkpointer.signal(true);
    says(&opened, Some("store-checkpoint has died; the host must be restarted")).await;
    let json = format!(r#"{{"type":"phase_changed","data":{{"phase":"{}"}}}}"#, "x".repeat(1 << 20));
    let mut last = first.clone();
    for number in 2..9 {
        last = opened.post(NewEvent { json: json.clone(), ..event(None, number) }).await;
    }
    assert!(opened.store.is_writable());
    let in_sled = |event| opened.store.engine.engine.tree_get(&keys::event(event)).expect("read").is_some();
    // At 6 MiB the writer ends the checkpoint that the thread has begun, with the next commit it makes one.
    assert!(in_sled(first.id) && in_sled(last.id));
    let events = [first.id, last.id];
    drop(opened);
    let opened = open(folder.path());
    for event in events {
        assert_eq!(opened.status(event).await, Status::Pending);
    }
}

#[tokio::test]
async fn a_writer_whose_fsync_hangs_is_seen_after_30_seconds_until_it_moves_again() {
    let folder = TempDir::new().expect("a folder");
    let opened = Arc::new(open(folder.path()));
    opened.webhook().await;
    // Without work it may stand still for ever.
    opened.clock.0.fetch_add(1_000_000, Ordering::Relaxed);
    says(&opened, None).await;
    opened.store.faults().fail(FailingStep::Sync, 1, 1, Fault::Hang);
    let posting = tokio::spawn({
        let opened = Arc::clone(&opened);
        async move { opened.post(event(None, 1)).await }
    });
    while !opened.store.faults().happened() {
        tokio::task::yield_now().await;
    }
    opened.clock.0.fetch_add(30_000, Ordering::Relaxed);
    assert_eq!(opened.watchdog.fault(), None);
    opened.clock.0.fetch_add(1, Ordering::Relaxed);
    assert_eq!(opened.watchdog.fault().as_deref(), Some("store-writer has not moved for 30 s"));
    // Whoever asks does not wait for the disk.
    assert!(opened.store.is_writable());
    opened.store.faults().release();
    let accepted = posting.await.expect("no panic");
    says(&opened, None).await;
    assert_eq!(opened.status(accepted.id).await, Status::Pending);
}

#[tokio::test]
async fn a_store_that_is_closed_leaves_no_thread_behind() {
    let folder = TempDir::new().expect("a folder");
    let opened = open(folder.path());
    let names: Vec<_> = opened.watchdog.threads().into_iter().map(|thread| thread.name).collect();
    assert_eq!(names, ["store-writer", "store-checkpoint"]);
    opened.store.close();
    assert_eq!((opened.watchdog.threads(), opened.watchdog.fault()), (Vec::new(), None));
}
