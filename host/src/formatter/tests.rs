//! The catalog with the built-in components, in a folder of its own.

mod digests;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Condvar, LazyLock, Mutex};

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
    CatalogOptions { code_cache: Some(compiled(folder)), ..cold_options(folder) }
}

fn cold_options(folder: &Path) -> CatalogOptions {
    let samples = crate::app::trial_samples();
    let clock = Arc::new(crate::clock::SystemClock::start());
    CatalogOptions { samples, processors: 2, ..CatalogOptions::in_folder(folder, built_in(), clock) }
}

/// A code cache in the folder with the machine code of the built-in formats. It is made once: compiling takes seconds.
pub(crate) fn compiled(folder: &Path) -> CodeCache {
    static FILES: LazyLock<Vec<(OsString, Vec<u8>)>> = LazyLock::new(|| {
        let folder = TempDir::new().expect("a folder");
        let code_cache = cache(folder.path());
        let options = CatalogOptions { code_cache: Some(code_cache.clone()), ..cold_options(folder.path()) };
        drop(Catalog::open(options).expect("the catalog opens"));
        let files =
            std::fs::read_dir(&code_cache.folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.map(|path| (path.file_name().expect("a name").to_owned(), std::fs::read(path).expect("a file"))).collect()
    });
    let code_cache = cache(folder);
    for (name, content) in FILES.iter() {
        std::fs::write(code_cache.folder.join(name), content).expect("a file");
    }
    code_cache
}

fn cache(folder: &Path) -> CodeCache {
    let folder = folder.join("code");
    std::fs::create_dir_all(&folder).expect("a folder");
    CodeCache { folder, key: [7; 32] }
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
    // By these files the host knows the formats before it has compiled them.
    for built_in in built_in() {
        let component = catalog.current(built_in.name).expect("ready");
        let recorded = Manifest::parse(built_in.manifest).expect("a manifest");
        assert_eq!(format!("{:?}", component.manifest()), format!("{recorded:?}"), "{}", built_in.name);
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

/// A gate at which a catalog stops before it loads a component, and the formats that it is told are wanted.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<Pass>, Condvar)>);

/// How often the gate may be passed, and what is wanted then.
#[derive(Default)]
struct Pass {
    left: usize,
    wanted: &'static [&'static str],
}

impl Gate {
    /// Options of a catalog with one loading thread, which passes the gate once for each component.
    fn options(&self, folder: &Path) -> CatalogOptions {
        let gate = self.clone();
        let wanted = Box::new(move || gate.pass());
        CatalogOptions { wanted, processors: 1, ..options(folder) }
    }

    fn pass(&self) -> HashSet<String> {
        let (state, opened) = &*self.0;
        let mut pass = opened.wait_while(state.lock().expect("no panic"), |pass| pass.left == 0).expect("no panic");
        pass.left -= 1;
        pass.wanted.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Lets the catalog load so many components, first those that are wanted.
    fn open(&self, left: usize, wanted: &'static [&'static str]) {
        *self.0.0.lock().expect("no panic") = Pass { left, wanted };
        self.0.1.notify_all();
    }
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_is_wanted_is_loaded_first_and_the_rest_is_known_meanwhile() {
    let (folder, gate) = (TempDir::new().expect("a folder"), Gate::default());
    let catalog = Catalog::start(gate.options(folder.path())).expect("the catalog starts");
    assert_eq!(catalog.loading(), built_in().len());
    gate.open(1, &["teams"]);
    until(|| catalog.loading() < built_in().len()).await;
    assert!(catalog.current("teams").is_some() && !catalog.is_settled());

    // One that is loading has everything but statistics, and may be named.
    let infos = catalog.list();
    assert_eq!(infos.len(), built_in().len());
    for info in infos {
        let is_ready = info.name == "teams";
        assert_eq!(info.state == State::Ready, is_ready, "{}: {:?}", info.name, info.state);
        assert_eq!(info.state == State::Loading, !is_ready, "{}: {:?}", info.name, info.state);
        assert!(info.version.is_some() && info.options_schema.is_some() && info.digest.is_some(), "{}", info.name);
        assert_eq!(catalog.versions(&info.name).expect("versions").len(), 1);
        assert_eq!(catalog.get(&info.name).expect("listed").state, info.state);
    }
    assert_eq!(catalog.declared().len(), built_in().len());
    let Standing::Loading(Some(json)) = catalog.standing("json") else { panic!("json is not loading") };
    assert!(json.check_options(&json!({ "shape": "plain" })).is_empty());
    assert_eq!(json.check_options(&json!({ "shape": "round" }))[0].code, "invalid_option");
    let Standing::Loading(Some(cef)) = catalog.standing("cef") else { panic!("cef is not loading") };
    assert!(cef.makes_lines() && !json.makes_lines());
    assert!(matches!(catalog.standing("nonsense"), Standing::Unknown));
    // Its name is taken.
    let upload = catalog.install("cef".into(), Vec::new(), |_| true, ()).await;
    assert!(matches!(upload, Err(InstallError::Conflict(_))), "{upload:?}");

    // The next is the one that somebody asks for.
    let asked = async {
        // It compiles for longer than a request waits, perhaps.
        while !matches!(catalog.standing_soon("syslog").await, Standing::Ready(_)) {}
    };
    tokio::join!(asked, async { gate.open(1, &[]) });
    assert_eq!(catalog.loading(), built_in().len() - 2);
    gate.open(usize::MAX, &[]);
    until(|| catalog.is_settled()).await;
    assert_eq!((catalog.ready_names().len(), catalog.loading()), (built_in().len(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_formatter_that_is_loading_is_waited_for_as_long_as_clients_wait() {
    let (folder, gate) = (TempDir::new().expect("a folder"), Gate::default());
    let catalog = Catalog::start(gate.options(folder.path())).expect("the catalog starts");
    // Nothing is loaded while the gate is closed, so virtual time passes.
    assert!(matches!(catalog.standing_soon("json").await, Standing::Loading(Some(_))));
    gate.open(usize::MAX, &[]);
}

#[tokio::test]
async fn uploads_and_files_are_loading_too_and_keep_their_order() {
    let folder = TempDir::new().expect("a folder");
    let renamed = |name: &str| -> Vec<u8> {
        let slack = built_in().iter().find(|built_in| built_in.name == "slack").expect("built in");
        let mut bytes = slack.component.to_vec();
        for at in 0..bytes.len() - 5 {
            if &bytes[at..at + 5] == b"slack" {
                bytes[at..at + 5].copy_from_slice(name.as_bytes());
            }
        }
        bytes
    };
    let only_third_parties = |gate: &Gate| CatalogOptions { built_in: &[], ..gate.options(folder.path()) };
    let first = Gate::default();
    first.open(usize::MAX, &[]);
    let catalog = Catalog::open(only_third_parties(&first)).expect("the catalog opens");
    // Of two that want it only if it is new, one is too late, whichever that is.
    let install = || catalog.install("third".into(), renamed("third"), |exists| !exists, ());
    let installed = tokio::join!(install(), install());
    let ((Ok(true), Err(late)) | (Err(late), Ok(true))) = installed else { panic!("{installed:?}") };
    assert_eq!(late, InstallError::Unwanted);
    drop(catalog);
    // Two files of one name, the first of which is the larger; and one with the name of the upload.
    let drop_in = folder.path().join("formatters.d");
    std::fs::create_dir(&drop_in).expect("a folder");
    let put = |file: &str, bytes: &[u8]| std::fs::write(drop_in.join(file), bytes).expect("a file");
    put("a.wasm", &renamed("fours"));
    put("b.wasm", &renamed("third"));

    let gate = Gate::default();
    let catalog = Catalog::start(only_third_parties(&gate)).expect("the catalog starts");
    let states: Vec<_> = catalog.list().into_iter().map(|info| (info.name, info.origin, info.state)).collect();
    let loading = |name: &str, origin| (name.to_owned(), origin, State::Loading);
    let expected = [loading("a", Origin::Folder), loading("b", Origin::Folder), loading("third", Origin::Upload)];
    assert_eq!(states, expected);
    // A file may have any name.
    assert!(matches!(catalog.standing("fours"), Standing::Loading(None)));
    assert!(matches!(catalog.standing("third"), Standing::Loading(None)));

    // A name that nothing else has is perhaps a file's.
    gate.open(2, &["fours", "fives"]);
    until(|| catalog.loading() == 1).await;
    assert!(catalog.current("fours").is_some());
    let rejected = catalog.get("b").expect("listed");
    assert!(matches!(&rejected.state, State::Rejected { code, .. } if code == "duplicate_name"), "{rejected:?}");
    // An upload that is deleted while it is loading does not come back.
    catalog.delete("third".into()).await.expect("deleted");
    assert_eq!(catalog.loading(), 0);
    gate.open(usize::MAX, &[]);
    until(|| catalog.is_settled()).await;
    assert_eq!(catalog.get("third").expect("the file's").origin, Origin::Folder);
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
    // Alone: what is there is used, and nothing is kept.
    let fourth = rendered.get_or_alone(key, async { Ok(rendering("fourth")) }).await.expect("kept");
    assert!(Arc::ptr_eq(&first, &fourth));
    let new = RenderKey { event: EventId::generate(), ..key };
    for body in ["fifth", "sixth"] {
        let alone = rendered.get_or_alone(new, async { Ok(rendering(body)) }).await.expect("rendered");
        assert_eq!(alone.payload.body, body);
    }
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
