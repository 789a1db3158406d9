//! `heraldry formatter check` on files that are rejected: the whole reports are in `rejected.txt`
//! (`UPDATE_GOLDEN=1 cargo test` rewrites it).

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::component::{LOOP, SECOND_CONTRACT};
use crate::support::{Handmade, golden, host};

const CONTRACT: &str = include_str!("../../../wit/formatter.wit");

fn made() -> Handmade {
    Handmade::new("mine", "1.0.0", "x")
}

fn described(manifest: &str) -> Vec<u8> {
    made().manifest(manifest).build()
}

/// The contract with an import that no host provides.
fn importing(interface: &str, name: &str, import: &str) -> String {
    CONTRACT.replace("    import log;\n", &format!("    import log;\n    import {import};\n"))
        + &format!("package {interface} {{\n    interface {name} {{\n        now: func() -> u64;\n    }}\n}}\n")
}

/// The files, each named by its defect.
fn rejected() -> Vec<(&'static str, Vec<u8>)> {
    let wasi = importing("wasi:clocks@0.2.0", "wall-clock", "wasi:clocks/wall-clock@0.2.0");
    let other = importing("acme:tools@1.0.0", "abacus", "acme:tools/abacus@1.0.0");
    let whole = made().build();
    let no_format = CONTRACT.replace("    export format;\n", "");
    let plain_core = wat::parse_str("(module (func (export \"format\")))").expect("a module");
    vec![
        ("empty", Vec::new()),
        ("text", b"(component)".to_vec()),
        ("archive", b"PK\x03\x04 and so on".to_vec()),
        ("program", b"\x7fELF\x02\x01\x01".to_vec()),
        ("magic alone", b"\0asm".to_vec()),
        ("plain core module", plain_core),
        ("core module with the contract", made().core()),
        ("cut in the middle", whole[..whole.len() / 2].to_vec()),
        ("garbage after the head", [&whole[..8], &[0xff; 64]].concat()),
        ("exports nothing", made().contract(&no_format, "1.2.0").build()),
        (
            "imports WASI",
            made().contract(&wasi, "1.2.0").import("wasi:clocks/wall-clock@0.2.0", "now", "(result i64)").build(),
        ),
        (
            "imports something else",
            made().contract(&other, "1.2.0").import("acme:tools/abacus@1.0.0", "now", "(result i64)").build(),
        ),
        ("contract too new", made().contract(&CONTRACT.replace("@1.2.0", "@2.0.0"), "2.0.0").build()),
        ("contract too old", made().contract(&CONTRACT.replace("@1.2.0", "@0.3.0"), "0.3.0").build()),
        (
            "types of its own",
            made().contract(&CONTRACT.replace("occurred-at: string,", "occurred-at: u64,"), "1.2.0").build(),
        ),
        ("describe breaks off", made().describe("(unreachable)").build()),
        ("describe loops", made().describe(LOOP).build()),
        ("manifest is no JSON", described("name: mine")),
        ("manifest without a version", described(r#"{"name":"mine"}"#)),
        (
            "everything wrong in the manifest",
            described(&format!(r#"{{"name":"My Format","version":"1.0","title":"{}"}}"#, "t".repeat(81))),
        ),
        (
            "schema that points outside",
            described(r#"{"name":"mine","version":"1.0.0","options_schema":{"$ref":"https://example.org/s.json"}}"#),
        ),
        ("format breaks off", made().format("(unreachable)").build()),
        ("describe logs without end", crate::neighbours::logs(20_000, true)),
        ("format loops", made().format(LOOP).build()),
        ("takes all memory", made().format("(drop (memory.grow (i32.const 60000))) (i32.const 528)").build()),
        ("calls itself for ever", {
            let down = "(func $down (result i32) (i32.add (call $down) (i32.const 1)))";
            made().with(down).format("(call $down)").build()
        }),
        ("sends too much", made().pages(40).payload(&[], 65_536, 2_000_000).build()),
        ("names a header of the host's", made().payload(&[("Content-Length", "1")], 40_100, 1).build()),
        ("signs by itself", made().payload(&[("X-Webhook-Signature", "sha256=00")], 40_100, 1).build()),
        ("splits a header", made().payload(&[("X-A", "b\r\nX-Evil: 1")], 40_100, 1).build()),
        ("line with a line feed", {
            let line = r#"{"name":"mine","version":"1.0.0","description":"d","kind":"line"}"#;
            Handmade::new("mine", "1.0.0", "two\nlines").manifest(line).build()
        }),
        ("needs the large sandbox", made().pages(1100).build()),
        ("needs more than there is", made().pages(5000).build()),
    ]
}

fn check(file: &Path) -> (i32, String) {
    let folder = file.parent().expect("a folder");
    let name = file.file_name().expect("a name");
    let mut command = host::binary(folder);
    let output = command.args(["formatter", "check"]).arg(name).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8") + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().expect("a code"), text)
}

/// Masks what differs between builds: digests and sizes.
fn steady(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let shown = match line.split_once("sha256:") {
            Some((before, _)) => format!("{before}sha256:…"),
            None if line.starts_with("size ") => "size      … bytes".to_owned(),
            None => line.to_owned(),
        };
        writeln!(out, "{}", shown.trim_end()).expect("a string");
    }
    out
}

#[test]
fn every_rejected_file_gets_a_report_with_causes_and_fixes() {
    let folder = TempDir::new().expect("a folder");
    let rejected = rejected();
    assert!(rejected.len() >= 20);
    let mut shown = String::new();
    for (name, bytes) in &rejected {
        let file = folder.path().join(format!("{}.wasm", name.replace(' ', "-")));
        fs::write(&file, bytes).expect("a file");
        let (code, text) = check(&file);
        assert_eq!(code, 1, "{name}:\n{text}");
        assert!(text.contains("error[") && text.contains("fix: "), "{name}:\n{text}");
        writeln!(shown, "== {name}\n{}", steady(&text)).expect("a string");
    }
    golden::compare("author/rejected.txt", &shown);
}

/// A component is not rejected for types that came after its contract.
#[test]
fn an_older_component_that_fails_on_newer_types_is_accepted_with_a_warning() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("older.wasm");
    let older = made().contract(SECOND_CONTRACT, "1.1.0").format(crate::contract::FAILS_ON_WEBHOOKS).build();
    fs::write(&file, older).expect("a file");
    let (code, text) = check(&file);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("warning[newer_event_failed]: it fails on events of types that came after"), "{text}");
    assert!(text.contains("older.wasm is accepted, with 1 warning"), "{text}");
}

#[test]
fn a_file_that_cannot_be_checked_is_distinguished_from_a_rejected_one() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("fits.wasm");
    fs::write(&file, made().build()).expect("a file");
    let (code, text) = check(&file);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("fits.wasm is accepted"), "{text}");
    fs::create_dir(folder.path().join("folder.wasm")).expect("a folder");
    for missing in ["nope.wasm", "folder.wasm"] {
        let (code, text) = check(&folder.path().join(missing));
        assert_eq!(code, 2, "{missing}: {text}");
        assert!(text.contains("error: ") && text.contains("hint: "), "{text}");
    }
    let output =
        host::binary(folder.path()).args(["formatter", "check", "--json", "fits.wasm"]).output().expect("runs");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["fits"], &report["manifest"]["name"]), (&true.into(), &"mine".into()), "{report}");
    assert!(report["trials"].as_array().is_some_and(|trials| trials.len() > 30), "{report}");
}
