//! The steps of a check, from the first bytes to the sample events.

use super::budget::Budget;
use super::digests;
use super::interface;
use super::manifest::{Manifest, Options};
use super::report::{Described, Finding, NOT_COMPILED, Report, Severity};
use super::samples;
use super::validator::{Validator, callers, not_deterministic};
use crate::formatter::digest::digest_text;
use crate::formatter::runtime::{CompileError, Compiled, LinkError, Linked, LoadError, Sandbox, Size};
use crate::model::header;

/// A component that passed, loaded and asked for its manifest.
pub(in crate::formatter) struct Admitted {
    pub(in crate::formatter) manifest: Manifest,
    pub(in crate::formatter) linked: Linked,
    pub(in crate::formatter) options: Options,
}

/// Checks bytes against the contract: their format, imports and exports, manifest, and behaviour on the sample events.
/// Goes on after a finding wherever there is more to find. `digest` is the SHA-256 of the bytes.
pub(in crate::formatter) fn check(
    validator: &Validator<'_>,
    bytes: &[u8],
    digest: &[u8; 32],
) -> (Report, Option<Admitted>) {
    let mut report = Report {
        fits: false,
        bytes: bytes.len(),
        digest: digest_text(digest),
        contract: None,
        interprets: false,
        digests: false,
        manifest: None,
        findings: Vec::new(),
        trials: Vec::new(),
        digest_trials: Vec::new(),
    };
    let admitted = check_steps(validator, bytes, digest, &mut report);
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report.fits = !report.has_errors();
    let admitted = admitted.filter(|_| report.fits);
    (report, admitted)
}

/// Runs the steps up to the first that makes the next ones impossible; `None` if one did.
fn check_steps(validator: &Validator<'_>, bytes: &[u8], digest: &[u8; 32], report: &mut Report) -> Option<Admitted> {
    let sandbox = validator.sandbox;
    let loaded = check_header(bytes, sandbox.settings().component_bytes)
        .and_then(|()| compile_and_load(validator, bytes, digest));
    let (compiled, size) = report.keep_finding(loaded)?;
    interface::compare(&compiled, bytes, report);
    if report.has_errors() {
        return None;
    }
    let linked = sandbox.link(&compiled, size, report.abilities());
    // wasmtime compares the types of records only once there is an instance.
    let mut budget = Budget::new(sandbox.settings());
    let linked = linked.map_err(|error| wrong_types(&error)).and_then(|linked| {
        let (compared, called) = sandbox.compare_types(&linked, budget.terms());
        budget.spend(called)?;
        compared.map(|()| linked).map_err(|error| wrong_types(&error))
    });
    let linked = report.keep_finding(linked)?;
    let manifest = describe(sandbox, &linked, &mut budget, report)?;
    let linked = place(sandbox, &compiled, &manifest, linked, report)?;
    let options = Options::new(&manifest.options_schema).ok()?;
    samples::try_all(validator, &mut budget, &linked, &manifest, report);
    if !report.has_errors() {
        digests::try_all(validator, &mut budget, &linked, report);
    }
    Some(Admitted { manifest, linked, options })
}

/// Checks the size and the first bytes.
fn check_header(bytes: &[u8], most: usize) -> Result<(), Finding> {
    let rebuild = "give the component that `heraldry formatter build` makes";
    if bytes.is_empty() {
        return Err(Finding::error("empty", "the file is empty", rebuild));
    }
    if bytes.len() > most {
        return Err(too_large(bytes.len() as u64, most));
    }
    let Some(([b'\0', b'a', b's', b'm'], rest)) = bytes.split_first_chunk::<4>() else {
        let is_text = bytes.trim_ascii_start().starts_with(b"(");
        let (message, fix) = if is_text {
            ("it is WebAssembly text, not a binary", "turn it into a binary component first; text is never loaded")
        } else {
            ("it does not begin like WebAssembly (bytes 00 61 73 6d)", rebuild)
        };
        return Err(Finding::error("not_wasm", message, fix));
    };
    match rest {
        [0x01, 0, 0, 0, ..] => {
            let has_contract = bytes.windows(14).any(|window| window == b"component-type");
            let fix = if has_contract {
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

/// The finding for a component larger than `most` bytes.
pub(in crate::formatter) fn too_large(bytes: u64, most: usize) -> Finding {
    Finding::error(
        "too_large",
        format!("it has {bytes} bytes, {most} are allowed"),
        "strip debug information and leave unused libraries out; an operator can raise --formatter-size",
    )
}

/// Compiles the component and loads it into the smallest sandbox that holds it.
fn compile_and_load(validator: &Validator<'_>, bytes: &[u8], digest: &[u8; 32]) -> Result<(Compiled, Size), Finding> {
    let sandbox = validator.sandbox;
    let code = validator
        .compiler
        .compile(digest, bytes, sandbox.settings().compile_time, validator.in_turn)
        .map_err(|error| not_compiled(&error))?;
    let reason = match sandbox.load(&code, Size::Small) {
        Ok(compiled) => return Ok((compiled, Size::Small)),
        Err(LoadError::ExceedsSandbox(reason)) => reason,
        Err(error @ LoadError::NotExecutable(_)) => return Err(not_loaded("", &error)),
    };
    if !sandbox.has(Size::Large) {
        return Err(Finding::error(
            "large_off",
            format!("it needs the large sandbox, which is switched off here ({})", header::printable(&reason, 300)),
            "an operator can switch it on with --large-formatters on; or write it in a compiled language",
        ));
    }
    match sandbox.load(&code, Size::Large) {
        Ok(compiled) => Ok((compiled, Size::Large)),
        Err(error) => Err(not_loaded("it needs more than the large sandbox has", &error)),
    }
}

fn not_compiled(error: &CompileError) -> Finding {
    match error {
        CompileError::Invalid(reason) => Finding::error(
            "invalid_component",
            format!("it is truncated or not valid: {}", header::printable(reason, 1000)),
            "build it again, or copy it again if it was cut on its way",
        ),
        CompileError::NotRun(error) => Finding::error(
            NOT_COMPILED,
            format!("the compiler could not be run: {error}"),
            "the component is not at fault: check this machine's free memory and its limit on processes",
        ),
        CompileError::Crashed(reason) => Finding::error(
            "compile_failed",
            format!("the compiler crashed on it: {}", header::printable(reason, 300)),
            "this may be a fault of the compiler (wasmtime): report it with the file",
        ),
        CompileError::Limit { seconds, status } => Finding::error(
            "compile_limit",
            format!(
                "compiling it takes more than {seconds} s of processor time or more memory than is allowed ({status})"
            ),
            "make it smaller: fewer and shorter functions; an operator can raise --formatter-compile-time",
        ),
    }
}

/// The finding for valid code that a sandbox does not load; `excess` is the message if it needs too much.
fn not_loaded(excess: &str, error: &LoadError) -> Finding {
    match error {
        LoadError::NotExecutable(reason) => Finding::error(
            "not_executable",
            format!("this system lets no process run code that it compiled: {}", header::printable(reason, 300)),
            "the component is not at fault: allow executable memory (systemd: no MemoryDenyWriteExecute)",
        ),
        LoadError::ExceedsSandbox(reason) => Finding::error(
            "needs_too_much",
            format!("{excess}: {}", header::printable(reason, 300)),
            "give it less memory to begin with, and fewer libraries",
        ),
    }
}

fn wrong_types(LinkError(reason): &LinkError) -> Finding {
    Finding::error(
        "wrong_types",
        format!("its imports or exports are not of the contract's types: {}", header::printable(reason, 1000)),
        format!("generate its bindings again from wit/formatter.wit, version {}, and rebuild it", interface::NEWEST),
    )
}

/// Reads the manifest, twice, because `describe` must be deterministic as well.
fn describe(sandbox: &Sandbox, linked: &Linked, budget: &mut Budget<'_>, report: &mut Report) -> Option<Manifest> {
    let mut call = || budget.spend(sandbox.describe(linked, budget.terms()));
    let first = report.keep_finding(call())?;
    let text = match first.result {
        Ok(text) => text,
        Err(error) => {
            report.findings.push(Finding::error(
                "describe_failed",
                format!("describe: {error}{}", callers(&error)),
                "`describe` takes nothing and returns the manifest as JSON text; `heraldry formatter new` makes one that works",
            ));
            return None;
        }
    };
    if report.keep_finding(call())?.result.as_ref() != Ok(&text) {
        report.findings.push(not_deterministic("describe"));
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
    Some(manifest)
}

/// Puts the component into the sandbox that its manifest asks for.
fn place(
    sandbox: &Sandbox,
    compiled: &Compiled,
    manifest: &Manifest,
    linked: Linked,
    report: &mut Report,
) -> Option<Linked> {
    match (manifest.size, linked.size) {
        (Size::Small, Size::Large) => {
            report.findings.push(Finding::error(
                "needs_large",
                "it needs the large sandbox and does not ask for it",
                "say \"size\": \"large\" in its manifest",
            ));
            Some(linked)
        }
        (Size::Large, Size::Small) if !sandbox.has(Size::Large) => {
            report.findings.push(Finding::error(
                "large_off",
                "it asks for the large sandbox, which is switched off here",
                "an operator can switch it on with --large-formatters on; or leave \"size\" out, if it can do without",
            ));
            None
        }
        (Size::Large, Size::Small) => {
            const EXCESS: &str = "it does not fit into the large sandbox";
            let moved = sandbox.move_to(compiled, Size::Large).map_err(|error| not_loaded(EXCESS, &error));
            let linked = moved.and_then(|compiled| {
                sandbox
                    .link(&compiled, Size::Large, report.abilities())
                    .map_err(|LinkError(reason)| not_loaded(EXCESS, &LoadError::ExceedsSandbox(reason)))
            });
            report.keep_finding(linked)
        }
        _ => Some(linked),
    }
}

impl Report {
    fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Properties that [`crate::fuzzing::component`] checks.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    /// Reads an upload's header: only what says that it is a component goes on to the compiler.
    pub(crate) fn check(bytes: &[u8], most: usize) {
        match check_header(bytes, most) {
            Ok(()) => {
                assert!(bytes.len() <= most);
                // The version is left to the compiler.
                assert!(matches!(bytes, [b'\0', b'a', b's', b'm', _, _, 1, 0, ..]));
            }
            Err(finding) => assert_eq!(finding.severity, crate::formatter::admission::report::Severity::Error),
        }
    }
}
