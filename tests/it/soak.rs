//! Half an hour of everything at once: failing destinations, formatter swaps, kills; nothing is lost, memory and disk stay
//! bounded.
//!
//! `HERALDRY_SOAK_MINUTES=30 cargo test --release -p heraldry --test it -- --ignored --nocapture soak`

#![expect(clippy::disallowed_methods, reason = "it measures its own run")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Destination, Handmade, Host, Reply, events, within};

/// Events per second; about 70 % of the throughput of a debug build on a small machine.
const RATE: f64 = 150.0;
/// Limit for all deliveries to arrive after the last event.
const DRAIN: Duration = Duration::from_secs(300);

#[tokio::test]
#[ignore = "takes HERALDRY_SOAK_MINUTES"]
#[expect(clippy::disallowed_methods, reason = "duration and rate are set by variables")]
async fn soak() {
    let number = |name: &str, default: f64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
    };
    run(Duration::from_secs_f64(number("HERALDRY_SOAK_MINUTES", 30.0) * 60.0), number("HERALDRY_SOAK_RATE", RATE))
        .await;
}

/// The ids that arrived, each with its count.
#[derive(Default)]
struct Arrived {
    once: Mutex<HashSet<String>>,
    again: AtomicU64,
}

impl Arrived {
    fn record(&self, id: &str) {
        let mut once = self.once.lock().expect("not poisoned");
        if !once.insert(id.to_owned()) {
            self.again.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self) -> usize {
        self.once.lock().expect("not poisoned").len()
    }
}

/// Posts events until stopped, and retries each until it is acknowledged.
async fn post(admin: Arc<Mutex<Client>>, stop: Arc<AtomicBool>, rate: f64, accepted: Arc<AtomicU64>) {
    let start = Instant::now();
    let mut sent = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * rate) as u64;
        if due <= sent {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let batch = events::findings(usize::try_from((due - sent).min(100)).expect("few"));
        let batch: Vec<Value> = batch
            .into_iter()
            .map(|mut event| {
                event["id"] = json!(events::new_id());
                event
            })
            .collect();
        sent += batch.len() as u64;
        let body = json!(batch);
        loop {
            let client = admin.lock().expect("not poisoned").clone();
            if client
                .request("POST", "/events")
                .json(&body)
                .try_send()
                .await
                .is_some_and(|response| response.status() == 202)
            {
                break;
            }
            // The host is down or overloaded: the id makes the retry idempotent.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        accepted.fetch_add(batch.len() as u64, Ordering::Relaxed);
    }
}

fn folder_kib(folder: &std::path::Path) -> u64 {
    std::fs::read_dir(folder).map_or(0, |entries| {
        entries
            .flatten()
            .map(|entry| match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folder_kib(&entry.path()),
                Ok(metadata) => metadata.len() / 1024,
                // The file was removed in the meantime.
                Err(_) => 0,
            })
            .sum()
    })
}

#[expect(clippy::print_stdout, reason = "the figures are the purpose of the run")]
async fn run(long: Duration, rate: f64) {
    // Retention by count, a minute or two of events, so that memory and disk can stay flat.
    let kept = ((rate * 120.0) as u64).max(1000).to_string();
    let host = Host::with(|options| {
        let counts = ["--max-events-kept", &kept, "--max-history", &kept];
        // The dead destination's webhook is disabled and its deliveries are held: these expire by age.
        options.retry_every("500ms").args(counts).args(["--retention", "2min", "--cache", "16MiB"])
    })
    .await;
    let (healthy, flaky, dead) = (Destination::start().await, Destination::start().await, Destination::start().await);
    let (good, shaky) = (Arc::new(Arrived::default()), Arc::new(Arrived::default()));
    healthy.decide({
        let good = Arc::clone(&good);
        move |request| {
            good.record(request.delivery());
            Reply::status(200)
        }
    });
    flaky.decide({
        let shaky = Arc::clone(&shaky);
        move |request| {
            if fastrand::u8(..) < 50 {
                return Reply::status(503);
            }
            shaky.record(request.delivery());
            Reply::status(200)
        }
    });
    dead.from_now_on(Reply::close());
    let client = host.admin();
    let versions: Vec<Vec<u8>> =
        (0..4).map(|number| Handmade::new("soaked", &format!("1.0.{number}"), &format!("v{number}")).build()).collect();
    client.install("soaked", &versions[0]).await.expect(201);
    client.webhook(&healthy.url("/"), json!({"format": "soaked"})).await;
    client.webhook(&flaky.url("/"), json!({"retry_count": 10})).await;
    client.webhook(&dead.url("/"), json!({"retry_count": 1})).await;

    let admin = Arc::new(Mutex::new(client));
    let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let poster = tokio::spawn(post(Arc::clone(&admin), Arc::clone(&stop), rate, Arc::clone(&accepted)));
    let (start, mut host, mut kills, mut swaps) = (Instant::now(), host, 0, 0);
    let mut samples: Vec<(u64, u64)> = Vec::new();
    println!("| minute | accepted | delivered (healthy) | delivered (flaky) | resident MiB | disk MiB |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut next = Duration::ZERO;
    while start.elapsed() < long {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let client = admin.lock().expect("not poisoned").clone();
        swaps += 1;
        client.install("soaked", &versions[swaps % versions.len()]).await.expect(200);
        // One kill after a third of the time, one after two thirds.
        if kills < 2 && start.elapsed() > long * (kills + 1) / 3 {
            host.kill();
            kills += 1;
            host = host.start_again().await;
            *admin.lock().expect("not poisoned") = host.admin();
        }
        if start.elapsed() >= next {
            next += (long / 15).max(Duration::from_secs(5));
            let (resident, disk) = (host.resident_kib(), folder_kib(&host.data()));
            samples.push((resident, disk));
            println!(
                "| {:.1} | {} | {} | {} | {} | {} |",
                start.elapsed().as_secs_f64() / 60.0,
                accepted.load(Ordering::Relaxed),
                good.count(),
                shaky.count(),
                resident / 1024,
                disk / 1024
            );
        }
    }
    stop.store(true, Ordering::Relaxed);
    poster.await.expect("the poster");
    let wanted = usize::try_from(accepted.load(Ordering::Relaxed)).expect("a number");
    within(DRAIN, "everything to arrive", async || (good.count() >= wanted && shaky.count() >= wanted).then_some(()))
        .await;
    let again = good.again.load(Ordering::Relaxed) + shaky.again.load(Ordering::Relaxed);
    println!("accepted {wanted}, delivered {} + {}, lost 0, duplicated {again}", good.count(), shaky.count());
    println!("kills {kills}, swaps {swaps}, webhooks that failed all the time: 1 (switched off by its breaker)");
    assert_eq!((good.count(), shaky.count()), (wanted, wanted), "one delivery per event");
    // Flat: the last third is not larger than the middle one, within the effect of a kill or a checkpoint.
    let third = samples.len() / 3;
    if third >= 3 {
        let mean = |of: &[(u64, u64)], pick: fn(&(u64, u64)) -> u64| of.iter().map(pick).sum::<u64>() / of.len() as u64;
        let (middle, last) = (&samples[third..2 * third], &samples[2 * third..]);
        for (what, pick) in [("memory", (|s| s.0) as fn(&(u64, u64)) -> u64), ("disk", |s| s.1)] {
            let (before, after) = (mean(middle, pick), mean(last, pick));
            assert!(after <= before + before / 4, "{what} grew from {before} to {after} KiB");
        }
    }
}
