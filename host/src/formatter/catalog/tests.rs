//! Calls on their callers' threads, with real components.

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::formatter::allow_calls_here;
use crate::formatter::runtime::Limit;
use crate::formatter::thread::processor_time;
use crate::model::event::EventType;
use crate::samples;

#[path = "../../../../tests/support/component.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod component;

use component::Handmade;

/// What a call of a small component costs at most in a debug build.
const BRIEF: Duration = Duration::from_millis(5);

/// A catalog whose only formatter loops on events with the word `Boom`.
fn catalog(folder: &Path) -> Catalog {
    let drop_in = folder.join("formatters.d");
    std::fs::create_dir(&drop_in).expect("a folder");
    let code = format!("(local $at i32) (local $end i32) {} (i32.const 528)", component::on_the_word("(loop (br 0))"));
    std::fs::write(drop_in.join("mine.wasm"), Handmade::new("mine", "1.0.0", "calm").format(&code).build())
        .expect("a file");
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
