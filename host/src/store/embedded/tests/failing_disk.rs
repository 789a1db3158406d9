//! A scripted workload on a disk that fails once, at every step: the n-th write, the n-th flush, the n-th sync, for each n
//! until the script ends without having met the failure.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::{Fault, Step as FailingStep};
use super::inline::open_inline;
use super::*;

/// Steps that fail one after the other.
const TIMES: u64 = 1;

struct Script {
    folder: TempDir,
    at: (FailingStep, u64),
    opened: Opened,
    /// True if a rejected request is repeated, as a client does.
    repeats: bool,
    rejections: Vec<StoreError>,
    /// Events that were acknowledged, by the number in their id.
    accepted: BTreeMap<u8, Accepted>,
    kept_hooks: BTreeSet<WebhookId>,
    /// The changes that a scheduler has heard of: pending deliveries with their attempts.
    told: BTreeSet<(DeliveryId, u32)>,
    due: BTreeMap<EventId, (DueKey, DueItem)>,
    /// The number of recorded outcomes, and of those that the store reported as being on the disk.
    handed: usize,
    recorded: usize,
}

fn id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

impl Script {
    fn new(at: (FailingStep, u64), repeats: bool) -> Self {
        let folder = folder_in_memory();
        let opened = open_inline(folder.path(), START_MS);
        Self {
            folder,
            at,
            opened,
            repeats,
            rejections: Vec::new(),
            accepted: BTreeMap::new(),
            kept_hooks: BTreeSet::new(),
            told: BTreeSet::new(),
            due: BTreeMap::new(),
            handed: 0,
            recorded: 0,
        }
    }

    async fn ask<T>(&mut self, ask: impl AsyncFn(&Store) -> Result<T, StoreError>) -> Option<T> {
        for _ in 0..=TIMES {
            let answer = ask(&self.opened.store).await;
            self.hear();
            match answer {
                Ok(answer) => return Some(answer),
                Err(error) => self.rejections.push(error),
            }
            if !self.repeats {
                break;
            }
        }
        None
    }

    async fn post(&mut self, numbers: &[u8], key: Option<&str>) {
        let answer = self
            .ask(async |store| {
                let idempotency = key.map(|key| Idempotency { key: key.into(), body_digest: [1; 32] });
                let events = numbers.iter().map(|number| event(Some(id(*number)), *number)).collect();
                let acceptance =
                    Acceptance { token: TokenId::from_bytes([1; 16]), idempotency, events, verdicts: Vec::new() };
                store.accept(acceptance).await.map_err(|error| match error {
                    AcceptError::Store(error) => error,
                    error => panic!("{error:?}"),
                })
            })
            .await;
        for (number, answer) in numbers.iter().zip(answer.into_iter().flatten()) {
            assert_eq!(answer.id, id(*number));
            self.accepted.insert(*number, answer);
        }
    }

    /// An attempt of an event's first delivery ends, if the scheduler heard of it.
    fn end(&mut self, number: u8, step: &Step) {
        let Some((key, item)) = self.due.get(&id(number)).cloned() else { return };
        let attempt = Some(attempt(&item, *step == Step::Delivered));
        // Events 2 and 3 were accepted together and share an entry.
        let closes = (number != 2).then_some(key);
        let outcome = Outcome::new(key.webhook, item, attempt, step.clone(), closes);
        self.opened.store.record(vec![outcome]);
        self.handed += 1;
        self.hear();
    }

    fn tick(&mut self) {
        self.opened.store.tick();
        self.hear();
    }

    fn checkpoint(&mut self) {
        self.opened.store.checkpoint();
        self.hear();
    }

    fn hear(&mut self) {
        let changes: Vec<Change> = self.opened.changes.lock().expect("not poisoned").try_iter().collect();
        for change in changes {
            match change {
                Change::Due(entries) | Change::Loaded { entries, .. } => {
                    for entry in entries {
                        for (item, _) in entry.items {
                            self.told.insert((item.delivery, item.attempt));
                            self.due.insert(item.event, (entry.key, item));
                        }
                    }
                }
                Change::Recorded(outcomes) => self.recorded += outcomes,
                Change::Webhook(_) | Change::Candidate { .. } | Change::Probed(_) | Change::Collected { .. } => {}
            }
        }
    }

    async fn run(&mut self) {
        let kept = self.ask(async |store| store.create_webhook(config(), true, Actor::Host).await).await;
        let Some(kept) = kept else { return };
        self.kept_hooks.insert(kept.id);
        self.post(&[1], None).await;
        self.post(&[2, 3], Some("a key")).await;
        self.end(1, &Step::Delivered);
        self.end(2, &again(2000));
        self.tick();
        self.checkpoint();
        self.post(&[4], None).await;
        self.checkpoint();
        self.end(4, &Step::Failed { deactivate: None });
        let changed = WebhookConfig { retry_count: 7, ..config() };
        let revision = kept.revision;
        self.ask(async |store| {
            store.update_webhook(kept.id, revision, changed.clone(), None, Actor::Host).await.map(drop)
        })
        .await;
        let made = self.ask(async |store| store.create_token("a".into(), Role::Ingest, Actor::Host).await).await;
        if let Some((token, _)) = made {
            self.ask(async |store| store.delete_token(token.id, Actor::Host).await).await;
        }
        self.ask(async |store| store.sweep(super::kept(1_000_000)).await).await;
        self.ask(async |store| store.setting("host-name", Some("here".into()), String::new()).await).await;
        if let Some((_, item)) = self.due.get(&id(4)).cloned() {
            self.tick();
            self.ask(async |store| store.redeliver(kept.id, item.delivery, Actor::Host).await).await;
            let since = Timestamp::from_unix_ms(0);
            self.ask(async |store| {
                store.recover(kept.id, since, Cursor::Failed(AttemptId::first_at(since)), Actor::Host).await
            })
            .await;
        }
        let other = self.ask(async |store| store.create_webhook(config(), true, Actor::Host).await).await;
        if let Some(other) = other {
            self.post(&[5], None).await;
            self.checkpoint();
            self.ask(async |store| store.delete_webhook(other.id, Actor::Host).await).await;
        }
        self.post(&[6], Some("another key")).await;
    }

    /// Checks the store that another process finds in a folder.
    async fn check(&self, folder: &Path, all_recorded: bool) {
        let at = self.at;
        let opened = open_inline(folder, START_MS);
        assert_eq!(opened.store.damaged_records(), 0);
        let table = opened.store.webhooks();
        let mut pending = Vec::new();
        for number in 1..=6_u8 {
            let view = opened.store.event(id(number)).await.expect("read");
            let Some(view) = view else {
                assert!(!self.accepted.contains_key(&number), "event {number} was acknowledged and is gone");
                continue;
            };
            let status = view.deliveries.first().map(|delivery| delivery.status);
            let held = [Status::Pending, Status::Cancelled];
            let (ended, waits) = match number {
                1 => (Some(Status::Delivered), Some(Status::Pending)),
                // Recovered after it failed, if the script came that far.
                4 if status == Some(Status::Failed) => (Some(Status::Failed), None),
                _ => (Some(Status::Pending), None),
            };
            let fits = status == ended
                || ((!all_recorded || !self.accepted.contains_key(&number)) && status == waits)
                || status.is_some_and(|s| held.contains(&s) && number > 4);
            assert!(fits, "event {number}: {status:?}");
            pending.extend(view.deliveries.iter().filter(|one| one.status == Status::Pending).map(|one| one.id));
        }
        let mut queued = Vec::new();
        for id in &self.kept_hooks {
            let webhook = table.get(*id).expect("an acknowledged webhook");
            opened.store.load_due(*id, webhook.activation, None, 100);
            queued.extend(opened.due().into_iter().map(|(_, item)| item.delivery));
        }
        // A webhook whose creation was rejected may be there all the same, with deliveries of its own.
        pending.sort();
        queued.sort();
        if table.iter().count() == self.kept_hooks.len() {
            assert_eq!(queued, pending, "{at:?}: each pending delivery is queued once");
        }
        opened.store.close();
        drop(opened);
        let report = crate::store::Maintenance::open(folder, None).expect("opened").check().expect("read");
        assert!(report.indexes.is_empty(), "{at:?}: {:?}", report.indexes);
    }
}

/// Runs the script with this fault at every step; the number of runs.
async fn at_every_step(fault: Fault, then: impl AsyncFn(&mut Script)) -> u64 {
    let mut runs = 0;
    for step in FailingStep::all() {
        for nth in 1.. {
            let mut script = Script::new((step, nth), fault == Fault::NoSpace);
            let left = script.folder.path().join("left");
            script.opened.store.faults().fail(step, nth, TIMES, fault);
            script.opened.store.faults().leave_behind(script.folder.path().join("store"), left.join("store"));
            script.run().await;
            if !script.opened.store.faults().happened() {
                break;
            }
            // A process that is killed right there.
            std::fs::copy(script.folder.path().join("master.key"), left.join("master.key")).expect("copied");
            then(&mut script).await;
            runs += 1;
        }
    }
    runs
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged_and_service_goes_on_in_place() {
    let runs = at_every_step(Fault::NoSpace, async |script| {
        // Failed outcomes wait for the writer's next try.
        script.tick();
        script.tick();
        assert!(script.rejections.iter().all(|error| *error == StoreError::Full), "{:?}", script.rejections);
        assert!(script.opened.store.is_writable(), "there is space again");
        assert_eq!(script.accepted.len(), 6, "everything was accepted in the end");
        assert_eq!(script.recorded, script.handed, "no outcome was forgotten");
        for number in script.accepted.keys() {
            let view = script.opened.store.event(id(*number)).await.expect("read").expect("kept");
            for delivery in view.deliveries.iter().filter(|delivery| delivery.status == Status::Pending) {
                let told = script.told.contains(&(delivery.id, delivery.attempts + 1));
                assert!(told, "event {number} is pending and the scheduler was not told: {delivery:?}");
            }
        }
        script.opened.store.close();
        let copy = script.folder.path().join("copy");
        faults::copy_folder(&script.folder.path().join("store"), &copy.join("store")).expect("copied");
        std::fs::copy(script.folder.path().join("master.key"), copy.join("master.key")).expect("copied");
        script.check(&copy, true).await;
    })
    .await;
    assert!(runs > 30, "only {runs} steps");
}

#[tokio::test]
async fn after_a_broken_write_the_store_stays_closed_and_the_next_process_has_all_that_was_acknowledged() {
    let runs = at_every_step(Fault::Broken, async |script| {
        let store = &script.opened.store;
        assert!(!store.is_writable(), "the disk's content is not known");
        store.tick();
        assert!(!store.is_writable(), "a second try would mean nothing");
        assert!(script.rejections.iter().all(|error| *error == StoreError::Unavailable), "{:?}", script.rejections);
        let accepted = script.accepted.len();
        script.post(&[6], None).await;
        assert_eq!(script.accepted.len(), accepted, "nothing is acknowledged any more");
        let copy = script.folder.path().join("copy");
        std::fs::create_dir_all(&copy).expect("a folder");
        // The lock goes with the process; the engine is closed already.
        faults::copy_folder(&script.folder.path().join("store"), &copy.join("store")).expect("copied");
        std::fs::copy(script.folder.path().join("master.key"), copy.join("master.key")).expect("copied");
        let all_recorded = script.recorded == script.handed;
        script.check(&copy, all_recorded).await;
        script.check(&script.folder.path().join("left"), all_recorded).await;
    })
    .await;
    assert!(runs > 30, "only {runs} steps");
}
