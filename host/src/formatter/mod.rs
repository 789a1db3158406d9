//! Formatters: sandboxed components that turn an event into bytes.
//!
//! The folders build on one another in this order: [`runtime`] compiles and calls a component, [`admission`] judges it,
//! [`component_runtime`] joins the two, and [`catalog`] keeps the components that are in use by name. Every component,
//! built in or from a third party, passes [`ComponentRuntime::check`] and runs within the same limits. Each call gets a
//! fresh instance, on one of a [`pool`] of threads.

mod admission;
mod cache;
mod catalog;
mod component_runtime;
mod digest;
mod pool;
mod runtime;
mod thread;

#[cfg(test)]
pub(crate) mod tests;

pub use admission::{
    CONTRACT_VERSIONS, Described, Finding, Join, Kind, Manifest, Rejection, Report, Sample, Severity, Trial, Warning,
    exported_contract, is_name, option_faults,
};
#[cfg(fuzzing)]
pub(crate) use admission::{fuzz_contract, fuzz_header, fuzz_manifest};
pub use cache::{RenderCache, RenderKey};
pub use catalog::{
    BuiltIn, Catalog, CatalogOptions, Component, Declared, FormatterInfo, InstallError, Instructions, LastError,
    Numbers, Origin, RenderedDigest, Rendering, STACK_BYTES, Standing, State, Timings, Traits, VersionInfo, Which,
    Withdrawn, component_files, read_component,
};
pub use component_runtime::{ComponentRuntime, ComponentRuntimeOptions, Loaded, Run};
pub use digest::digest_of;
pub use pool::{COST_HERE, allow_calls_here};
pub use runtime::{
    CHILD_COMMAND, CodeCache, Compiler, DIGEST_FACTOR, DIGEST_INPUT_BYTES, Digested, EVALUATOR_STACK_BYTES, Evaluator,
    EvaluatorInstance, EventFacts, ExpressionFault, Judgement, Limit, Limits, LogLevel, LogLine, Payload, RenderError,
    Size, Stopped, Verdict, code_cache_key, compile_for_parent,
};
