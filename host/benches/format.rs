//! Formatting one event in a fresh sandbox, per built-in format, compared with the same code compiled natively.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a benchmark measures time")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heraldry::formatter::{Catalog, CatalogOptions};
use heraldry::model::event::Event;
use heraldry::samples;
use heraldry_format_slack::Slack;
use heraldry_formatter::{Context, Formatter, RawEvent};
use support::{head, row};

/// As in the host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUND: Duration = Duration::from_millis(200);
const ROUNDS: usize = 5;

fn main() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let clock = heraldry::app::Parts::default().clock;
    let options = CatalogOptions::in_folder(folder.path(), heraldry::built_in(), clock);
    let catalog = Catalog::open(CatalogOptions { processors: 2, ..options }).expect("the catalog opens");
    let catalog = Arc::new(catalog);
    let event = samples::all().iter().find(|sample| sample.name == "finding_added").and_then(samples::event);
    let event = event.expect("the plain sample");
    head("Formatting one event: microseconds a call, instance and all (the best of five rounds)");
    measure::<heraldry_format_json::Json>(&catalog, &event);
    measure::<Slack>(&catalog, &event);
    measure::<heraldry_format_teams::Teams>(&catalog, &event);
    measure::<heraldry_format_cef::Cef>(&catalog, &event);
    measure::<heraldry_format_syslog::Syslog>(&catalog, &event);
    two_threads(&catalog, &event);
}

fn measure<F: Formatter>(catalog: &Catalog, event: &Event) {
    let name = F::manifest().name;
    let component = catalog.current(name).expect("built in");
    let (raw, context) = (raw(event), context());
    // In turn, so that a slow phase of the machine affects both.
    let (mut sandbox, mut native) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        native = native.min(mean_us(|| {
            // The component gets its own copy of the event, so the native code does too.
            black_box(heraldry_formatter::format::<F>(&raw.clone(), &context, "{}").expect("a payload"));
        }));
        sandbox = sandbox.min(mean_us(|| {
            black_box(catalog.render_here(&component, event, "{}").expect("a payload"));
        }));
    }
    row(name, &format!("{sandbox:.1} us"), &format!("{native:.1} us"), Some(sandbox / native), "1.8");
}

fn raw(event: &Event) -> RawEvent {
    RawEvent {
        id: event.id.to_string(),
        type_: event.event_type.as_str().into(),
        occurred_at: event.occurred_at.to_string(),
        json: event.json.clone(),
    }
}

fn context() -> Context {
    Context {
        transport: "http".into(),
        max_bytes: None,
        host_name: "heraldry.example".into(),
        product_version: env!("CARGO_PKG_VERSION").into(),
    }
}

fn mean_us(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0_u32;
    while start.elapsed() < ROUND {
        call();
        calls += 1;
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

/// Calls per second on two threads, compared with one; and how far two threads of this machine come natively.
fn two_threads(catalog: &Arc<Catalog>, event: &Event) {
    let component = catalog.current("slack").expect("built in");
    let (raw, context) = (raw(event), context());
    let sandbox = || {
        black_box(catalog.render_here(&component, event, "{}").expect("a payload"));
    };
    let native = || {
        black_box(heraldry_formatter::format::<Slack>(&raw.clone(), &context, "{}").expect("a payload"));
    };
    for (what, call) in [("slack", &sandbox as &(dyn Fn() + Sync)), ("slack, native", &native)] {
        let (one, two) = (calls_per_second(1, call), calls_per_second(2, call));
        let what = format!("{what}, two threads: calls/s");
        row(&what, &format!("{two:.0}"), &format!("{one:.0}"), Some(two / one), "1.9");
    }
}

fn calls_per_second(threads: usize, call: &(dyn Fn() + Sync)) -> f64 {
    let loops = || {
        let start = Instant::now();
        let mut calls = 0_u32;
        while start.elapsed() < 3 * ROUND {
            call();
            calls += 1;
        }
        f64::from(calls) / start.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(loops)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).sum()
    })
}
