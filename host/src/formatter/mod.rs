//! Formatters: sandboxed components that turn an event into bytes. The one room that knows wasmtime.
//!
//! Every component, built in or a stranger's, enters by the same door ([`Workbench::check`]) and gets the same
//! limits; an author's tools stand on the same workbench as the host. Each call runs in a fresh instance on
//! one of a few threads of its own.

mod admission;
mod cache;
mod catalog;
mod component_runtime;
mod pool;
mod runtime;

#[cfg(test)]
mod tests;

pub use admission::check::exported_contract;
pub use runtime::compile::{CHILD_COMMAND, Compiler, Kept, compile_for_parent, own_key};
pub use runtime::error::{Limit, RenderError};
pub use catalog::read_component;
pub use catalog::info::{
    FormatterInfo, Instructions, LastError, Limits, LogLevel, LogLine, Numbers, Origin, State, Timings, Traits,
    VersionInfo,
};
pub use admission::manifest::{Join, Kind, Manifest, Size, is_name};
pub use catalog::{
    Component, InstallError, Registry, RegistryOptions, Rendering, Which, component_files, forget_unused,
};
pub use cache::{Rendered, RenderedKey};
pub use admission::report::{Described, Finding, Rejection, Report, Severity, Trial};
pub use runtime::sandbox::{Payload, Verdict};
pub use catalog::versions::Withdrawn;
pub use component_runtime::{Loaded, Run, Sample, Workbench, WorkbenchOptions};

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
