//! Modules that attack the host, each made for it, against a host that has other work to do.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use heraldry::formatter::{Compiler, ComponentRuntime, ComponentRuntimeOptions, Report};
use heraldry::model::settings::SandboxSettings;
use serde_json::json;
use tokio::time::Instant;

use crate::support::component::LOOP;
use crate::support::{Destination, Handmade, Host, events, host};

/// A memory that holds this and no more.
const PAGE: usize = 65_536;

/// What each does, and what is said of it.
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
        ("lies-about-its-answer", made("lies-about-its-answer").format("(i32.const -8)"), "sample_failed", "crashed"),
        (
            "begins-large",
            made("begins-large").pages(1100),
            "needs_large",
            "needs the large sandbox and does not ask for it",
        ),
        ("begins-too-large", made("begins-too-large").pages(5000), "needs_too_much", "more than the large sandbox has"),
    ]
}

/// All names and values are the same bytes: little memory, much to lift.
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
async fn attackers_are_refused_by_name_while_others_get_their_deliveries() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    admin.webhook(&destination.url("/healthy"), json!({})).await;
    let attack = tokio::spawn({
        let admin = admin.clone();
        async move {
            for (name, made, code, words) in attacks() {
                let answer = admin.install(name, &made.build()).await;
                assert_eq!(answer.status(), 422, "{name}: {answer}");
                let problem = answer.json();
                assert_eq!(problem["code"], code, "{name}: {answer}");
                // One that lies about its lists gets the engine's message.
                let told = words.starts_with("it crashed") || problem["reason"].to_string().contains(words);
                assert!(told, "{name}: {answer}");
            }
        }
    });
    let mut healthy = 0;
    while !attack.is_finished() {
        let id = admin.event(&events::finding("x", "low")).await;
        assert_eq!(admin.settled(&id).await[0]["status"], "delivered");
        healthy += 1;
    }
    attack.await.expect("every attacker was refused");
    assert!(healthy > 3, "only {healthy} deliveries in between");
    assert_eq!(destination.wait_for(healthy).await.len(), healthy);
    // What they took is given back: no instance is left, whatever it had grown to.
    let resident = host.resident_kib();
    assert!(resident < 400 * 1024, "{resident} KiB are left");
}

#[tokio::test]
async fn a_compile_bomb_is_stopped_and_the_api_answers_meanwhile() {
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
    let answer = upload.await.expect("an answer");
    assert_eq!((answer.status(), &answer.json()["code"]), (422, &json!("compile_limit")), "{answer}");
    assert!(longest < Duration::from_secs(5), "the API did not answer for {longest:?}");
    // The next one is compiled as ever.
    admin.install("fine", &Handmade::new("fine", "1.0.0", "x").build()).await.expect(201);
}

#[tokio::test]
async fn compiled_code_that_is_not_ours_is_never_loaded() {
    let folder = Arc::new(host::new_folder());
    let mut host = Host::with(|options| options.folder(&folder)).await;
    assert!(host.terminate().await.success());
    let components = folder.path().join("data/components");
    let code = |path: &fs::DirEntry| path.file_name().to_string_lossy().ends_with(".cwasm");
    let list = || fs::read_dir(&components).expect("the folder").map(|entry| entry.expect("an entry"));
    let mut paths: Vec<_> = list().filter(code).map(|entry| entry.path()).collect();
    paths.sort();
    assert_eq!(paths.len(), 10, "one for each built-in formatter");
    // A flipped bit, a cut, another one's code with its right MAC, nothing, and what an attacker would like.
    let mut flipped = fs::read(&paths[0]).expect("code");
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&paths[0], flipped).expect("written");
    let cut = fs::read(&paths[1]).expect("code");
    fs::write(&paths[1], &cut[..cut.len() - 1]).expect("written");
    fs::copy(&paths[3], &paths[2]).expect("copied");
    fs::write(&paths[3], b"").expect("written");
    fs::write(&paths[4], [&[0u8; 32][..], b"\x7fELF and so on"].concat()).expect("written");
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
    };
    ComponentRuntime::new(options).expect("a runtime")
}

fn judged(runtime: &ComponentRuntime, bytes: &[u8]) -> Report {
    let (report, loaded) = runtime.check(bytes);
    assert_eq!(report.fits, loaded.is_some());
    let sentences = report.findings.iter().all(|finding| !finding.message.is_empty() && !finding.fix.is_empty());
    assert!(sentences, "{report:?}");
    report
}

#[test]
fn a_component_that_is_cut_anywhere_does_not_fit() {
    let runtime = runtime();
    let whole = Handmade::new("whole", "1.0.0", "x").build();
    assert!(judged(&runtime, &whole).fits, "{:?}", judged(&runtime, &whole));
    // The sections at the end are names and producers, without which it is whole.
    let needed = whole.windows(9).rposition(|window| window == b"producers").unwrap_or(whole.len());
    for end in 0..whole.len() {
        let report = judged(&runtime, &whole[..end]);
        assert!(!report.fits || end > needed / 2, "cut at {end} of {}", whole.len());
    }
}

#[test]
fn a_component_with_a_flipped_bit_is_judged_and_nothing_breaks() {
    let runtime = runtime();
    let whole = Handmade::new("whole", "1.0.0", "x").build();
    let mut refused = 0;
    // Every byte has its turn; which bit is flipped moves on with it.
    for place in (0..whole.len()).step_by(3) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        refused += usize::from(!judged(&runtime, &flipped).fits);
    }
    assert!(refused > whole.len() / 10, "only {refused} of {} were refused", whole.len() / 3);
}
