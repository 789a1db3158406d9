//! SIGKILL at random times under load. Every event acknowledged with 202 is delivered, and few deliveries arrive twice.
//!
//! The long run, with a tally at its end:
//! `HERALDRY_KILLS=300 cargo test --locked -p heraldry --test it -- --ignored --nocapture kills::`
//! (`HERALDRY_SEED` repeats the kill times of another run).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{Client, Destination, Host, PATIENCE, Received, Reply, events};

/// Kills in a usual run, and in the long one unless [`KILLS`] overrides it.
const SHORT: usize = 8;
const LONG: usize = 300;
const KILLS: &str = "HERALDRY_KILLS";
const SEED: &str = "HERALDRY_SEED";

/// Time under load before a kill, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 20..400;
/// One process in so many is killed during its start, this many milliseconds after it was spawned.
const KILLED_AT_START: usize = 8;
const START_MS: std::ops::Range<u64> = 1..80;
/// Clients that post one event after the other. The first never pauses: its responses are the ticks of the clock.
const POSTERS: usize = 8;
/// The webhooks' paths; requests to the last one fail half of the time.
const PATHS: [&str; 3] = ["/steady", "/signed", "/half"];
/// Open deliveries at which the posters pause, since the backlog must be delivered at the end of the run.
const OPEN_DELIVERIES: usize = 1500;
/// Attempts that a kill interrupts: `--webhook-concurrency` (32) per webhook, in all less than `--concurrency` (256).
const IN_FLIGHT: usize = 32 * PATHS.len();
/// An outcome that is this many ticks older than a kill is on the disk. A tick is a (group) commit that began after the
/// one before it had ended, and carries every outcome that the writer knew of; the other ticks allow for the time that
/// an outcome takes from the peer to the writer on a loaded machine.
const TICKS: usize = 8;
/// Attempt from which the failing webhook accepts every request.
const LAST_FAILURE: u32 = 8;

#[tokio::test]
async fn accepted_events_are_delivered_however_often_the_host_is_killed() {
    run(SHORT).await;
}

#[tokio::test]
#[ignore = "takes minutes: three hundred kills"]
async fn three_hundred_kills_lose_nothing() {
    run(number(KILLS).map_or(LONG, |kills| usize::try_from(kills).expect("a number of kills"))).await;
}

#[expect(clippy::disallowed_methods, reason = "the length of the long run is set by a variable")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}

/// One delivery as seen by the destination.
struct Seen {
    event: String,
    body: u64,
    /// The process life in which each attempt was last seen.
    attempts: BTreeMap<u32, usize>,
    delivered: bool,
}

/// Counts of one process life of the host.
#[derive(Default)]
struct Life {
    /// Requests that arrived in each tick.
    arrivals: Vec<usize>,
    /// Attempts of this life that were repeated in a later one.
    again: usize,
}

#[derive(Default)]
struct Ledger {
    lives: Vec<Life>,
    deliveries: HashMap<String, Seen>,
    /// The deliveries of an event on a path.
    by_event: HashMap<String, [Option<String>; PATHS.len()]>,
    requests: usize,
    delivered: usize,
    wrong: Vec<String>,
}

/// State shared by posters and the destination.
#[derive(Clone, Default)]
struct Book {
    ledger: Arc<Mutex<Ledger>>,
    accepted: Arc<Mutex<Vec<String>>>,
    acknowledged: Arc<AtomicUsize>,
    repeated: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Book {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accepted(&self) -> MutexGuard<'_, Vec<String>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_life(&self) {
        self.ledger().lives.push(Life { arrivals: vec![0], again: 0 });
    }

    fn tick(&self) {
        if let Some(life) = self.ledger().lives.last_mut() {
            life.arrivals.push(0);
        }
    }

    /// Deliveries of accepted events that have not been delivered.
    fn open(&self) -> usize {
        let promised = self.acknowledged.load(Ordering::Relaxed) * PATHS.len();
        promised.saturating_sub(self.ledger().delivered)
    }

    /// Records a request; returns the reply.
    fn arrived(&self, request: &Received) -> Reply {
        let (delivery, attempt) = (request.delivery().to_owned(), request.attempt());
        let mut hasher = DefaultHasher::new();
        request.body.hash(&mut hasher);
        let body = hasher.finish();
        let ledger = &mut *self.ledger();
        let now = ledger.lives.len().saturating_sub(1);
        ledger.requests += 1;
        if let Some(arrivals) = ledger.lives[now].arrivals.last_mut() {
            *arrivals += 1;
        }
        if !ledger.deliveries.contains_key(&delivery) {
            let event = request.json()["id"].as_str().expect("an event's id").to_owned();
            let path = PATHS.iter().position(|path| *path == request.path).expect("a webhook's path");
            if ledger.by_event.entry(event.clone()).or_default()[path].replace(delivery.clone()).is_some() {
                ledger.wrong.push(format!("the event {event} got a second delivery to {}", request.path));
            }
            let seen = Seen { event, body, attempts: BTreeMap::new(), delivered: false };
            ledger.deliveries.insert(delivery.clone(), seen);
        }
        let seen = ledger.deliveries.get_mut(&delivery).expect("it is there now");
        if seen.body != body {
            ledger.wrong.push(format!("two bodies under the id {delivery} of the event {}", seen.event));
        }
        if let Some(before) = seen.attempts.insert(attempt, now) {
            ledger.lives[before].again += 1;
        }
        // A repeat of the same attempt gets the same reply.
        let mut hasher = DefaultHasher::new();
        (&delivery, attempt).hash(&mut hasher);
        let fails = request.path == PATHS[2] && attempt <= LAST_FAILURE && hasher.finish().is_multiple_of(2);
        if !fails && !seen.delivered {
            seen.delivered = true;
            ledger.delivered += 1;
        }
        Reply::status(if fails { 500 } else { 200 })
    }
}

/// Posts one event after the other, each until it is accepted, to the current host.
async fn post(number: usize, mut hosts: watch::Receiver<Client>, book: Book) {
    while !book.stop.load(Ordering::Relaxed) {
        let event = events::finding(&format!("of poster {number}"), "");
        let id = event["id"].as_str().expect("an id").to_owned();
        loop {
            let client = hosts.borrow_and_update().clone();
            match client.request("POST", "/events").json(&event).try_send().await {
                Some(response) if response.status() == 202 => {
                    assert_eq!(response.json()["id"], json!(id));
                    break;
                }
                Some(response) => assert_eq!(response.status(), 503, "{response}"),
                None => {}
            }
            // It may have been accepted without a response: the id makes the retry idempotent.
            book.repeated.fetch_add(1, Ordering::Relaxed);
            // At once when the next host is up; else at intervals.
            let _ = tokio::time::timeout(Duration::from_millis(100), hosts.changed()).await;
        }
        book.acknowledged.fetch_add(1, Ordering::Relaxed);
        book.accepted().push(id);
        if number == 0 {
            book.tick();
        } else {
            while book.open() > OPEN_DELIVERIES && !book.stop.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the tally is the purpose of the long run")]
async fn run(kills: usize) {
    let seed = number(SEED).unwrap_or_else(|| fastrand::u64(..));
    println!("the seed is {seed}: {SEED}={seed} repeats the kill times");
    let mut random = fastrand::Rng::with_seed(seed);
    let book = Book::default();
    book.new_life();
    let destination = Destination::start().await;
    destination.keep_nothing();
    destination.decide({
        let book = book.clone();
        move |request| book.arrived(request)
    });
    let mut host = Host::with(|options| options.retry_every("100ms")).await;
    for path in PATHS {
        let secret = if path == PATHS[1] { json!("a secret") } else { Value::Null };
        host.admin().webhook(&destination.url(path), json!({"secret": secret, "retry_count": 10})).await;
    }
    let (hosts, receiver) = watch::channel(host.admin());
    let mut posters = JoinSet::new();
    for number in 0..POSTERS {
        posters.spawn(post(number, receiver.clone(), book.clone()));
    }

    let mut starts = Vec::new();
    let mut stillborn = 0;
    for kill in 1..=kills {
        // A fixed sleep, not a condition: the random time is what is tested.
        tokio::time::sleep(Duration::from_millis(random.u64(LIFE_MS))).await;
        host.kill();
        if kill % KILLED_AT_START == 0 {
            book.new_life();
            host = host.start_again_and_kill(Duration::from_millis(random.u64(START_MS))).await;
            stillborn += 1;
        }
        book.new_life();
        let begun = Instant::now();
        host = host.start_again().await;
        starts.push(begun.elapsed());
        hosts.send_replace(host.admin());
        if let Some(ended) = posters.try_join_next() {
            panic!("a poster ended too early: {ended:?}");
        }
    }
    book.stop.store(true, Ordering::Relaxed);
    while let Some(poster) = posters.join_next().await {
        poster.expect("a poster");
    }
    let waiting = book.open();
    let accepted: HashSet<String> = book.accepted().iter().cloned().collect();
    // The tally is printed even if deliveries are lost: the wait ends after a timeout, and the loss is asserted below.
    let deadline = Instant::now() + PATIENCE * 2;
    while missing(&book, &accepted) > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let statuses = statuses(&host.admin(), &accepted).await;

    let ledger = book.ledger();
    let allowed = |life: &Life| IN_FLIGHT + life.arrivals.iter().rev().take(TICKS).sum::<usize>();
    let again: usize = ledger.lives.iter().map(|life| life.again).sum();
    let most = ledger.lives.iter().map(|life| life.again).max().unwrap_or_default();
    let lost = missing_of(&ledger, &accepted);
    let count = |status: &str| statuses.get(status).copied().unwrap_or_default();
    starts.sort_unstable();
    println!(
        "kills {kills} (and {stillborn} while it started), accepted {} (posts repeated {}), deliveries promised {}, \
         open at the last start {waiting}, delivered {}, pending {}, requests {}, duplicated {again} (at most {most} \
         at one kill), lost {lost}; ready again after {:?} (median), {:?} (longest)",
        accepted.len(),
        book.repeated.load(Ordering::Relaxed),
        accepted.len() * PATHS.len(),
        count("delivered"),
        count("pending"),
        ledger.requests,
        starts[starts.len() / 2],
        starts[starts.len() - 1],
    );
    assert!(ledger.wrong.is_empty(), "{:#?}", ledger.wrong);
    assert_eq!(lost, 0, "{lost} deliveries of accepted events never came: {statuses:?}");
    assert_eq!(statuses, HashMap::from([("delivered".to_owned(), accepted.len() * PATHS.len())]));
    assert_eq!(starts.len(), kills);
    for (number, life) in ledger.lives.iter().enumerate() {
        assert!(life.again <= allowed(life), "life {number}: {} attempts again, {:?}", life.again, life.arrivals);
    }
}

/// Number of deliveries of accepted events that have not been delivered.
fn missing(book: &Book, accepted: &HashSet<String>) -> usize {
    let ledger = book.ledger();
    // The cheap check first.
    if ledger.delivered < accepted.len() * PATHS.len() {
        return accepted.len() * PATHS.len() - ledger.delivered;
    }
    missing_of(&ledger, accepted)
}

fn missing_of(ledger: &Ledger, accepted: &HashSet<String>) -> usize {
    let delivered = |delivery: &Option<String>| {
        delivery.as_ref().and_then(|delivery| ledger.deliveries.get(delivery)).is_some_and(|seen| seen.delivered)
    };
    let of_event = |event| ledger.by_event.get(event).map_or(0, |all| all.iter().filter(|one| delivered(one)).count());
    accepted.iter().map(|event| PATHS.len() - of_event(event)).sum()
}

/// Number of deliveries per status, once none of these events' deliveries is pending.
async fn statuses(admin: &Client, accepted: &HashSet<String>) -> HashMap<String, usize> {
    let accepted: Vec<String> = accepted.iter().cloned().collect();
    let mut asking = JoinSet::new();
    for some in accepted.chunks(accepted.len().div_ceil(POSTERS).max(1)) {
        asking.spawn(settled(admin.clone(), some.to_vec()));
    }
    let mut counted = HashMap::new();
    while let Some(statuses) = asking.join_next().await {
        for status in statuses.expect("an answer for every event") {
            *counted.entry(status).or_default() += 1;
        }
    }
    counted
}

async fn settled(admin: Client, events: Vec<String>) -> Vec<String> {
    let mut all = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    for event in events {
        loop {
            let shown = admin.get(&format!("/events/{event}")).await.expect(200).json();
            let deliveries = shown["deliveries"].as_array().expect("a list").iter();
            let statuses = deliveries.map(|one| one["status"].as_str().expect("a status").to_owned());
            let statuses: Vec<String> = statuses.collect();
            // The last outcomes may still be unwritten.
            if Instant::now() > deadline || !statuses.iter().any(|status| status == "pending") {
                all.extend(statuses);
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    all
}
