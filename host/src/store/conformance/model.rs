//! The store beside a simple model of it, over random sequences of operations and ends of the process. After each opening,
//! orderly or after a crash, both must agree on every event, delivery, queue, history and counter.
//!
//! A failing case prints the shortest sequence that fails; those at the end of this file have failed once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::breaker;
use crate::model::delivery::Step;
use crate::model::webhook::HealthValues;

const BREAKER: u32 = 3;
const IDEMPOTENCY_S: u64 = 3600;
/// How long an outcome may wait for a commit, as the writer has it.
const DELAY_MS: i64 = 20;

/// An operation, or an end of the process. Numbers choose among what is there then.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Create { kind: u8 },
    Update { webhook: u8, kind: u8 },
    Switch { webhook: u8, on: bool },
    Delete { webhook: u8 },
    Post { events: Vec<(u8, Option<u8>, u8)>, token: u8, key: Option<(u8, u8)> },
    Finish { claim: u8, end: u8 },
    Recover { webhook: u8 },
    Redeliver { delivery: u8 },
    Advance { ms: i64 },
    Tick,
    Checkpoint,
    Sweep { age_s: u64, max_events: u64, max_history: u64 },
    Reopen,
    Crash,
    Transform { number: u8 },
    Search { kind: u8, limit: u8 },
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    let event = (0..4_u8, proptest::option::weighted(0.3, 0..6_u8), 0..3_u8);
    prop_oneof![
        2 => (0..4_u8).prop_map(|kind| Action::Create { kind }),
        1 => (any::<u8>(), 0..4_u8).prop_map(|(webhook, kind)| Action::Update { webhook, kind }),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(webhook, on)| Action::Switch { webhook, on }),
        1 => any::<u8>().prop_map(|webhook| Action::Delete { webhook }),
        8 => (proptest::collection::vec(event, 1..4), 0..2_u8, proptest::option::weighted(0.2, (0..3_u8, 0..2_u8)))
            .prop_map(|(events, token, key)| Action::Post { events, token, key }),
        18 => (any::<u8>(), any::<u8>()).prop_map(|(claim, end)| Action::Finish { claim, end }),
        1 => any::<u8>().prop_map(|webhook| Action::Recover { webhook }),
        1 => any::<u8>().prop_map(|delivery| Action::Redeliver { delivery }),
        4 => prop::sample::select(vec![5_i64, 30, 2_000, 1_000_000, 4_000_000]).prop_map(|ms| Action::Advance { ms }),
        2 => Just(Action::Tick),
        2 => Just(Action::Checkpoint),
        1 => (prop::sample::select(vec![600_u64, 1_000_000]), prop::sample::select(vec![3_u64, u64::MAX]),
              prop::sample::select(vec![2_u64, u64::MAX]))
            .prop_map(|(age_s, max_events, max_history)| Action::Sweep { age_s, max_events, max_history }),
        2 => Just(Action::Reopen),
        3 => Just(Action::Crash),
        1 => any::<u8>().prop_map(|number| Action::Transform { number }),
        6 => (any::<u8>(), 1..5_u8).prop_map(|(kind, limit)| Action::Search { kind, limit }),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Progress {
    Waiting,
    Delivered,
    Failed,
    Skipped,
}

#[derive(Clone, Debug)]
struct Delivery {
    id: DeliveryId,
    webhook: WebhookId,
    progress: Progress,
    attempts: u32,
    activation: u32,
}

#[derive(Clone, Debug)]
struct Kept {
    token: TokenId,
    event: NewEvent,
    at: i64,
    digest: [u8; 32],
    derived: bool,
    answer: Accepted,
    deliveries: Vec<Delivery>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Activity {
    On,
    Off,
    Tripped,
}

/// An attempt of the history, and when it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tried {
    /// The number of attempts before it.
    number: usize,
    event: EventId,
    delivery: DeliveryId,
    attempt: u32,
    success: bool,
    last: bool,
    at: i64,
}

#[derive(Clone, Debug)]
struct Hook {
    activity: Activity,
    activation: u32,
    config: WebhookConfig,
    health: HealthValues,
    /// One chunk for each commit.
    history: Vec<Vec<Tried>>,
    /// The chunk of the next commit.
    young: Vec<Tried>,
}

/// The expected content of the store.
#[derive(Clone, Default, Debug)]
struct Model {
    hooks: BTreeMap<WebhookId, Hook>,
    events: BTreeMap<EventId, Kept>,
    /// The events of each commit, with its time.
    groups: Vec<(i64, Vec<EventId>)>,
    keys: BTreeMap<(TokenId, u8), (u8, Vec<Accepted>, i64)>,
    /// The number of attempts so far.
    tried: usize,
}

impl Model {
    fn delivery(&mut self, event: EventId, slot: u32) -> Option<&mut Delivery> {
        self.events.get_mut(&event)?.deliveries.get_mut(slot as usize)
    }

    fn commit(&mut self) {
        for hook in self.hooks.values_mut() {
            let young = std::mem::take(&mut hook.young);
            hook.history.extend(Some(young).filter(|young| !young.is_empty()));
        }
    }

    /// Deliveries that a webhook's queue must yield now.
    fn waiting(&self, webhook: WebhookId) -> Vec<(EventId, DeliveryId, u32)> {
        let hook = &self.hooks[&webhook];
        let events = self.events.iter();
        let all = events.flat_map(|(id, event)| event.deliveries.iter().map(move |delivery| (*id, delivery)));
        let due = all.filter(|(_, delivery)| {
            delivery.webhook == webhook
                && delivery.progress == Progress::Waiting
                && delivery.activation == hook.activation
        });
        let mut due: Vec<_> = due.map(|(event, delivery)| (event, delivery.id, delivery.attempts + 1)).collect();
        due.sort();
        due
    }

    /// The expected response to these events.
    fn expects(&self, token: TokenId, events: &[NewEvent], key: Option<(u8, u8)>, now: i64) -> Expected {
        if let Some((key, body)) = key
            && let Some((known, answer, expires)) = self.keys.get(&(token, key))
            && *expires > now
        {
            return if *known == body { Expected::Again(answer.clone()) } else { Expected::KeyReused };
        }
        let mut taken = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let Some(id) = event.id else { continue };
            let first = events[..index].iter().position(|earlier| earlier.id == Some(id));
            let fits = match (first, self.events.get(&id)) {
                (Some(first), _) => events[first].digest == event.digest && !taken.contains(&first),
                (None, Some(known)) => known.token == token && known.digest == event.digest && !known.derived,
                (None, None) => true,
            };
            if !fits {
                taken.push(index);
            }
        }
        if taken.is_empty() { Expected::Accepted } else { Expected::IdTaken(taken) }
    }
}

#[derive(Debug)]
enum Expected {
    Accepted,
    Again(Vec<Accepted>),
    KeyReused,
    IdTaken(Vec<usize>),
}

/// A queue entry as a lane holds it.
#[derive(Debug)]
struct Entry {
    waiting: Vec<DueItem>,
    left: usize,
    whole: bool,
}

struct World<S> {
    place: S,
    runtime: tokio::runtime::Runtime,
    opened: Option<Opened>,
    /// The current state.
    model: Model,
    /// The state on the disk.
    durable: Model,
    /// The time of the first outcome that is not on the disk.
    since: Option<i64>,
    /// The queue entries in a scheduler's memory.
    entries: BTreeMap<DueKey, Entry>,
    complete: BTreeSet<WebhookId>,
    claimed: Vec<(DueKey, DueItem)>,
    /// The ids that events are posted with; one whose event was removed is replaced.
    ids: Vec<EventId>,
    now: i64,
}

fn hook_config(kind: u8) -> WebhookConfig {
    let event_types = match kind {
        0 | 1 => Subscription::All,
        2 => Subscription::Only(vec![EventType::PhaseChanged]),
        _ => Subscription::Only(vec![EventType::FindingAdded, EventType::CriticalFinding]),
    };
    let filter = Filter { min_severity: (kind == 1).then_some(Severity::High), engagement_ids: None, expression: None };
    let critical_once = kind % 2 == 1;
    WebhookConfig { event_types, filter, critical_once, retry_count: kind.into(), headers: Vec::new(), ..config() }
}

impl Hook {
    /// True if an event of this type makes a delivery, before `critical_once` is looked at.
    fn takes(&self, event_type: EventType, event: &NewEvent) -> bool {
        let Filter { min_severity, engagement_ids, .. } = &self.config.filter;
        let engagement = event.engagement_id.as_ref();
        self.activity != Activity::Off
            && self.config.event_types.wants(event_type)
            && event.severity.is_none_or(|severity| min_severity.is_none_or(|least| severity >= least))
            && engagement_ids.as_ref().is_none_or(|ids| engagement.is_some_and(|id| ids.contains(id)))
    }
}

fn new_event(kind: u8, id: Option<EventId>, digest: u8) -> NewEvent {
    let base = event(id, digest);
    let finding = |severity: Severity, finding_id: &str| NewEvent {
        event_type: EventType::FindingAdded,
        engagement_id: Some("eng-2".into()),
        finding_id: Some(finding_id.into()),
        severity: Some(severity),
        json: format!(
            r#"{{"type":"finding_added","engagement":{{"id":"eng-2","name":"x"}},
                "data":{{"finding":{{"id":"{finding_id}","title":"x","severity":"{}"}}}}}}"#,
            severity.as_str()
        ),
        ..base.clone()
    };
    match kind {
        0 => base,
        1 => NewEvent { engagement_id: None, json: r#"{"type":"phase_changed","data":{"phase":{}}}"#.into(), ..base },
        2 => finding(Severity::Low, "F-1"),
        _ => finding(Severity::Critical, "F-2"),
    }
}

fn token(number: u8) -> TokenId {
    TokenId::from_bytes([number + 1; 16])
}

impl<S: Stepped> World<S> {
    fn new() -> Self {
        let place = S::new();
        let opened = Some(place.open(START_MS));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Self {
            place,
            runtime,
            opened,
            model: Model::default(),
            durable: Model::default(),
            since: None,
            entries: BTreeMap::new(),
            complete: BTreeSet::new(),
            claimed: Vec::new(),
            ids: (0..6).map(|_| EventId::generate()).collect(),
            now: START_MS,
        }
    }

    fn store(&self) -> &Store {
        &self.opened.as_ref().expect("open").store
    }

    fn hook(&self, number: u8) -> Option<WebhookId> {
        let hooks = &self.model.hooks;
        (!hooks.is_empty()).then(|| *hooks.keys().nth(usize::from(number) % hooks.len()).expect("within"))
    }

    fn is_ripe(&self) -> bool {
        self.since.is_some_and(|since| self.now - since >= DELAY_MS)
    }

    /// Everything is on the disk now.
    fn committed(&mut self) {
        self.model.commit();
        self.since = None;
        self.learn_host_events();
        self.durable = self.model.clone();
    }

    /// Adds the host events of the last commits to the model. Nobody subscribed to them: only retention sees them.
    fn learn_host_events(&mut self) {
        let Some(opened) = &self.opened else { return };
        let groups = S::accepted(opened);
        self.add_host_events(&groups);
        let events = &self.model.events;
        let posted = |groups: &[(i64, Vec<EventId>)]| -> Vec<(i64, Vec<EventId>)> {
            let is_posted = |id: &&EventId| events[*id].token != TokenId::from_bytes([0; 16]);
            let all = groups.iter().map(|(at, events)| (*at, events.iter().filter(is_posted).copied().collect()));
            all.filter(|(_, events): &(i64, Vec<EventId>)| !events.is_empty()).collect()
        };
        assert_eq!(posted(&groups), posted(&self.model.groups), "the acceptance index");
        self.model.groups = groups;
    }

    /// Adds the events of the acceptance index that nobody posted.
    fn add_host_events(&mut self, groups: &[(i64, Vec<EventId>)]) {
        for id in groups.iter().flat_map(|(_, events)| events) {
            if self.model.events.contains_key(id) {
                continue;
            }
            let view = self.runtime.block_on(self.store().event(*id)).expect("read").expect("it is in the index");
            assert!(
                view.event.event_type.is_host() && view.deliveries.is_empty(),
                "an event that nobody posted: {view:?}"
            );
            let answer = Accepted { id: *id, deliveries: 0, derived: Vec::new() };
            let Event { event_type, occurred_at, accepted_at, json, .. } = view.event;
            let event = NewEvent {
                id: Some(*id),
                event_type,
                occurred_at: Some(occurred_at),
                engagement_id: None,
                finding_id: None,
                severity: None,
                json,
                digest: [0; 32],
            };
            let kept = Kept {
                token: view.token,
                event,
                at: accepted_at.unix_ms(),
                digest: [0; 32],
                derived: false,
                answer,
                deliveries: Vec::new(),
            };
            self.model.events.insert(*id, kept);
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Create { kind } => {
                let config = hook_config(*kind);
                let made = self.runtime.block_on(self.store().create_webhook(config.clone(), true, Actor::Host));
                let (activity, health) = (Activity::On, HealthValues::default());
                let hook = Hook { activity, activation: 0, config, health, history: Vec::new(), young: Vec::new() };
                self.model.hooks.insert(made.expect("created").id, hook);
                self.committed();
            }
            Action::Update { webhook, kind } => self.update(*webhook, Some(*kind), None),
            Action::Switch { webhook, on } => self.update(*webhook, None, Some(*on)),
            Action::Delete { webhook } => {
                let Some(id) = self.hook(*webhook) else { return };
                let deleted = self.runtime.block_on(self.store().delete_webhook(id, Actor::Host));
                assert!(deleted.expect("deleted"));
                self.model.hooks.remove(&id);
                self.entries.retain(|key, _| key.webhook != id);
                self.claimed.retain(|(key, _)| key.webhook != id);
                self.committed();
            }
            Action::Post { events, token: by, key } => self.post(events, token(*by), *key),
            Action::Finish { claim, end } => self.finish(*claim, *end),
            Action::Recover { webhook } => self.recover(*webhook),
            Action::Redeliver { delivery } => self.redeliver(*delivery),
            Action::Advance { ms } => {
                self.now += ms;
                self.opened.as_ref().expect("open").clock.0.store(self.now, Ordering::Relaxed);
            }
            Action::Tick => {
                S::tick(self.opened.as_ref().expect("open"));
                self.committed();
            }
            Action::Checkpoint => S::checkpoint(self.opened.as_ref().expect("open")),
            Action::Sweep { age_s, max_events, max_history } => self.sweep(*age_s, *max_events, *max_history),
            Action::Reopen => self.reopen(false, None),
            Action::Crash => self.reopen(true, None),
            Action::Transform { number } => self.reopen(*number % 2 == 0, Some(*number / 2)),
            Action::Search { kind, limit } => {
                self.search_attempts(*kind, (*limit).into());
                self.search_events(*kind, (*limit).into());
            }
        }
        self.hear();
    }

    fn update(&mut self, number: u8, kind: Option<u8>, switch: Option<bool>) {
        let Some(id) = self.hook(number) else { return };
        let revision = self.store().webhooks().get(id).expect("kept").revision;
        let config = kind.map_or_else(|| self.model.hooks[&id].config.clone(), hook_config);
        let updated = self.store().update_webhook(id, revision, config.clone(), switch, Actor::Host);
        let updated = self.runtime.block_on(updated).expect("written");
        assert!(matches!(updated, Updated::Done(_)), "{updated:?}");
        let hook = self.model.hooks.get_mut(&id).expect("known");
        hook.config = config;
        match switch {
            Some(true) => {
                hook.activation += u32::from(hook.activity != Activity::On);
                hook.activity = Activity::On;
                hook.health.failure_count = 0;
            }
            Some(false) => hook.activity = Activity::Off,
            None => {}
        }
        self.committed();
    }

    fn post(&mut self, events: &[(u8, Option<u8>, u8)], token: TokenId, key: Option<(u8, u8)>) {
        let new: Vec<_> = events
            .iter()
            .map(|(kind, id, digest)| new_event(*kind, id.map(|id| self.ids[usize::from(id)]), *digest * 4 + *kind))
            .collect();
        let idempotency = key.map(|(key, body)| Idempotency { key: key.to_string(), body_digest: [body; 32] });
        let expected = self.model.expects(token, &new, key, self.now);
        let acceptance = Acceptance { token, idempotency, events: new.clone(), verdicts: Vec::new() };
        let answer = self.runtime.block_on(self.store().accept(acceptance));
        match (expected, answer) {
            (Expected::Again(known), Ok(answer)) => {
                assert_eq!(answer, known);
                self.committed();
            }
            (Expected::Accepted, Ok(answer)) => {
                assert_eq!(answer.len(), new.len());
                self.add(&new, token, &answer);
                if let Some((key, body)) = key {
                    let expires = self.now + 1000 * i64::try_from(IDEMPOTENCY_S).expect("small");
                    self.model.keys.insert((token, key), (body, answer, expires));
                }
                self.committed();
            }
            (Expected::KeyReused, Err(AcceptError::KeyReused)) => self.rejected(),
            (Expected::IdTaken(taken), Err(AcceptError::IdTaken { indexes })) => {
                assert_eq!(indexes, taken);
                self.rejected();
            }
            (expected, answer) => panic!("expected {expected:?}, answered {answer:?}"),
        }
    }

    /// A request that changed nothing lets outcomes be written whose wait is over.
    fn rejected(&mut self) {
        if self.is_ripe() {
            self.committed();
        }
    }

    /// Adds accepted events to the model, and checks the fan-out.
    fn add(&mut self, new: &[NewEvent], token: TokenId, answers: &[Accepted]) {
        let mut group = Vec::new();
        for (event, answer) in new.iter().zip(answers) {
            if let Some(known) = self.model.events.get(&answer.id) {
                assert_eq!(*answer, known.answer);
                continue;
            }
            if let Some(id) = event.id {
                assert_eq!(answer.id, id);
            }
            let critical = event.severity == Some(Severity::Critical);
            assert_eq!(answer.derived.len(), usize::from(critical));
            let mut made = 0;
            let derived = answer.derived.iter().map(|id| (*id, EventType::CriticalFinding, true));
            for (id, event_type, derived) in std::iter::once((answer.id, event.event_type, false)).chain(derived) {
                let takers: Vec<WebhookId> = self
                    .model
                    .hooks
                    .iter()
                    .filter(|(_, hook)| {
                        let goes_derived = critical
                            && !derived
                            && hook.config.critical_once
                            && hook.takes(EventType::CriticalFinding, event);
                        hook.takes(event_type, event) && !goes_derived
                    })
                    .map(|(id, _)| *id)
                    .collect();
                let view = self.runtime.block_on(self.store().event(id)).expect("read").expect("kept");
                assert_eq!(view.deliveries.iter().map(|one| one.webhook_id).collect::<Vec<_>>(), takers);
                let deliveries: Vec<_> = view
                    .deliveries
                    .iter()
                    .map(|view| Delivery {
                        id: view.id,
                        webhook: view.webhook_id,
                        progress: Progress::Waiting,
                        attempts: 0,
                        activation: self.model.hooks[&view.webhook_id].activation,
                    })
                    .collect();
                made += deliveries.len();
                let own = u32::try_from(deliveries.len()).expect("few");
                let answer =
                    if derived { Accepted { id, deliveries: own, derived: Vec::new() } } else { answer.clone() };
                let (digest, at) = (event.digest, self.now);
                let event = NewEvent { event_type, ..event.clone() };
                self.model.events.insert(id, Kept { token, event, at, digest, derived, answer, deliveries });
                group.push(id);
            }
            assert_eq!(answer.deliveries as usize, made);
        }
        if !group.is_empty() {
            self.model.groups.push((self.now, group));
        }
    }

    /// An attempt ends; its outcome is recorded as a scheduler does.
    fn finish(&mut self, claim: u8, end: u8) {
        self.claim(claim);
        if self.claimed.is_empty() {
            return;
        }
        let (key, item) = self.claimed.remove(usize::from(claim) % self.claimed.len());
        let closes = self.entries.get_mut(&key).and_then(|entry| {
            entry.left -= 1;
            (entry.left == 0 && entry.whole).then_some(key)
        });
        self.entries.retain(|_, entry| entry.left > 0 || !entry.waiting.is_empty());
        let hook = self.model.hooks.get_mut(&key.webhook).expect("claims go with their webhook");
        let again = |counts, wait_ms| Step::Again { after: Duration::from_millis(wait_ms), counts };
        let gone = !self.model.events.contains_key(&item.event);
        let step = match end % 12 {
            _ if gone => Step::Dropped,
            0..=4 => Step::Delivered,
            5 | 6 => again(true, 2_000),
            7 => again(true, 0),
            8 => again(false, 0),
            9 => Step::Failed { deactivate: (end > 240).then(|| "gone".into()) },
            10 if end % 24 == 10 => Step::Unrendered,
            10 => Step::Failed { deactivate: None },
            _ => Step::Skipped,
        };
        let tried = !matches!(step, Step::Skipped | Step::Dropped);
        let success = step == Step::Delivered;
        let retried = matches!(step, Step::Again { .. });
        let attempt =
            tried.then(|| Attempt { created_at: Timestamp::from_unix_ms(self.now), ..attempt(&item, success) });
        if tried {
            let (delivery, attempt) = (item.delivery, item.attempt);
            let (number, last) = (self.model.tried, !retried && !success);
            hook.young.push(Tried { number, event: item.event, delivery, attempt, success, last, at: self.now });
            self.model.tried += 1;
        }
        let now = Timestamp::from_unix_ms(self.now);
        let (health, off) = breaker::after(hook.health, &step, None, now, BREAKER);
        hook.health = health;
        if off.is_some() && hook.activity == Activity::On {
            hook.activity = Activity::Tripped;
        }
        let activation = hook.activation;
        if let Some(delivery) = self.model.delivery(item.event, item.slot) {
            match step {
                Step::Delivered => (delivery.progress, delivery.attempts) = (Progress::Delivered, item.attempt),
                Step::Failed { .. } | Step::Unrendered => {
                    (delivery.progress, delivery.attempts) = (Progress::Failed, item.attempt);
                }
                Step::Again { counts, .. } => {
                    delivery.attempts = item.attempt - u32::from(!counts);
                    delivery.activation = activation;
                }
                Step::Skipped => delivery.progress = Progress::Skipped,
                Step::Dropped => {}
            }
        }
        self.since.get_or_insert(self.now);
        let outcome = Outcome::new(key.webhook, item, attempt, step, closes);
        self.store().record(vec![outcome]);
        if self.is_ripe() {
            self.committed();
        }
    }

    /// Claims one more delivery, if one waits that is not under way.
    fn claim(&mut self, number: u8) {
        let hooks = &self.model.hooks;
        let active = |key: &DueKey| {
            hooks
                .get(&key.webhook)
                .is_some_and(|hook| hook.activity == Activity::On && hook.activation == key.activation)
        };
        let claimed: BTreeSet<_> = self.claimed.iter().map(|(_, item)| item.delivery).collect();
        let free: Vec<(DueKey, usize)> = self
            .entries
            .iter()
            .filter(|(key, _)| active(key))
            .flat_map(|(key, entry)| entry.waiting.iter().enumerate().map(move |(place, item)| (key, place, item)))
            .filter(|(_, _, item)| !claimed.contains(&item.delivery))
            .map(|(key, place, _)| (*key, place))
            .collect();
        if free.is_empty() {
            return;
        }
        let (key, place) = free[usize::from(number) % free.len()];
        let item = self.entries.get_mut(&key).expect("there").waiting.remove(place);
        self.claimed.push((key, item));
    }

    /// Recovers the dead-letter queue of a webhook. Not while attempts are under way: the scheduler decides which counts then.
    fn recover(&mut self, number: u8) {
        let Some(id) = self.hook(number) else { return };
        if self.claimed.iter().any(|(key, _)| key.webhook == id) {
            return;
        }
        let mut cursor = Cursor::Start;
        let mut queued = 0;
        while cursor != Cursor::Done {
            let page = self.store().recover(id, Timestamp::from_unix_ms(0), cursor, Actor::Host);
            let page = self.runtime.block_on(page).expect("written").expect("known");
            queued += page.deliveries;
            cursor = page.next;
        }
        self.model.commit();
        let hook = &self.model.hooks[&id];
        let target = hook.activation + u32::from(hook.activity != Activity::On);
        let failed: BTreeSet<DeliveryId> =
            hook.history.iter().flatten().filter(|tried| tried.last).map(|tried| tried.delivery).collect();
        let mut expected = 0;
        for delivery in self.model.events.values_mut().flat_map(|event| &mut event.deliveries) {
            let held = delivery.progress == Progress::Waiting && delivery.activation < target;
            let failed = delivery.progress == Progress::Failed && failed.contains(&delivery.id);
            if delivery.webhook == id && (held || failed) {
                (delivery.progress, delivery.activation) = (Progress::Waiting, target);
                expected += 1;
            }
        }
        assert_eq!(queued, expected, "recovered");
        self.committed();
    }

    fn redeliver(&mut self, number: u8) {
        let events = self.model.events.iter();
        let all =
            events.flat_map(|(id, event)| event.deliveries.iter().map(|delivery| (*id, delivery.webhook, delivery.id)));
        let all: Vec<_> = all.filter(|(_, webhook, _)| self.model.hooks.contains_key(webhook)).collect();
        if all.is_empty() {
            return;
        }
        let (event, webhook, delivery) = all[usize::from(number) % all.len()];
        let made = self.runtime.block_on(self.store().redeliver(webhook, delivery, Actor::Host)).expect("written");
        let hook = &self.model.hooks[&webhook];
        let activation = hook.activation + u32::from(hook.activity != Activity::On);
        let Some(made) = made else {
            // Ids are made by the machine's clock, which the test's is not: only the history knows the way back.
            let known = self.durable.hooks[&webhook].history.iter().flatten().any(|tried| tried.delivery == delivery);
            assert!(!known, "a delivery that was tried is found");
            return;
        };
        let id = made.id;
        let delivery = Delivery { id, webhook, progress: Progress::Waiting, attempts: 0, activation };
        self.model.events.get_mut(&event).expect("known").deliveries.push(delivery);
        self.committed();
    }

    fn sweep(&mut self, age_s: u64, max_events: u64, max_history: u64) {
        let audit = Duration::from_secs(1_000_000_000);
        let retention = Retention { age: Duration::from_secs(age_s), audit, max_events, max_history };
        assert!(!self.runtime.block_on(self.store().sweep(retention)).expect("swept"), "a small store in one page");
        // What was told of the failures before it counts for its limit as well.
        let groups = S::accepted(self.opened.as_ref().expect("open"));
        self.add_host_events(&groups);
        let model = &mut self.model;
        model.commit();
        let cutoff = self.now - 1000 * i64::try_from(age_s).expect("small");
        let mut removed: Vec<EventId> = Vec::new();
        model.groups.retain(|(at, events)| {
            let old = *at < cutoff;
            removed.extend(events.iter().filter(|_| old));
            !old
        });
        let left = (model.events.len() - removed.len()) as u64;
        let mut surplus = left.saturating_sub(max_events);
        for (_, events) in &mut model.groups {
            events.retain(|event| {
                let deliveries = &model.events[event].deliveries;
                let settled = deliveries.iter().all(|delivery| delivery.progress != Progress::Waiting);
                let goes = surplus > 0 && settled;
                surplus -= u64::from(goes);
                removed.extend(goes.then_some(*event));
                !goes
            });
        }
        for event in removed {
            model.events.remove(&event);
            self.ids.iter_mut().filter(|id| **id == event).for_each(|id| *id = EventId::generate());
        }
        for hook in model.hooks.values_mut() {
            let mut left: u64 = hook.history.iter().map(|chunk| chunk.len() as u64).sum();
            while let Some(first) = hook.history.first()
                && (first.last().is_none_or(|tried| tried.at < cutoff) || left > max_history)
            {
                left -= first.len() as u64;
                hook.history.remove(0);
            }
        }
        self.committed();
    }

    /// Handles the store's changes as a scheduler does.
    fn hear(&mut self) {
        let changes: Vec<Change> = {
            let changes = self.opened.as_ref().expect("open").changes.lock().expect("not poisoned");
            changes.try_iter().collect()
        };
        for change in changes {
            match change {
                Change::Due(entries) => entries.into_iter().for_each(|entry| self.queued(entry)),
                Change::Webhook(id) => self.look_again(id),
                // With the host events that are due go the outcomes that are not yet.
                Change::Recorded(_) => self.committed(),
                Change::Loaded { .. } | Change::Candidate { .. } | Change::Probed(_) | Change::Collected { .. } => {}
            }
        }
    }

    fn queued(&mut self, entry: DueEntry) {
        let id = entry.key.webhook;
        let current = self.model.hooks.get(&id).is_some_and(|hook| hook.activation == entry.key.activation);
        if current && self.complete.contains(&id) && !self.entries.contains_key(&entry.key) {
            let waiting: Vec<_> = entry.items.into_iter().map(|(item, _)| item).collect();
            let left = waiting.len();
            self.entries.insert(entry.key, Entry { waiting, left, whole: true });
        }
    }

    fn look_again(&mut self, id: WebhookId) {
        let Some(hook) = self.model.hooks.get(&id) else { return };
        let (active, activation) = (hook.activity == Activity::On, hook.activation);
        let stale = self.entries.keys().any(|key| key.webhook == id && key.activation != activation);
        if !active || stale {
            for (_, entry) in self.entries.iter_mut().filter(|(key, _)| key.webhook == id) {
                entry.left -= entry.waiting.len();
                entry.whole = entry.whole && entry.waiting.is_empty();
                entry.waiting.clear();
            }
            self.entries.retain(|_, entry| entry.left > 0);
            self.complete.remove(&id);
        }
        if active && !self.complete.contains(&id) {
            self.load(id, activation);
        }
    }

    /// Loads a webhook's whole queue in small pages; it must have the model's pending deliveries.
    fn load(&mut self, id: WebhookId, activation: u32) {
        let mut after = None;
        let mut found = Vec::new();
        loop {
            self.store().load_due(id, activation, after, 3);
            if self.is_ripe() {
                self.committed();
            }
            let loaded = {
                let changes = self.opened.as_ref().expect("open").changes.lock().expect("not poisoned");
                let (mut loaded, mut is_recorded) = (None, false);
                for change in changes.try_iter() {
                    match change {
                        Change::Loaded { entries, complete, .. } => loaded = Some((entries, complete)),
                        Change::Recorded(_) => is_recorded = true,
                        _ => {}
                    }
                }
                (loaded, is_recorded)
            };
            let (loaded, is_recorded) = loaded;
            if is_recorded {
                self.committed();
            }
            let (entries, complete) = loaded.expect("an answer to the load");
            after = entries.last().map(|entry| entry.key).or(after);
            for entry in entries {
                let waiting: Vec<_> = entry.items.into_iter().map(|(item, _)| item).collect();
                found.extend(waiting.iter().map(|item| (item.event, item.delivery, item.attempt)));
                if !waiting.is_empty() && !self.entries.contains_key(&entry.key) {
                    let left = waiting.len();
                    self.entries.insert(entry.key, Entry { waiting, left, whole: true });
                }
            }
            if complete {
                break;
            }
        }
        self.complete.insert(id);
        found.sort();
        assert_eq!(found, self.model.waiting(id), "the queue of {id} yields each pending delivery once");
    }

    /// The process ends, orderly or not, and another begins.
    fn reopen(&mut self, crash: bool, transform: Option<u8>) {
        let opened = self.opened.take().expect("open");
        if crash {
            S::crash(&opened);
            self.model = self.durable.clone();
        } else {
            opened.store.close();
            self.committed();
        }
        self.since = None;
        drop(opened);
        if let Some(number) = transform {
            self.place.transform(number, self.now);
        }
        self.opened = Some(self.place.open(self.now));
        while self.runtime.block_on(self.store().index_more()).expect("indexed").is_some() {}
        self.learn_host_events();
        self.durable = self.model.clone();
        self.entries.clear();
        self.claimed.clear();
        self.complete.clear();
        self.compare();
        let active = self.model.hooks.iter().filter(|(_, hook)| hook.activity == Activity::On);
        let active: Vec<_> = active.map(|(id, hook)| (*id, hook.activation)).collect();
        for (id, activation) in active {
            self.load(id, activation);
        }
    }

    /// Readers see what the model has.
    fn compare(&self) {
        let store = self.store();
        assert_eq!(store.damaged_records(), 0);
        let table = store.webhooks();
        let known: BTreeSet<_> = table.iter().map(|webhook| webhook.id).collect();
        assert_eq!(known, self.model.hooks.keys().copied().collect());
        for (id, hook) in &self.model.hooks {
            let webhook = table.get(*id).expect("known");
            assert_eq!(webhook.activation, hook.activation);
            let activity = match webhook.activity {
                crate::model::webhook::Activity::Active => Activity::On,
                crate::model::webhook::Activity::OffByAdmin => Activity::Off,
                crate::model::webhook::Activity::Tripped { .. } => Activity::Tripped,
            };
            assert_eq!(activity, hook.activity);
            assert_eq!(webhook.health.values(), hook.health);
            let query = AttemptQuery { limit: 10_000, before: None, success: None, event_type: None };
            let page = self.runtime.block_on(store.attempts(*id, query)).expect("a page");
            let found: Vec<_> = page.attempts.iter().map(|one| (one.delivery_id, one.attempt, one.success)).collect();
            let tried = hook.history.iter().flatten().rev();
            let expected: Vec<_> = tried.map(|one| (one.delivery, one.attempt, one.success)).collect();
            assert_eq!(found, expected, "the history of {id}");
        }
        for (id, event) in &self.model.events {
            let view = self.runtime.block_on(store.event(*id)).expect("read").expect("an acknowledged event");
            assert_eq!((view.token, view.event.caused_by.is_some()), (event.token, event.derived));
            let found: Vec<_> = view.deliveries.iter().map(|one| (one.id, one.status, one.attempts)).collect();
            let expected: Vec<_> =
                event.deliveries.iter().map(|one| (one.id, self.status(one), one.attempts)).collect();
            assert_eq!(found, expected, "the deliveries of {id}");
        }
        self.compare_backlogs();
        for kind in 0..8 {
            self.search_attempts(kind, 3);
            self.search_events(kind, 3);
        }
    }

    /// Pages through the attempts that fit, back in time and forward again. Not what waits for a commit: nobody sees it.
    fn search_attempts(&self, kind: u8, limit: usize) {
        let all = self.model.hooks.iter();
        let all = all.flat_map(|(id, hook)| hook.history.iter().flatten().map(move |tried| (*id, *tried)));
        let mut search = AttemptSearch::all(limit);
        let webhook = self.hook(kind);
        let event = self.model.events.keys().nth(usize::from(kind) % self.model.events.len().max(1)).copied();
        match kind % 8 {
            0 => {}
            1 => search.success = Some(false),
            2 => search.webhook = webhook,
            3 => search.event = event,
            4 => search.engagement_id = Some("eng-2".into()),
            5 => search.finding_id = Some("F-2".into()),
            6 => (search.webhook, search.success) = (webhook, Some(true)),
            _ => search.since = Some(Timestamp::from_unix_ms(self.now - 1_000_000)),
        }
        let about = |event: EventId| self.model.events.get(&event).map(|kept| &kept.event);
        let fits = |(id, tried): &(WebhookId, Tried)| {
            let is = |wanted: &Option<String>, of: fn(&NewEvent) -> &Option<String>| {
                wanted.is_none() || about(tried.event).is_none_or(|event| of(event) == wanted)
            };
            search.success.is_none_or(|success| success == tried.success)
                && search.webhook.is_none_or(|webhook| webhook == *id)
                && search.event.is_none_or(|event| event == tried.event)
                && search.since.is_none_or(|since| tried.at >= since.unix_ms())
                && is(&search.engagement_id, |event| &event.engagement_id)
                && is(&search.finding_id, |event| &event.finding_id)
        };
        let all: Vec<(WebhookId, Tried)> = all.collect();
        let is_gone = |(_, tried): &&(WebhookId, Tried)| !self.model.events.contains_key(&tried.event);
        let gone: BTreeSet<DeliveryId> = all.iter().filter(is_gone).map(|(_, tried)| tried.delivery).collect();
        let mut expected: Vec<_> = all.iter().filter(|one| fits(one)).copied().collect();
        expected.sort_by_key(|(_, tried)| std::cmp::Reverse(tried.number));
        // An event that is gone is taken at its hash; the model knows no more of it.
        let by_text = search.engagement_id.is_some() || search.finding_id.is_some();
        let names = |found: &[(WebhookId, DeliveryId, u32)]| -> Vec<_> {
            found.iter().filter(|(_, delivery, _)| !by_text || !gone.contains(delivery)).copied().collect()
        };
        let expected_names: Vec<_> = expected.iter().map(|(id, tried)| (*id, tried.delivery, tried.attempt)).collect();
        let mut found = Vec::new();
        let mut oldest = None;
        loop {
            let page = self.runtime.block_on(self.store().search_attempts(search.clone())).expect("a page");
            assert!(page.found.len() <= limit && (!page.more || page.found.len() == limit));
            found.extend(page.found.iter().map(|one| (one.webhook, one.attempt.delivery_id, one.attempt.attempt)));
            let Some(last) = page.found.last().map(|last| last.attempt.id) else { break };
            search.start = Start::Before(last);
            oldest = Some(last);
            if !page.more {
                break;
            }
        }
        assert_eq!(names(&found), names(&expected_names), "attempts by {search:?}");
        let Some(oldest) = oldest else { return };
        let mut forward = Vec::new();
        search.start = Start::After(oldest);
        loop {
            let page = self.runtime.block_on(self.store().search_attempts(search.clone())).expect("a page");
            forward.extend(page.found.iter().map(|one| (one.webhook, one.attempt.delivery_id, one.attempt.attempt)));
            let Some(last) = page.found.last().map(|last| last.attempt.id) else { break };
            search.start = Start::After(last);
        }
        forward.reverse();
        found.pop();
        assert_eq!(forward, found, "attempts forward by {search:?}");
    }

    /// Pages through the events that fit.
    fn search_events(&self, kind: u8, limit: usize) {
        let mut search = EventSearch::all(limit);
        match kind % 8 {
            0 | 1 => {}
            2 => search.event_type = Some(EventType::CriticalFinding),
            3 => search.min_severity = Some(Severity::Critical),
            4 => search.engagement_id = Some("eng-1".into()),
            5 => search.finding_id = Some("F-1".into()),
            6 => search.until = Some(Timestamp::from_unix_ms(self.now - 1_000_000)),
            _ => search.since = Some(Timestamp::from_unix_ms(self.now - 1_000_000)),
        }
        let fits = |id: &EventId| {
            let Kept { event, at, .. } = &self.model.events[id];
            search.event_type.is_none_or(|event_type| event_type == event.event_type)
                && search.min_severity.is_none_or(|least| event.severity.is_some_and(|severity| severity >= least))
                && (search.engagement_id.is_none() || search.engagement_id == event.engagement_id)
                && (search.finding_id.is_none() || search.finding_id == event.finding_id)
                && search.until.is_none_or(|until| *at <= until.unix_ms())
                && search.since.is_none_or(|since| *at >= since.unix_ms())
        };
        let newest_first = self.model.groups.iter().rev().flat_map(|(_, events)| events.iter().rev().copied());
        let expected: Vec<EventId> = newest_first.filter(fits).collect();
        let mut found = Vec::new();
        loop {
            let page = self.runtime.block_on(self.store().search_events(search.clone())).expect("a page");
            found.extend(page.found.iter().map(|view| view.event.id));
            search.before = page.found.last().map(|view| view.event.id);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, expected, "events by {search:?}");
    }

    /// What waits for each webhook is what its deliveries say.
    fn compare_backlogs(&self) {
        for (id, hook) in &self.model.hooks {
            let events = self.model.events.values();
            let own = events.flat_map(|event| event.deliveries.iter().map(move |delivery| (event.at, delivery)));
            let own: Vec<_> =
                own.filter(|(_, delivery)| delivery.webhook == *id && delivery.progress == Progress::Waiting).collect();
            let pending = |delivery: &Delivery| self.status(delivery) == Status::Pending;
            let waiting = own.iter().filter(|(_, delivery)| pending(delivery)).count() as u64;
            let oldest = own.iter().map(|(at, _)| Timestamp::from_unix_ms(*at)).min();
            let webhook = self.store().webhooks().get(*id).expect("known").clone();
            let backlog = self.store().backlog(&webhook);
            let held = own.len() as u64 - waiting;
            assert_eq!((backlog.waiting, backlog.held), (waiting, held), "what waits for {id}, {hook:?}");
            assert_eq!(backlog.oldest_waiting_at, oldest, "since when it waits for {id}");
        }
    }

    fn status(&self, delivery: &Delivery) -> Status {
        match (delivery.progress, self.model.hooks.get(&delivery.webhook)) {
            (Progress::Delivered, _) => Status::Delivered,
            (Progress::Failed, _) => Status::Failed,
            (Progress::Skipped, _) => Status::Skipped,
            (Progress::Waiting, None) => Status::Cancelled,
            (Progress::Waiting, Some(hook))
                if hook.activity == Activity::On && hook.activation == delivery.activation =>
            {
                Status::Pending
            }
            (Progress::Waiting, Some(_)) => Status::Held,
        }
    }
}

/// Carries out the actions on an engine and on the model, and compares both after every opening.
pub(crate) fn run<S: Stepped>(actions: &[Action]) {
    let mut world = World::<S>::new();
    for action in actions {
        world.act(action);
    }
    world.reopen(true, None);
    world.reopen(false, Some(1));
}

fn post(key: Option<(u8, u8)>) -> Action {
    Action::Post { events: vec![(0, None, 0)], token: 0, key }
}

pub(crate) fn what_failed_in_two_rounds_is_recovered_with_the_number_of_the_second<S: Stepped>() {
    let (fails, recover) = (Action::Finish { claim: 0, end: 9 }, Action::Recover { webhook: 0 });
    run::<S>(&[Action::Create { kind: 0 }, post(None), fails.clone(), recover.clone(), fails, recover]);
}

pub(crate) fn a_key_that_is_used_again_after_its_expiry_is_kept_from_then_on<S: Stepped>() {
    let key = Some((0, 0));
    let sweep = Action::Sweep { age_s: 1_000_000, max_events: u64::MAX, max_history: u64::MAX };
    run::<S>(&[post(key), Action::Advance { ms: 4_000_000 }, post(key), sweep, post(key)]);
}

pub(crate) fn a_host_event_counts_for_the_limit_of_the_sweep_that_writes_it<S: Stepped>() {
    let three = Action::Post { events: vec![(0, None, 0); 3], token: 0, key: None };
    let (delivered, failed) = (Action::Finish { claim: 0, end: 0 }, Action::Finish { claim: 0, end: 9 });
    let sweep = Action::Sweep { age_s: 1_000_000, max_events: 3, max_history: u64::MAX };
    run::<S>(&[Action::Create { kind: 0 }, three, delivered, failed, sweep]);
}
