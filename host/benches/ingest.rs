//! Durable ingest, beside a loop that appends as much to a bare file and syncs it.
#![allow(missing_docs, reason = "a benchmark")]

mod support;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use support::{ADMIN, Host, bare, event, events, head, per_second, row, runtime, send};

fn main() {
    runtime().block_on(async {
        let client = bare();
        let host = Host::start();
        send(&client, &host.events(), Some(ADMIN), 16, events(500)).await;
        head("Durable ingest: events answered 202, no webhook; the floor appends the same groups and syncs");
        for (clients, posts, batch, goal) in
            [(1, 2_000, 1, ""), (16, 10_000, 1, ""), (256, 40_000, 1, "0.50"), (16, 800, 100, "0.70")]
        {
            let took = send(&client, &host.events(), Some(ADMIN), clients, bodies(posts, batch)).await;
            let rate = per_second(posts * batch, took);
            let floor = floor(clients * batch, posts * batch);
            row(
                &format!("{clients} clients, {batch} events a request: events/s"),
                &format!("{rate:.0}"),
                &format!("{floor:.0}"),
                Some(rate / floor),
                goal,
            );
        }
    });
}

fn bodies(posts: usize, batch: usize) -> Arc<Vec<Bytes>> {
    if batch == 1 {
        return events(posts);
    }
    let body = Bytes::from(format!("[{}]", vec![event(); batch].join(",")));
    Arc::new(vec![body; posts])
}

/// Events a second when `group` of them are appended at once and synced, for at most a few seconds.
fn floor(group: usize, events: usize) -> f64 {
    let mut file = tempfile::tempfile().expect("a file");
    let bytes = event().repeat(group);
    let start = Instant::now();
    let mut written = 0;
    while written < events && start.elapsed() < Duration::from_secs(5) {
        file.write_all(bytes.as_bytes()).expect("written");
        file.sync_data().expect("synced");
        written += group;
    }
    per_second(written, start.elapsed())
}
