//! The catalog with the built-in components, in a folder of its own.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::admission::Options;
use super::*;
use crate::model::event::Event;
use crate::model::id::EventId;
use crate::model::settings::SandboxSettings;
use crate::model::url::TransportKind;
use crate::{built_in, samples};

fn options(folder: &Path) -> CatalogOptions {
    let samples = crate::app::trial_samples();
    let clock = Arc::new(crate::clock::SystemClock::start());
    CatalogOptions { samples, processors: 2, ..CatalogOptions::in_folder(folder, built_in(), clock) }
}

fn open(folder: &Path) -> Catalog {
    Catalog::open(options(folder)).expect("the catalog opens")
}

/// The plain sample of a finding, with a description of `bytes` bytes.
fn finding(bytes: usize) -> Event {
    let plain = samples::plain(crate::model::event::EventType::FindingAdded).expect("the plain sample");
    let mut event: Value = serde_json::from_str(&plain.json).expect("JSON");
    event["data"]["finding"]["description"] = json!("x".repeat(bytes));
    Event { json: event.to_string(), ..plain }
}

#[tokio::test]
async fn every_built_in_format_renders_the_largest_event_that_the_api_accepts() {
    let folder = TempDir::new().expect("a folder");
    let catalog = open(folder.path());
    let event = Arc::new(finding(255 * 1024));
    assert_eq!(catalog.ready_names().len(), built_in().len());
    for name in catalog.ready_names() {
        let component = catalog.current(&name).expect("ready");
        let payload = catalog.render(&component, &event, "{}", TransportKind::Http).await;
        assert!(payload.is_ok_and(|rendering| !rendering.payload.body.is_empty()), "{name}");
    }
}

#[tokio::test]
async fn the_same_event_gives_the_same_bytes_in_every_call() {
    let folder = TempDir::new().expect("a folder");
    let catalog = open(folder.path());
    for sample in samples::all() {
        let event = samples::event(sample).expect("an event");
        for name in catalog.ready_names() {
            let first = catalog.preview(&name, &event, "{}", TransportKind::Http, ()).await.expect("a run").result;
            let second = catalog.preview(&name, &event, "{}", TransportKind::Http, ()).await.expect("a run").result;
            assert_eq!(first, second, "{name}, {}", sample.name);
            let fits = matches!(first, Ok(_) | Err(RenderError::Unsupported(_)));
            assert!(fits, "{name}, {}: {first:?}", sample.name);
        }
    }
}

#[tokio::test]
async fn a_pinned_component_is_found_again_by_its_digest() {
    let folder = TempDir::new().expect("a folder");
    let catalog = open(folder.path());
    let name = catalog.ready_names().remove(0);
    let digest = catalog.current(&name).expect("ready").digest();
    assert_eq!(catalog.pinned(digest).await.expect("the current one").digest(), digest);
    assert!(catalog.pinned([0; 32]).await.is_none());
    drop(catalog);
    // As after an upgrade with other components: the bytes are still in the folder.
    let later = Catalog::open(CatalogOptions { built_in: &[], ..options(folder.path()) }).expect("the catalog opens");
    assert!(later.current(&name).is_none());
    assert_eq!(later.pinned(digest).await.expect("stored").manifest().name, name);
}

#[tokio::test]
async fn a_call_that_exceeds_a_limit_names_it() {
    let folder = TempDir::new().expect("a folder");
    let settings = SandboxSettings { fuel: 10_000, ..SandboxSettings::default() };
    let samples = vec![Sample { name: "a finding".into(), event: finding(10) }];
    let opened = Catalog::open(CatalogOptions { settings, samples, ..options(folder.path()) });
    let error = opened.err().expect("10,000 instructions are too few").to_string();
    assert!(error.contains("limit on instructions, which is 10000"), "{error}");
}

#[tokio::test]
async fn the_same_rendering_is_one_call() {
    let rendered = RenderCache::default();
    let key = RenderKey { event: EventId::generate(), component: [1; 32], rendering: [2; 32] };
    let rendering = |body: &'static str| Rendering {
        payload: Payload { content_type: "text/plain".into(), headers: vec![], body: body.into() },
        instead: None,
        note: None,
    };
    let first = rendered.get_or(key, async { Ok(rendering("first")) }).await.expect("rendered");
    let second = rendered.get_or(key, async { Ok(rendering("second")) }).await.expect("kept");
    assert!(Arc::ptr_eq(&first, &second));
    let other = RenderKey { rendering: [3; 32], ..key };
    let third = rendered.get_or(other, async { Ok(rendering("third")) }).await.expect("rendered");
    assert_eq!(third.payload.body, "third");
}

#[test]
fn a_manifest_is_checked_against_its_rules() {
    let good = json!({ "name": "x-1", "version": "1.2.3-rc.1", "kind": "line", "join": "newline", "later": true });
    assert_eq!(Manifest::parse(&good.to_string()).expect("good").name, "x-1");
    for (member, value) in [
        ("name", json!("X")),
        ("name", json!("../../x")),
        ("name", json!("a".repeat(64))),
        ("version", json!("1.2")),
        ("version", json!("01.2.3")),
        ("title", json!("t".repeat(81))),
        ("kind", json!("picture")),
        ("options_schema", json!({ "type": "nothing" })),
        ("options_schema", json!({ "properties": { "a": { "$ref": "file:///etc/passwd" } } })),
        ("options_schema", json!({ "$ref": "https://example.org/schema.json" })),
    ] {
        let mut bad = good.clone();
        bad[member] = value;
        assert!(Manifest::parse(&bad.to_string()).is_err(), "{bad}");
    }
    assert!(is_name(&"a".repeat(63)) && !is_name("") && !is_name("-a"));
}

#[test]
fn options_that_the_schema_does_not_name_are_rejected() {
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer", "maximum": 3 } } });
    let options = Options::new(&schema).expect("a schema");
    assert!(options.check(&json!({ "n": 3 })).is_empty());
    let faults = options.check(&json!({ "n": 4, "a/b": 1 }));
    let pointers: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.code)).collect();
    assert_eq!(pointers, [("/a~1b", "unknown_option"), ("/n", "invalid_option")]);
    assert_eq!(options.check(&json!([]))[0].code, "wrong_type");
}
