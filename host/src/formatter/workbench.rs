//! Judging and running components: what the host's registry stands on, and what an author's tools use alone,
//! so that what passes there passes here.

use sha2::{Digest as _, Sha256};

use super::check::{self, Bench, Fitting};
use super::compile::{Compile, Compiler, Kept};
use super::error::RenderError;
use super::info::{Limits, LogLine};
use super::manifest::{Manifest, Options, Size};
use super::report::{Rejection, Report};
use super::sandbox::{Called, Linked, Payload, Sandbox, Surroundings, Verdict};
use crate::json::fault::Fault;
use crate::model::delivery::Response;
use crate::model::event::Event;
use crate::model::settings::SandboxSettings;
use crate::model::url::TransportKind;

/// A named event that components are tried on.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it is called.
    pub name: String,
    /// The event.
    pub event: Event,
}

/// What a workbench is set up with.
pub struct WorkbenchOptions {
    /// What a formatter may use.
    pub settings: SandboxSettings,
    /// Calls that run at the same time, at most.
    pub calls: u32,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// Where machine code is kept; `None`: nowhere.
    pub kept: Option<Kept>,
    /// The name of the machine that Heraldry speaks for.
    pub host_name: String,
    /// What a component is tried on.
    pub samples: Vec<Sample>,
}

/// Engines, compiler and samples.
pub struct Workbench {
    sandbox: Sandbox,
    compile: Compile,
    around: Surroundings,
    samples: Vec<Sample>,
    /// What a check depends on beside the component and the program: limits, samples, what surrounds them.
    trial: [u8; 32],
}

/// A component that fits.
pub struct Loaded {
    /// What it says of itself.
    pub manifest: Manifest,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    options: Options,
    linked: Linked,
}

impl Loaded {
    /// Whether it reads answers.
    pub fn interprets(&self) -> bool {
        self.linked.interprets()
    }

    /// Everything that is wrong with a webhook's options; pointers begin at the options.
    pub fn check_options(&self, options: &serde_json::Value) -> Vec<Fault> {
        self.options.check(options)
    }
}

/// One call, with what it cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// What would be sent, or why nothing would.
    pub result: Result<Payload, RenderError>,
    /// What the formatter logged.
    pub log: Vec<LogLine>,
    /// Log lines that were one too many.
    pub log_dropped: u64,
    /// WebAssembly instructions: exactly the same on every machine.
    pub instructions: u64,
    /// The most linear memory that it had, in bytes.
    pub memory_bytes: usize,
    /// How long the call took, in microseconds, instance and all.
    pub duration_us: u64,
}

impl Default for Run {
    /// A call that was not made.
    fn default() -> Self {
        Self {
            result: Err(RenderError::Stopping),
            log: Vec::new(),
            log_dropped: 0,
            instructions: 0,
            memory_bytes: 0,
            duration_us: 0,
        }
    }
}

impl From<Called<Payload>> for Run {
    fn from(called: Called<Payload>) -> Self {
        Self {
            result: called.result,
            log: called.log,
            log_dropped: called.log_dropped,
            instructions: called.instructions,
            memory_bytes: called.memory_bytes,
            duration_us: u64::try_from(called.duration.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl Workbench {
    /// Starts the engines.
    ///
    /// # Errors
    /// When the machine does not give them what they need, address space above all.
    pub fn new(options: WorkbenchOptions) -> anyhow::Result<Self> {
        let mut trial = Sha256::new();
        trial.update(env!("CARGO_PKG_VERSION"));
        trial.update(format!("{:?}", options.settings));
        trial.update(&options.host_name);
        for sample in &options.samples {
            trial.update(&sample.event.json);
        }
        Ok(Self {
            trial: trial.finalize().into(),
            sandbox: Sandbox::new(options.settings, options.calls)?,
            compile: Compile::new(options.compiler, options.kept),
            around: Surroundings { host_name: options.host_name },
            samples: options.samples,
        })
    }

    /// Holds a component against the contract and tries it on the samples; it comes back loaded if it fits.
    pub fn check(&self, bytes: &[u8]) -> (Report, Option<Loaded>) {
        self.check_on(bytes, Sha256::digest(bytes).into(), &self.samples)
    }

    /// As [`Workbench::check`], but what this host has found fit before is not tried again. `digest` is that of
    /// the bytes.
    pub(super) fn admit(&self, bytes: &[u8], digest: [u8; 32]) -> Result<Loaded, Rejection> {
        let engine = self.sandbox.engine(Size::Small);
        if engine.is_some_and(|engine| self.compile.is_proven(engine, &digest, &self.trial))
            && let Some(loaded) = self.load(bytes, digest)
        {
            return Ok(loaded);
        }
        let (report, loaded) = self.check_on(bytes, digest, &self.samples);
        let unknown = || Rejection::new("invalid_manifest", "its options cannot be checked");
        let loaded = loaded.ok_or_else(|| report.rejection().unwrap_or_else(unknown))?;
        if let Some(engine) = engine {
            self.compile.prove(engine, &digest, &self.trial);
        }
        Ok(loaded)
    }

    /// As [`Workbench::check`], without the samples: of a component that was checked before.
    pub(super) fn load(&self, bytes: &[u8], digest: [u8; 32]) -> Option<Loaded> {
        self.check_on(bytes, digest, &[]).1
    }

    fn check_on(&self, bytes: &[u8], digest: [u8; 32], samples: &[Sample]) -> (Report, Option<Loaded>) {
        let bench = Bench { sandbox: &self.sandbox, compile: &self.compile, samples, around: &self.around };
        let (report, fitting) = check::check(&bench, bytes, &digest);
        let loaded = fitting.map(|Fitting { manifest, linked, options }| Loaded { manifest, digest, options, linked });
        (report, loaded)
    }

    /// Renders one event on this thread.
    pub fn run(&self, loaded: &Loaded, event: &Event, options: &str, transport_kind: TransportKind) -> Run {
        self.sandbox.format(&loaded.linked, event, &self.around, transport_kind, options, 1).into()
    }

    pub(super) fn interpret(&self, loaded: &Loaded, response: &Response) -> Option<Called<Verdict>> {
        self.sandbox.interpret(&loaded.linked, response)
    }

    /// The samples that components are tried on.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The same workbench, speaking for another machine.
    #[must_use]
    pub fn speaking_for(self, host_name: String) -> Self {
        Self { around: Surroundings { host_name }, ..self }
    }

    /// The name of the machine that Heraldry speaks for.
    pub fn host_name(&self) -> &str {
        &self.around.host_name
    }

    pub(super) fn settings(&self) -> &SandboxSettings {
        self.sandbox.settings()
    }

    /// What one call of a formatter of this size may use.
    pub fn limits(&self, size: Size) -> Limits {
        let settings = self.sandbox.settings();
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Limits {
            instructions: settings.fuel,
            time_ms: ms(settings.timeout),
            memory_bytes: self.sandbox.memory_bytes(size) as u64,
            table_elements: self.sandbox.table_elements(size) as u64,
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
