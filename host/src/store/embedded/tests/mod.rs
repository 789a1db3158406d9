//! Tests of the embedded engine: the conformance suite, and everything that is about its files.

mod backpressure;
mod clocks;
mod damage;
mod exports;
mod failing_disk;
pub(in crate::store) mod faults;
mod fixtures;
mod golden;
mod healing;
mod indexes;
pub(in crate::store) mod inline;
mod joined;
mod merged;
mod moving;
mod told;
mod watched;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use tempfile::TempDir;

use super::*;
use crate::keyring::KeyError;
use crate::model::audit::{Action, Actor};
use crate::model::delivery::{Attempt, Status, Step};
use crate::model::event::{EventType, NewEvent};
use crate::model::id::{AttemptId, AuditId, DeliveryId, EventId, TokenId};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::model::token::{Role, Token};
use crate::model::webhook::{Activity, Subscription, Webhook, WebhookConfig};
use crate::store::conformance::{
    Opened, START_MS, Stepped, Subject, again, attempt, config, conformance, event, folder_in_memory, kept, model,
    open_folder,
};
use crate::store::{Idempotency, Pin, Store};

/// A folder, and a writer with a thread as in production.
struct Folder(TempDir);

impl Subject for Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn open(&self, now_ms: i64) -> Opened {
        open_folder(self.0.path(), None, now_ms, Store::open).expect("the store opens")
    }
}

/// A folder in memory, and a writer that is driven turn by turn.
struct SteppedFolder(TempDir);

impl Subject for SteppedFolder {
    fn new() -> Self {
        Self(folder_in_memory())
    }

    fn open(&self, now_ms: i64) -> Opened {
        inline::open_inline(self.0.path(), now_ms)
    }
}

impl Stepped for SteppedFolder {
    fn tick(opened: &Opened) {
        opened.store.tick();
    }

    fn checkpoint(opened: &Opened) {
        opened.store.checkpoint();
    }

    fn crash(opened: &Opened) {
        opened.store.crash();
    }

    fn accepted(opened: &Opened) -> Vec<(i64, Vec<EventId>)> {
        opened.store.accepted()
    }

    fn transform(&self, number: u8, now_ms: i64) {
        indexes::transform(self.0.path(), number, now_ms);
    }
}

conformance!(Folder);

proptest! {
    #![proptest_config(Config { cases: 20, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    fn store_and_model_agree(actions in proptest::collection::vec(model::action(), 20..100)) {
        model::run::<SteppedFolder>(&actions);
    }
}

proptest! {
    #![proptest_config(Config { cases: 3000, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    #[ignore = "minutes: the long run of the one above"]
    fn store_and_model_agree_for_long(actions in proptest::collection::vec(model::action(), 50..200)) {
        model::run::<SteppedFolder>(&actions);
    }
}

#[test]
fn a_host_event_counts_for_the_limit_of_the_sweep_that_writes_it() {
    model::a_host_event_counts_for_the_limit_of_the_sweep_that_writes_it::<SteppedFolder>();
}

#[test]
fn what_failed_in_two_rounds_is_recovered_with_the_number_of_the_second() {
    model::what_failed_in_two_rounds_is_recovered_with_the_number_of_the_second::<SteppedFolder>();
}

#[test]
fn a_key_that_is_used_again_after_its_expiry_is_kept_from_then_on() {
    model::a_key_that_is_used_again_after_its_expiry_is_kept_from_then_on::<SteppedFolder>();
}

fn open(folder: &Path) -> Opened {
    try_open(folder, None).expect("the store opens")
}

fn try_open(folder: &Path, master_key: Option<Secret>) -> Result<Opened, OpenError> {
    open_folder(folder, master_key, START_MS, Store::open)
}

#[tokio::test]
async fn nothing_secret_is_readable_on_the_disk() {
    let folder = TempDir::new().expect("a folder");
    let opened = open(folder.path());
    opened.webhook().await;
    let (_, token) = opened.store.create_token("ci".into(), Role::Admin, Actor::Host).await.expect("a token");
    drop(opened);
    let mut files = vec![folder.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        for secret in ["secret-path", "signing-secret", "header-secret", token.expose()] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", path.display());
        }
    }
}

#[tokio::test]
async fn a_wrong_a_missing_and_an_exposed_master_key_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().expect("a folder");
    drop(open(folder.path()));
    let key = folder.path().join("master.key");
    assert_eq!(key.metadata().expect("made").permissions().mode() & 0o777, 0o600);
    let wrong = Secret::new("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert!(matches!(try_open(folder.path(), Some(wrong)), Err(OpenError::KeyWrong)));
    assert!(matches!(
        try_open(folder.path(), Some(Secret::new("short"))),
        Err(OpenError::Key(KeyError::Malformed { .. }))
    ));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    assert!(matches!(try_open(folder.path(), None), Err(OpenError::Key(KeyError::Exposed { .. }))));
    std::fs::remove_file(&key).expect("removed");
    assert!(matches!(try_open(folder.path(), None), Err(OpenError::KeyMissing { .. })));
}

#[tokio::test]
async fn one_process_a_folder() {
    let folder = TempDir::new().expect("a folder");
    let first = open(folder.path());
    assert!(matches!(try_open(folder.path(), None), Err(OpenError::InUse { .. })));
    drop(first);
    drop(open(folder.path()));
}

#[tokio::test]
async fn a_delivery_of_a_damaged_entry_begins_a_new_round() {
    let folder = TempDir::new().expect("a folder");
    let opened = open(folder.path());
    let webhook = opened.webhook().await;
    opened.post(event(None, 1)).await;
    let _ = opened.due();
    // As many failures as there are retries.
    for _ in 0..config().retry_count {
        opened.store.load_due(webhook.id, 0, None, 100);
        let due = opened.due();
        opened.record(&webhook, &due[0], again(0));
    }
    let mut txn = txn::Txn::default();
    let damaged = opened.store.engine.engine.scan_prefix(&[keys::DUE], None, |key, value| {
        let mut value = value.to_vec();
        value[7] ^= 1;
        txn.put(key.to_vec(), value);
        true
    });
    damaged.expect("read");
    opened.store.engine.engine.commit(&[&txn]).expect("damaged");
    opened.store.load_due(webhook.id, 0, None, 100);
    assert!(opened.due().is_empty());
    assert_eq!(opened.store.requeue_lost().await, Ok(1));
    let item = opened.due().remove(0).1;
    let made = config().retry_count;
    assert_eq!((item.attempt, item.earlier, item.try_number()), (made + 1, made, 1), "its retries are not used up");
}

#[tokio::test]
async fn the_store_of_a_later_format_is_rejected() {
    let folder = TempDir::new().expect("a folder");
    drop(open(folder.path()));
    let engine = engine::Engine::open(&folder.path().join("store"), 1 << 20).expect("opened");
    let mut txn = txn::Txn::default();
    txn.put(keys::meta(keys::SCHEMA_NAME), record::pack(&(keys::SCHEMA + 1)));
    engine.commit(&[&txn]).expect("written");
    drop(engine);
    let error = try_open(folder.path(), None).err().expect("rejected");
    assert!(matches!(error, OpenError::Schema { found, known } if found == known + 1), "{error}");
    assert!(error.to_string().contains("use the version of Heraldry that wrote it"));
}

#[tokio::test]
async fn what_stood_in_a_damaged_queue_entry_is_queued_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = open(folder.path());
    let webhook = opened.webhook().await;
    let first = opened.post(event(None, 1)).await;
    let second = opened.post(event(None, 2)).await;
    assert_eq!(opened.store.requeue_lost().await, Ok(0), "nothing is amiss");
    let (mut key, mut value) = (Vec::new(), Vec::new());
    opened
        .store
        .engine
        .engine
        .scan_prefix(&[keys::DUE], None, |found, bytes| {
            (key, value) = (found.to_vec(), bytes.to_vec());
            false
        })
        .expect("read");
    value[7] ^= 1;
    let mut txn = txn::Txn::default();
    txn.put(key, value);
    opened.store.engine.engine.commit(&[&txn]).expect("damaged");
    // Changes from before the damage.
    assert_eq!((opened.due().len(), opened.due().len()), (1, 1));
    opened.store.load_due(webhook.id, 0, None, 100);
    let left: Vec<_> = opened.due().into_iter().map(|(_, item)| item.event).collect();
    assert_eq!((left, opened.store.damaged_records()), (vec![second.id], 1));
    assert_eq!(opened.store.requeue_lost().await, Ok(1));
    assert_eq!(opened.due().into_iter().map(|(_, item)| item.event).collect::<Vec<_>>(), [first.id]);
    assert_eq!(opened.store.requeue_lost().await, Ok(0));
}
