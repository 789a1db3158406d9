//! The engine, its limits, and one call in a fresh instance.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{
    Collector, Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, ResourceLimiter,
    Store, Trap, WasmBacktrace,
};

use super::bindings::exports::heraldry::formatter::format as wit;
use super::bindings::heraldry::formatter::log;
use super::bindings::{Formatter, FormatterPre};
use super::error::{Limit, RenderError};
use super::info::{LogLevel, LogLine};
use crate::model::event::Event;
use crate::model::fault::Fault;
use crate::model::header;
use crate::model::settings::SandboxSettings;

/// The epoch's tick: how exactly the wall-clock limit is kept.
const TICK: Duration = Duration::from_millis(5);
/// The wasm stack, in bytes.
const STACK: usize = 1024 * 1024;
/// Table elements of one instance, all tables together.
const TABLE_ELEMENTS: usize = 20_000;
/// Memory of an instance that stays mapped between calls, in bytes.
const KEEP_RESIDENT: usize = 2 * 1024 * 1024;
/// Headers of one payload.
const HEADERS: usize = 32;
/// Log lines of one call, and the bytes of one.
const LOG_LINES: usize = 64;
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

/// One call's result with what it cost.
pub(super) struct Called<T> {
    pub(super) result: Result<T, RenderError>,
    pub(super) log: Vec<LogLine>,
    pub(super) duration: Duration,
}

/// What surrounds every event.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) host_name: String,
}

/// The engine that compiles and runs every component.
pub(super) struct Sandbox {
    engine: Engine,
    linker: Linker<Host>,
    settings: SandboxSettings,
    ticking: Arc<AtomicBool>,
}

impl Sandbox {
    /// An engine that runs at most `calls` instances at once.
    pub(super) fn new(settings: SandboxSettings, calls: u32) -> anyhow::Result<Self> {
        let engine = Engine::new(&config(&settings, calls)).map_err(plain)?;
        let mut linker = Linker::new(&engine);
        log::add_to_linker::<_, HasSelf<Host>>(&mut linker, |host| host).map_err(plain)?;
        let ticking = Arc::new(AtomicBool::new(true));
        let (weak, go_on) = (engine.weak(), Arc::clone(&ticking));
        std::thread::Builder::new().name("formatter-epoch".into()).spawn(move || {
            while go_on.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })?;
        Ok(Self { engine, linker, settings, ticking })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn settings(&self) -> &SandboxSettings {
        &self.settings
    }

    /// Links a compiled component with what the host gives: the log and nothing else.
    ///
    /// # Errors
    /// When it wants or offers anything of another type.
    pub(super) fn link(&self, component: &wasmtime::component::Component) -> Result<FormatterPre<Host>, String> {
        let linked = self.linker.instantiate_pre(component).map_err(|error| format!("{error:#}"))?;
        FormatterPre::new(linked).map_err(|error| format!("{error:#}"))
    }

    /// Asks a component for its manifest.
    pub(super) fn describe(&self, component: &FormatterPre<Host>) -> Called<String> {
        self.call(component, |formatter, store| {
            let manifest = formatter.heraldry_formatter_format().call_describe(&mut *store)?;
            Ok(Ok(manifest))
        })
    }

    /// Renders one event.
    pub(super) fn format(
        &self,
        component: &FormatterPre<Host>,
        event: &Event,
        around: &Surroundings,
        options: &str,
    ) -> Called<Payload> {
        let event = wit::Event {
            id: event.id.to_string(),
            type_: event.event_type.as_str().to_owned(),
            occurred_at: event.occurred_at.to_string(),
            json: event.json.clone(),
        };
        let context = wit::Context {
            transport: "http".into(),
            max_bytes: None,
            host_name: around.host_name.clone(),
            product_version: env!("CARGO_PKG_VERSION").into(),
        };
        let most = self.settings.output_bytes;
        self.call(component, |formatter, store| {
            let answer = formatter.heraldry_formatter_format().call_format(&mut *store, &event, &context, options)?;
            Ok(match answer {
                Ok(payload) => check(payload, most),
                Err(error) => Err(reported(error)),
            })
        })
    }

    /// One call in an instance of its own.
    fn call<T>(
        &self,
        component: &FormatterPre<Host>,
        run: impl FnOnce(&Formatter, &mut Store<Host>) -> wasmtime::Result<Result<T, RenderError>>,
    ) -> Called<T> {
        let start = Instant::now();
        let mut store = Store::new(&self.engine, Host::new(self.settings.memory_bytes));
        store.limiter(|host| host);
        store.set_hostcall_fuel(self.settings.output_bytes + 256 * 1024);
        let ticks = self.settings.timeout.as_millis().div_ceil(TICK.as_millis()).max(1);
        store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX));
        let result = store
            .set_fuel(self.settings.fuel)
            .and_then(|()| component.instantiate(&mut store))
            .and_then(|formatter| run(&formatter, &mut store));
        let result = match result {
            Ok(result) => result,
            Err(error) => Err(self.explain(&error, store.data())),
        };
        let log = std::mem::take(&mut store.data_mut().log);
        drop(store);
        Called { result, log, duration: start.elapsed() }
    }

    /// What an error of the engine means to an admin.
    fn explain(&self, error: &wasmtime::Error, host: &Host) -> RenderError {
        let limit = |limit, allowed: String| RenderError::Limit { limit, allowed };
        match host.denied {
            Some(Limit::Memory) => return limit(Limit::Memory, format!("{} bytes", self.settings.memory_bytes)),
            Some(other) => return limit(other, format!("{TABLE_ELEMENTS} elements")),
            None => {}
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => limit(Limit::Fuel, format!("{} instructions a call", self.settings.fuel)),
            Some(Trap::Interrupt) => limit(Limit::Time, format!("{} ms a call", self.settings.timeout.as_millis())),
            Some(Trap::StackOverflow) => limit(Limit::Stack, format!("{STACK} bytes")),
            Some(trap) => RenderError::Trap { what: said(*trap), backtrace: backtrace(error) },
            // The engine's own error for values that cost too much to lift has no type; this call makes no
            // other request of it that could fail so.
            None if format!("{error:#}").contains("hostcalls") => {
                limit(Limit::Output, format!("{} bytes", self.settings.output_bytes))
            }
            None => RenderError::Trap { what: format!("{error:#}"), backtrace: backtrace(error) },
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.ticking.store(false, Ordering::Relaxed);
    }
}

fn config(settings: &SandboxSettings, calls: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls * 8)
        .max_core_instances_per_component(8)
        .total_memories(calls)
        .max_memories_per_component(1)
        .total_tables(calls * 8)
        .max_tables_per_component(8)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(settings.memory_bytes)
        .max_unused_warm_slots(calls)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(160 * 1024)
        .pagemap_scan(Enabled::Auto)
        .total_gc_heaps(0);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(false)
        .cranelift_opt_level(OptLevel::Speed)
        // The same bits everywhere: no float or vector that differs between machines.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .collector(Collector::Null)
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
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
fn check(payload: wit::Payload, most: usize) -> Result<Payload, RenderError> {
    let illegal = |what: String| Err(RenderError::Illegal(what));
    let headers: usize = payload.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    if payload.body.len() + headers + payload.content_type.len() > most {
        return Err(RenderError::Limit { limit: Limit::Output, allowed: format!("{most} bytes") });
    }
    if payload.headers.len() > HEADERS {
        return illegal(format!("{} headers, {HEADERS} are allowed", payload.headers.len()));
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
    memory_bytes: usize,
    table_elements: usize,
    denied: Option<Limit>,
    log: Vec<LogLine>,
    dropped: usize,
}

impl Host {
    fn new(memory_bytes: usize) -> Self {
        Self { memory_bytes, table_elements: 0, denied: None, log: Vec::new(), dropped: 0 }
    }
}

impl log::Host for Host {
    fn log(&mut self, level: log::Level, message: String) {
        if self.log.len() >= LOG_LINES {
            self.dropped += 1;
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
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired <= self.memory_bytes {
            return Ok(true);
        }
        self.denied = Some(Limit::Memory);
        Err(wasmtime::Error::msg("out of memory"))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.table_elements += desired.saturating_sub(current);
        if self.table_elements <= TABLE_ELEMENTS {
            return Ok(true);
        }
        self.denied = Some(Limit::Table);
        Err(wasmtime::Error::msg("out of table elements"))
    }
}
