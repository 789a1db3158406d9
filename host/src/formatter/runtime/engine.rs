//! One engine: its configuration, the machine code it loads, and the imports it gives to a guest.

use std::num::NonZeroUsize;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Collector, Config, Engine, InstanceAllocationStrategy, OptLevel};

use super::bindings::formatter::heraldry::formatter::log;
use super::error::LoadError;
use super::instance::InstanceState;
use super::library_errors;
use super::limits::{self, Size};
use crate::model::settings::SandboxSettings;

/// Machine code that this program compiled. Loading machine code means trusting it, so the only sources are this
/// program's compiler and the authenticated code cache.
pub(in crate::formatter) struct MachineCode(Vec<u8>);

impl MachineCode {
    /// Marks bytes as machine code of this program's compiler: fresh from the compiler, or from a file whose MAC
    /// was verified over exactly these bytes in memory.
    pub(super) fn trust(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A component whose machine code is loaded into an engine.
pub(in crate::formatter) struct Compiled(Component);

impl Compiled {
    /// Names of the imports.
    pub(in crate::formatter) fn imports(&self) -> Vec<String> {
        self.0.component_type().imports(self.0.engine()).map(|(name, _)| name.to_owned()).collect()
    }

    /// Names of the exports.
    pub(in crate::formatter) fn exports(&self) -> Vec<String> {
        self.0.component_type().exports(self.0.engine()).map(|(name, _)| name.to_owned()).collect()
    }

    /// True if the export of this name is an interface.
    pub(in crate::formatter) fn exports_interface(&self, name: &str) -> bool {
        let component = self.0.component_type();
        let found = component.get_export(self.0.engine(), name);
        matches!(found.map(|export| export.ty), Some(ComponentItem::ComponentInstance(_)))
    }

    /// The machine code, to be loaded into another engine.
    pub(super) fn code(&self) -> wasmtime::Result<MachineCode> {
        self.0.serialize().map(MachineCode)
    }
}

/// One engine with the imports that its guests may use.
pub(super) struct SandboxEngine {
    pub(super) engine: Engine,
    linker: Linker<InstanceState>,
    /// Memory of one instance, in bytes.
    pub(super) memory_bytes: usize,
    /// Table elements of one instance.
    pub(super) table_elements: usize,
}

impl SandboxEngine {
    pub(super) fn new(settings: &SandboxSettings, size: Size, memory_bytes: usize, calls: u32) -> anyhow::Result<Self> {
        let table_elements = limits::table_elements(settings, size);
        let pool = limits::pool(size, memory_bytes, table_elements, calls);
        let mut config = config();
        config.max_wasm_stack(settings.stack_bytes).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).map_err(without_backtrace)?;
        let mut linker = Linker::new(&engine);
        // The log is the only import; there is no WASI.
        log::add_to_linker::<_, HasSelf<InstanceState>>(&mut linker, |state| state).map_err(without_backtrace)?;
        Ok(Self { engine, linker, memory_bytes, table_elements })
    }

    pub(super) fn load(&self, code: &MachineCode) -> Result<Compiled, LoadError> {
        // SAFETY: `MachineCode` has no other source than this program's compiler and files with its MAC.
        let loaded = unsafe { Component::deserialize(&self.engine, &code.0) };
        let begins_with = |component: &Component| component.resources_required()?.max_initial_memory_size;
        // The pool has room for the memory of a digest, which other calls may not have.
        if let Ok(component) = &loaded
            && let Some(bytes) = begins_with(component)
            && bytes > self.memory_bytes as u64
        {
            let reason = format!("its memory begins with {bytes} bytes, and {} are allowed", self.memory_bytes);
            return Err(LoadError::ExceedsSandbox(reason));
        }
        loaded.map(Compiled).map_err(|error| {
            let text = format!("{error:#}");
            if library_errors::is_not_executable(&error) {
                LoadError::NotExecutable(text)
            } else {
                LoadError::ExceedsSandbox(text)
            }
        })
    }

    pub(super) fn link(&self, compiled: &Compiled) -> wasmtime::Result<InstancePre<InstanceState>> {
        self.linker.instantiate_pre(&compiled.0)
    }
}

/// An engine that compiles and runs nothing. It has the configuration of the sandboxes, so its code fits them.
pub(super) fn compiling_engine() -> anyhow::Result<Engine> {
    Engine::new(&config()).map_err(without_backtrace)
}

/// The settings that machine code depends on, alike in every engine of this program.
fn config() -> Config {
    let mut config = Config::new();
    config
        // A component's data are mapped into its memory, and copied only where it writes.
        .memory_init_cow(true)
        .cranelift_opt_level(OptLevel::Speed)
        // The same bits everywhere: no float or vector that differs between machines.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        // Tools that link an interpreter with its stubs copy between memories; wasmtime panics on it without this.
        .wasm_multi_memory(true)
        .collector(Collector::Null)
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        // Backtraces name functions; the place in them would cost memory beside the machine code.
        .generate_address_map(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20));
    config
}

/// Keeps the text of a wasmtime error and drops its backtrace of the host, which is costly to print.
fn without_backtrace(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}
