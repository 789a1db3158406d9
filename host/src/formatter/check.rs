//! Is this a formatter? Every misfit at once, each in words that say what to do.

use wasmtime::component::Component as Compiled;
use wasmtime::component::types::ComponentItem;

use super::COMPONENT_BYTES;
use super::error::RenderError;
use super::manifest::Manifest;
use super::sandbox::{Sandbox, Surroundings};
use crate::model::event::Event;

/// The contract's package.
const PACKAGE: &str = "heraldry:formatter/";
/// The one import that the host gives.
const LOG: &str = "heraldry:formatter/log@1.";
/// The one export that makes a formatter.
const FORMAT: &str = "heraldry:formatter/format@";

/// Why a component is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rejection {
    /// A stable word.
    pub(super) code: &'static str,
    /// Everything that is wrong, in sentences.
    pub(super) reason: String,
}

impl Rejection {
    pub(super) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// A component that fits, compiled and asked for its manifest.
pub(super) struct Fitting {
    pub(super) manifest: Manifest,
    pub(super) linked: super::bindings::FormatterPre<super::sandbox::Host>,
}

/// Holds bytes against the contract: what they are, what they import and export, what they say of
/// themselves, and whether they survive the sample events.
pub(super) fn check(
    sandbox: &Sandbox,
    bytes: &[u8],
    samples: &[Event],
    around: &Surroundings,
) -> Result<Fitting, Rejection> {
    look(bytes)?;
    let compiled = Compiled::from_binary(sandbox.engine(), bytes)
        .map_err(|error| Rejection::new("invalid_component", format!("it is truncated or not valid: {error:#}")))?;
    compare(sandbox, &compiled)?;
    let linked = sandbox.link(&compiled).map_err(|error| Rejection::new("wrong_types", error))?;
    let described = sandbox.describe(&linked).result;
    let text = described.map_err(|error| Rejection::new("describe_failed", format!("describe: {error}")))?;
    let manifest = Manifest::parse(&text).map_err(|error| Rejection::new("invalid_manifest", error))?;
    try_samples(sandbox, &linked, samples, around)?;
    Ok(Fitting { manifest, linked })
}

/// What the first bytes say.
fn look(bytes: &[u8]) -> Result<(), Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::new("empty", "the file is empty"));
    }
    if bytes.len() as u64 > COMPONENT_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    let Some(([b'\0', b'a', b's', b'm'], rest)) = bytes.split_first_chunk::<4>() else {
        return Err(Rejection::new("not_wasm", "it does not begin like WebAssembly (bytes 00 61 73 6d)"));
    };
    match rest {
        [0x01, 0, 0, 0, ..] => Err(Rejection::new(
            "core_module",
            "it is a core module, not a component; turn it into one (wit-component's ComponentEncoder does)",
        )),
        [_, _, 0x01, 0, ..] => Ok(()),
        _ => Err(Rejection::new("not_wasm", "its WebAssembly version is unknown, or it is truncated")),
    }
}

pub(super) fn too_large(bytes: u64) -> Rejection {
    Rejection::new("too_large", format!("it has {bytes} bytes, {COMPONENT_BYTES} are allowed"))
}

/// Compares imports and exports with the world.
fn compare(sandbox: &Sandbox, compiled: &Compiled) -> Result<(), Rejection> {
    let component = compiled.component_type();
    let foreign: Vec<String> = component
        .imports(sandbox.engine())
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with(LOG))
        .collect();
    if let Some(other) = foreign.iter().find(|name| name.starts_with(PACKAGE)) {
        return Err(other_version(other));
    }
    if !foreign.is_empty() {
        let wasi = foreign.iter().any(|name| name.starts_with("wasi:"));
        let hint = if wasi {
            "; a formatter has no WASI: build for wasm32-unknown-unknown, or stub it (componentize-py --stub-wasi)"
        } else {
            ""
        };
        return Err(Rejection::new(
            "foreign_imports",
            format!("it imports what no host gives: {}{hint}", foreign.join(", ")),
        ));
    }
    let exports: Vec<String> = component.exports(sandbox.engine()).map(|(name, _)| name.to_owned()).collect();
    let offered: Vec<&String> = exports.iter().filter(|name| name.starts_with(FORMAT)).collect();
    if offered.iter().any(|name| name.starts_with(&format!("{FORMAT}1."))) {
        let found = component.get_export(sandbox.engine(), offered[0]);
        return match found.map(|export| export.ty) {
            Some(ComponentItem::ComponentInstance(_)) => Ok(()),
            _ => Err(Rejection::new("wrong_types", format!("its export {} is not an interface", offered[0]))),
        };
    }
    Err(match offered.first() {
        Some(version) => other_version(version),
        None => Rejection::new(
            "missing_export",
            format!("it does not export {FORMAT}1.0.0; its exports: {}", list(&exports)),
        ),
    })
}

/// It speaks of our contract, but of a version that this host does not know.
fn other_version(name: &str) -> Rejection {
    Rejection::new("contract_version", format!("it is built for {name}; this host knows version 1 of the contract"))
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// A formatter may refuse an event; it may not break on one, cross a limit or make an illegal payload.
fn try_samples(
    sandbox: &Sandbox,
    linked: &super::bindings::FormatterPre<super::sandbox::Host>,
    samples: &[Event],
    around: &Surroundings,
) -> Result<(), Rejection> {
    let broken: Vec<String> = samples
        .iter()
        .filter_map(|event| match sandbox.format(linked, event, around, "{}").result {
            Ok(_)
            | Err(RenderError::Unsupported(_) | RenderError::InvalidOptions(_) | RenderError::InvalidEvent(_)) => None,
            Err(error) => Some(format!("{}: {error}", event.event_type.as_str())),
        })
        .take(5)
        .collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(Rejection::new("sample_failed", format!("it fails on sample events: {}", broken.join("; "))))
}
