//! The two sandboxes, and components linked to one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::bindings::digester::DigesterPre;
use super::bindings::formatter::FormatterPre;
use super::bindings::interpreter::InterpreterPre;
use super::engine::{Compiled, MachineCode, SandboxEngine};
use super::error::{LinkError, LoadError};
use super::instance::InstanceState;
use super::limits::{Limits, Size};
use crate::model::settings::SandboxSettings;
use crate::watchdog::{Need, Pulse, Watchdog};

/// Interval of the epoch clock, at whose ticks a running call's time is judged.
const TICK: Duration = Duration::from_millis(2);
/// The longest that the epoch clock may stand still.
const TICK_LIMIT: Duration = Duration::from_secs(30);

/// The optional interfaces that a component exports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::formatter) struct Abilities {
    /// It judges responses.
    pub(in crate::formatter) interprets: bool,
    /// It makes one message of many events.
    pub(in crate::formatter) digests: bool,
}

/// A component linked to the host's imports, in one of the sandboxes.
#[derive(Clone)]
pub(in crate::formatter) struct Linked {
    pub(super) format: FormatterPre<InstanceState>,
    pub(super) interpret: Option<InterpreterPre<InstanceState>>,
    pub(super) digest: Option<DigesterPre<InstanceState>>,
    pub(in crate::formatter) size: Size,
}

impl Linked {
    /// The optional interfaces that the component exports.
    pub(in crate::formatter) fn abilities(&self) -> Abilities {
        Abilities { interprets: self.interpret.is_some(), digests: self.digest.is_some() }
    }
}

/// The engines that run every component. The large one costs address space, so an operator may switch it off.
pub(in crate::formatter) struct Sandbox {
    small: SandboxEngine,
    large: Option<SandboxEngine>,
    settings: SandboxSettings,
    /// True until the epoch clock is to stop.
    ticking: Arc<AtomicBool>,
}

impl Sandbox {
    /// Starts engines that each run at most `calls` instances at the same time.
    pub(in crate::formatter) fn new(
        settings: SandboxSettings,
        calls: u32,
        watchdog: &Watchdog,
    ) -> anyhow::Result<Self> {
        let small = SandboxEngine::new(&settings, Size::Small, settings.memory_bytes, calls)?;
        let large = settings.large_memory_bytes.map(|bytes| SandboxEngine::new(&settings, Size::Large, bytes, calls));
        let large = large.transpose()?;
        let ticking = Arc::new(AtomicBool::new(true));
        let engines: Vec<_> = std::iter::once(&small).chain(&large).map(|sandbox| sandbox.engine.weak()).collect();
        let go_on = Arc::clone(&ticking);
        let watched = watchdog.watch("formatter-epoch", Need::Partial, Some(TICK_LIMIT));
        let tick = move |pulse: &Pulse| {
            while go_on.load(Ordering::Relaxed) {
                pulse.beat();
                std::thread::sleep(TICK);
                engines.iter().filter_map(wasmtime::EngineWeak::upgrade).for_each(|engine| engine.increment_epoch());
            }
        };
        std::thread::Builder::new().name("formatter-epoch".into()).spawn(move || watched.run(tick))?;
        Ok(Self { small, large, settings, ticking })
    }

    /// True if there is a sandbox of this size.
    pub(in crate::formatter) fn has(&self, size: Size) -> bool {
        size == Size::Small || self.large.is_some()
    }

    /// The engine of a sandbox; without a large one the small one stands in.
    pub(super) fn engine(&self, size: Size) -> &SandboxEngine {
        match (size, &self.large) {
            (Size::Large, Some(large)) => large,
            _ => &self.small,
        }
    }

    pub(in crate::formatter) fn settings(&self) -> &SandboxSettings {
        &self.settings
    }

    /// Limits of a call in a sandbox of this size.
    pub(in crate::formatter) fn limits(&self, size: Size) -> Limits {
        let engine = self.engine(size);
        Limits::new(&self.settings, engine.memory_bytes, engine.table_elements)
    }

    /// Loads machine code into the sandbox of this size.
    pub(in crate::formatter) fn load(&self, code: &MachineCode, size: Size) -> Result<Compiled, LoadError> {
        self.engine(size).load(code)
    }

    /// Loads the machine code of a component into the sandbox of another size.
    pub(in crate::formatter) fn move_to(&self, compiled: &Compiled, size: Size) -> Result<Compiled, LoadError> {
        let code = compiled.code().map_err(|error| LoadError::ExceedsSandbox(format!("{error:#}")))?;
        self.load(&code, size)
    }

    /// Links a component with the host's imports: the log and nothing else.
    pub(in crate::formatter) fn link(
        &self,
        compiled: &Compiled,
        size: Size,
        abilities: Abilities,
    ) -> Result<Linked, LinkError> {
        let link = || {
            let linked = self.engine(size).link(compiled)?;
            let interpret = abilities.interprets.then(|| InterpreterPre::new(linked.clone())).transpose()?;
            let digest = abilities.digests.then(|| DigesterPre::new(linked.clone())).transpose()?;
            Ok(Linked { format: FormatterPre::new(linked)?, interpret, digest, size })
        };
        link().map_err(|error: wasmtime::Error| LinkError(format!("{error:#}")))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.ticking.store(false, Ordering::Relaxed);
    }
}
