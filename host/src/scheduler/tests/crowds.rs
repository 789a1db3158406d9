//! Crowds on the virtual clock: hundreds of destinations that hang beside others, and piles of retries that fell due while
//! the host stood still.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use super::simulation::{
    BEGIN, DAY, End, HOUR, Life, MINUTE, Mood, SECOND, Shared, World, config, event, live, lock, sleep_to,
};
use crate::model::event::EventType;
use crate::model::id::WebhookId;
use crate::model::settings::{DeliverySettings, RetryPolicy};
use crate::model::webhook::{Subscription, WebhookConfig};
use crate::store::conformance::folder_in_memory;

/// A retry, a new webhook's first event and a healthy webhook's event begin within this, in milliseconds.
const PROMPT: i64 = SECOND / 2;

/// Events that go to destinations that hang, to healthy ones, to those that fail once, to new ones.
const TO_HANGING: EventType = EventType::FindingAdded;
const TO_HEALTHY: EventType = EventType::PhaseChanged;
const TO_FAILING: EventType = EventType::SurfaceChanged;
const TO_NEW: EventType = EventType::MonitorAlert;

fn webhook(types: &[EventType], timeout_ms: i64) -> WebhookConfig {
    WebhookConfig {
        event_types: Subscription::Only(types.to_vec()),
        retry_count: 5,
        timeout_ms: u32::try_from(timeout_ms).expect("seconds"),
        ..config(&mut Rng::with_seed(1))
    }
}

/// The concurrency of `serve` without settings; retries come soon enough to tell a late one, nothing is switched off.
fn settings() -> DeliverySettings {
    let retry = RetryPolicy { base: Duration::from_millis(200), ..RetryPolicy::default() };
    DeliverySettings { retry, breaker_threshold: 1_000_000, ..DeliverySettings::default() }
}

fn world(seed: u64, settings: DeliverySettings) -> Shared {
    fastrand::seed(seed);
    Arc::new(Mutex::new(World::new(seed, settings)))
}

fn place(world: &Shared, id: WebhookId) -> usize {
    lock(world).order.iter().position(|known| *known == id).expect("known")
}

/// How destinations come to hang.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Crowd {
    /// They never responded.
    New,
    /// They were quick until now, and all have sixteen deliveries under way or due.
    Turned,
}

/// Beside so many destinations that hold every attempt for so long, for a minute: webhooks that are healthy, that fail
/// once, that are new. Returns the longest wait of each.
fn beside(seed: u64, hanging: usize, hold: i64, crowd: Crowd) -> [i64; 3] {
    let world = world(seed, settings());
    let folder = folder_in_memory();
    let mut longest = [0; 3];
    live(&world, folder.path(), BEGIN, async |life| {
        let healthy = life.create_with(webhook(&[TO_HEALTHY], 10 * SECOND), Mood::Healthy).await;
        let failing = life.create_with(webhook(&[TO_FAILING], 10 * SECOND), Mood::FailingFirst).await;
        let mood = if crowd == Crowd::New { Mood::Dead } else { Mood::Healthy };
        let mut hanging_ids = Vec::new();
        for _ in 0..hanging {
            hanging_ids.push(life.create_with(webhook(&[TO_HANGING], hold), mood).await);
        }
        if crowd == Crowd::Turned {
            for _ in 0..3 {
                life.post(vec![event(TO_HANGING), event(TO_HEALTHY)]).await;
                sleep_to(&world, SECOND, 1).await;
            }
            hanging_ids.iter().for_each(|id| lock(&world).hook(*id).mood = Mood::Dead);
        }
        // Among the crowd from the first moment on, and not to be told from it.
        let like_them = life.create_with(webhook(&[TO_HANGING], 10 * SECOND), Mood::Healthy).await;
        lock(&world).waits.clear();
        life.post((0..16).map(|_| event(TO_HANGING)).collect()).await;
        let mut new = vec![like_them];
        for round in 0..120 {
            life.post(vec![event(TO_HEALTHY)]).await;
            if round % 10 == 0 {
                life.post(vec![event(TO_FAILING)]).await;
                new.push(life.create_with(webhook(&[TO_NEW], 10 * SECOND), Mood::Healthy).await);
                life.post(vec![event(TO_NEW)]).await;
            }
            sleep_to(&world, SECOND / 2, 1).await;
        }
        let waits = waits(&world);
        let most = |ids: &[WebhookId]| ids.iter().map(|id| waits[&place(&world, *id)].1).max().unwrap_or_default();
        let firsts = new.iter().map(|id| waits[&place(&world, *id)].0).max().unwrap_or_default();
        longest = [most(&[healthy]), most(&[failing]), firsts];
        let begun = hanging_ids.iter().filter(|id| waits.contains_key(&place(&world, **id))).count();
        assert_eq!(begun, hanging, "destinations that hang wait for one another, and each has its turn");
        End::Crash
    });
    assert_eq!(lock(&world).faults, Vec::<String>::new());
    longest
}

/// The first and the longest wait after the due time by webhook, in milliseconds.
fn waits(world: &Shared) -> BTreeMap<usize, (i64, i64)> {
    let mut waits = BTreeMap::new();
    for &(place, _, late) in &lock(world).waits {
        let known = waits.entry(place).or_insert((late, late));
        known.1 = late.max(known.1);
    }
    waits
}

#[test]
fn nobody_waits_for_destinations_that_hang() {
    for (seed, (hanging, hold, crowd)) in [
        (0, 10 * SECOND, Crowd::New),
        (7, 10 * SECOND, Crowd::New),
        (50, 5 * SECOND, Crowd::New),
        (50, 10 * SECOND, Crowd::Turned),
        (500, 10 * SECOND, Crowd::New),
        (500, 30 * SECOND, Crowd::New),
        (500, 30 * SECOND, Crowd::Turned),
    ]
    .into_iter()
    .enumerate()
    {
        let [healthy, failing, new] = beside(seed as u64, hanging, hold, crowd);
        println!("{hanging} x {hold} ms, {crowd:?}: healthy {healthy} ms, a retry {failing} ms, new {new} ms");
        assert!(
            healthy.max(failing).max(new) <= PROMPT,
            "beside {hanging} destinations ({crowd:?}) that hang for {hold} ms: a healthy webhook waited {healthy} ms, one \
             that failed once {failing} ms, a new one {new} ms"
        );
    }
}

/// So many webhooks, each with so many retries that are due while the host stands still (frozen, or down) for a minute or
/// an hour. Returns the requests of each half second after it, of all webhooks and the most of one, and how long first
/// attempts of new events had to wait.
fn after_standing_still(webhooks: usize, retries: usize, down: bool) -> (Vec<usize>, Vec<usize>, i64) {
    let retry = RetryPolicy { base: Duration::from_secs(40), ..RetryPolicy::default() };
    let world = world(1, DeliverySettings { retry, ..settings() });
    let folder = folder_in_memory();
    let mut ids = Vec::new();
    let (_, stopped) = live(&world, folder.path(), BEGIN, async |life| {
        for _ in 0..webhooks {
            ids.push(life.create_with(webhook(&[TO_FAILING, TO_NEW], 10 * SECOND), Mood::FailingFirst).await);
        }
        life.post((0..retries).map(|_| event(TO_FAILING)).collect()).await;
        sleep_to(&world, 10 * SECOND, 1).await;
        lock(&world).hooks.values_mut().for_each(|hook| hook.mood = Mood::Healthy);
        if !down {
            life.freeze(MINUTE).await;
            new_events(&world, life).await;
        }
        End::Restart
    });
    if down {
        lock(&world).passed += HOUR;
        live(&world, folder.path(), stopped + HOUR, async |life| {
            new_events(&world, life).await;
            End::Restart
        });
    }
    let world = lock(&world);
    assert_eq!(world.faults, Vec::<String>::new());
    let since = if down { HOUR } else { MINUTE };
    let (mut all, mut of_one) = (vec![0; 240], BTreeMap::<(usize, usize), usize>::new());
    for &(at, place, _) in world.trace.iter().filter(|(at, _, attempt)| *at > since && *attempt > 1) {
        let half = usize::try_from((at - since - 10 * SECOND) / (SECOND / 2)).expect("after it");
        all[half] += 1;
        *of_one.entry((half, place)).or_default() += 1;
    }
    let mut most = vec![0; 240];
    of_one.into_iter().for_each(|((half, _), count)| most[half] = count.max(most[half]));
    assert_eq!(all.iter().sum::<usize>(), webhooks * retries, "every retry was made, once");
    let firsts = world.waits.iter().filter(|(_, attempt, _)| *attempt == 1).map(|(_, _, late)| *late);
    (all, most, firsts.max().unwrap_or_default())
}

/// Two minutes after the host stood still, with new events for everybody.
async fn new_events(world: &Shared, life: &Life) {
    lock(world).waits.clear();
    for round in 0..238 {
        if round < 20 {
            life.post(vec![event(TO_NEW)]).await;
        }
        sleep_to(world, SECOND / 2, 1).await;
    }
}

#[test]
fn retries_that_fell_due_while_the_host_stood_still_are_spread() {
    for (webhooks, retries, down) in
        [(1, 400, false), (20, 20, false), (400, 1, false), (1, 400, true), (20, 20, true), (10, 1_000, true)]
    {
        let (all, of_one, late) = after_standing_still(webhooks, retries, down);
        println!(
            "{webhooks} x {retries} (down: {down}): {:?}, of one at most {:?}, first attempts {late} ms",
            &all[..24],
            &of_one[..24]
        );
        let what = format!("{webhooks} webhooks with {retries} retries each, down: {down}: {all:?}, {of_one:?}");
        // The first two seconds at most 70 a second, of one destination 14; the rate doubles every ten seconds.
        assert!(all[..10].iter().all(|count| *count <= 70), "{what}");
        assert!(of_one[..10].iter().all(|count| *count <= 15), "{what}");
        let last = all.iter().rposition(|count| *count > 0).expect("retries");
        assert!((5..=140).contains(&last), "{what}");
        assert!(late <= PROMPT, "first attempts of new events waited {late} ms: {what}");
    }
}

/// What a run of many hours came to.
#[derive(Debug)]
struct Tally {
    events: usize,
    deliveries: usize,
    attempts: usize,
    lives: u32,
    /// The longest that an attempt to a quick destination was late, in milliseconds.
    longest_quick: i64,
}

/// Hours of steady traffic to forty webhooks, of which about half hang or have a formatter that loops at any time, while
/// clocks jump both ways and the host is frozen, restarted and killed. Then everything responds, and every event that was
/// acknowledged must have ended as it should.
fn hours(seed: u64, hours: i64) -> Tally {
    let settings = DeliverySettings { concurrency: 32, webhook_concurrency: 8, ..settings() };
    let retry = RetryPolicy::default();
    let world = world(seed, DeliverySettings { retry, ..settings });
    let folder = folder_in_memory();
    let mut wall = BEGIN;
    loop {
        let (end, stopped) = live(&world, folder.path(), wall, async |life| {
            if lock(&world).order.is_empty() {
                for _ in 0..40 {
                    life.create().await;
                }
            }
            while lock(&world).now() < hours * HOUR && lock(&world).faults.is_empty() {
                if let Some(end) = step(&world, life).await {
                    return end;
                }
            }
            life.judge().await;
            End::Judgement
        });
        let mut world = lock(&world);
        assert_eq!(world.faults, Vec::<String>::new(), "seed {seed}");
        if end == End::Judgement {
            return Tally {
                events: world.events.len(),
                deliveries: world.deliveries.len(),
                attempts: world.trace.len(),
                lives: world.life,
                longest_quick: world.longest_quick,
            };
        }
        let down = world.rng.i64(1..2 * MINUTE);
        world.passed += down;
        wall = stopped + down;
    }
}

/// One thing happens; how the life ends, if it does.
async fn step(world: &Shared, life: &Life) -> Option<End> {
    let (dice, wait) = {
        let rng = &mut lock(world).rng;
        (rng.u16(..1000), rng.i64(SECOND..20 * SECOND))
    };
    sleep_to(world, wait, 1).await;
    life.check_webhooks();
    match dice {
        0..700 => {
            let types = [EventType::PhaseChanged, EventType::FindingAdded, EventType::SurfaceChanged];
            let events = {
                let rng = &mut lock(world).rng;
                (0..rng.usize(1..4)).map(|_| event(types[rng.usize(..types.len())])).collect()
            };
            life.post(events).await;
        }
        700..960 => {
            let id = life.any()?;
            let mut world = lock(world);
            let retry_after_s = [1, 90][world.rng.usize(..2)];
            let moods = [
                Mood::Healthy,
                Mood::Healthy,
                Mood::Healthy,
                Mood::FailingFirst,
                Mood::Failing,
                Mood::Busy { status: 429, retry_after_s },
                Mood::Slow,
                Mood::FormatterLoops,
                Mood::Dead,
                Mood::Dead,
                Mood::Dead,
                Mood::Dead,
            ];
            let mood = moods[world.rng.usize(..moods.len())];
            world.hook(id).mood = mood;
        }
        960..980 => {
            let mut world = lock(world);
            let jump = [HOUR, -HOUR, DAY, -DAY][world.rng.usize(..4)];
            world.clock().jumped.fetch_add(jump, Ordering::Relaxed);
        }
        980..990 => {
            let gap = 2 * lock(world).rng.i64(SECOND..MINUTE);
            life.freeze(gap).await;
        }
        990..995 => return Some(End::Restart),
        _ => return Some(End::Crash),
    }
    None
}

/// Runs seeds, each on a thread of its own, and prints what they came to.
fn run_hours(seeds: &[u64], length: i64) -> Vec<Tally> {
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let threads: Vec<_> = seeds.iter().map(|seed| scope.spawn(|| hours(*seed, length))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the words of a failure are above")).collect()
    });
    for (seed, tally) in seeds.iter().zip(&tallies) {
        let Tally { events, deliveries, attempts, lives, longest_quick } = tally;
        println!(
            "seed {seed}, {length} h: {events} events, {deliveries} deliveries, {attempts} attempts, {lives} lives; a quick \
             destination waited at most {longest_quick} ms"
        );
    }
    tallies
}

#[test]
fn in_an_hour_nothing_is_lost_and_nobody_starves() {
    for tally in run_hours(&[0, 1], 1) {
        assert!(tally.attempts > tally.deliveries, "{tally:?}");
    }
}

/// Other seeds as further arguments.
#[test]
#[ignore = "minutes: the long run of the one above"]
fn in_a_day_nothing_is_lost_and_nobody_starves() {
    let given: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    run_hours(if given.is_empty() { &[100, 101, 102] } else { &given }, 24);
}
