//! The host's allocations: how many, and of how many bytes, for an event that is accepted and for a delivery.
//!
//! The host is this program itself, started again, because only here an allocator that counts stands before the one that
//! the host uses. Counts hardly depend on the machine, and not on what else it does.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a benchmark measures time")]

mod support;

use std::alloc::{GlobalAlloc, Layout};
use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use heraldry::cli;
use mimalloc::MiMalloc;
use support::{ADMIN, Allocations, Bare, Host, Sink, bare, event, events, head, row, runtime, send};

/// Concurrent clients.
const CLIENTS: usize = 64;
#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The host's allocator, with every allocation and reallocation counted at its full size.
struct Counting;

impl Counting {
    fn count(bytes: usize) {
        COUNT.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to mimalloc as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: the caller's promises are those of `MiMalloc`.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: as above.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count(size);
        // SAFETY: as above; every block came from `MiMalloc`.
        unsafe { MiMalloc.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(block, layout) }
    }
}

fn main() -> ExitCode {
    // With a command this program is the host, or the child of a host that compiles; `cargo bench` passes flags only.
    if std::env::args().nth(1).is_some_and(|word| !word.starts_with('-')) {
        return be_the_host();
    }
    head("Allocations of the host, and their bytes (counted)");
    runtime().block_on(async {
        let client = bare();
        for (clients, posts, batch) in [(CLIENTS, 8_000, 1), (8, 80, 100)] {
            ingest(&client, clients, posts, batch).await;
        }
        let sink = Sink::start().await;
        for (format, fan_out, posts) in [("json", 1, 8_000), ("json", 10, 2_000), ("slack", 1, 4_000)] {
            deliver(&client, &sink, format, fan_out, posts).await;
        }
    });
    ExitCode::SUCCESS
}

/// Runs the command line as the product's `main` does. Beside `serve`, tells the counts for each line of standard input.
#[allow(clippy::print_stdout, reason = "the benchmark that started this reads it")]
fn be_the_host() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(exit) => return exit,
    };
    if std::env::args().nth(1).as_deref() == Some("serve") {
        std::thread::spawn(|| {
            for _ in std::io::stdin().lock().lines() {
                println!("{} {}", COUNT.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
                let _ = std::io::stdout().flush();
            }
        });
    }
    match tokio::runtime::Runtime::new().expect("a runtime").block_on(command.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => cli::report(&failure),
    }
}

async fn ingest(client: &Bare, clients: usize, posts: usize, batch: usize) {
    let mut host = Host::counting();
    let body = if batch == 1 { event() } else { format!("[{}]", vec![event(); batch].join(",")) };
    let bodies = |count: usize| Arc::new(vec![Bytes::from(body.clone()); count]);
    send(client, &host.events(), Some(ADMIN), clients, bodies(posts / 8)).await;
    let before = host.allocations();
    send(client, &host.events(), Some(ADMIN), clients, bodies(posts)).await;
    show(&format!("ingest, {clients} clients x {batch}: an event"), host.allocations() - before, posts * batch);
}

async fn deliver(client: &Bare, sink: &Sink, format: &str, fan_out: usize, posts: usize) {
    let mut host = Host::counting();
    for number in 0..fan_out {
        host.webhook(client, &sink.url(), format, number).await;
    }
    let url = host.events();
    let post = async |posts: usize| {
        let from = sink.received();
        send(client, &url, Some(ADMIN), CLIENTS, events(posts)).await;
        let received = sink.wait(from, posts * fan_out, Duration::from_secs(120)).await;
        assert_eq!(received, posts * fan_out);
    };
    post(posts / 8).await;
    let before = host.allocations();
    post(posts).await;
    show(&format!("{format}, fan-out {fan_out}: a delivery"), host.allocations() - before, posts * fan_out);
}

fn show(what: &str, made: Allocations, of: usize) {
    let each = |total: u64| total as f64 / of as f64;
    row(&format!("{what}: allocations"), &format!("{:.1}", each(made.count)), "", None, "");
    row("… bytes", &format!("{:.0}", each(made.bytes)), "", None, "");
}
