//! Misbehaving destinations beside a healthy one in steady use: each fails as documented, within its own timeout, and the
//! healthy one loses nothing and is not delayed.
//!
//! The cases are numbered D1 to D16. Each run prints a table of the latency of the healthy webhook, from the response to
//! the POST to the arrival, alone and beside each case. The long runs, on an idle machine and with strict limits:
//! `HERALDRY_QUIET=1 cargo test --locked -p heraldry --test it -- --ignored --nocapture --test-threads 1 under_load::`

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::support::{Client, Destination, Host, PATIENCE, Received, Reply, events, eventually, within};

/// Pause between two events of the healthy webhook: about eighty events per second.
const PACE: Duration = Duration::from_millis(12);
/// The wait before a retry, before jitter.
const RETRY: &str = "200ms";
const RETRY_SECONDS: f64 = 0.2;
/// Cap on `Retry-After`.
const LONGEST_WAIT_SECONDS: f64 = 3600.0;

/// Set when nothing else runs on this machine.
const QUIET: &str = "HERALDRY_QUIET";
/// Allowed deviation from a webhook's timeout then.
const QUIET_SLACK_MS: u64 = 250;

#[expect(clippy::disallowed_methods, reason = "the accuracy of the long run is set by a variable")]
fn is_quiet() -> bool {
    std::env::var_os(QUIET).is_some()
}

/// The size and the limits of a run.
struct Size {
    /// Timeout of an attempt to a misbehaving destination.
    timeout_ms: u64,
    /// Allowed deviation from the timeout when other tests run beside this one.
    slack_ms: u64,
    /// Events for each misbehaving destination.
    bad: usize,
    /// Events of the healthy webhook beside each case, at least.
    beside: usize,
    /// Dead destinations beside one healthy one.
    dead: usize,
    /// Largest ratio of the healthy webhook's p99 beside them to its p99 alone; and an allowance on a machine that is not
    /// idle.
    times: u32,
    on_top: Duration,
}

const SHORT: Size =
    Size { timeout_ms: 1000, slack_ms: 1000, bad: 8, beside: 40, dead: 100, times: 2, on_top: Duration::from_secs(1) };
const LONG: Size = Size {
    timeout_ms: 3000,
    slack_ms: 1000,
    bad: 24,
    beside: 400,
    dead: 1000,
    times: 2,
    on_top: Duration::from_millis(20),
};

#[tokio::test]
async fn misbehaving_destinations_fail_as_documented_and_do_not_delay_a_healthy_one() {
    each_case(&SHORT).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn misbehaving_destinations_fail_as_documented_in_a_long_run() {
    each_case(&LONG).await;
}

#[tokio::test]
async fn a_hundred_dead_destinations_do_not_delay_a_healthy_one() {
    dead(&SHORT).await;
}

#[tokio::test]
#[ignore = "takes minutes and needs an idle machine"]
async fn a_thousand_dead_destinations_do_not_delay_a_healthy_one() {
    dead(&LONG).await;
}

/// The expected outcome of the first attempts of a case.
#[derive(Clone, Copy)]
enum Expected {
    /// Delivered, well before the timeout.
    Taken(u16),
    /// Failed well before the timeout: status, class, words of the message.
    Fails(Option<u16>, &'static str, &'static str),
    /// Failed at the timeout.
    TimesOut(Option<u16>),
    /// The connection was closed without a response; the second attempt succeeds, under the same id.
    Retried,
    /// Failed with this status; the next attempt comes after so many seconds, or after the usual backoff.
    Waits(u16, Option<f64>),
    /// The first attempt disables the webhook.
    SwitchedOff,
}
use Expected::{Fails, Retried, SwitchedOff, Taken, TimesOut, Waits};

type Answer = Box<dyn Fn(&Received) -> Reply + Send + Sync>;

/// Every case, with its destination's response.
fn cases(trap: &str) -> Vec<(&'static str, Answer, Expected)> {
    let drop = Duration::from_secs(1);
    let often = Duration::from_millis(20);
    let always = |reply: Reply| -> Answer { Box::new(move |_| reply.clone()) };
    let first = |reply: Reply| -> Answer {
        Box::new(move |request| if request.attempt() == 1 { reply.clone() } else { Reply::status(200) })
    };
    let wait = |status, value: &'static str| always(Reply::full(status, &[("Retry-After", value)], &[b'r'; 3000]));
    let to = |status, place: &str| always(Reply::redirect(status, place));
    let elsewhere = Fails(Some(302), "status", "redirects are not followed");
    let redirected = |status| Fails(Some(status), "status", "redirects are not followed");
    vec![
        ("D1 silence", always(Reply::silence()), TimesOut(None)),
        ("D2 head, a byte a second", always(Reply::dripping_head(200, drop)), TimesOut(None)),
        ("D3 body, drop by drop", always(Reply::dripping_body(200, often)), TimesOut(Some(200))),
        ("D3 body of a 500, drop by drop", always(Reply::dripping_body(500, often)), TimesOut(Some(500))),
        ("D4 endless body", always(Reply::endless_body(200)), Taken(200)),
        ("D4 endless body of a 500", always(Reply::endless_body(500)), Fails(Some(500), "status", "500")),
        ("D6 100 Continue, flood", always(Reply::endless_continue(Duration::ZERO)), Fails(None, "protocol", "64 KiB")),
        ("D6 103, flood", always(Reply::endless_hints(Duration::ZERO)), Fails(None, "protocol", "64 KiB")),
        ("D6 100 Continue, now and then", always(Reply::endless_continue(often)), TimesOut(None)),
        ("D6 103, now and then", always(Reply::endless_hints(often)), TimesOut(None)),
        ("D7 RST", first(Reply::reset()), Retried),
        ("D7 FIN", first(Reply::close()), Retried),
        ("D7 half close", first(Reply::half_closed()), Retried),
        ("D8 301 to loopback", to(301, trap), redirected(301)),
        ("D8 302 to itself", to(302, "/again"), elsewhere),
        ("D8 307 to metadata", to(307, "http://169.254.169.254/latest/meta-data/"), redirected(307)),
        ("D8 308 to loopback", to(308, trap), redirected(308)),
        ("D11 429, 5 s", wait(429, "5"), Waits(429, Some(5.0))),
        ("D11 503, 1e9 s", wait(503, "1000000000"), Waits(503, Some(LONGEST_WAIT_SECONDS))),
        ("D11 429, -1", wait(429, "-1"), Waits(429, None)),
        ("D11 503, abc", wait(503, "abc"), Waits(503, None)),
        ("D11 429, a past date", wait(429, "Sun, 06 Nov 1994 08:49:37 GMT"), Waits(429, None)),
        ("D11 503, a far date", wait(503, "Fri, 31 Dec 2100 23:59:59 GMT"), Waits(503, Some(LONGEST_WAIT_SECONDS))),
        ("D12 410", always(Reply::full(410, &[], &[b'g'; 3000])), SwitchedOff),
    ]
}

/// The healthy webhook's traffic.
struct Traffic {
    book: Arc<Book>,
    destination: Destination,
    stop: Arc<AtomicBool>,
    posting: JoinHandle<()>,
}

#[derive(Default)]
struct Book(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    /// The events in order, with the time of the response to their POST.
    posted: Vec<(String, Instant)>,
    /// Time of each event's first arrival, and the number of arrivals.
    arrived: HashMap<String, (Instant, usize)>,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of events, from this index on, that have not arrived.
    fn missing(&self, from: usize) -> usize {
        let pages = self.pages();
        pages.posted[from..].iter().filter(|(event, _)| !pages.arrived.contains_key(event)).count()
    }
}

/// Latency of deliveries, from the response to the POST to the arrival.
#[derive(Clone, Copy)]
struct Latency {
    count: usize,
    median: Duration,
    p99: Duration,
    longest: Duration,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let (median, p99, longest) = (ms(self.median), ms(self.p99), ms(self.longest));
        write!(f, "{:6} {median:9.1} {p99:9.1} {longest:9.1}", self.count)
    }
}

impl Traffic {
    async fn start(admin: &Client) -> Self {
        let book = Arc::new(Book::default());
        let destination = Destination::start().await;
        destination.keep_nothing();
        destination.decide({
            let book = Arc::clone(&book);
            move |request| {
                let event = request.json()["id"].as_str().expect("an id").to_owned();
                book.pages().arrived.entry(event).or_insert((request.at, 0)).1 += 1;
                Reply::status(200)
            }
        });
        admin.webhook(&destination.url("/"), json!({"name": "healthy", "event_types": ["finding_added"]})).await;
        let stop = Arc::new(AtomicBool::new(false));
        let posting = tokio::spawn(post(admin.clone(), Arc::clone(&book), Arc::clone(&stop)));
        Self { book, destination, stop, posting }
    }

    /// Index of the next event.
    fn now(&self) -> usize {
        assert!(!self.posting.is_finished(), "an event of the healthy webhook was not accepted");
        self.book.pages().posted.len()
    }

    /// Latency of the events from this index on, once `count` of them have arrived.
    async fn latency(&self, from: usize, count: usize) -> Latency {
        eventually("steady traffic", async || (self.now() >= from + count).then_some(())).await;
        let until = self.now();
        // An event that has not arrived yet counts with its waiting time; its arrival is asserted at the end.
        let deadline = Instant::now() + PATIENCE;
        while self.book.missing(from) > 0 && Instant::now() < deadline {
            tokio::time::sleep(PACE).await;
        }
        let pages = self.book.pages();
        let took = |(event, answered): &(String, Instant)| {
            let arrived = pages.arrived.get(event).map_or_else(Instant::now, |(at, _)| *at);
            arrived.saturating_duration_since(*answered)
        };
        let mut all: Vec<Duration> = pages.posted[from..until].iter().map(took).collect();
        all.sort_unstable();
        let part = |percent: usize| all[(all.len() * percent / 100).min(all.len() - 1)];
        Latency { count: all.len(), median: part(50), p99: part(99), longest: all[all.len() - 1] }
    }

    /// Stops the traffic; asserts that every event arrived exactly once.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.posting.await.expect("every event was accepted");
        eventually("every event of the healthy webhook to arrive", async || (self.book.missing(0) == 0).then_some(()))
            .await;
        let pages = self.book.pages();
        assert!(pages.arrived.values().all(|(_, times)| *times == 1), "an event of the healthy webhook arrived twice");
        assert_eq!(pages.arrived.len(), pages.posted.len());
        drop(pages);
        drop(self.destination);
    }
}

/// Posts one event after the other at a steady pace.
async fn post(admin: Client, book: Arc<Book>, stop: Arc<AtomicBool>) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let id = admin.event(&events::finding("steady", "")).await;
        book.pages().posted.push((id, Instant::now()));
    }
}

/// A webhook for the event type that goes to misbehaving destinations only.
fn misbehaving(size: &Size, name: &str, end: Expected) -> Value {
    let retries = match end {
        Retried | Waits(..) => 1,
        _ => 0,
    };
    json!({"name": name, "event_types": ["report_ready"], "timeout_ms": size.timeout_ms, "retry_count": retries})
}

#[expect(clippy::print_stdout, reason = "the table is the purpose of the long run")]
async fn each_case(size: &Size) {
    let host = Host::with(|options| options.retry_every(RETRY).args(["--breaker-threshold", "1000000"])).await;
    let admin = host.admin();
    let trap = Destination::start().await;
    let size = &Size { slack_ms: if is_quiet() { QUIET_SLACK_MS } else { size.slack_ms }, ..*size };
    let traffic = Traffic::start(&admin).await;
    // The first events warm up caches and connections.
    traffic.latency(0, size.beside).await;
    let alone = traffic.latency(traffic.now(), 4 * size.beside).await;
    println!("{:34} {:>6} {:>9} {:>9} {:>9}", "beside", "events", "p50 ms", "p99 ms", "most ms");
    println!("{:34} {alone}", "alone");
    let mut wrong = Vec::new();
    for (name, response, end) in cases(&trap.url("/trap")) {
        let from = traffic.now();
        let destination = Destination::start().await;
        destination.decide(response);
        let webhook = admin.webhook(&destination.url("/hook"), misbehaving(size, name, end)).await;
        // A 503 with a time pauses the whole webhook, so the others would come after it.
        let count = if matches!(end, SwitchedOff | Waits(503, Some(_))) { 1 } else { size.bad };
        for _ in 0..count {
            admin.event(&events::minimal("report_ready")).await;
        }
        let history = first_attempts(&admin, &webhook, count).await;
        println!("{name:34} {}", traffic.latency(from, size.beside).await);
        for attempt in &history {
            if let Err(what) = compare(attempt, end, size) {
                wrong.push(format!("{name}: {what}: {attempt}"));
            }
        }
        if let Err(what) = afterwards(&admin, &webhook, &destination, count, end).await {
            wrong.push(format!("{name}: {what}"));
        }
        admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
    }
    traffic.end().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(trap.connections(), 0, "a redirect was followed");
}

/// The first attempt of each delivery, once `count` have been made.
async fn first_attempts(admin: &Client, webhook: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} first attempts"), async || {
        let history = admin.history(webhook).await;
        let first: Vec<Value> = history.into_iter().filter(|attempt| attempt["attempt"] == 1).collect();
        (first.len() >= count).then_some(first)
    })
    .await
}

/// Compares an attempt with the expected outcome; the error says how it differs.
fn compare(attempt: &Value, end: Expected, size: &Size) -> Result<(), String> {
    let (status, class, words) = match end {
        Taken(status) => (Some(status), None, ""),
        Fails(status, class, words) => (status, Some(class), words),
        TimesOut(status) => (status, Some("timeout"), ""),
        Retried => (None, Some("connect"), "was sent, but"),
        Waits(status, _) => (Some(status), Some("status"), ""),
        SwitchedOff => (Some(410), Some("status"), "410"),
    };
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    must(attempt["success"] == class.is_none(), "success")?;
    must(attempt["status_code"] == json!(status), "the status")?;
    must(attempt["response_excerpt"].as_str().is_none_or(|text| text.len() <= 1024), "more than 1 KiB is kept")?;
    let took = attempt["duration_ms"].as_u64().ok_or("no duration")?;
    match end {
        TimesOut(_) => {
            must((size.timeout_ms..=size.timeout_ms + size.slack_ms).contains(&took), "its time was not kept")?;
        }
        _ => must(took < size.timeout_ms, "it took all its time")?,
    }
    let error = attempt["error"].as_str().unwrap_or_default();
    must(class.is_none_or(|class| error.starts_with(&format!("{class}: "))), "the class")?;
    must(error.contains(words), "the words")?;
    let Waits(_, seconds) = end else { return Ok(()) };
    let ended = time(&attempt["created_at"])? + Duration::from_millis(took);
    let waits = (time(&attempt["next_attempt_at"])? - ended).as_seconds_f64();
    let (least, most) = match seconds {
        Some(seconds) => (seconds, seconds),
        None => (RETRY_SECONDS / 2.0, RETRY_SECONDS),
    };
    // The end is recorded in milliseconds, the next attempt is scheduled shortly after it.
    must((least - 0.1..most + 2.0).contains(&waits), &format!("the next attempt comes after {waits} s"))
}

fn time(value: &Value) -> Result<OffsetDateTime, String> {
    let text = value.as_str().ok_or("no time")?;
    OffsetDateTime::parse(text, &Rfc3339).map_err(|error| error.to_string())
}

/// Checks of a case beyond its first attempts.
async fn afterwards(
    admin: &Client,
    webhook: &str,
    destination: &Destination,
    count: usize,
    end: Expected,
) -> Result<(), String> {
    match end {
        Retried => {
            let last = |request: &Received| request.attempt() == 2;
            let enough = |received: &[Received]| received.iter().filter(|request| last(request)).count() >= count;
            let received = destination.wait_until("second attempts", enough).await;
            let mut ids: HashMap<&str, Vec<&Received>> = HashMap::new();
            for request in &received {
                ids.entry(request.delivery()).or_default().push(request);
            }
            // A reused connection may be closed before the request arrives: then the request is repeated at once on a new
            // connection, under the same number.
            let fine = |tries: &Vec<&Received>| {
                let numbers: Vec<u32> = tries.iter().map(|request| request.attempt()).collect();
                matches!(numbers[..], [1, 2] | [1, 1, 2]) && tries.iter().all(|request| request.body == tries[0].body)
            };
            let odd = ids.values().filter(|tries| !fine(tries)).count();
            if ids.len() != count || odd > 0 {
                return Err(format!("{} ids for {count} deliveries, {odd} not made again as they must", ids.len()));
            }
        }
        Fails(Some(300..=399), ..) if destination.received().len() != count => {
            return Err(format!("{} requests for {count} redirects", destination.received().len()));
        }
        SwitchedOff => {
            let shown = admin.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
            let audit = admin.get("/audit?limit=50").await.expect(200).list();
            let noted =
                audit.iter().any(|entry| entry["action"] == "webhook.disabled" && entry.to_string().contains(webhook));
            if shown["is_active"] != false || !shown["disabled_reason"].to_string().contains("410") || !noted {
                return Err(format!("it is not switched off, or not in the audit log: {shown}"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// D16: half of the dead destinations refuse connections, half accept them and stay silent until the timeout.
#[expect(clippy::print_stdout, reason = "the table is the purpose of the long run")]
async fn dead(size: &Size) {
    let host = Host::with(|options| options.retry_every("1s").args(["--breaker-threshold", "1000000"])).await;
    let admin = host.admin();
    let traffic = Traffic::start(&admin).await;
    traffic.latency(0, size.beside).await;
    let alone = traffic.latency(traffic.now(), 8 * size.beside).await;
    let silent = Destination::always(Reply::silence()).await;
    silent.keep_nothing();
    let closed = Destination::start().await.url("/");
    let mut dead = Vec::new();
    for number in 0..size.dead {
        let url = if number % 2 == 0 { silent.url(&format!("/{number}")) } else { closed.clone() };
        let fields = json!({"name": "dead", "event_types": ["report_ready"], "timeout_ms": size.timeout_ms});
        dead.push(admin.webhook(&url, fields).await);
    }
    let from = traffic.now();
    let (connections, mut rounds) = (silent.connections(), 0);
    // A constant backlog for the dead ones, far more than is attempted.
    while traffic.now() < from + 8 * size.beside {
        admin.event(&events::minimal("report_ready")).await;
        rounds += 1;
        let next = traffic.now() + size.beside / 2;
        within(Duration::from_secs(120), "steady traffic", async || (traffic.now() >= next).then_some(())).await;
    }
    let beside = traffic.latency(from, 8 * size.beside).await;
    println!("{:34} {:>6} {:>9} {:>9} {:>9}", "beside", "events", "p50 ms", "p99 ms", "most ms");
    println!("{:34} {alone}", "alone");
    println!("{:34} {beside}", format!("D16 {} dead, {rounds} events each", size.dead));
    assert!(silent.connections() >= connections + size.dead / 4, "too few attempts to dead destinations");
    // Events that waited behind the dead ones arrive once these are deleted.
    for webhook in dead {
        admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
    }
    traffic.end().await;
    let most = alone.p99 * size.times + size.on_top;
    assert!(beside.p99 <= most, "p99 {:?} beside {} dead ones, {:?} alone", beside.p99, size.dead, alone.p99);
}
