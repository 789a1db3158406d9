//! Sizes of the two sandboxes, and the limits of a call as the API shows them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::{Enabled, PoolingAllocationConfig};

use crate::model::settings::SandboxSettings;
use crate::model::webhook::Digest;

/// Memory of an instance that stays mapped between calls, in bytes: several times what a compiled formatter writes to for
/// a usual event.
const SMALL_KEEP_RESIDENT: usize = 512 * 1024;
/// The same in the large sandbox: what an interpreter writes to in a call.
const LARGE_KEEP_RESIDENT: usize = 2 * 1024 * 1024;
/// Places for memories in the small sandbox, at least. A call finds the place where its component's data are mapped
/// already, and threads have places of their own from this number on (wasmtime divides smaller pools among none). A place
/// takes address space only.
const SMALL_MEMORIES: u32 = 128;
/// Unused places that keep what is mapped, so many for each call that may run. Beyond that, the one that was unused
/// longest is taken for another component.
const SMALL_WARM: u32 = 2;
/// Unused places of the large sandbox that keep what is mapped.
const LARGE_WARM: u32 = 4;
/// Table memory of an instance that stays mapped between calls, in bytes.
const TABLE_KEEP_RESIDENT: usize = 160 * 1024;
/// Core instances and tables of one component in the small sandbox. A component of a compiled language has
/// one core instance of its own and some that the component model's adapters need.
const SMALL_INSTANCES: u32 = 8;
/// Memories of one component in the large sandbox; the memory limit covers all of them together.
const LARGE_MEMORIES: u32 = 4;
/// Core instances and tables of one component in the large sandbox, where interpreters are linked from many
/// libraries.
const LARGE_INSTANCES: u32 = 200;
/// Bytes that one core instance of the large sandbox may need for its own tables of functions and globals.
const LARGE_INSTANCE_BYTES: usize = 8 * 1024 * 1024;
/// Table elements of the large sandbox, as a multiple of the small one's.
const LARGE_TABLES: usize = 5;

/// What a call of `digest` may take, as a multiple of the limits of a call of `format`.
pub const DIGEST_FACTOR: u32 = 16;
/// The events of one digest together, in bytes.
pub const DIGEST_INPUT_BYTES: usize = Digest::MAX_BYTES;
/// The memory of a call of `digest`, at most: several may run at the same time.
const DIGEST_MEMORY: usize = 1024 * 1024 * 1024;

/// The sandbox that a formatter needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// For compiled languages.
    #[default]
    Small,
    /// More memory, tables and instances, for components that carry an interpreter.
    Large,
}

/// Limits of one call of a formatter.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub struct Limits {
    /// WebAssembly instructions.
    pub instructions: u64,
    /// Processor time, in milliseconds.
    pub time_ms: u64,
    /// Linear memory, in bytes.
    pub memory_bytes: u64,
    /// Elements of all tables.
    pub table_elements: u64,
    /// Stack, in bytes.
    pub stack_bytes: u64,
    /// Event and options together, in bytes.
    pub input_bytes: u64,
    /// Body and headers together, in bytes.
    pub output_bytes: u64,
    /// Headers of a payload.
    pub headers: u64,
    /// Log lines that are kept; each is cut at 1 KiB.
    pub log_lines: u64,
    /// The component's file, in bytes.
    pub component_bytes: u64,
    /// Processor time for compiling it, in milliseconds.
    pub compile_ms: u64,
}

impl Limits {
    pub(super) fn new(settings: &SandboxSettings, memory_bytes: usize, table_elements: usize) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            instructions: settings.fuel,
            time_ms: ms(settings.timeout),
            memory_bytes: memory_bytes as u64,
            table_elements: table_elements as u64,
            stack_bytes: settings.stack_bytes as u64,
            input_bytes: settings.input_bytes as u64,
            output_bytes: settings.output_bytes as u64,
            headers: settings.headers as u64,
            log_lines: settings.log_lines as u64,
            component_bytes: settings.component_bytes as u64,
            compile_ms: ms(settings.compile_time),
        }
    }
}

impl Limits {
    /// The limits of a call of `digest`.
    #[must_use]
    pub fn of_digest(self) -> Self {
        let memory_bytes = usize::try_from(self.memory_bytes).unwrap_or(usize::MAX);
        Self {
            instructions: self.instructions.saturating_mul(DIGEST_FACTOR.into()),
            time_ms: self.time_ms.saturating_mul(DIGEST_FACTOR.into()),
            memory_bytes: digest_memory(memory_bytes) as u64,
            input_bytes: DIGEST_INPUT_BYTES as u64,
            ..self
        }
    }
}

/// Linear memory of an instance that makes a digest, in a sandbox whose other calls have so much.
pub(super) fn digest_memory(memory_bytes: usize) -> usize {
    memory_bytes.saturating_mul(DIGEST_FACTOR as usize).min(DIGEST_MEMORY).max(memory_bytes)
}

/// Table elements of one instance.
pub(super) fn table_elements(settings: &SandboxSettings, size: Size) -> usize {
    match size {
        Size::Small => settings.table_elements,
        Size::Large => settings.table_elements * LARGE_TABLES,
    }
}

/// Memory that an engine reserves for `calls` instances at the same time. An instance that needs more than its
/// share is not created. `memory_bytes` is what a call of `format` may have; a place has address space for any memory.
pub(super) fn pool(size: Size, memory_bytes: usize, table_elements: usize, calls: u32) -> PoolingAllocationConfig {
    let (instances, memories, total_memories) = match size {
        Size::Small => (SMALL_INSTANCES, 1, calls.max(SMALL_MEMORIES)),
        Size::Large => (LARGE_INSTANCES, LARGE_MEMORIES, calls * LARGE_MEMORIES),
    };
    let (warm, keep_resident) = match size {
        Size::Small => (calls * SMALL_WARM, SMALL_KEEP_RESIDENT),
        Size::Large => (LARGE_WARM, LARGE_KEEP_RESIDENT),
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls * instances)
        .max_core_instances_per_component(instances)
        .total_memories(total_memories)
        .max_memories_per_component(memories)
        .total_tables(calls * instances)
        .max_tables_per_component(instances)
        .table_elements(table_elements)
        .max_memory_size(digest_memory(memory_bytes))
        .max_unused_warm_slots(warm)
        .linear_memory_keep_resident(keep_resident)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto)
        .total_gc_heaps(0);
    if size == Size::Large {
        pool.max_core_instance_size(LARGE_INSTANCE_BYTES).max_component_instance_size(LARGE_INSTANCE_BYTES);
    }
    pool
}
