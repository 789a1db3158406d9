//! The evaluator of filter expressions: a component of the host's own, whose instances live for more than one call.
//!
//! Its engine has no epoch clock, so that nothing bounds a call but instructions and memory: the same expression ends in
//! the same way on every machine.

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{Engine, ResourceLimiter, Store, Trap};

use super::bindings::evaluator::exports::heraldry::evaluator::expressions as wit;
use super::bindings::evaluator::{Evaluator as Exports, EvaluatorPre};
use super::engine::{self, MachineCode};
use super::error::LoadError;
use crate::model::header;

/// Memory of an instance, in bytes: several times what the largest event takes.
const MEMORY_BYTES: usize = 128 * 1024 * 1024;
/// Elements of an instance's table.
const TABLE_ELEMENTS: usize = 20_000;
/// The wasm stack of a call, in bytes.
const WASM_STACK_BYTES: usize = 2 * 1024 * 1024;
/// The stack of a thread that calls the evaluator, in bytes.
pub const EVALUATOR_STACK_BYTES: usize = 2 * WASM_STACK_BYTES;
/// Bytes of texts that a call may return.
const OUTPUT_BYTES: usize = 64 * 1024;
/// Bytes of one text that is shown.
const TEXT_BYTES: usize = 800;

/// The evaluator, loaded; cheap to clone.
#[derive(Clone)]
pub struct Evaluator(Arc<Loaded>);

struct Loaded {
    engine: Engine,
    exports: EvaluatorPre<Limiter>,
}

impl Evaluator {
    /// Loads the evaluator's machine code into an engine of its own.
    pub(in crate::formatter) fn load(code: &MachineCode) -> Result<Self, LoadError> {
        let unfit = |error: wasmtime::Error| LoadError::ExceedsSandbox(format!("{error:#}"));
        let mut config = engine::config();
        config.max_wasm_stack(WASM_STACK_BYTES);
        let engine = Engine::new(&config).map_err(unfit)?;
        let component = engine::deserialize(&engine, code)?;
        // It has no import: not even a log.
        let linked = Linker::new(&engine).instantiate_pre(&component).map_err(unfit)?;
        let exports = EvaluatorPre::new(linked).map_err(unfit)?;
        Ok(Self(Arc::new(Loaded { engine, exports })))
    }

    /// A fresh instance.
    ///
    /// # Errors
    /// [`Stopped::Broken`] when the machine does not give it memory.
    pub fn instance(&self) -> Result<EvaluatorInstance, Stopped> {
        let mut store = Store::new(&self.0.engine, Limiter::default());
        store.limiter(|limiter| limiter);
        // No epoch ever passes in this engine.
        store.set_epoch_deadline(1);
        store.set_fuel(u64::MAX).map_err(broken)?;
        let exports = self.0.exports.instantiate(&mut store).map_err(broken)?;
        Ok(EvaluatorInstance { store, exports })
    }
}

/// An event, as expressions see it.
#[derive(Clone, Copy, Debug)]
pub struct EventFacts<'a> {
    /// Its type.
    pub event_type: &'a str,
    /// Its id.
    pub id: &'a str,
    /// When it happened: RFC 3339, in UTC.
    pub occurred_at: &'a str,
    /// 0 (info) to 4 (critical); -1 without one.
    pub severity: i32,
    /// Its JSON object, as it was posted.
    pub json: &'a str,
}

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionFault {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// In words.
    pub message: String,
}

/// The evaluator's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The expression is true.
    Holds,
    /// It is false.
    Fails,
    /// It has no value, or none that is true or false; with the reason in words.
    Unusable(String),
}

/// The limit that stopped a call. The instance is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Its budget of instructions.
    Instructions,
    /// Memory.
    Memory,
    /// The stack.
    Stack,
    /// None: it broke, with the engine's text.
    Broken(String),
}

/// An instance of the evaluator. It keeps programs and one event between calls.
pub struct EvaluatorInstance {
    store: Store<Limiter>,
    exports: Exports,
}

impl EvaluatorInstance {
    /// Reads an expression; the number names it in later calls.
    ///
    /// # Errors
    /// [`Stopped`]; inside, what is wrong with the expression.
    pub fn compile(&mut self, expression: &str, fuel: u64) -> Result<Result<u32, Vec<ExpressionFault>>, Stopped> {
        let compiled = self.call(fuel, |exports, store| exports.call_compile(store, expression))?;
        let fault = |fault: wit::Fault| ExpressionFault {
            line: fault.line,
            column: fault.column,
            message: header::printable(&fault.message, TEXT_BYTES),
        };
        Ok(compiled.map_err(|faults| faults.into_iter().map(fault).collect()))
    }

    /// Sets the event that is judged; false if it cannot be read.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn set_event(&mut self, event: EventFacts<'_>, fuel: u64) -> Result<bool, Stopped> {
        let EventFacts { event_type, id, occurred_at, severity, json } = event;
        let event = wit::Event { event_type, id, occurred_at, severity, json };
        self.call(fuel, |exports, store| exports.call_set_event(store, event))
    }

    /// Judges the event.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn evaluate(&mut self, program: u32, fuel: u64) -> Result<Judgement, Stopped> {
        Ok(match self.call(fuel, |exports, store| exports.call_evaluate(store, program))? {
            wit::Verdict::Holds => Judgement::Holds,
            wit::Verdict::Fails => Judgement::Fails,
            wit::Verdict::Unusable(reason) => Judgement::Unusable(header::printable(&reason, TEXT_BYTES)),
        })
    }

    /// The values that decided, in words.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn explain(&mut self, program: u32, fuel: u64) -> Result<String, Stopped> {
        let words = self.call(fuel, |exports, store| exports.call_explain(store, program))?;
        Ok(header::printable(&words, TEXT_BYTES))
    }

    /// Memory that it has, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().memory
    }

    /// Instructions that the last call took, of so many that it was given.
    #[cfg(test)]
    pub(crate) fn used(&self, given: u64) -> u64 {
        given.saturating_sub(self.store.get_fuel().unwrap_or_default())
    }

    fn call<T>(
        &mut self,
        fuel: u64,
        call: impl FnOnce(&wit::Guest, &mut Store<Limiter>) -> wasmtime::Result<T>,
    ) -> Result<T, Stopped> {
        self.store.set_hostcall_fuel(OUTPUT_BYTES);
        let called = self.store.set_fuel(fuel);
        let called = called.and_then(|()| call(self.exports.heraldry_evaluator_expressions(), &mut self.store));
        called.map_err(|error| match error.downcast_ref::<Trap>() {
            _ if self.store.data().is_denied => Stopped::Memory,
            Some(Trap::OutOfFuel) => Stopped::Instructions,
            // The guest has a stack of its own, at the beginning of its memory.
            Some(Trap::StackOverflow | Trap::MemoryOutOfBounds) => Stopped::Stack,
            _ => broken(error),
        })
    }
}

fn broken(error: wasmtime::Error) -> Stopped {
    Stopped::Broken(header::printable(&format!("{error:#}"), 500))
}

/// Bounds an instance's memory.
#[derive(Default)]
struct Limiter {
    memory: usize,
    /// True once memory was denied, on which the instance traps.
    is_denied: bool,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MEMORY_BYTES {
            self.is_denied = true;
            return Err(wasmtime::Error::msg("out of memory"));
        }
        // It has one memory.
        self.memory = desired;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
