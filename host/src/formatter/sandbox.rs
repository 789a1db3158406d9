//! The engines, their limits, and one call in a fresh instance.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wasmtime::component::{HasSelf, InstancePre, Linker};
use wasmtime::{
    Collector, Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, ResourceLimiter,
    Store, Trap, WasmBacktrace,
};

use super::bindings::formatter::exports::heraldry::formatter::format as wit;
use super::bindings::formatter::heraldry::formatter::log;
use super::bindings::formatter::{Formatter, FormatterPre};
use super::bindings::interpreter::exports::heraldry::formatter::interpret;
use super::bindings::interpreter::{Interpreter, InterpreterPre};
use super::error::{Limit, RenderError};
use super::info::{LogLevel, LogLine};
use super::manifest::Size;
use crate::json::fault::Fault;
use crate::model::delivery::Response;
use crate::model::event::Event;
use crate::model::header;
use crate::model::settings::SandboxSettings;
use crate::model::url::TransportKind;

/// The epoch's tick: how exactly the wall-clock limit is kept.
const TICK: Duration = Duration::from_millis(5);
/// Memory of an instance that stays mapped between calls, in bytes.
const KEEP_RESIDENT: usize = 2 * 1024 * 1024;
/// Core instances and tables of one component in the small sandbox. A component of a compiled language has
/// one of its own and some that the component model's adapters need.
const SMALL_INSTANCES: u32 = 8;
/// Memories of one component in the large sandbox; all of them together are within the limit on memory.
const LARGE_MEMORIES: u32 = 4;
/// Core instances and tables in the large sandbox, where interpreters are linked from many libraries.
const LARGE_INSTANCES: u32 = 200;
/// What one core instance of the large sandbox may need for its own tables of functions and globals, in bytes.
const LARGE_INSTANCE_BYTES: usize = 8 * 1024 * 1024;
/// How many times more table elements the large sandbox has.
const LARGE_TABLES: usize = 5;
/// How many times longer a call may take while a component is checked: a busy machine must not refuse what
/// instructions allow.
pub(super) const PATIENT: u32 = 4;
/// The bytes of one log line.
const LOG_LINE_BYTES: usize = 1024;

/// What one delivery carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// The value of `Content-Type`.
    pub content_type: String,
    /// Extra headers, checked.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: bytes::Bytes,
}

impl Payload {
    /// What counts against the limit on output, in bytes.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.body.len() + headers + self.content_type.len()
    }
}

/// What a formatter says that an answer means, its texts fit to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// What its status says.
    ByStatus,
    /// Delivered, whatever the status.
    Delivered,
    /// Failed, to be tried again.
    Retry {
        /// Not before this time.
        after: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// Failed for good.
    Failed {
        /// Why.
        reason: String,
        /// Whether the webhook is to be switched off.
        deactivate: bool,
    },
}

/// One call's result with what it cost.
pub(super) struct Called<T> {
    pub(super) result: Result<T, RenderError>,
    pub(super) log: Vec<LogLine>,
    /// Log lines that were one too many.
    pub(super) log_dropped: u64,
    pub(super) duration: Duration,
    /// WebAssembly instructions.
    pub(super) instructions: u64,
    /// The most linear memory that it had, in bytes.
    pub(super) memory_bytes: usize,
}

/// What surrounds every event.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) host_name: String,
}

/// A component that is linked with what the host gives, for one of the sandboxes.
#[derive(Clone)]
pub(super) struct Linked {
    format: FormatterPre<Host>,
    interpret: Option<InterpreterPre<Host>>,
    pub(super) size: Size,
}

impl Linked {
    pub(super) fn interprets(&self) -> bool {
        self.interpret.is_some()
    }
}

/// One engine with what its guests may import.
struct Room {
    engine: Engine,
    linker: Linker<Host>,
    memory_bytes: usize,
    table_elements: usize,
}

impl Room {
    fn new(settings: &SandboxSettings, size: Size, memory_bytes: usize, calls: u32) -> anyhow::Result<Self> {
        let table_elements = match size {
            Size::Small => settings.table_elements,
            Size::Large => settings.table_elements * LARGE_TABLES,
        };
        let mut config = config();
        config.max_wasm_stack(settings.stack_bytes).allocation_strategy(InstanceAllocationStrategy::Pooling(pool(
            size,
            memory_bytes,
            table_elements,
            calls,
        )));
        let engine = Engine::new(&config).map_err(plain)?;
        let mut linker = Linker::new(&engine);
        log::add_to_linker::<_, HasSelf<Host>>(&mut linker, |host| host).map_err(plain)?;
        Ok(Self { engine, linker, memory_bytes, table_elements })
    }
}

/// The engines that run every component.
pub(super) struct Sandbox {
    small: Room,
    large: Option<Room>,
    settings: SandboxSettings,
    ticking: Arc<AtomicBool>,
}

impl Sandbox {
    /// Engines that each run at most `calls` instances at once.
    pub(super) fn new(settings: SandboxSettings, calls: u32) -> anyhow::Result<Self> {
        let small = Room::new(&settings, Size::Small, settings.memory_bytes, calls)?;
        let large = settings.large_memory_bytes.map(|bytes| Room::new(&settings, Size::Large, bytes, calls));
        let large = large.transpose()?;
        let ticking = Arc::new(AtomicBool::new(true));
        let engines: Vec<_> = std::iter::once(&small).chain(&large).map(|room| room.engine.weak()).collect();
        let go_on = Arc::clone(&ticking);
        std::thread::Builder::new().name("formatter-epoch".into()).spawn(move || {
            while go_on.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                engines.iter().filter_map(wasmtime::EngineWeak::upgrade).for_each(|engine| engine.increment_epoch());
            }
        })?;
        Ok(Self { small, large, settings, ticking })
    }

    fn room(&self, size: Size) -> &Room {
        match (size, &self.large) {
            (Size::Large, Some(large)) => large,
            _ => &self.small,
        }
    }

    /// The engine of a sandbox, if there is that sandbox.
    pub(super) fn engine(&self, size: Size) -> Option<&Engine> {
        match size {
            Size::Small => Some(&self.small.engine),
            Size::Large => self.large.as_ref().map(|room| &room.engine),
        }
    }

    pub(super) fn settings(&self) -> &SandboxSettings {
        &self.settings
    }

    /// The memory of one instance, in bytes.
    pub(super) fn memory_bytes(&self, size: Size) -> usize {
        self.room(size).memory_bytes
    }

    /// The table elements of one instance.
    pub(super) fn table_elements(&self, size: Size) -> usize {
        self.room(size).table_elements
    }

    /// Links a compiled component with what the host gives: the log and nothing else.
    ///
    /// # Errors
    /// When it wants or offers anything of another type, in the engine's words.
    pub(super) fn link(
        &self,
        component: &wasmtime::component::Component,
        size: Size,
        interprets: bool,
    ) -> Result<Linked, String> {
        let words = |error: wasmtime::Error| format!("{error:#}");
        let linked: InstancePre<Host> = self.room(size).linker.instantiate_pre(component).map_err(words)?;
        let interpret = interprets.then(|| InterpreterPre::new(linked.clone())).transpose().map_err(words)?;
        Ok(Linked { format: FormatterPre::new(linked).map_err(words)?, interpret, size })
    }

    /// Compares the types of the exported functions and their records with the contract. What does not even
    /// start passes: whoever calls it next is told why.
    ///
    /// # Errors
    /// Where the types differ, in the engine's words.
    pub(super) fn compare_types(&self, linked: &Linked) -> Result<(), String> {
        let mut words = None;
        self.call(linked.size, PATIENT, |store| {
            let instance = linked.format.instance_pre().instantiate(&mut *store)?;
            let format = Formatter::new(&mut *store, &instance).map(drop);
            let interpret = match &linked.interpret {
                Some(_) => Interpreter::new(&mut *store, &instance).map(drop),
                None => Ok(()),
            };
            words = format.and(interpret).err().map(|error| format!("{error:#}"));
            Ok(Ok(()))
        });
        words.map_or(Ok(()), Err)
    }

    /// Asks a component for its manifest.
    pub(super) fn describe(&self, linked: &Linked) -> Called<String> {
        self.call_format(linked, PATIENT, |formatter, store| {
            let manifest = formatter.heraldry_formatter_format().call_describe(&mut *store)?;
            Ok(Ok(manifest))
        })
    }

    /// Renders one event, within so many times the usual time.
    pub(super) fn format(
        &self,
        linked: &Linked,
        event: &Event,
        around: &Surroundings,
        transport_kind: TransportKind,
        options: &str,
        patience: u32,
    ) -> Called<Payload> {
        let most = self.settings.input_bytes;
        if event.json.len() + options.len() > most {
            let error = RenderError::Limit { limit: Limit::Input, allowed: format!("{most} bytes") };
            return Called::refused(error);
        }
        let event = wit::Event {
            id: event.id.to_string(),
            type_: event.event_type.as_str().to_owned(),
            occurred_at: event.occurred_at.to_string(),
            json: event.json.clone(),
        };
        let context = wit::Context {
            transport: transport_kind.transport().into(),
            max_bytes: transport_kind.max_bytes(),
            host_name: around.host_name.clone(),
            product_version: env!("CARGO_PKG_VERSION").into(),
        };
        self.call_format(linked, patience, |formatter, store| {
            let answer = formatter.heraldry_formatter_format().call_format(&mut *store, &event, &context, options)?;
            Ok(match answer {
                Ok(payload) => check(payload, &self.settings),
                Err(error) => Err(reported(error)),
            })
        })
    }

    /// Asks what an answer means; `None` when the component does not read answers.
    pub(super) fn interpret(&self, linked: &Linked, response: &Response) -> Option<Called<Verdict>> {
        let interpreter = linked.interpret.as_ref()?;
        let answer = interpret::Answer {
            status: response.status,
            headers: response
                .headers
                .iter()
                .map(|(name, value)| interpret::Header { name: name.clone(), value: value.clone() })
                .collect(),
            body: response.body.clone(),
        };
        Some(self.call(linked.size, 1, |store| {
            let interpreter = interpreter.instantiate(&mut *store)?;
            let verdict = interpreter.heraldry_formatter_interpret().call_interpret(&mut *store, &answer)?;
            Ok(Ok(verdict.into()))
        }))
    }

    fn call_format<T>(
        &self,
        linked: &Linked,
        patience: u32,
        run: impl FnOnce(&Formatter, &mut Store<Host>) -> wasmtime::Result<Result<T, RenderError>>,
    ) -> Called<T> {
        self.call(linked.size, patience, |store| {
            let formatter = linked.format.instantiate(&mut *store)?;
            run(&formatter, store)
        })
    }

    /// One call in an instance of its own.
    fn call<T>(
        &self,
        size: Size,
        patience: u32,
        run: impl FnOnce(&mut Store<Host>) -> wasmtime::Result<Result<T, RenderError>>,
    ) -> Called<T> {
        let room = self.room(size);
        let start = Instant::now();
        let mut store = Store::new(&room.engine, Host::new(room, self.settings.log_lines));
        store.limiter(|host| host);
        store.set_hostcall_fuel(self.settings.output_bytes + 256 * 1024);
        let ticks = (self.settings.timeout * patience).as_millis().div_ceil(TICK.as_millis()).max(1);
        store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX));
        let result = store.set_fuel(self.settings.fuel).and_then(|()| run(&mut store));
        let result = match result {
            Ok(result) => result,
            Err(error) => Err(self.explain(&error, store.data())),
        };
        let instructions = self.settings.fuel.saturating_sub(store.get_fuel().unwrap_or_default());
        let host = store.data_mut();
        let (log, log_dropped, memory_bytes) = (std::mem::take(&mut host.log), host.log_dropped, host.memory_peak);
        drop(store);
        Called { result, log, log_dropped, duration: start.elapsed(), instructions, memory_bytes }
    }

    /// What an error of the engine means to an admin.
    fn explain(&self, error: &wasmtime::Error, host: &Host) -> RenderError {
        let limit = |limit, allowed: String| RenderError::Limit { limit, allowed };
        match host.denied {
            Some(Limit::Memory) => return limit(Limit::Memory, format!("{} bytes", host.memory_most)),
            Some(other) => return limit(other, format!("{} elements", host.tables_most)),
            None => {}
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => limit(Limit::Fuel, format!("{} instructions a call", self.settings.fuel)),
            Some(Trap::Interrupt) => limit(Limit::Time, format!("{} ms a call", self.settings.timeout.as_millis())),
            Some(Trap::StackOverflow) => limit(Limit::Stack, format!("{} bytes", self.settings.stack_bytes)),
            Some(trap) => RenderError::Trap { kind: kind(*trap), what: said(*trap), backtrace: backtrace(error) },
            // The engine's own error for values that cost too much to lift has no type; this call makes no
            // other request of it that could fail so.
            None if format!("{error:#}").contains("hostcalls") => {
                limit(Limit::Output, format!("{} bytes", self.settings.output_bytes))
            }
            None => RenderError::Trap {
                kind: "other",
                what: header::printable(&format!("{error:#}"), 500),
                backtrace: backtrace(error),
            },
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.ticking.store(false, Ordering::Relaxed);
    }
}

impl<T> Called<T> {
    /// A call that was not made.
    fn refused(error: RenderError) -> Self {
        Self {
            result: Err(error),
            log: Vec::new(),
            log_dropped: 0,
            duration: Duration::ZERO,
            instructions: 0,
            memory_bytes: 0,
        }
    }
}

impl From<interpret::Verdict> for Verdict {
    fn from(verdict: interpret::Verdict) -> Self {
        let words = |reason: String| header::printable(reason.trim(), 500);
        match verdict {
            interpret::Verdict::ByStatus => Self::ByStatus,
            interpret::Verdict::Delivered => Self::Delivered,
            interpret::Verdict::Retry(again) => Self::Retry {
                after: again.after_ms.map(|ms| Duration::from_millis(ms.into())),
                reason: words(again.reason),
            },
            interpret::Verdict::Failed(refusal) => {
                Self::Failed { reason: words(refusal.reason), deactivate: refusal.deactivate }
            }
        }
    }
}

/// The engine of the compiler's own process: the same code comes out, but it runs nothing.
pub(super) fn compiling_engine() -> anyhow::Result<Engine> {
    Engine::new(&config()).map_err(plain)
}

fn pool(size: Size, memory_bytes: usize, table_elements: usize, calls: u32) -> PoolingAllocationConfig {
    let (instances, memories) = match size {
        Size::Small => (SMALL_INSTANCES, 1),
        Size::Large => (LARGE_INSTANCES, LARGE_MEMORIES),
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls * instances)
        .max_core_instances_per_component(instances)
        .total_memories(calls * memories)
        .max_memories_per_component(memories)
        .total_tables(calls * instances)
        .max_tables_per_component(instances)
        .table_elements(table_elements)
        .max_memory_size(memory_bytes)
        .max_unused_warm_slots(calls)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(160 * 1024)
        .pagemap_scan(Enabled::Auto)
        .total_gc_heaps(0);
    if size == Size::Large {
        pool.max_core_instance_size(LARGE_INSTANCE_BYTES).max_component_instance_size(LARGE_INSTANCE_BYTES);
    }
    pool
}

/// Everything that machine code depends on: alike in every engine of this program.
fn config() -> Config {
    let mut config = Config::new();
    config
        .memory_init_cow(false)
        .cranelift_opt_level(OptLevel::Speed)
        // The same bits everywhere: no float or vector that differs between machines.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        // What links an interpreter with its stubs copies between memories; wasmtime panics on it without this.
        .wasm_multi_memory(true)
        .collector(Collector::Null)
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20));
    config
}

/// wasmtime's errors carry a backtrace of the host, which is costly to print: keep the words.
fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

fn said(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "it panicked or aborted".into(),
        Trap::MemoryOutOfBounds => "it reached outside its memory (a wild pointer, or its stack ran out)".into(),
        trap => trap.to_string(),
    }
}

/// The kind of a trap, for metrics.
fn kind(trap: Trap) -> &'static str {
    match trap {
        Trap::UnreachableCodeReached => "panic",
        Trap::MemoryOutOfBounds => "memory_access",
        Trap::IntegerDivisionByZero | Trap::IntegerOverflow | Trap::BadConversionToInteger => "arithmetic",
        Trap::IndirectCallToNull | Trap::BadSignature | Trap::TableOutOfBounds => "call",
        _ => "other",
    }
}

/// The functions that were running, innermost first, by their names in the component.
fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let frames = trace.frames().iter();
    frames.filter_map(|frame| frame.func_name()).map(|name| header::printable(name, 200)).collect()
}

/// A formatter's own error.
fn reported(error: wit::Error) -> RenderError {
    let faults = |problems: Vec<wit::Problem>| {
        let problems = problems.into_iter().take(20);
        problems
            .map(|problem| Fault {
                pointer: header::printable(&problem.pointer, 200),
                code: "formatter",
                detail: header::printable(&problem.message, 500),
            })
            .collect()
    };
    match error {
        wit::Error::UnsupportedEvent(event_type) => RenderError::Unsupported(header::printable(&event_type, 100)),
        wit::Error::InvalidOptions(problems) => RenderError::InvalidOptions(faults(problems)),
        wit::Error::InvalidEvent(problems) => RenderError::InvalidEvent(faults(problems)),
        wit::Error::Internal(message) => RenderError::Internal(header::printable(&message, 500)),
    }
}

/// Holds a payload against the contract.
fn check(payload: wit::Payload, settings: &SandboxSettings) -> Result<Payload, RenderError> {
    let (most, most_headers) = (settings.output_bytes, settings.headers);
    let illegal = |what: String| Err(RenderError::Illegal(what));
    let headers: usize = payload.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    if payload.body.len() + headers + payload.content_type.len() > most {
        return Err(RenderError::Limit { limit: Limit::Output, allowed: format!("{most} bytes") });
    }
    if payload.headers.len() > most_headers {
        return Err(RenderError::Limit { limit: Limit::Headers, allowed: most_headers.to_string() });
    }
    if payload.content_type.is_empty() || !header::is_legal_value(&payload.content_type) {
        return illegal("the content type is empty or has characters that a header cannot carry".into());
    }
    for given in &payload.headers {
        let name = header::printable(&given.name, 60);
        if let Err(why) = header::check_name(&given.name) {
            return illegal(format!("the header {name:?} {why}"));
        }
        if !header::is_legal_value(&given.value) {
            return illegal(format!("the value of the header {name:?} has characters that a header cannot carry"));
        }
    }
    Ok(Payload {
        content_type: payload.content_type,
        headers: payload.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        body: payload.body.into(),
    })
}

/// The host's side of one instance: what it logged and which limit stopped it.
pub(super) struct Host {
    memory: usize,
    memory_peak: usize,
    memory_most: usize,
    tables: usize,
    tables_most: usize,
    denied: Option<Limit>,
    log: Vec<LogLine>,
    log_most: usize,
    log_dropped: u64,
}

impl Host {
    fn new(room: &Room, log_most: usize) -> Self {
        Self {
            memory: 0,
            memory_peak: 0,
            memory_most: room.memory_bytes,
            tables: 0,
            tables_most: room.table_elements,
            denied: None,
            log: Vec::new(),
            log_most,
            log_dropped: 0,
        }
    }
}

impl log::Host for Host {
    fn log(&mut self, level: log::Level, message: String) {
        if self.log.len() >= self.log_most {
            self.log_dropped += 1;
            return;
        }
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.log.push(LogLine { level, message: header::printable(&message, LOG_LINE_BYTES) });
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let memory = self.memory + desired.saturating_sub(current);
        if memory <= self.memory_most {
            self.memory = memory;
            self.memory_peak = self.memory_peak.max(memory);
            return Ok(true);
        }
        self.denied = Some(Limit::Memory);
        Err(wasmtime::Error::msg("out of memory"))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.tables += desired.saturating_sub(current);
        if self.tables <= self.tables_most {
            return Ok(true);
        }
        self.denied = Some(Limit::Table);
        Err(wasmtime::Error::msg("out of table elements"))
    }
}
