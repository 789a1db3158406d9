//! Digests of the built-in formats, and what an author's component is told about its own.

use heraldry_formatter::golden::digests::scan;

use super::*;
use crate::model::delivery::Part;
use crate::model::event::NewEvent;
use crate::watchdog::Watchdog;

/// The built-in formats that have digests.
const FORMATS: [&str; 4] = ["discord", "json", "slack", "teams"];

fn runtime(folder: &Path) -> ComponentRuntime {
    let runtime = ComponentRuntime::new(ComponentRuntimeOptions {
        settings: SandboxSettings::default(),
        calls: 1,
        compiler: Compiler::Here,
        code_cache: Some(compiled(folder)),
        host_name: "heraldry.example".into(),
        samples: crate::app::trial_samples(),
        watchdog: Watchdog::default(),
    });
    runtime.expect("the sandboxes start")
}

fn part(events: usize) -> Part {
    Part { number: 1, parts: 1, total: u32::try_from(events).expect("few") }
}

fn scanned(count: usize) -> Vec<Arc<Event>> {
    let event = |json: &str| samples::accepted(NewEvent::parse(json, "").expect("an event"));
    scan(count).iter().map(|raw| Arc::new(event(&raw.json))).collect()
}

/// A finding of about 4 KiB that is all small members, each of which is read.
fn crowded() -> Event {
    let mut event = finding(0);
    let members: String = (0..280).map(|n| format!(r#""m{n}":{n},"#)).collect();
    event.json = event.json.replacen(r#""finding":{"#, &format!(r#""finding":{{{members}"#), 1);
    event
}

/// The most that a digest may have, 4 MiB of events, of several kinds.
fn largest() -> Vec<(&'static str, Vec<Arc<Event>>)> {
    let many = |event: &Event, count: usize| {
        let own = |_| Arc::new(Event { id: EventId::generate(), ..event.clone() });
        (0..count).map(own).collect::<Vec<_>>()
    };
    vec![
        ("1,000 findings of 4 KiB", many(&finding(3_000), 1_000)),
        ("1,000 findings of many members", many(&crowded(), 1_000)),
        ("16 findings of 250 KiB", many(&finding(250 * 1024), 16)),
        ("a scan", scanned(1_000)),
    ]
}

#[test]
fn the_largest_digests_are_made_within_the_limits() {
    let folder = TempDir::new().expect("a folder");
    let runtime = runtime(folder.path());
    for built_in in built_in() {
        let (report, loaded) = runtime.check_without_samples(built_in.component);
        let loaded = loaded.expect("it fits");
        assert_eq!(loaded.digests(), FORMATS.contains(&built_in.name), "{}", built_in.name);
        assert_eq!(report.digests, loaded.digests());
        if !loaded.digests() {
            continue;
        }
        let limits = runtime.limits(loaded.manifest.size).of_digest();
        for (kind, events) in largest() {
            let bytes: usize = events.iter().map(|event| event.json.len()).sum();
            assert!(bytes <= DIGEST_INPUT_BYTES, "{kind}: {bytes} bytes");
            let run = runtime.digest(&loaded, &events, part(events.len()), "{}").expect("it has digests");
            let made = run.result.unwrap_or_else(|error| panic!("{}, {kind}: {error}", built_in.name));
            assert!(made.unsupported.is_empty() && !made.payload.body.is_empty());
            assert!(run.instructions < limits.instructions / 4, "{}, {kind}: {}", built_in.name, run.instructions);
            assert!(
                (run.memory_bytes as u64) < limits.memory_bytes / 8,
                "{}, {kind}: {}",
                built_in.name,
                run.memory_bytes
            );
        }
    }
}

#[test]
fn a_check_makes_digests_of_the_samples() {
    let folder = TempDir::new().expect("a folder");
    let runtime = runtime(folder.path());
    let check = |name: &str| {
        let built_in = built_in().iter().find(|built_in| built_in.name == name).expect("built in");
        runtime.check(built_in.component).0
    };
    let report = check("slack");
    assert!(report.fits && report.findings.is_empty(), "{:?}", report.findings);
    let trials: Vec<_> = report.digest_trials.iter().map(|trial| (&*trial.sample, trial.outcome)).collect();
    assert_eq!(trials, [("1 event", "ok"), ("100 events", "ok"), ("1000 events", "ok")]);
    assert!(check("cef").digest_trials.is_empty());
}
