//! One call in a fresh instance, and its diagnosis when it fails.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Store, Trap};

use super::backtrace;
use super::bindings::digester::Digester;
use super::bindings::digester::exports::heraldry::formatter::digest;
use super::bindings::formatter::Formatter;
use super::bindings::formatter::exports::heraldry::formatter::format as wit;
use super::bindings::interpreter::Interpreter;
use super::bindings::interpreter::exports::heraldry::formatter::interpret;
use super::error::{Limit, LinkError, RenderError};
use super::instance::{InstanceState, LogLine};
use super::library_errors;
use super::limits::{DIGEST_FACTOR, DIGEST_INPUT_BYTES, Size, digest_memory};
use super::payload::{Digested, Payload, Verdict};
use super::sandbox::{Linked, Sandbox};
use super::terms::{self, Stopwatch, Terms};
use crate::model::delivery::{Part, Response};
use crate::model::event::Event;
use crate::model::header;
use crate::model::url::TransportKind;

/// Bytes that may be copied from guest to host beside the payload: the log, errors, and the list of headers.
const HOSTCALL_SPARE_BYTES: usize = 256 * 1024;

/// The result of one call with its cost.
pub(in crate::formatter) struct Called<T> {
    pub(in crate::formatter) result: Result<T, RenderError>,
    pub(in crate::formatter) log: Vec<LogLine>,
    /// Log lines beyond the limit of one call.
    pub(in crate::formatter) log_dropped: u64,
    /// Wall-clock time, creation of the instance included.
    pub(in crate::formatter) duration: Duration,
    /// Processor time, likewise.
    pub(in crate::formatter) processor: Duration,
    /// Executed WebAssembly instructions.
    pub(in crate::formatter) instructions: u64,
    /// Peak of linear memory, in bytes.
    pub(in crate::formatter) memory_bytes: usize,
}

impl<T> Called<T> {
    /// A call that was rejected before it ran.
    fn rejected(error: RenderError) -> Self {
        Self {
            result: Err(error),
            log: Vec::new(),
            log_dropped: 0,
            duration: Duration::ZERO,
            processor: Duration::ZERO,
            instructions: 0,
            memory_bytes: 0,
        }
    }
}

impl Sandbox {
    /// Compares the types of the exported functions and their records with the contract, which takes an instance.
    /// A component that cannot be instantiated passes: the next call fails with the reason.
    pub(in crate::formatter) fn compare_types(
        &self,
        linked: &Linked,
        terms: Terms,
    ) -> (Result<(), LinkError>, Called<()>) {
        let mut mismatch = None;
        let called = self.call(linked.size, terms, |store| {
            let instance = linked.format.instance_pre().instantiate(&mut *store)?;
            let format = Formatter::new(&mut *store, &instance).map(drop);
            let interpret = match &linked.interpret {
                Some(_) => Interpreter::new(&mut *store, &instance).map(drop),
                None => Ok(()),
            };
            let digest = match &linked.digest {
                Some(_) => Digester::new(&mut *store, &instance).map(drop),
                None => Ok(()),
            };
            mismatch = format.and(interpret).and(digest).err().map(|error| LinkError(format!("{error:#}")));
            Ok(Ok(()))
        });
        (mismatch.map_or(Ok(()), Err), called)
    }

    /// Calls `describe`, which returns the manifest as JSON text.
    pub(in crate::formatter) fn describe(&self, linked: &Linked, terms: Terms) -> Called<String> {
        self.call_format(linked, terms, |formatter, store| {
            let manifest = formatter.heraldry_formatter_format().call_describe(&mut *store)?;
            Ok(Ok(manifest))
        })
    }

    /// Calls `format` with one event.
    pub(in crate::formatter) fn format(
        &self,
        linked: &Linked,
        event: &Event,
        host_name: &str,
        transport_kind: TransportKind,
        options: &str,
        terms: Terms,
    ) -> Called<Payload> {
        let input_limit = self.settings().input_bytes;
        if event.json.len() + options.len() > input_limit {
            let error = RenderError::Limit { limit: Limit::Input, allowed: format!("{input_limit} bytes") };
            return Called::rejected(error);
        }
        let (id, occurred_at) = (event.id.to_string(), event.occurred_at.to_string());
        let event =
            wit::Event { id: &id, type_: event.event_type.as_str(), occurred_at: &occurred_at, json: &event.json };
        let context = wit::Context {
            transport: transport_kind.transport(),
            max_bytes: transport_kind.max_bytes(),
            host_name,
            product_version: env!("CARGO_PKG_VERSION"),
        };
        self.call_format(linked, terms, |formatter, store| {
            let returned = formatter.heraldry_formatter_format().call_format(&mut *store, event, context, options)?;
            Ok(match returned {
                Ok(payload) => Payload::try_from_wit(payload, self.settings()),
                Err(error) => Err(error.into()),
            })
        })
    }

    /// Calls `interpret` with a destination's response; `None` if the component does not export it.
    pub(in crate::formatter) fn interpret(
        &self,
        linked: &Linked,
        response: &Response,
        terms: Terms,
    ) -> Option<Called<Verdict>> {
        let interpreter = linked.interpret.as_ref()?;
        let headers = response.headers.iter().map(|(name, value)| interpret::Header { name, value });
        let headers: Vec<_> = headers.collect();
        let answer = interpret::Answer { status: response.status, headers: &headers, body: &response.body };
        Some(self.call(linked.size, terms, |store| {
            let interpreter = interpreter.instantiate(&mut *store)?;
            let verdict = interpreter.heraldry_formatter_interpret().call_interpret(&mut *store, answer)?;
            Ok(Ok(verdict.into()))
        }))
    }

    /// Calls `digest` with the events of one message; `None` if the component does not export it.
    pub(in crate::formatter) fn digest(
        &self,
        linked: &Linked,
        events: &[Arc<Event>],
        part: Part,
        host_name: &str,
        options: &str,
        terms: Terms,
    ) -> Option<Called<Digested>> {
        let digester = linked.digest.as_ref()?;
        if events.iter().map(|event| event.json.len()).sum::<usize>() > DIGEST_INPUT_BYTES {
            let allowed = format!("{DIGEST_INPUT_BYTES} bytes");
            return Some(Called::rejected(RenderError::Limit { limit: Limit::Input, allowed }));
        }
        let texts: Vec<_> = events.iter().map(|event| (event.id.to_string(), event.occurred_at.to_string())).collect();
        let given = events.iter().zip(&texts).map(|(event, (id, occurred_at))| digest::Event {
            id,
            type_: event.event_type.as_str(),
            occurred_at,
            json: &event.json,
        });
        let given: Vec<_> = given.collect();
        let context = digest::Context {
            part: part.number,
            parts: part.parts,
            total: part.total,
            host_name,
            product_version: env!("CARGO_PKG_VERSION"),
        };
        Some(self.call(linked.size, terms, |store| {
            let digester = digester.instantiate(&mut *store)?;
            let returned = digester.heraldry_formatter_digest().call_digest(&mut *store, &given, context, options)?;
            Ok(match returned {
                Ok(message) => Digested::try_from_wit(message, events.len(), self.settings()),
                Err(words) => Err(RenderError::internal(&words)),
            })
        }))
    }

    fn call_format<T>(
        &self,
        linked: &Linked,
        terms: Terms,
        run: impl FnOnce(&Formatter, &mut Store<InstanceState>) -> wasmtime::Result<Result<T, RenderError>>,
    ) -> Called<T> {
        self.call(linked.size, terms, |store| {
            let formatter = linked.format.instantiate(&mut *store)?;
            run(&formatter, store)
        })
    }

    /// Runs one call in an instance of its own, within the limits.
    fn call<T>(
        &self,
        size: Size,
        terms: Terms,
        run: impl FnOnce(&mut Store<InstanceState>) -> wasmtime::Result<Result<T, RenderError>>,
    ) -> Called<T> {
        let (engine, settings) = (self.engine(size), self.settings());
        let stopwatch = Stopwatch::start();
        let mut state = InstanceState::new(engine, settings.log_lines);
        let mut fuel = settings.fuel;
        if terms.is_digest {
            state.memory_limit = digest_memory(state.memory_limit);
            fuel = fuel.saturating_mul(DIGEST_FACTOR.into());
        }
        let mut store = Store::new(&engine.engine, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(settings.output_bytes + HOSTCALL_SPARE_BYTES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(terms::at_tick(terms, stopwatch));
        let result = store.set_fuel(fuel).and_then(|()| run(&mut store));
        let result = match result {
            Ok(result) => result,
            Err(error) => Err(self.diagnose(&error, store.data(), fuel)),
        };
        let instructions = fuel.saturating_sub(store.get_fuel().unwrap_or_default());
        let state = store.data_mut();
        let (log, log_dropped, memory_bytes) = (std::mem::take(&mut state.log), state.log_dropped, state.memory_peak);
        // Tearing the instance down is part of the call's duration.
        drop(store);
        let (duration, processor) = stopwatch.stop();
        Called { result, log, log_dropped, duration, processor, instructions, memory_bytes }
    }

    /// Turns an error of the engine into one that an admin understands.
    fn diagnose(&self, error: &wasmtime::Error, state: &InstanceState, fuel: u64) -> RenderError {
        let settings = self.settings();
        let limit = |limit, allowed: String| RenderError::Limit { limit, allowed };
        match state.denied {
            Some(Limit::Memory) => return limit(Limit::Memory, format!("{} bytes", state.memory_limit)),
            Some(other) => return limit(other, format!("{} elements", state.tables_limit)),
            None => {}
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => limit(Limit::Fuel, format!("{fuel} instructions a call")),
            Some(Trap::Interrupt) if let Some(expired) = state.expired => limit(Limit::Time, terms::words(expired)),
            Some(Trap::StackOverflow) => limit(Limit::Stack, format!("{} bytes", settings.stack_bytes)),
            Some(trap) => RenderError::Trap {
                kind: trap_kind(*trap),
                what: trap_text(*trap, state),
                backtrace: backtrace::functions(error),
            },
            None if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                RenderError::NotRun(header::printable(&format!("{error:#}"), 500))
            }
            None if library_errors::is_hostcall_fuel(error) => {
                limit(Limit::Output, format!("{} bytes", settings.output_bytes))
            }
            None => RenderError::Trap {
                kind: "other",
                what: header::printable(&format!("{error:#}"), 500),
                backtrace: backtrace::functions(error),
            },
        }
    }
}

fn trap_text(trap: Trap, state: &InstanceState) -> String {
    match trap {
        Trap::UnreachableCodeReached => match &state.panic {
            Some(panic) => format!("it {panic}"),
            None => "it panicked or aborted".into(),
        },
        Trap::MemoryOutOfBounds => "it reached outside its memory (a wild pointer, or its stack ran out)".into(),
        trap => trap.to_string(),
    }
}

/// The `what` label of the metric.
fn trap_kind(trap: Trap) -> &'static str {
    match trap {
        Trap::UnreachableCodeReached => "panic",
        Trap::MemoryOutOfBounds => "memory_access",
        Trap::IntegerDivisionByZero | Trap::IntegerOverflow | Trap::BadConversionToInteger => "arithmetic",
        Trap::IndirectCallToNull | Trap::BadSignature | Trap::TableOutOfBounds => "call",
        _ => "other",
    }
}
