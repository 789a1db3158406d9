//! Hostile components, against a host under load.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heraldry::formatter::{Compiler, ComponentRuntime, ComponentRuntimeOptions, Report};
use heraldry::model::settings::SandboxSettings;
use serde_json::json;
use tokio::time::Instant;

use crate::support::component::LOOP;
use crate::support::{Destination, Handmade, Host, events, host};

/// Size of a WebAssembly memory page in bytes.
const PAGE: usize = 65_536;

/// The attacks: name, component, code and words of the finding.
fn attacks() -> Vec<(&'static str, Handmade, &'static str, &'static str)> {
    let made = |name: &'static str| Handmade::new(name, "1.0.0", "x");
    let many: String = (0..300).map(|n| format!("(func $f{n} (result i32) (call $f{}))", (n + 1) % 300)).collect();
    vec![
        ("format-loops", made("format-loops").format(LOOP), "sample_failed", "limit on instructions"),
        ("describe-loops", made("describe-loops").describe(LOOP), "describe_failed", "limit on instructions"),
        (
            "start-loops",
            made("start-loops").with("(func $begin (loop (br 0))) (start $begin)"),
            "describe_failed",
            "limit on instructions",
        ),
        (
            "grows",
            made("grows").format("(drop (memory.grow (i32.const 65000))) (i32.const 528)"),
            "sample_failed",
            "limit on memory",
        ),
        (
            "grows-slowly",
            made("grows-slowly").format("(loop (drop (memory.grow (i32.const 1))) (br 0)) (unreachable)"),
            "sample_failed",
            "limit on memory",
        ),
        (
            "tables",
            made("tables")
                .with("(table $t 1 funcref)")
                .format("(drop (table.grow $t (ref.null func) (i32.const 10000000))) (i32.const 528)"),
            "sample_failed",
            "limit on table elements",
        ),
        (
            "recurses",
            made("recurses")
                .with("(func $down (result i32) (i32.add (call $down) (i32.const 1)))")
                .format("(call $down)"),
            "sample_failed",
            "limit on stack",
        ),
        ("goes-round", made("goes-round").with(&many).format("(call $f0)"), "sample_failed", "limit on stack"),
        (
            "one-byte-more",
            made("one-byte-more").pages(18).payload(&[], PAGE, 1024 * 1024 - 9),
            "sample_failed",
            "limit on output",
        ),
        (
            "a-gibibyte",
            made("a-gibibyte").payload(&[], 0, 1 << 30),
            "sample_failed",
            "it crashed or crossed a limit: no such memory",
        ),
        ("a-million-headers", a_million_headers(), "sample_failed", "limit on output"),
        (
            "traps-in-arithmetic",
            made("traps-in-arithmetic").format("(i32.div_u (i32.const 1) (i32.const 0))"),
            "sample_failed",
            "divide by zero",
        ),
        (
            "wild-pointer",
            made("wild-pointer").format("(i32.load (i32.const -8))"),
            "sample_failed",
            "reached outside its memory",
        ),
        ("lies-about-its-result", made("lies-about-its-result").format("(i32.const -8)"), "sample_failed", "crashed"),
        (
            "begins-large",
            made("begins-large").pages(1100),
            "needs_large",
            "needs the large sandbox and does not ask for it",
        ),
        ("begins-too-large", made("begins-too-large").pages(5000), "needs_too_much", "more than the large sandbox has"),
    ]
}

/// All names and values share the same bytes: little guest memory, a lot of work for the host.
fn a_million_headers() -> Handmade {
    let fill = r#"(local $at i32)
        (local.set $at (i32.const 131072))
        (loop $next
          (i32.store (local.get $at) (i32.const 40000))
          (i32.store offset=4 (local.get $at) (i32.const 1))
          (i32.store offset=8 (local.get $at) (i32.const 40000))
          (i32.store offset=12 (local.get $at) (i32.const 1))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (br_if $next (i32.lt_u (local.get $at) (i32.const 16131072))))
        (i32.store offset=712 (i32.const 0) (i32.const 131072))
        (i32.store offset=716 (i32.const 0) (i32.const 1000000))
        (i32.const 700)"#;
    let made = Handmade::new("a-million-headers", "1.0.0", "x").pages(250).payload(&[("a", "b")], PAGE, 1);
    made.format(fill)
}

#[tokio::test]
async fn hostile_components_are_rejected_by_cause_while_other_deliveries_arrive() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    admin.webhook(&destination.url("/healthy"), json!({})).await;
    let attack = tokio::spawn({
        let admin = admin.clone();
        async move {
            for (name, made, code, words) in attacks() {
                let response = admin.install(name, &made.build()).await;
                assert_eq!(response.status(), 422, "{name}: {response}");
                let problem = response.json();
                assert_eq!(problem["code"], code, "{name}: {response}");
                // A list with invalid bounds is reported in the engine's words.
                let matches = words.starts_with("it crashed") || problem["reason"].to_string().contains(words);
                assert!(matches, "{name}: {response}");
            }
        }
    });
    let mut healthy = 0;
    while !attack.is_finished() {
        let id = admin.event(&events::finding("x", "low")).await;
        assert_eq!(admin.settled(&id).await[0]["status"], "delivered");
        healthy += 1;
    }
    attack.await.expect("every attacker was rejected");
    assert!(healthy > 3, "only {healthy} deliveries in between");
    assert_eq!(destination.wait_for(healthy).await.len(), healthy);
    // Their memory is released: no instance is left.
    let resident = host.resident_kib();
    assert!(resident < 400 * 1024, "{resident} KiB are left");
}

#[tokio::test]
async fn a_compile_bomb_is_stopped_while_the_api_keeps_responding() {
    let host = Host::with(|options| options.args(["--formatter-compile-time", "4s"])).await;
    let admin = host.admin();
    // Many functions, each with a wide branch.
    let arms = "0 ".repeat(500);
    let wide = format!("(param i32) (result i32) (block (br_table {arms} 0 (local.get 0))) (local.get 0)");
    let fields: String = (0..12000).map(|n| format!("(func $bomb{n} {wide})")).collect();
    let bomb = Handmade::new("bomb", "1.0.0", "x").with(&fields).build();
    let upload = tokio::spawn({
        let admin = admin.clone();
        async move { admin.install("bomb", &bomb).await }
    });
    let mut longest = Duration::ZERO;
    while !upload.is_finished() {
        let asked = Instant::now();
        admin.outside().get("/healthz").await.expect(200);
        longest = longest.max(asked.elapsed());
        tokio::task::yield_now().await;
    }
    let response = upload.await.expect("a response");
    assert_eq!((response.status(), &response.json()["code"]), (422, &json!("compile_limit")), "{response}");
    assert!(longest < Duration::from_secs(5), "the API did not respond for {longest:?}");
    // The next component is compiled normally.
    admin.install("fine", &Handmade::new("fine", "1.0.0", "x").build()).await.expect(201);
}

#[tokio::test]
async fn compiled_code_with_a_wrong_mac_is_never_loaded() {
    let folder = Arc::new(host::new_folder());
    let mut host = Host::with(|options| options.folder(&folder)).await;
    assert!(host.terminate().await.success());
    let components = folder.path().join("data/components");
    let code = |path: &fs::DirEntry| path.file_name().to_string_lossy().ends_with(".cwasm");
    let list = || fs::read_dir(&components).expect("the folder").map(|entry| entry.expect("an entry"));
    let mut paths: Vec<_> = list().filter(code).map(|entry| entry.path()).collect();
    paths.sort();
    assert_eq!(paths.len(), 10, "one for each built-in formatter");
    // A flipped bit, a truncated file, another component's code with its valid MAC, an empty file, injected code.
    let mut flipped = fs::read(&paths[0]).expect("code");
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    // Other tests' hosts have the same files.
    let replace = |path: &Path, bytes: &[u8]| {
        fs::remove_file(path).expect("removed");
        fs::write(path, bytes).expect("written");
    };
    replace(&paths[0], &flipped);
    let cut = fs::read(&paths[1]).expect("code");
    replace(&paths[1], &cut[..cut.len() - 1]);
    replace(&paths[2], &fs::read(&paths[3]).expect("code"));
    replace(&paths[3], b"");
    replace(&paths[4], &[&[0u8; 32][..], b"\x7fELF and so on"].concat());
    let host = host.start_again().await;
    let listed = host.admin().get("/formatters").await.expect(200).list();
    assert!(listed.len() == paths.len() && listed.iter().all(|formatter| formatter["state"] == "ready"), "{listed:?}");
    assert!(host.log().matches("the component is compiled again").count() >= 4, "{}", host.log());
}

fn runtime() -> ComponentRuntime {
    let options = ComponentRuntimeOptions {
        settings: SandboxSettings { fuel: 3_000_000, ..SandboxSettings::default() },
        calls: 2,
        compiler: Compiler::Here,
        code_cache: None,
        host_name: "heraldry.example".into(),
        samples: heraldry::app::trial_samples().into_iter().take(1).collect(),
        watchdog: heraldry::watchdog::Watchdog::default(),
    };
    ComponentRuntime::new(options).expect("a runtime")
}

fn checked(runtime: &ComponentRuntime, bytes: &[u8]) -> Report {
    let (report, loaded) = runtime.check(bytes);
    assert_eq!(report.fits, loaded.is_some());
    let sentences = report.findings.iter().all(|finding| !finding.message.is_empty() && !finding.fix.is_empty());
    assert!(sentences, "{report:?}");
    report
}

#[test]
fn a_truncated_component_is_rejected() {
    let runtime = runtime();
    let whole = Handmade::new("whole", "1.0.0", "x").build();
    assert!(checked(&runtime, &whole).fits, "{:?}", checked(&runtime, &whole));
    // The last sections hold names and producers, without which a component is still complete.
    let needed = whole.windows(9).rposition(|window| window == b"producers").unwrap_or(whole.len());
    for end in 0..whole.len() {
        let report = checked(&runtime, &whole[..end]);
        assert!(!report.fits || end > needed / 2, "cut at {end} of {}", whole.len());
    }
}

#[test]
fn a_component_with_a_flipped_bit_is_checked_without_a_crash() {
    let runtime = runtime();
    let whole = Handmade::new("whole", "1.0.0", "x").build();
    let mut rejected = 0;
    // Every third byte is flipped in turn, each in another bit.
    for position in (0..whole.len()).step_by(3) {
        let mut flipped = whole.clone();
        flipped[position] ^= 1 << (position % 8);
        rejected += usize::from(!checked(&runtime, &flipped).fits);
    }
    assert!(rejected > whole.len() / 10, "only {rejected} of {} were rejected", whole.len() / 3);
}
