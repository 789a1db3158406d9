//! Loading, judging and running components: the basis of the host's catalog, and of an author's tools, which use it
//! alone, so that both come to the same judgement.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::admission::{self, Admitted, Manifest, Options, Rejection, Report, Sample, Validator, Warning};
use super::digest::sha256;
use super::runtime::{
    Called, CodeCache, Compiler, ComponentCompiler, Digested, Evaluator, Limits, Linked, LogLine, OnLong, Payload,
    RenderError, Sandbox, Size, Terms, Verdict,
};
use crate::json::fault::Fault;
use crate::model::delivery::{Part, Response};
use crate::model::event::Event;
use crate::model::settings::SandboxSettings;
use crate::model::url::TransportKind;
use crate::watchdog::Watchdog;

/// Settings of a [`ComponentRuntime`].
pub struct ComponentRuntimeOptions {
    /// Limits of the sandboxes.
    pub settings: SandboxSettings,
    /// Calls that may run at the same time.
    pub calls: u32,
    /// The process that compiles components.
    pub compiler: Compiler,
    /// The cache of machine code; without one, every start compiles every component.
    pub code_cache: Option<CodeCache>,
    /// The host name that formatters are told.
    pub host_name: String,
    /// Events that a component must render before it is loaded.
    pub samples: Vec<Sample>,
    /// Watches the epoch clock.
    pub watchdog: Watchdog,
}

/// The sandboxes, the compiler and the samples.
pub struct ComponentRuntime {
    sandbox: Sandbox,
    compiler: ComponentCompiler,
    host_name: String,
    samples: Vec<Sample>,
    /// Digest of everything beside component and machine that a check depends on: version, limits, host name and
    /// samples. An admission recorded under other conditions does not count.
    conditions: [u8; 32],
    /// Held while a candidate is checked: one at a time, so that candidates take one processor at most.
    check_turn: Mutex<()>,
}

/// How many components are compiled and tried at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// One: a candidate waits for its turn, so that candidates take one processor at most.
    Wait,
    /// As many as there are threads: for components that are no candidates, since they come with the program or were
    /// admitted before.
    Skip,
}

/// A component that fits.
pub struct Loaded {
    /// Its manifest.
    pub manifest: Manifest,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// Advice about it, of the check in which it was admitted.
    pub warnings: Vec<Warning>,
    options: Options,
    linked: Linked,
}

impl Loaded {
    /// True if it exports `interpret`, which judges responses.
    pub fn interprets(&self) -> bool {
        self.linked.abilities().interprets
    }

    /// True if it exports `digest`, which makes one message of many events.
    pub fn digests(&self) -> bool {
        self.linked.abilities().digests
    }

    /// All faults of a webhook's options; pointers are relative to them.
    pub fn check_options(&self, options: &serde_json::Value) -> Vec<Fault> {
        self.options.check(options)
    }
}

/// One call of `format`, or of `digest`, with its cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run<T = Payload> {
    /// The payload, or the reason why there is none.
    pub result: Result<T, RenderError>,
    /// Lines that the formatter logged, up to the limit of one call.
    pub log: Vec<LogLine>,
    /// Log lines beyond the limit of one call.
    pub log_dropped: u64,
    /// Executed WebAssembly instructions, the same on every machine.
    pub instructions: u64,
    /// Peak of linear memory, in bytes.
    pub memory_bytes: usize,
    /// Duration in microseconds, creation of the instance included.
    pub duration_us: u64,
    /// Processor time, likewise.
    pub processor: Duration,
}

impl<T> Default for Run<T> {
    /// A call that was not made.
    fn default() -> Self {
        Self {
            result: Err(RenderError::Stopping),
            log: Vec::new(),
            log_dropped: 0,
            instructions: 0,
            memory_bytes: 0,
            duration_us: 0,
            processor: Duration::ZERO,
        }
    }
}

impl<T> Run<T> {
    /// The same call with a part of its result.
    pub fn map<U>(self, part: impl FnOnce(T) -> U) -> Run<U> {
        let Self { result, log, log_dropped, instructions, memory_bytes, duration_us, processor } = self;
        Run { result: result.map(part), log, log_dropped, instructions, memory_bytes, duration_us, processor }
    }
}

impl<T> From<Called<T>> for Run<T> {
    fn from(called: Called<T>) -> Self {
        Self {
            result: called.result,
            log: called.log,
            log_dropped: called.log_dropped,
            instructions: called.instructions,
            memory_bytes: called.memory_bytes,
            duration_us: u64::try_from(called.duration.as_micros()).unwrap_or(u64::MAX),
            processor: called.processor,
        }
    }
}

impl ComponentRuntime {
    /// Starts the engines.
    ///
    /// # Errors
    /// When the machine does not give them the address space that they reserve.
    pub fn new(options: ComponentRuntimeOptions) -> anyhow::Result<Self> {
        let mut conditions = Sha256::new();
        conditions.update(env!("CARGO_PKG_VERSION"));
        conditions.update(format!("{:?}", options.settings));
        conditions.update(&options.host_name);
        for sample in &options.samples {
            conditions.update(&sample.event.json);
        }
        let sandbox = Sandbox::new(options.settings, options.calls, &options.watchdog)?;
        Ok(Self {
            compiler: ComponentCompiler::new(options.compiler, options.code_cache, &sandbox),
            sandbox,
            host_name: options.host_name,
            samples: options.samples,
            conditions: conditions.finalize().into(),
            check_turn: Mutex::default(),
        })
    }

    /// Checks a component against the contract and tries it on the samples; returns it loaded if it fits.
    pub fn check(&self, bytes: &[u8]) -> (Report, Option<Loaded>) {
        self.check_on(bytes, sha256(bytes), &self.samples, Turn::Wait)
    }

    /// As [`ComponentRuntime::check`] without the samples, so that an author can look at a call that fails.
    pub fn check_without_samples(&self, bytes: &[u8]) -> (Report, Option<Loaded>) {
        self.check_on(bytes, sha256(bytes), &[], Turn::Wait)
    }

    /// As [`ComponentRuntime::check`], but a component that this host admitted before is not tried again. `digest`
    /// is the SHA-256 of the bytes.
    pub(super) fn admit(&self, bytes: &[u8], digest: [u8; 32], turn: Turn) -> Result<Loaded, Rejection> {
        if let Some(recorded) = self.compiler.admission(&digest, &self.conditions)
            && let Ok(warnings) = serde_json::from_str(&recorded)
            && let Some(loaded) = self.load(bytes, digest)
        {
            return Ok(Loaded { warnings, ..loaded });
        }
        let wait = || self.check_turn.lock().unwrap_or_else(PoisonError::into_inner);
        let held = (turn == Turn::Wait).then(wait);
        let (report, loaded) = self.check_on(bytes, digest, &self.samples, turn);
        drop(held);
        let unknown = || Rejection::new("invalid_manifest", "its options cannot be checked");
        let loaded = loaded.ok_or_else(|| report.rejection().unwrap_or_else(unknown))?;
        for warning in loaded.warnings.iter().filter(|warning| warning.code == "newer_event_failed") {
            tracing::warn!(
                name = loaded.manifest.name,
                message = warning.message,
                "a formatter is older than some events"
            );
        }
        let recorded = serde_json::to_string(&loaded.warnings).unwrap_or_default();
        self.compiler.record_admission(&digest, &self.conditions, &recorded);
        Ok(loaded)
    }

    /// As [`ComponentRuntime::check`] without the samples, for a component that was admitted before.
    pub(super) fn load(&self, bytes: &[u8], digest: [u8; 32]) -> Option<Loaded> {
        self.check_on(bytes, digest, &[], Turn::Wait).1
    }

    /// Compiles the evaluator of filter expressions, through the cache of machine code, and loads it.
    ///
    /// # Errors
    /// When it cannot be compiled, or the machine does not let it be loaded.
    pub fn evaluator(&self, bytes: &[u8]) -> anyhow::Result<Evaluator> {
        let code = self.compiler.compile(&sha256(bytes), bytes, self.settings().compile_time, false);
        let code = code.map_err(|error| anyhow::anyhow!("it cannot be compiled: {error:?}"))?;
        Evaluator::load(&code).map_err(|error| anyhow::anyhow!("it cannot be loaded: {error:?}"))
    }

    /// True if the component's machine code is in the cache, so that loading it takes milliseconds.
    pub(super) fn has_code(&self, digest: &[u8; 32]) -> bool {
        self.compiler.has_code(digest)
    }

    fn check_on(&self, bytes: &[u8], digest: [u8; 32], samples: &[Sample], turn: Turn) -> (Report, Option<Loaded>) {
        let (compiler, host_name, in_turn) = (&self.compiler, self.host_name.as_str(), turn == Turn::Wait);
        let validator = Validator { sandbox: &self.sandbox, compiler, in_turn, samples, host_name };
        let (report, admitted) = admission::check(&validator, bytes, &digest);
        let loaded = admitted.map(|Admitted { manifest, linked, options }| Loaded {
            manifest,
            digest,
            warnings: report.warnings(),
            options,
            linked,
        });
        (report, loaded)
    }

    /// Renders one event on the current thread.
    pub fn run(&self, loaded: &Loaded, event: &Event, options: &str, transport_kind: TransportKind) -> Run {
        self.run_on(loaded, event, options, transport_kind, None)
    }

    /// As [`ComponentRuntime::run`]; `on_long` is called when the call becomes long.
    pub(super) fn run_on(
        &self,
        loaded: &Loaded,
        event: &Event,
        options: &str,
        transport_kind: TransportKind,
        on_long: Option<OnLong>,
    ) -> Run {
        let terms = Terms::usual(self.settings(), on_long);
        self.sandbox.format(&loaded.linked, event, &self.host_name, transport_kind, options, terms).into()
    }

    /// As [`ComponentRuntime::run`], on a thread that others wait for: the call is broken off if it is not brief.
    pub(super) fn run_here(&self, loaded: &Loaded, event: &Event, options: &str, transport_kind: TransportKind) -> Run {
        let terms = Terms::here(self.settings());
        self.sandbox.format(&loaded.linked, event, &self.host_name, transport_kind, options, terms).into()
    }

    /// Makes one message of many events on the current thread; `None` if the component does not export `digest`.
    pub fn digest(&self, loaded: &Loaded, events: &[Arc<Event>], part: Part, options: &str) -> Option<Run<Digested>> {
        self.digest_on(loaded, events, part, options, None)
    }

    /// As [`ComponentRuntime::digest`]; `on_long` is called when the call becomes long.
    pub(super) fn digest_on(
        &self,
        loaded: &Loaded,
        events: &[Arc<Event>],
        part: Part,
        options: &str,
        on_long: Option<OnLong>,
    ) -> Option<Run<Digested>> {
        let terms = Terms::digest(self.settings(), on_long);
        self.sandbox.digest(&loaded.linked, events, part, &self.host_name, options, terms).map(Run::from)
    }

    /// Judges a destination's response on the current thread; `None` if the component does not export `interpret`.
    pub(super) fn interpret(
        &self,
        loaded: &Loaded,
        response: &Response,
        on_long: Option<OnLong>,
    ) -> Option<Called<Verdict>> {
        self.sandbox.interpret(&loaded.linked, response, Terms::usual(self.settings(), on_long))
    }

    /// As [`ComponentRuntime::interpret`], on a thread that others wait for: the call is broken off if it is not brief.
    pub(super) fn interpret_here(&self, loaded: &Loaded, response: &Response) -> Option<Called<Verdict>> {
        self.sandbox.interpret(&loaded.linked, response, Terms::here(self.settings()))
    }

    /// The samples that components are tried on.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The same runtime with another host name.
    #[must_use]
    pub fn with_host_name(self, host_name: String) -> Self {
        Self { host_name, ..self }
    }

    /// The host name that formatters are told.
    pub fn host_name(&self) -> &str {
        &self.host_name
    }

    /// Limits of one call in a sandbox of this size.
    pub fn limits(&self, size: Size) -> Limits {
        self.sandbox.limits(size)
    }

    pub(super) fn settings(&self) -> &SandboxSettings {
        self.sandbox.settings()
    }
}
