//! Outages on the virtual clock: destinations that are away for minutes, hours and a day, the probes that find them well
//! again, and what the host tells of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use super::simulation::{
    BEGIN, DAY, End, HOUR, Life, MINUTE, Mood, SECOND, Shared, World, config, event, live, lock, sleep_to,
};
use crate::model::delivery::Status;
use crate::model::event::EventType;
use crate::model::id::{DeliveryId, WebhookId};
use crate::model::probe;
use crate::model::settings::{DeliverySettings, RetryPolicy};
use crate::model::webhook::{Activity, Subscription, WebhookConfig};
use crate::store::conformance::folder_in_memory;

const THRESHOLD: u32 = 5;

/// One attempt at a time, so that the order in which deliveries begin is that of the queue.
fn settings() -> DeliverySettings {
    let retry = RetryPolicy { base: Duration::from_secs(2), ..RetryPolicy::default() };
    DeliverySettings { retry, webhook_concurrency: 1, breaker_threshold: THRESHOLD, ..DeliverySettings::default() }
}

fn world(settings: DeliverySettings) -> Shared {
    fastrand::seed(7);
    Arc::new(Mutex::new(World::new(7, settings)))
}

fn webhook(types: &[EventType], retry_count: u32) -> WebhookConfig {
    WebhookConfig {
        event_types: Subscription::Only(types.to_vec()),
        retry_count,
        timeout_ms: 5000,
        ..config(&mut Rng::with_seed(1))
    }
}

fn host_events() -> Vec<EventType> {
    EventType::ALL.iter().copied().filter(|event_type| event_type.is_host()).collect()
}

fn longest_probe_wait() -> i64 {
    i64::try_from(probe::longest_wait().as_millis()).expect("minutes")
}

fn is_active(life: &Life, id: WebhookId) -> bool {
    life.store.webhooks().get(id).expect("there").activity.is_active()
}

/// A webhook that its first failures have switched off.
async fn tripped(life: &Life, world: &Shared) -> WebhookId {
    let hook = life.create_with(webhook(&[EventType::FindingAdded], 0), Mood::Failing).await;
    for _ in 0..THRESHOLD {
        life.post(vec![event(EventType::FindingAdded)]).await;
        sleep_to(world, SECOND, 1).await;
    }
    hook
}

/// The deliveries to a webhook that its destination accepted, in that order.
fn delivered(world: &Shared, id: WebhookId) -> Vec<DeliveryId> {
    lock(world).delivered.iter().filter(|(_, to, _, _)| *to == id).map(|(_, _, delivery, _)| *delivery).collect()
}

/// The types of the events that a webhook got.
fn types(world: &Shared, id: WebhookId) -> Vec<EventType> {
    lock(world).delivered.iter().filter(|(_, to, _, _)| *to == id).map(|(_, _, _, event)| event.event_type).collect()
}

/// The deliveries of the posted events, in order of acceptance.
fn posted(world: &Shared) -> Vec<DeliveryId> {
    let world = lock(world);
    let mut all: Vec<_> = world.events.values().flatten().map(|id| (world.accepted_at(*id), *id)).collect();
    all.sort_unstable();
    all.into_iter().map(|(_, id)| id).collect()
}

/// A destination is away for so long, with an event each `every` milliseconds. The host is restarted, or killed, as often
/// as `ends` says. Everything arrives, each once, in order of acceptance; and another webhook hears of it.
fn outage(away: i64, every: i64, ends: &[End]) {
    let world = world(settings());
    let folder = folder_in_memory();
    let mut wall = BEGIN;
    let mut ids = None;
    let stretch = away / i64::try_from(ends.len() + 1).expect("few");
    for part in 0..=ends.len() {
        let end = ends.get(part).copied().unwrap_or(End::Judgement);
        let (_, stopped) = live(&world, folder.path(), wall, async |life| {
            let (hook, _) = match ids {
                Some(ids) => ids,
                None => {
                    let hook = life.create_with(webhook(&[EventType::FindingAdded], 1), Mood::Healthy).await;
                    let ops = life.create_with(webhook(&host_events(), 3), Mood::Healthy).await;
                    life.post(vec![event(EventType::FindingAdded)]).await;
                    sleep_to(&world, SECOND, 1).await;
                    lock(&world).hook(hook).mood = Mood::Failing;
                    *ids.insert((hook, ops))
                }
            };
            for _ in 0..stretch / every {
                life.post(vec![event(EventType::FindingAdded)]).await;
                sleep_to(&world, every, 1).await;
            }
            if end != End::Judgement {
                return end;
            }
            assert!(!is_active(life, hook), "the breaker has switched it off");
            lock(&world).hook(hook).mood = Mood::Healthy;
            sleep_to(&world, longest_probe_wait() + 5 * SECOND, 1).await;
            assert!(is_active(life, hook), "on again within one probe interval");
            sleep_to(&world, MINUTE, 1).await;
            for id in posted(&world) {
                assert_eq!(lock(&world).status_of(id), Some(Status::Delivered), "{id}");
            }
            End::Judgement
        });
        wall = stopped + SECOND;
        lock(&world).passed += SECOND;
    }
    let (hook, ops) = ids.expect("made");
    let (arrived, posted) = (delivered(&world, hook), posted(&world));
    // The probe goes first: it is the oldest of those that failed, or, after some probes, one of the others.
    let probe = arrived[1];
    let rest: Vec<_> = arrived.iter().copied().filter(|id| *id != probe).collect();
    let expected: Vec<_> = posted.iter().copied().filter(|id| *id != probe).collect();
    assert_eq!(rest, expected, "in order of acceptance, each once");
    assert_eq!(arrived.len(), posted.len());
    let told = types(&world, ops);
    for wanted in [EventType::WebhookFailing, EventType::WebhookDisabled, EventType::WebhookRecovered] {
        assert_eq!(told.iter().filter(|found| **found == wanted).count(), 1, "{wanted:?} of {told:?}");
    }
    assert!(told.contains(&EventType::DeliveryFailed), "{told:?}");
    assert_eq!(told.last(), Some(&EventType::WebhookRecovered));
    assert_eq!(lock(&world).faults, Vec::<String>::new());
}

#[test]
fn three_minutes_are_no_event_of_the_day() {
    outage(3 * MINUTE, 5 * SECOND, &[]);
    outage(3 * MINUTE, 5 * SECOND, &[End::Restart, End::Crash]);
}

#[test]
fn forty_minutes_also_with_a_restart_and_a_kill() {
    outage(40 * MINUTE, 30 * SECOND, &[]);
    outage(40 * MINUTE, 30 * SECOND, &[End::Restart, End::Crash]);
}

#[test]
fn a_day_also_with_restarts_and_kills() {
    outage(DAY, 5 * MINUTE, &[]);
    outage(DAY, 5 * MINUTE, &[End::Crash, End::Restart, End::Crash]);
}

#[test]
fn without_probes_it_stays_off() {
    let world = world(DeliverySettings { breaker_probe: false, ..settings() });
    let folder = folder_in_memory();
    live(&world, folder.path(), BEGIN, async |life| {
        let hook = life.create_with(webhook(&[EventType::FindingAdded], 0), Mood::Failing).await;
        for _ in 0..2 * THRESHOLD {
            life.post(vec![event(EventType::FindingAdded)]).await;
            sleep_to(&world, SECOND, 1).await;
        }
        lock(&world).hook(hook).mood = Mood::Healthy;
        sleep_to(&world, DAY, 1).await;
        assert!(!is_active(life, hook));
        End::Judgement
    });
    let world = lock(&world);
    assert_eq!((world.trace.len(), world.delivered.len()), (THRESHOLD as usize, 0));
    assert_eq!(world.faults, Vec::<String>::new());
}

#[test]
fn probes_that_were_off_begin_with_the_start_that_switches_them_on() {
    let world = world(DeliverySettings { breaker_probe: false, ..settings() });
    let folder = folder_in_memory();
    let mut hook = None;
    let (_, stopped) = live(&world, folder.path(), BEGIN, async |life| {
        let id = tripped(life, &world).await;
        hook = Some(id);
        lock(&world).hook(id).mood = Mood::Healthy;
        End::Restart
    });
    lock(&world).set_probes(true);
    live(&world, folder.path(), stopped, async |life| {
        sleep_to(&world, 2 * MINUTE, 1).await;
        assert!(is_active(life, hook.expect("made")));
        End::Judgement
    });
    assert_eq!(lock(&world).delivered.len(), THRESHOLD as usize);
}

#[test]
fn a_destination_that_is_gone_is_never_probed() {
    let world = world(settings());
    let folder = folder_in_memory();
    live(&world, folder.path(), BEGIN, async |life| {
        let hook = life.create_with(webhook(&[EventType::FindingAdded], 3), Mood::Gone).await;
        life.post(vec![event(EventType::FindingAdded)]).await;
        sleep_to(&world, SECOND, 1).await;
        lock(&world).hook(hook).mood = Mood::Healthy;
        for _ in 0..3 {
            life.post(vec![event(EventType::FindingAdded)]).await;
            sleep_to(&world, DAY, 1).await;
        }
        assert!(!is_active(life, hook));
        // Another URL changes nothing about that.
        life.update(hook, webhook(&[EventType::FindingAdded], 1), None).await;
        sleep_to(&world, HOUR, 1).await;
        assert!(!is_active(life, hook));
        End::Judgement
    });
    assert_eq!(lock(&world).trace.len(), 1, "the attempt that was answered with 410");
    assert_eq!(lock(&world).faults, Vec::<String>::new());
}

#[test]
fn a_probe_that_finds_the_destination_gone_is_the_last_one() {
    let world = world(settings());
    let folder = folder_in_memory();
    live(&world, folder.path(), BEGIN, async |life| {
        let hook = tripped(life, &world).await;
        lock(&world).hook(hook).mood = Mood::Gone;
        sleep_to(&world, 2 * DAY, 1).await;
        let stored = Arc::clone(life.store.webhooks().get(hook).expect("there"));
        let Activity::Tripped { reason, trip } = &stored.activity else { panic!("{:?}", stored.activity) };
        assert!(reason.starts_with("the destination wants no more deliveries (410 Gone)"), "{reason}");
        assert_eq!(trip.probes, None);
        End::Judgement
    });
    assert_eq!(lock(&world).trace.len(), THRESHOLD as usize + 1);
    assert_eq!(lock(&world).faults, Vec::<String>::new());
}

#[test]
fn a_delivery_that_is_always_rejected_keeps_nothing_off() {
    let world = world(settings());
    let folder = folder_in_memory();
    live(&world, folder.path(), BEGIN, async |life| {
        let subscribed = [EventType::FindingAdded, EventType::PhaseChanged];
        let hook = life.create_with(webhook(&subscribed, 0), Mood::Failing).await;
        life.post(vec![event(EventType::FindingAdded)]).await;
        sleep_to(&world, SECOND, 1).await;
        for _ in 0..2 * THRESHOLD {
            life.post(vec![event(EventType::PhaseChanged)]).await;
            sleep_to(&world, SECOND, 1).await;
        }
        lock(&world).hook(hook).mood = Mood::Rejecting(EventType::FindingAdded);
        sleep_to(&world, 6 * MINUTE, 1).await;
        assert!(is_active(life, hook), "the second probe was another delivery");
        sleep_to(&world, MINUTE, 1).await;
        assert!(is_active(life, hook));
        assert_eq!(types(&world, hook), vec![EventType::PhaseChanged; 2 * THRESHOLD as usize]);
        End::Judgement
    });
    assert_eq!(lock(&world).faults, Vec::<String>::new());
}

/// As many deliveries as the breaker's threshold are always rejected: the webhook heals all the same, and what was queued
/// again and fails again does not switch it off a second time.
#[test]
fn deliveries_that_are_always_rejected_do_not_trip_a_healed_webhook_again() {
    let world = world(settings());
    let folder = folder_in_memory();
    live(&world, folder.path(), BEGIN, async |life| {
        let subscribed = [EventType::FindingAdded, EventType::PhaseChanged];
        let hook = life.create_with(webhook(&subscribed, 1), Mood::Failing).await;
        let ops = life.create_with(webhook(&host_events(), 3), Mood::Healthy).await;
        for _ in 0..THRESHOLD {
            life.post(vec![event(EventType::FindingAdded)]).await;
            sleep_to(&world, MINUTE / 4, 1).await;
        }
        assert!(!is_active(life, hook));
        life.post(vec![event(EventType::PhaseChanged)]).await;
        lock(&world).hook(hook).mood = Mood::Rejecting(EventType::FindingAdded);
        // Each of those that failed is probed, then what is held.
        sleep_to(&world, 2 * HOUR, 1).await;
        assert!(is_active(life, hook));
        for _ in 0..3 * 24 {
            life.post(vec![event(EventType::PhaseChanged)]).await;
            sleep_to(&world, HOUR, 1).await;
            assert!(is_active(life, hook), "it stays on");
        }
        assert_eq!(types(&world, hook), vec![EventType::PhaseChanged; 1 + 3 * 24]);
        let told = types(&world, ops);
        let count = |wanted| told.iter().filter(|found| **found == wanted).count();
        assert_eq!((count(EventType::WebhookDisabled), count(EventType::WebhookRecovered)), (1, 1), "{told:?}");
        End::Judgement
    });
    let world = lock(&world);
    let rejected = world.trace.len() - world.delivered.len();
    let rounds = 2 * 2 * THRESHOLD as usize;
    assert_eq!(rejected, rounds + THRESHOLD as usize, "two attempts in each of two rounds, and a probe of each");
    assert_eq!(world.faults, Vec::<String>::new());
}

#[test]
fn a_quiet_webhook_heals_with_its_next_event() {
    let world = world(settings());
    let folder = folder_in_memory();
    live(&world, folder.path(), BEGIN, async |life| {
        let hook = tripped(life, &world).await;
        // The formatter fails on all that there is: each ends there, at once.
        lock(&world).hook(hook).mood = Mood::Unrendered { is_transient: false };
        sleep_to(&world, 2 * MINUTE, 1).await;
        assert_eq!(lock(&world).trace.len(), 2 * THRESHOLD as usize, "each was tried once more, without a wait");
        lock(&world).hook(hook).mood = Mood::Healthy;
        sleep_to(&world, DAY, 1).await;
        assert!(!is_active(life, hook), "there is nothing to try");
        life.post(vec![event(EventType::FindingAdded)]).await;
        sleep_to(&world, SECOND, 1).await;
        assert!(is_active(life, hook));
        End::Judgement
    });
    assert_eq!(lock(&world).delivered.len(), 1);
    assert_eq!(lock(&world).faults, Vec::<String>::new());
}

#[test]
fn a_change_of_the_destination_is_tried_at_once() {
    let world = world(settings());
    let folder = folder_in_memory();
    live(&world, folder.path(), BEGIN, async |life| {
        let hook = life.create_with(webhook(&[EventType::FindingAdded], 0), Mood::Dead).await;
        for _ in 0..2 * THRESHOLD {
            life.post(vec![event(EventType::FindingAdded)]).await;
            sleep_to(&world, 6 * SECOND, 1).await;
        }
        sleep_to(&world, HOUR, 1).await;
        let before = lock(&world).trace.len();
        lock(&world).hook(hook).mood = Mood::Healthy;
        let renamed = WebhookConfig { name: "another".into(), ..webhook(&[EventType::FindingAdded], 0) };
        life.update(hook, renamed.clone(), None).await;
        sleep_to(&world, SECOND, 1).await;
        assert_eq!(lock(&world).trace.len(), before, "a name says nothing of the destination");
        let mended = WebhookConfig { format_options: r#"{"channel":"x"}"#.into(), ..renamed };
        life.update(hook, mended, None).await;
        sleep_to(&world, SECOND, 1).await;
        assert!(is_active(life, hook));
        sleep_to(&world, MINUTE, 1).await;
        End::Judgement
    });
    assert_eq!(lock(&world).delivered.len(), 2 * THRESHOLD as usize);
    assert_eq!(lock(&world).faults, Vec::<String>::new());
}

/// Probes of a thousand webhooks whose destinations die in one moment are spread, and a healthy webhook waits for none.
#[test]
fn a_thousand_webhooks_that_died_at_once_are_not_probed_at_once() {
    let crowd = DeliverySettings { breaker_threshold: 1, ..settings() };
    let world = world(crowd);
    let folder = folder_in_memory();
    live(&world, folder.path(), BEGIN, async |life| {
        for _ in 0..1000 {
            life.create_with(webhook(&[EventType::FindingAdded], 0), Mood::Failing).await;
        }
        let healthy = life.create_with(webhook(&[EventType::PhaseChanged], 0), Mood::Healthy).await;
        let place = lock(&world).order.iter().position(|id| *id == healthy).expect("known");
        life.post(vec![event(EventType::FindingAdded)]).await;
        sleep_to(&world, 10 * SECOND, 1).await;
        lock(&world).trace.clear();
        lock(&world).waits.clear();
        for _ in 0..80 {
            life.post(vec![event(EventType::PhaseChanged)]).await;
            sleep_to(&world, SECOND, 1).await;
        }
        let world = lock(&world);
        let probes: Vec<i64> = world.trace.iter().filter(|(_, of, _)| *of != place).map(|(at, _, _)| *at).collect();
        assert_eq!(probes.len(), 1000, "one of each in this time");
        let (first, last) = (probes[0], probes[999]);
        assert!(last - first > 10 * SECOND, "within {} ms", last - first);
        for from in (first..last).step_by(500) {
            let burst = probes.iter().filter(|at| (from..from + SECOND).contains(*at)).count();
            assert!(burst < 150, "{burst} probes in a second");
        }
        let waits = world.waits.iter().filter(|(of, _, _)| *of == place).map(|(_, _, wait)| *wait);
        assert!(waits.max().expect("attempts") < SECOND / 10);
        End::Judgement
    });
    assert_eq!(lock(&world).faults, Vec::<String>::new());
}

/// Two webhooks that tell about each other, and fail, beside one that gives them reason to: what is made stays bounded.
fn loops(mood: Mood) -> (usize, usize) {
    let world = world(settings());
    let folder = folder_in_memory();
    let mut events = 0;
    live(&world, folder.path(), BEGIN, async |life| {
        let failing = life.create_with(webhook(&[EventType::FindingAdded], 1), Mood::Failing).await;
        life.create_with(webhook(&host_events(), 1), mood).await;
        life.create_with(webhook(&host_events(), 1), mood).await;
        for _ in 0..2 * THRESHOLD {
            life.post(vec![event(EventType::FindingAdded)]).await;
            sleep_to(&world, MINUTE, 1).await;
        }
        sleep_to(&world, 3 * DAY, 1).await;
        assert!(!is_active(life, failing));
        events = life.store.accepted().iter().map(|(_, events)| events.len()).sum();
        End::Crash
    });
    let world = lock(&world);
    assert_eq!(world.faults, Vec::<String>::new());
    (world.trace.len(), events)
}

#[test]
fn webhooks_that_tell_about_each_other_make_no_loop() {
    let days = 3 * 48;
    let (attempts, events) = loops(Mood::Failing);
    assert!(events < 40, "{events} events");
    // Three webhooks that are off, each with two probes an hour.
    assert!(attempts < 3 * days + 200, "{attempts} attempts");
    let (attempts, events) = loops(Mood::Dead);
    assert!(events < 40 && attempts < 3 * days + 200, "{events} events, {attempts} attempts");
    // They heal and fail again and again; each time that is told once.
    let (attempts, events) = loops(Mood::Flapping);
    assert!(events < 12 * days && attempts < 40 * days, "{events} events, {attempts} attempts");
}
