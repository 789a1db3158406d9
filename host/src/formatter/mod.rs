//! Formatters: sandboxed components that turn an event into bytes. The one room that knows wasmtime.
//!
//! Every component, built in or a stranger's, enters by the same door ([`Workbench::check`]) and gets the same
//! limits; an author's tools stand on the same workbench as the host. Each call runs in a fresh instance on
//! one of a few threads of its own.

mod bindings;
mod check;
mod compile;
mod error;
mod folder;
mod info;
mod manifest;
mod pool;
mod registry;
mod rendered;
mod report;
mod sandbox;
mod stats;
mod versions;
mod watch;
mod workbench;

#[cfg(test)]
mod tests;

pub use check::exported_contract;
pub use compile::{CHILD_COMMAND, Compiler, Kept, compile_for_parent, own_key};
pub use error::{Limit, RenderError};
pub use folder::read_component;
pub use info::{
    FormatterInfo, Instructions, LastError, Limits, LogLevel, LogLine, Numbers, Origin, State, Timings, Traits,
    VersionInfo,
};
pub use manifest::{Join, Kind, Manifest, Size, is_name};
pub use registry::{
    Component, InstallError, Registry, RegistryOptions, Rendering, Which, component_files, forget_unused,
};
pub use rendered::{Rendered, RenderedKey};
pub use report::{Described, Finding, Rejection, Report, Severity, Trial};
pub use sandbox::{Payload, Verdict};
pub use versions::Withdrawn;
pub use workbench::{Loaded, Run, Sample, Workbench, WorkbenchOptions};

#[cfg(fuzzing)]
pub(crate) use self::{check::fuzzing as fuzz_check, manifest::fuzzing as fuzz_manifest};

/// Lower-case hex.
fn hex(digest: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `sha256:` and the digest of a component's bytes in lower-case hex.
pub fn digest_of(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    digest_text(&sha2::Sha256::digest(bytes).into())
}

/// `sha256:` and lower-case hex.
fn digest_text(digest: &[u8; 32]) -> String {
    format!("sha256:{}", hex(digest))
}
