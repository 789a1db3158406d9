//! Calls on their callers' threads, with real components.

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::formatter::allow_calls_here;
use crate::formatter::runtime::Limit;
use crate::formatter::thread::processor_time;
use crate::model::event::EventType;
use crate::model::webhook::Digest;
use crate::samples;

#[path = "../../../../tests/support/component.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod component;

use component::Handmade;

/// What a call of a small component costs at most in a debug build.
const BRIEF: Duration = Duration::from_millis(5);

/// A catalog whose only formatter loops on events with the word `Boom`.
fn catalog(folder: &Path) -> Catalog {
    let code = format!("(local $at i32) (local $end i32) {} (i32.const 528)", component::on_the_word("(loop (br 0))"));
    catalog_of(folder, &Handmade::new("mine", "1.0.0", "calm").format(&code))
}

/// A catalog whose only formatter is this one.
fn catalog_of(folder: &Path, formatter: &Handmade) -> Catalog {
    let drop_in = folder.join("formatters.d");
    std::fs::create_dir(&drop_in).expect("a folder");
    std::fs::write(drop_in.join("mine.wasm"), formatter.build()).expect("a file");
    let clock = Arc::new(crate::clock::SystemClock::start());
    let options = CatalogOptions::in_folder(folder, &[], clock);
    Catalog::open(CatalogOptions { cost_here: BRIEF, ..options }).expect("the catalog opens")
}

fn event(word: &str) -> Arc<Event> {
    let plain = samples::plain(EventType::FindingAdded).expect("the plain sample");
    let json = plain.json.replacen("Log4j", word, 1);
    assert!(json.contains(word));
    Arc::new(Event { json, ..plain })
}

async fn loaded(catalog: &Catalog) -> Arc<Component> {
    loop {
        if let Some(component) = catalog.current("mine") {
            return component;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_component_that_begins_to_loop_here_is_handed_to_the_pool() {
    let folder = TempDir::new().expect("a folder");
    let catalog = catalog(folder.path());
    let component = loaded(&catalog).await;
    let (calm, boom) = (event("Calm"), event("Boom"));
    let render = async |event: &Arc<Event>| catalog.render(&component, event, "{}", TransportKind::Http).await;
    let runs_here = |event: &Event| {
        let class = CallClass::format(event.json.len() + 2);
        catalog.pool.run_here(component.digest(), class, || (Duration::ZERO, Some(()))).is_some()
    };
    // The first call is the pool's: nothing is known of the component.
    let on_the_pool = render(&calm).await.expect("a payload").payload;
    assert!(!runs_here(&calm), "this thread has not permitted it");
    allow_calls_here();
    for _ in 0..1000 {
        assert_eq!(render(&calm).await.expect("a payload").payload, on_the_pool);
    }
    // On a busy machine one of them may have been too long.
    while !runs_here(&calm) {
        render(&calm).await.expect("a payload");
    }

    let counted = catalog.get("mine").expect("loaded").numbers;
    let before = processor_time();
    let failed = render(&boom).await.err();
    let used = processor_time() - before;
    // The failure is the pool's, and counted once. Here the loop was broken off long before its end.
    let Some(RenderError::Limit { limit: Limit::Fuel | Limit::Time, .. }) = failed else { panic!("{failed:?}") };
    let numbers = catalog.get("mine").expect("loaded").numbers;
    assert_eq!((numbers.calls - counted.calls, numbers.errors), (1, 1));
    let limit = catalog.shared.runtime.settings().timeout;
    assert!(used < limit / 4, "{used:?} on this thread");
    assert!(!runs_here(&calm), "its next calls are the pool's");
    assert_eq!(render(&calm).await.expect("a payload").payload, on_the_pool);
}

/// What becomes of a digest of two events that this code makes.
async fn digested(code: &str, events: &[Arc<Event>]) -> Result<RenderedDigest, RenderError> {
    let folder = TempDir::new().expect("a folder");
    let catalog = catalog_of(folder.path(), &Handmade::new("mine", "1.0.0", "alone").digest(code));
    let part = Part { number: 1, parts: 2, total: 3 };
    let component = loaded(&catalog).await;
    let made = catalog.digest(&component, events, part, "{}").await.expect("it makes digests");
    let numbers = catalog.get("mine").expect("loaded").numbers;
    assert_eq!((numbers.calls, numbers.errors), (1, u64::from(made.is_err())));
    made
}

#[tokio::test]
async fn a_digest_has_a_multiple_of_the_limits_of_a_single_message() {
    let lists = component::lists_ids;
    let two = [event("Calm"), event("Boom")];
    let ids = two.iter().map(|event| format!("{}\n", event.id)).collect::<String>();
    let body = format!("1/2\n{ids}");
    // More than 64 MiB, and more than 200 million instructions.
    let grows =
        |pages: u32| format!("(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable))");
    for also in [String::new(), grows(2_000), component::turns(60_000_000, "")] {
        let made = digested(&lists(&also), &two).await.expect("a message");
        assert_eq!((made.rendering.payload.body, made.unsupported), (body.clone().into(), Vec::new()));
    }
    let limit = |made: Result<RenderedDigest, RenderError>| match made {
        Err(RenderError::Limit { limit, .. }) => limit,
        made => panic!("{:?}", made.map(|made| made.unsupported)),
    };
    assert_eq!(limit(digested(&lists(&grows(20_000)), &two).await), Limit::Memory);
    let large = |bytes: usize| Arc::new(Event { json: "x".repeat(bytes), ..Event::clone(&two[0]) });
    let half = Digest::MAX_BYTES / 2;
    assert!(digested(&lists(""), &[large(half), large(half)]).await.is_ok());
    assert_eq!(limit(digested(&lists(""), &[large(half), large(half + 1)]).await), Limit::Input);
}

#[tokio::test]
async fn the_unsupported_events_of_a_digest_are_among_those_that_it_got() {
    let two = [event("Calm"), event("Boom")];
    let made = digested(&component::lists_ids(&component::without_the_first_of(2)), &two).await.expect("a message");
    assert_eq!(made.unsupported, [0]);
    // The place is that of the third of two.
    let wrong = component::without_the_first_of(2).replace("(i32.const 0)", "(i32.const 2)");
    let made = digested(&component::lists_ids(&wrong), &two).await;
    assert!(matches!(&made, Err(RenderError::Illegal(reason)) if reason.contains("unsupported")), "{:?}", made.err());
    let folder = TempDir::new().expect("a folder");
    let catalog = catalog_of(folder.path(), &Handmade::new("mine", "1.0.0", "alone"));
    let component = loaded(&catalog).await;
    assert!(catalog.digest(&component, &two, Part { number: 1, parts: 1, total: 2 }, "{}").await.is_none());
}

#[tokio::test]
async fn a_failure_here_is_that_of_the_pool() {
    let folder = TempDir::new().expect("a folder");
    let catalog = Catalog::open(CatalogOptions {
        cost_here: BRIEF,
        ..CatalogOptions::in_folder(folder.path(), crate::built_in(), Arc::new(crate::clock::SystemClock::start()))
    })
    .expect("the catalog opens");
    for name in catalog.ready_names() {
        let component = catalog.current(&name).expect("ready");
        for (options, json) in [("{}", "{}"), (r#"{"none":1}"#, "{}"), ("{}", "[")] {
            let event = Arc::new(Event { json: json.into(), ..Event::clone(&event("Calm")) });
            let render = async || {
                let rendered = catalog.render(&component, &event, options, TransportKind::Http).await;
                rendered.map(|rendering| rendering.payload)
            };
            let before = catalog.get(&name).expect("ready").numbers.calls;
            let on_the_pool = std::thread::scope(|scope| {
                let call = || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                    runtime.block_on(render())
                };
                scope.spawn(call).join().expect("no panic")
            });
            allow_calls_here();
            assert_eq!(render().await, on_the_pool, "{name}");
            assert_eq!(catalog.get(&name).expect("ready").numbers.calls - before, 2, "{name}");
        }
    }
}
