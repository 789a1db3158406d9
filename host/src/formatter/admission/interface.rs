//! The interface of a module: its imports and exports, held against the contract's world.

use wasmparser::{Parser, Payload as Section};

use super::report::{Finding, Report};
use crate::formatter::runtime::Compiled;
use crate::model::event::EventType;
use crate::model::header;

/// The contract's package.
const PACKAGE: &str = "heraldry:formatter/";
/// The only import that the host provides, in any minor version.
const LOG: &str = "heraldry:formatter/log@1.";
/// The export that makes a component a formatter.
const FORMAT: &str = "heraldry:formatter/format@";
/// The optional export of a formatter that judges responses.
const INTERPRET: &str = "heraldry:formatter/interpret@1.";
/// The optional export of a formatter that makes one message of many events.
const DIGEST: &str = "heraldry:formatter/digest@1.";
/// The newest minor version of the contract that this host knows.
const NEWEST_MINOR: u64 = 2;
/// The versions of the contract that this host knows, oldest first.
pub const CONTRACT_VERSIONS: [&str; 3] = ["1.0.0", "1.1.0", NEWEST];
/// The newest of them.
pub(super) const NEWEST: &str = "1.2.0";
/// Names that one finding lists.
const NAMED: usize = 40;

/// Compares imports and exports with the world, and notes the contract's version in the report.
pub(super) fn compare(compiled: &Compiled, bytes: &[u8], report: &mut Report) {
    let imports = compiled.imports();
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
            format!("it imports what no host provides: {}", list(&foreign)),
            import_fix(&foreign, &Producers::of(bytes)),
        ));
    }
    let exports = compiled.exports();
    let offered: Vec<&String> = exports.iter().filter(|name| name.starts_with(FORMAT)).collect();
    // A component may export several versions; the newest that the host knows counts.
    let known = offered.iter().filter(|name| minor(name, FORMAT).is_some()).max_by_key(|name| minor(name, FORMAT));
    match (known, offered.first()) {
        (Some(name), _) => {
            report.contract = name.strip_prefix(FORMAT).map(str::to_owned);
            if !compiled.exports_interface(name) {
                report.findings.push(Finding::error(
                    "wrong_types",
                    format!("its export {name} is not an interface"),
                    "generate its bindings again from wit/formatter.wit and rebuild it",
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
    report.digests = exports.iter().any(|name| name.starts_with(DIGEST));
}

/// The minor version in an interface's name, if the major version is 1.
fn minor(name: &str, interface: &str) -> Option<u64> {
    minor_of(name.strip_prefix(interface)?)
}

/// The minor version of a version of the contract, if the major version is 1.
fn minor_of(version: &str) -> Option<u64> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

/// Returns true for an event type that came after this version of the contract, so that a component built for it cannot
/// know the type.
pub(super) fn is_newer(event_type: EventType, contract: &str) -> bool {
    minor_of(contract).zip(minor_of(event_type.since())).is_some_and(|(known, since)| since > known)
}

/// The finding for a version of the contract that this host does not know.
fn other_version(name: &str) -> Finding {
    let shown = header::printable(name, 100);
    let major = name.rsplit('@').next().and_then(|version| version.split('.').next()?.parse::<u64>().ok());
    let fix = match major {
        Some(0) => format!("it is too old: generate its bindings again from wit/formatter.wit, version {NEWEST}"),
        _ => format!("it is too new for this host: update Heraldry, or build it for version {NEWEST}"),
    };
    Finding::error(
        "contract_version",
        format!("it is built for {shown}; this host knows version 1 of the contract"),
        fix,
    )
}

/// The contract's version according to a component's exports, read without compiling it.
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

/// The tools that made a component, from its `producers` sections, in lower case.
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

    fn names(&self, tool: &str) -> bool {
        self.0.contains(tool)
    }
}

/// The remedy for foreign imports: the option with which the component's toolchain leaves them out.
fn import_fix(names: &[String], producers: &Producers) -> String {
    if !names.iter().any(|name| name.starts_with("wasi:")) {
        return "a formatter may import the log and nothing else: leave out what needs more".into();
    }
    let fix = if producers.names("componentize-py") || producers.names("python") {
        "componentize-py adds WASI: give it `--stub-wasi`"
    } else if producers.names("componentize-qjs") || producers.names("quickjs") {
        "jco adds WASI: give it `--backend-qjs-disable-async --backend-qjs-stub-wasi`"
    } else if producers.names("componentize-js") || producers.names("javascript") {
        "componentize-js adds WASI: give it `-d stdio random clocks http fetch-event`"
    } else if producers.names("rust") {
        "the targets wasm32-wasip1 and wasm32-wasip2 add WASI: build for wasm32-unknown-unknown"
    } else {
        "its toolchain adds WASI: Rust: build for wasm32-unknown-unknown; jco: --backend-qjs-stub-wasi; componentize-py: --stub-wasi"
    };
    format!("a formatter has no WASI; {fix} (`heraldry formatter build` does)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_newer_than_the_contracts_before_it() {
        for (contract, host_event) in
            [("1.0.0", true), ("1.1.0", true), ("1.2.0", false), ("1.2.1", false), ("1.10.0", false), ("2.0.0", false)]
        {
            assert_eq!(is_newer(EventType::WebhookFailing, contract), host_event, "{contract}");
            assert!(!is_newer(EventType::MonitorAlert, contract), "{contract}");
        }
        for event_type in EventType::ALL {
            assert!(CONTRACT_VERSIONS.contains(&event_type.since()), "{}", event_type.as_str());
            assert!(!is_newer(*event_type, NEWEST), "{}", event_type.as_str());
        }
    }
}

/// Properties that [`crate::fuzzing::component`] checks.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    /// Reads an upload's contract version and producers; the finding's message is fit to be shown.
    pub(crate) fn check(bytes: &[u8]) {
        if let Some(version) = exported_contract(bytes) {
            let name = format!("{FORMAT}{version}");
            assert!(bytes.windows(name.len()).any(|window| window == name.as_bytes()));
            let shown = other_version(&name);
            assert!(!shown.message.contains(char::is_control), "{:?}", shown.message);
        }
        import_fix(&["wasi:cli/run@0.2.0".to_owned()], &Producers::of(bytes));
    }
}
