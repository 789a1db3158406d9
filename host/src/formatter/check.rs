//! Is this a formatter? Every misfit at once, each in words that say what to do.

use wasmparser::{Parser, Payload as Section};
use wasmtime::Engine;
use wasmtime::component::Component as Compiled;
use wasmtime::component::types::ComponentItem;

use super::compile::{self, Compile};
use super::error::{Limit, RenderError};
use super::manifest::{Kind, Manifest, Options, Size};
use super::report::{Described, Finding, Report, Severity, Trial};
use super::sandbox::{Called, Linked, PATIENT, Payload, Sandbox, Surroundings};
use super::{Sample, digest_text};
use crate::model::header;
use crate::model::url::TransportKind;

/// The contract's package.
const PACKAGE: &str = "heraldry:formatter/";
/// The one import that the host gives, in any minor version.
const LOG: &str = "heraldry:formatter/log@1.";
/// The one export that makes a formatter.
const FORMAT: &str = "heraldry:formatter/format@";
/// What a formatter may export beside.
const INTERPRET: &str = "heraldry:formatter/interpret@1.";
/// The newest minor version of the contract that this host knows, and how it is written.
const NEWEST_MINOR: u64 = 1;
const NEWEST: &str = "1.1.0";
/// From this share of a limit on (in percent), its author is told.
const NEAR_PERCENT: u64 = 50;
/// Samples that one finding names.
const NAMED_SAMPLES: usize = 5;
/// Samples that may use up the limit on instructions or time before no more are run.
const SLOW_SAMPLES: usize = 2;
/// Names that one finding lists.
const NAMED: usize = 40;

/// A component that fits, compiled and asked for its manifest.
pub(super) struct Fitting {
    pub(super) manifest: Manifest,
    pub(super) linked: Linked,
    pub(super) options: Options,
}

/// What a component is held against.
pub(super) struct Bench<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) compile: &'a Compile,
    pub(super) samples: &'a [Sample],
    pub(super) around: &'a Surroundings,
}

/// Holds bytes against the contract: what they are, what they import and export, what they say of
/// themselves, and how they do on the sample events. Goes on after a finding wherever there is more to find.
/// `digest` is that of the bytes.
pub(super) fn check(bench: &Bench<'_>, bytes: &[u8], digest: &[u8; 32]) -> (Report, Option<Fitting>) {
    let mut report = Report {
        fits: false,
        bytes: bytes.len(),
        digest: digest_text(digest),
        contract: None,
        interprets: false,
        manifest: None,
        findings: Vec::new(),
        trials: Vec::new(),
    };
    let fitting = judge(bench, bytes, digest, &mut report);
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report.fits = report.findings.iter().all(|finding| finding.severity == Severity::Warning);
    let fitting = fitting.filter(|_| report.fits);
    (report, fitting)
}

fn judge(bench: &Bench<'_>, bytes: &[u8], digest: &[u8; 32], report: &mut Report) -> Option<Fitting> {
    if let Err(finding) = look(bytes, bench.sandbox.settings().component_bytes) {
        report.findings.push(finding);
        return None;
    }
    let (compiled, size) = match load(bench, bytes, digest) {
        Ok(loaded) => loaded,
        Err(finding) => {
            report.findings.push(finding);
            return None;
        }
    };
    compare(bench.sandbox.engine(size)?, &compiled, bytes, report);
    if !report.findings.iter().all(|finding| finding.severity == Severity::Warning) {
        return None;
    }
    let linked = bench.sandbox.link(&compiled, size, report.interprets);
    // Types of records are compared only now, when there is an instance.
    let linked = linked.and_then(|linked| bench.sandbox.compare_types(&linked).map(|()| linked));
    let linked = match linked {
        Ok(linked) => linked,
        Err(words) => {
            report.findings.push(Finding::error(
                "wrong_types",
                format!("its imports or exports are not of the contract's types: {}", header::printable(&words, 1000)),
                format!("make its bindings anew from wit/formatter.wit, version {NEWEST}, and build it again"),
            ));
            return None;
        }
    };
    let (manifest, linked) = describe(bench, &compiled, linked, report)?;
    let options = Options::new(&manifest.options_schema).ok()?;
    try_samples(bench, &linked, &manifest, report);
    Some(Fitting { manifest, linked, options })
}

/// What the first bytes say.
fn look(bytes: &[u8], most: usize) -> Result<(), Finding> {
    let rebuild = "give the component that `heraldry formatter build` makes";
    if bytes.is_empty() {
        return Err(Finding::error("empty", "the file is empty", rebuild));
    }
    if bytes.len() > most {
        return Err(too_large(bytes.len() as u64, most));
    }
    let Some(([b'\0', b'a', b's', b'm'], rest)) = bytes.split_first_chunk::<4>() else {
        let text = bytes.trim_ascii_start().starts_with(b"(");
        let (words, fix) = if text {
            ("it is WebAssembly text, not a binary", "turn it into a binary component first; text is never loaded")
        } else {
            ("it does not begin like WebAssembly (bytes 00 61 73 6d)", rebuild)
        };
        return Err(Finding::error("not_wasm", words, fix));
    };
    match rest {
        [0x01, 0, 0, 0, ..] => {
            let made_for_us = bytes.windows(14).any(|window| window == b"component-type");
            let fix = if made_for_us {
                "it carries the contract already: `heraldry formatter build` (or wit-component's ComponentEncoder) makes the component of it"
            } else {
                "make bindings from wit/formatter.wit (wit-bindgen, jco or componentize-py), then `heraldry formatter build`"
            };
            Err(Finding::error("core_module", "it is a core module, not a component", fix))
        }
        [_, _, 0x01, 0, ..] => Ok(()),
        _ => Err(Finding::error("not_wasm", "its WebAssembly version is unknown, or it is truncated", rebuild)),
    }
}

pub(super) fn too_large(bytes: u64, most: usize) -> Finding {
    Finding::error(
        "too_large",
        format!("it has {bytes} bytes, {most} are allowed"),
        "strip debug information and leave unused libraries out; an operator can raise --formatter-size",
    )
}

/// Compiles the component for the sandbox that holds it, the small one first.
fn load(bench: &Bench<'_>, bytes: &[u8], digest: &[u8; 32]) -> Result<(Compiled, Size), Finding> {
    let settings = bench.sandbox.settings();
    let Some(small) = bench.sandbox.engine(Size::Small) else { unreachable!("the small sandbox is always there") };
    let code = bench.compile.load(small, digest, bytes, settings)?;
    let refused = match compile::deserialize(small, &code) {
        Ok(compiled) => return Ok((compiled, Size::Small)),
        Err(error) => header::printable(&format!("{error:#}"), 300),
    };
    let Some(large) = bench.sandbox.engine(Size::Large) else {
        return Err(Finding::error(
            "large_off",
            format!("it needs the large sandbox, which is switched off here ({refused})"),
            "an operator can switch it on with --large-formatters on; or write it in a compiled language",
        ));
    };
    match compile::deserialize(large, &code) {
        Ok(compiled) => Ok((compiled, Size::Large)),
        Err(error) => Err(too_much("it needs more than the large sandbox has", &format!("{error:#}"))),
    }
}

/// Code that is well and cannot be taken into a sandbox.
fn too_much(what: &str, error: &str) -> Finding {
    // wasmtime's words for mprotect(2) that was refused.
    if error.contains("executable") {
        return Finding::error(
            "not_executable",
            format!("this system lets no process run code that it compiled: {}", header::printable(error, 300)),
            "the component is not at fault: allow executable memory (systemd: no MemoryDenyWriteExecute)",
        );
    }
    Finding::error(
        "needs_too_much",
        format!("{what}: {}", header::printable(error, 300)),
        "give it less memory to begin with, and fewer libraries",
    )
}

/// Compares imports and exports with the world.
fn compare(engine: &Engine, compiled: &Compiled, bytes: &[u8], report: &mut Report) {
    let component = compiled.component_type();
    let imports: Vec<String> = component.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let foreign: Vec<&String> = imports.iter().filter(|name| !name.starts_with(LOG)).collect();
    for name in foreign.iter().filter(|name| name.starts_with(PACKAGE) && name.contains("/log@")) {
        report.findings.push(other_version(name));
    }
    let foreign: Vec<String> = foreign
        .into_iter()
        .filter(|name| !(name.starts_with(PACKAGE) && name.contains("/log@")))
        .map(|name| header::printable(name, 100))
        .collect();
    if !foreign.is_empty() {
        report.findings.push(Finding::error(
            "foreign_imports",
            format!("it imports what no host gives: {}", list(&foreign)),
            import_fix(&foreign, &Producers::of(bytes)),
        ));
    }
    let exports: Vec<String> = component.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let offered: Vec<&String> = exports.iter().filter(|name| name.starts_with(FORMAT)).collect();
    // A component may serve several versions; the newest that the host knows counts.
    let known = offered.iter().filter(|name| minor(name, FORMAT).is_some()).max_by_key(|name| minor(name, FORMAT));
    match (known, offered.first()) {
        (Some(name), _) => {
            report.contract = name.strip_prefix(FORMAT).map(str::to_owned);
            let found = component.get_export(engine, name);
            if !matches!(found.map(|export| export.ty), Some(ComponentItem::ComponentInstance(_))) {
                report.findings.push(Finding::error(
                    "wrong_types",
                    format!("its export {name} is not an interface"),
                    "make its bindings anew from wit/formatter.wit and build it again",
                ));
            }
            if minor(name, FORMAT).is_some_and(|minor| minor > NEWEST_MINOR) {
                report.findings.push(Finding::warning(
                    "newer_contract",
                    format!("it is built for {name}; this host knows {NEWEST}"),
                    "it works here without what is newer; a newer Heraldry knows all of it",
                ));
            }
        }
        (None, Some(name)) => report.findings.push(other_version(name)),
        (None, None) => {
            let shown: Vec<String> = exports.iter().map(|name| header::printable(name, 100)).collect();
            report.findings.push(Finding::error(
                "missing_export",
                format!("it does not export {FORMAT}{NEWEST}; its exports: {}", list(&shown)),
                "build it for the world `formatter` of wit/formatter.wit, and export its `format` interface",
            ));
        }
    }
    report.interprets = exports.iter().any(|name| name.starts_with(INTERPRET));
}

/// The minor version of a name of contract 1.
fn minor(name: &str, interface: &str) -> Option<u64> {
    name.strip_prefix(interface)?.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

/// It speaks of our contract, but of a version that this host does not know.
fn other_version(name: &str) -> Finding {
    let shown = header::printable(name, 100);
    let major = name.rsplit('@').next().and_then(|version| version.split('.').next()?.parse::<u64>().ok());
    let fix = match major {
        Some(0) => format!("it is too old: make its bindings anew from wit/formatter.wit, version {NEWEST}"),
        _ => format!("it is too new for this host: update Heraldry, or build it for version {NEWEST}"),
    };
    Finding::error(
        "contract_version",
        format!("it is built for {shown}; this host knows version 1 of the contract"),
        fix,
    )
}

/// The version of the contract that a component's exports name, found without compiling it.
pub fn exported_contract(bytes: &[u8]) -> Option<String> {
    let mut depth = 0u32;
    for section in Parser::new(0).parse_all(bytes) {
        match section.ok()? {
            Section::ModuleSection { .. } | Section::ComponentSection { .. } => depth += 1,
            Section::End(_) => depth = depth.saturating_sub(1),
            Section::ComponentExportSection(exports) if depth == 0 => {
                let names = exports.into_iter().filter_map(Result::ok).map(|export| export.name.name.to_owned());
                let version = names.filter_map(|name| name.strip_prefix(FORMAT).map(str::to_owned)).max();
                if version.is_some() {
                    return version;
                }
            }
            _ => {}
        }
    }
    None
}

fn list(names: &[String]) -> String {
    match names.len() {
        0 => "none".into(),
        n if n > NAMED => format!("{} and {} more", names[..NAMED].join(", "), n - NAMED),
        _ => names.join(", "),
    }
}

/// What made the component, as its `producers` sections say.
#[derive(Default)]
struct Producers(String);

impl Producers {
    fn of(bytes: &[u8]) -> Self {
        let mut text = String::new();
        for section in Parser::new(0).parse_all(bytes).flatten() {
            if let Section::CustomSection(custom) = section
                && custom.name() == "producers"
            {
                text.push_str(&String::from_utf8_lossy(custom.data()));
            }
        }
        Self(text.to_ascii_lowercase())
    }

    fn name(&self, tool: &str) -> bool {
        self.0.contains(tool)
    }
}

/// Which tool adds imports like these, and how it is told not to.
fn import_fix(names: &[String], producers: &Producers) -> String {
    if !names.iter().any(|name| name.starts_with("wasi:")) {
        return "a formatter may import the log and nothing else: leave out what needs more".into();
    }
    let fix = if producers.name("componentize-py") || producers.name("python") {
        "componentize-py adds WASI: give it `--stub-wasi`"
    } else if producers.name("componentize-qjs") || producers.name("quickjs") {
        "jco adds WASI: give it `--backend-qjs-disable-async --backend-qjs-stub-wasi`"
    } else if producers.name("componentize-js") || producers.name("javascript") {
        "componentize-js adds WASI: give it `-d stdio random clocks http fetch-event`"
    } else if producers.name("rust") {
        "the targets wasm32-wasip1 and wasm32-wasip2 add WASI: build for wasm32-unknown-unknown"
    } else {
        "its toolchain adds WASI: Rust: build for wasm32-unknown-unknown; jco: --backend-qjs-stub-wasi; componentize-py: --stub-wasi"
    };
    format!("a formatter has no WASI; {fix} (`heraldry formatter build` does)")
}

/// Asks for the manifest, twice, and puts the component where it asks to be.
fn describe(bench: &Bench<'_>, compiled: &Compiled, linked: Linked, report: &mut Report) -> Option<(Manifest, Linked)> {
    let failed = |error: &RenderError, report: &mut Report| {
        report.findings.push(Finding::error(
            "describe_failed",
            format!("describe: {error}{}", trace(error)),
            "`describe` takes nothing and returns the manifest as JSON text; `heraldry formatter new` makes one that works",
        ));
    };
    let text = match bench.sandbox.describe(&linked).result {
        Ok(text) => text,
        Err(error) => {
            failed(&error, report);
            return None;
        }
    };
    if bench.sandbox.describe(&linked).result.as_ref() != Ok(&text) {
        report.findings.push(nondeterministic("describe"));
    }
    let manifest = match Manifest::parse(&text) {
        Ok(manifest) => manifest,
        Err(faults) => {
            report.findings.extend(faults.into_iter().map(|fault| {
                Finding::error(
                    "invalid_manifest",
                    format!("its manifest: {}", header::printable(&fault, 500)),
                    "correct it in what `describe` returns; wit/README.md, \"The manifest\", has the rules",
                )
            }));
            return None;
        }
    };
    report.manifest = Some(Described::from(&manifest));
    if manifest.description.is_none() {
        report.findings.push(Finding::warning(
            "no_description",
            "its manifest has no description",
            "say in one sentence what the format is for: admins see it in the list of formatters",
        ));
    }
    match (manifest.size, linked.size) {
        (Size::Small, Size::Large) => {
            report.findings.push(Finding::error(
                "needs_large",
                "it needs the large sandbox and does not ask for it",
                "say \"size\": \"large\" in its manifest",
            ));
            Some((manifest, linked))
        }
        (Size::Large, Size::Small) => {
            let Some(_) = bench.sandbox.engine(Size::Large) else {
                report.findings.push(Finding::error(
                    "large_off",
                    "it asks for the large sandbox, which is switched off here",
                    "an operator can switch it on with --large-formatters on; or leave \"size\" out, if it can do without",
                ));
                return None;
            };
            move_to_large(bench, compiled, report).map(|linked| (manifest, linked))
        }
        _ => Some((manifest, linked)),
    }
}

/// The same code in the large sandbox.
fn move_to_large(bench: &Bench<'_>, compiled: &Compiled, report: &mut Report) -> Option<Linked> {
    let engine = bench.sandbox.engine(Size::Large)?;
    let moved = compiled
        .serialize()
        .and_then(|code| compile::deserialize(engine, &code))
        .map_err(|error| format!("{error:#}"))
        .and_then(|compiled| bench.sandbox.link(&compiled, Size::Large, report.interprets));
    match moved {
        Ok(linked) => Some(linked),
        Err(words) => {
            report.findings.push(too_much("it does not fit into the large sandbox", &words));
            None
        }
    }
}

fn nondeterministic(what: &str) -> Finding {
    Finding::error(
        "not_deterministic",
        format!("{what}: two runs with the same input gave different results"),
        "the same input must give the same bytes: no clock, no randomness, no order of a hash map",
    )
}

/// The innermost functions of a trap.
fn trace(error: &RenderError) -> String {
    match error {
        RenderError::Trap { backtrace, .. } if backtrace.len() > 1 => {
            format!(" (called by {})", backtrace[1..].iter().take(4).cloned().collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    }
}

/// Runs every sample twice. A formatter may refuse an event; it may not break on one, cross a limit, make an
/// illegal payload or answer differently the second time.
fn try_samples(bench: &Bench<'_>, linked: &Linked, manifest: &Manifest, report: &mut Report) {
    let mut broken: Vec<(String, RenderError)> = Vec::new();
    let mut unstable = Vec::new();
    let mut feeds = Vec::new();
    let mut slow = 0;
    for sample in bench.samples {
        let first = bench.sandbox.format(linked, &sample.event, bench.around, TransportKind::Http, "{}", PATIENT);
        if matches!(first.result, Err(RenderError::Limit { limit: Limit::Fuel | Limit::Time, .. })) {
            slow += 1;
        }
        if slow > SLOW_SAMPLES {
            // It uses its limit up each time: more of the same teaches nothing and takes long.
            break;
        }
        let second = bench.sandbox.format(linked, &sample.event, bench.around, TransportKind::Http, "{}", PATIENT);
        report.trials.push(trial(sample, &first));
        // The wall clock is the one thing that may differ between two runs.
        let timed = |result: &Result<Payload, RenderError>| {
            matches!(result, Err(RenderError::Limit { limit: Limit::Time, .. }))
        };
        if first.result != second.result && !timed(&first.result) && !timed(&second.result) {
            unstable.push(sample.name.clone());
        }
        match first.result {
            Ok(payload) if manifest.kind == Kind::Line => {
                if payload.body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
                    feeds.push(sample.name.clone());
                }
            }
            Ok(_)
            | Err(RenderError::Unsupported(_) | RenderError::InvalidOptions(_) | RenderError::InvalidEvent(_)) => {}
            // The operator's word on events, not the formatter's.
            Err(RenderError::Limit { limit: Limit::Input, .. }) => {}
            Err(error) => broken.push((sample.name.clone(), error)),
        }
    }
    summarize(broken, &unstable, &feeds, report);
    advise(bench, linked, report);
}

fn trial(sample: &Sample, called: &Called<Payload>) -> Trial {
    Trial {
        sample: sample.name.clone(),
        outcome: called.result.as_ref().map_or_else(RenderError::code, |_| "ok"),
        error: called.result.as_ref().err().map(ToString::to_string),
        instructions: called.instructions,
        memory_bytes: called.memory_bytes,
        output_bytes: called.result.as_ref().map_or(0, Payload::bytes),
    }
}

fn summarize(broken: Vec<(String, RenderError)>, unstable: &[String], feeds: &[String], report: &mut Report) {
    // One finding for each way of breaking, however many samples break so.
    let mut ways: Vec<(String, RenderError, Vec<String>)> = Vec::new();
    for (sample, error) in broken {
        let words = format!("{error}{}", trace(&error));
        match ways.iter_mut().find(|(known, ..)| *known == words) {
            Some((.., samples)) => samples.push(sample),
            None => ways.push((words, error, vec![sample])),
        }
    }
    for (words, error, samples) in ways.into_iter().take(NAMED_SAMPLES) {
        let fix = match error {
            RenderError::Limit { limit: Limit::Memory | Limit::Table, .. } => {
                "hold less at a time: a call gets a fresh instance, and need not keep anything for the next"
            }
            RenderError::Limit { limit: Limit::Stack, .. } => "recurse less deeply, or use a loop",
            RenderError::Limit { limit: Limit::Output | Limit::Headers, .. } => {
                "cut the content to fit, and say in it that you cut"
            }
            RenderError::Limit { .. } => "do less for one event: `heraldry formatter bench` shows what a call costs",
            RenderError::Trap { .. } => "catch what the language throws and return `internal` with words; never trap",
            RenderError::Illegal(_) => "wit/formatter.wit, at `payload` and `header`, has the rules",
            _ => "answer `unsupported-event` to what the format has no message for",
        };
        report.findings.push(Finding::error(
            "sample_failed",
            format!("it fails on sample events ({}): {words}", named(&samples)),
            fix,
        ));
    }
    if !unstable.is_empty() {
        report.findings.push(nondeterministic(&format!("format ({})", named(unstable))));
    }
    if !feeds.is_empty() {
        report.findings.push(Finding::error(
            "line_feed",
            format!("its kind is `line`, but the body has line feeds ({})", named(feeds)),
            "replace line feeds by spaces or escapes, or say \"kind\": \"document\" in the manifest",
        ));
    }
}

fn named(samples: &[String]) -> String {
    let shown = &samples[..samples.len().min(NAMED_SAMPLES)];
    let more = samples.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// What is legal and yet worth a word.
fn advise(bench: &Bench<'_>, linked: &Linked, report: &mut Report) {
    if report.trials.is_empty() {
        return;
    }
    let settings = bench.sandbox.settings();
    if report.trials.iter().all(|trial| trial.outcome == "unsupported_event") {
        report.findings.push(Finding::warning(
            "supports_nothing",
            "it has no message for any event type",
            "answer `unsupported-event` only to types that the format really leaves out",
        ));
    }
    if report.trials.iter().all(|trial| trial.outcome == "invalid_options") {
        report.findings.push(Finding::warning(
            "options_needed",
            "it does nothing without options",
            "give every option a default, so that a webhook works as soon as it names the format",
        ));
    }
    let most = |cost: fn(&Trial) -> u64| report.trials.iter().map(cost).max().unwrap_or_default();
    let near = [
        ("instructions", most(|trial| trial.instructions), settings.fuel),
        ("memory", most(|trial| trial.memory_bytes as u64), bench.sandbox.memory_bytes(linked.size) as u64),
        ("output", most(|trial| trial.output_bytes as u64), settings.output_bytes as u64),
    ];
    for (what, used, allowed) in near {
        if used.saturating_mul(100) >= allowed.saturating_mul(NEAR_PERCENT) && used < allowed {
            report.findings.push(Finding::warning(
                "near_limit",
                format!("a sample takes {used} of the {allowed} that the limit on {what} allows"),
                "real events are larger than the samples: leave room",
            ));
        }
    }
}

/// What [`crate::fuzzing::component`] holds the reader to.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    /// Looks at an upload as far as is done without compiling it.
    ///
    /// Only what says that it is a WebAssembly component goes on to the compiler, and words about it are fit to be shown.
    pub(crate) fn check(bytes: &[u8], most: usize) {
        match look(bytes, most) {
            Ok(()) => {
                assert!(bytes.len() <= most);
                // The version is left to the compiler.
                assert!(matches!(bytes, [b'\0', b'a', b's', b'm', _, _, 1, 0, ..]));
            }
            Err(finding) => assert_eq!(finding.severity, Severity::Error),
        }
        if let Some(version) = exported_contract(bytes) {
            let name = format!("{FORMAT}{version}");
            assert!(bytes.windows(name.len()).any(|window| window == name.as_bytes()));
            let shown = other_version(&name);
            assert!(!shown.message.contains(char::is_control), "{:?}", shown.message);
        }
        import_fix(&["wasi:cli/run@0.2.0".to_owned()], &Producers::of(bytes));
    }
}
