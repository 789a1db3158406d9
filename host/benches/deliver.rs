//! Events in and delivered to a local sink, beside a bare hyper loop to the same sink in the same run.
#![allow(missing_docs, reason = "a benchmark")]

mod support;

use std::time::{Duration, Instant};

use support::{ADMIN, Bare, Host, Sink, bare, event, events, head, per_second, row, runtime, send};

const CLIENTS: usize = 64;

fn main() {
    runtime().block_on(async {
        let sink = Sink::start().await;
        let client = bare();
        head("Delivery: 64 clients post one by one, one sink takes everything");
        // The first requests open connections and fill caches.
        send(&client, &sink.url(), None, CLIENTS, events(5_000)).await;
        let floor = per_second(40_000, send(&client, &sink.url(), None, CLIENTS, events(40_000)).await);
        for (format, fan_out, posts, goal) in [
            ("json", 1, 20_000, 0.30),
            ("json", 10, 4_000, 0.60),
            ("slack", 1, 20_000, 0.25),
            ("syslog", 1, 20_000, f64::NAN),
        ] {
            let rate = deliver(&client, &sink, format, fan_out, posts).await;
            let goal = if goal.is_nan() { String::new() } else { format!("{goal:.2}") };
            row(
                &format!("{format}, fan-out {fan_out}: deliveries/s"),
                &format!("{rate:.0}"),
                &format!("{floor:.0}"),
                Some(rate / floor),
                &goal,
            );
        }
        latency(&client, &sink).await;
    });
}

/// Deliveries a second, from the first post to the last arrival.
async fn deliver(client: &Bare, sink: &Sink, format: &str, fan_out: usize, posts: usize) -> f64 {
    let host = Host::start();
    for number in 0..fan_out {
        host.webhook(client, &sink.url(), format, number).await;
    }
    warm_up(client, sink, &host, fan_out).await;
    let from = sink.taken();
    let start = Instant::now();
    send(client, &host.events(), Some(ADMIN), CLIENTS, events(posts)).await;
    let taken = sink.wait(from, posts * fan_out, Duration::from_secs(120)).await;
    assert!(taken >= posts * fan_out, "{taken} of {}", posts * fan_out);
    per_second(posts * fan_out, start.elapsed())
}

async fn warm_up(client: &Bare, sink: &Sink, host: &Host, fan_out: usize) {
    let from = sink.taken();
    send(client, &host.events(), Some(ADMIN), CLIENTS, events(500)).await;
    sink.wait(from, 500 * fan_out, Duration::from_secs(60)).await;
}

/// From a post to its arrival, one event at a time every few milliseconds.
async fn latency(client: &Bare, sink: &Sink) {
    let host = Host::start();
    host.webhook(client, &sink.url(), "json", 0).await;
    warm_up(client, sink, &host, 1).await;
    let mut took = Vec::new();
    for _ in 0..500 {
        let from = sink.taken();
        let start = Instant::now();
        send(client, &host.events(), Some(ADMIN), 1, std::sync::Arc::new(vec![event().into()])).await;
        assert_eq!(sink.wait(from, 1, Duration::from_secs(10)).await, 1);
        took.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took.sort_unstable();
    let ms = |share: f64| took[(took.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    row("latency, post to sink, idle host: p50 ms", &format!("{:.2}", ms(0.5)), "", None, "5");
    row("latency, post to sink, idle host: p99 ms", &format!("{:.2}", ms(0.99)), "", None, "15");
}
