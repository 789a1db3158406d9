//! From WebAssembly to machine code, through the code cache.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wasmtime::Engine;

use super::child;
use super::code_cache::{CacheKey, CodeCache};
use super::engine::MachineCode;
use super::error::CompileError;
use super::limits::Size;
use super::sandbox::Sandbox;

/// The process that compiles components.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compiler {
    /// This process: for tests and benchmarks, whose programs cannot run themselves as the compiler.
    #[default]
    Here,
    /// A child process of this program that runs [`child::compile_for_parent`], within limits of the kernel.
    Child,
}

/// The compiler with its cache. The code fits both sandboxes.
pub(in crate::formatter) struct ComponentCompiler {
    compiler: Compiler,
    engine: Engine,
    /// A hash of wasmtime's version, its settings and the processor's features: code depends on all of them.
    environment: u64,
    cache: Option<CodeCache>,
    /// Held while a candidate is compiled: a compile bomb may take one processor, not all.
    turn: Mutex<()>,
}

impl ComponentCompiler {
    pub(in crate::formatter) fn new(compiler: Compiler, cache: Option<CodeCache>, sandbox: &Sandbox) -> Self {
        let engine = sandbox.engine(Size::Small).engine.clone();
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { compiler, engine, environment: hasher.finish(), cache, turn: Mutex::default() }
    }

    /// The component's machine code, from the cache or compiled now within `compile_time` of processor time; with `in_turn`
    /// after every other that is compiled so. `digest` is the SHA-256 of `bytes`.
    pub(in crate::formatter) fn compile(
        &self,
        digest: &[u8; 32],
        bytes: &[u8],
        compile_time: Duration,
        in_turn: bool,
    ) -> Result<MachineCode, CompileError> {
        let key = self.key(digest);
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.read(key)) {
            return Ok(code);
        }
        let _turn = in_turn.then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        let code = match self.compiler {
            Compiler::Here => {
                self.engine.precompile_component(bytes).map_err(|error| CompileError::Invalid(format!("{error:#}")))?
            }
            Compiler::Child => child::compile(bytes, compile_time)?,
        };
        let code = MachineCode::trust(code);
        if let Some(cache) = &self.cache
            && let Err(error) = cache.write(key, &code)
        {
            tracing::warn!(%error, "compiled code could not be cached, so the next start compiles it again; check the data folder's free space and permissions");
        }
        Ok(code)
    }

    /// True if the cache has machine code of the component, authentic or not.
    pub(in crate::formatter) fn has_code(&self, digest: &[u8; 32]) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.contains(self.key(digest)))
    }

    /// What was recorded when this program admitted the component before, on the same machine and under the same
    /// conditions. `conditions` is the digest of the limits and the samples.
    pub(in crate::formatter) fn admission(&self, digest: &[u8; 32], conditions: &[u8; 32]) -> Option<String> {
        self.cache.as_ref()?.admission(self.key(digest), conditions)
    }

    /// Records that the component was admitted under these conditions, with a text.
    pub(in crate::formatter) fn record_admission(&self, digest: &[u8; 32], conditions: &[u8; 32], text: &str) {
        if let Some(cache) = &self.cache {
            cache.record_admission(self.key(digest), conditions, text);
        }
    }

    fn key<'a>(&self, digest: &'a [u8; 32]) -> CacheKey<'a> {
        CacheKey { digest, environment: self.environment }
    }
}
