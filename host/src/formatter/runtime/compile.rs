//! From WebAssembly to machine code: in a process of its own that can be killed, and kept on the disk.
//!
//! Compiling a stranger's file may take any time and memory (a compile bomb), so a child of this very program
//! does it, with limits that the kernel enforces. Loading machine code is trusting it, so what is kept is
//! authenticated with a key that only this host has, and compiled anew when anything about it is odd.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component as Compiled;

use crate::formatter::admission::report::Finding;
use super::sandbox;
use crate::formatter::hex;
use crate::model::header;
use crate::model::settings::SandboxSettings;

/// The address space of the child, in bytes; compiling an 18 MiB component takes about 2 GiB of it.
const CHILD_ADDRESS_SPACE: u64 = 8 * 1024 * 1024 * 1024;
/// What the child may say about a failure, in bytes.
const CHILD_WORDS: u64 = 8 * 1024;
/// How much lower than the host's the child's priority is: deliveries go first.
const NICENESS: libc::c_int = 10;
const MAC_BYTES: usize = 32;
const ENDING: &str = "cwasm";
const PROOF: &str = "fits";

/// Where components are compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compiler {
    /// In this process: for tests and benchmarks, whose programs cannot be their own child.
    #[default]
    Here,
    /// In a child of this program that runs [`compile_for_parent`].
    Child,
}

/// Where machine code is kept between two starts.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The folder; it must be writable by this host alone.
    pub folder: PathBuf,
    /// What authenticates the files.
    pub key: [u8; 32],
}

/// Compiles, and remembers.
pub(in crate::formatter) struct Compile {
    compiler: Compiler,
    kept: Option<Kept>,
    /// One at a time: a bomb takes its turn like everyone.
    turn: Mutex<()>,
}

impl Compile {
    pub(in crate::formatter) fn new(compiler: Compiler, kept: Option<Kept>) -> Self {
        Self { compiler, kept, turn: Mutex::default() }
    }

    /// The component's machine code for `engine`, from the disk or compiled now.
    pub(in crate::formatter) fn load(
        &self,
        engine: &Engine,
        digest: &[u8; 32],
        bytes: &[u8],
        settings: &SandboxSettings,
    ) -> Result<Vec<u8>, Finding> {
        if let Some(code) = self.read(engine, digest) {
            return Ok(code);
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let code = match self.compiler {
            Compiler::Here => engine.precompile_component(bytes).map_err(|error| invalid(&format!("{error:#}")))?,
            Compiler::Child => in_child(bytes, settings.compile_time)?,
        };
        // A disk that does not take it costs time at the next start, nothing else.
        if let Err(error) = self.write(engine, digest, &code) {
            tracing::warn!(%error, "compiled code could not be kept");
        }
        Ok(code)
    }

    /// Whether this very program, with these limits and samples (`trial` is their digest), has checked the
    /// component before and found it fit.
    pub(in crate::formatter) fn is_proven(&self, engine: &Engine, digest: &[u8; 32], trial: &[u8; 32]) -> bool {
        let Some(kept) = &self.kept else { return false };
        let Ok(mac) = std::fs::read(path(kept, engine, digest, PROOF)) else { return false };
        authenticator(kept, engine, digest, PROOF, trial).verify_slice(&mac).is_ok()
    }

    /// Remembers that a component fits.
    pub(in crate::formatter) fn prove(&self, engine: &Engine, digest: &[u8; 32], trial: &[u8; 32]) {
        let Some(kept) = &self.kept else { return };
        let mac = authenticator(kept, engine, digest, PROOF, trial).finalize().into_bytes();
        // Without it the next start tries the samples again.
        drop(std::fs::write(path(kept, engine, digest, PROOF), mac));
    }

    /// What was kept, if it is whole and ours.
    fn read(&self, engine: &Engine, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let kept = self.kept.as_ref()?;
        let mut file = std::fs::File::open(path(kept, engine, digest, ENDING)).ok()?;
        let mut mac = [0; MAC_BYTES];
        file.read_exact(&mut mac).ok()?;
        let mut code = Vec::new();
        file.read_to_end(&mut code).ok()?;
        let authentic = authenticator(kept, engine, digest, ENDING, &code).verify_slice(&mac).is_ok();
        if !authentic {
            tracing::warn!(digest = hex(digest), "kept compiled code is damaged or not ours: it is compiled anew");
        }
        authentic.then_some(code)
    }

    fn write(&self, engine: &Engine, digest: &[u8; 32], code: &[u8]) -> std::io::Result<()> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let mac = authenticator(kept, engine, digest, ENDING, code).finalize().into_bytes();
        let mut beside = tempfile::NamedTempFile::new_in(&kept.folder)?;
        beside.write_all(&mac)?;
        beside.write_all(code)?;
        beside.persist(path(kept, engine, digest, ENDING))?;
        Ok(())
    }

    /// Whether a file of the folder is about the machine code of a component with one of these digests.
    pub(in crate::formatter) fn is_code_of(name: &str, digests: &[[u8; 32]]) -> bool {
        Self::is_code(name) && digests.iter().any(|digest| name.starts_with(&hex(digest)))
    }

    /// Whether a file of the folder is about machine code.
    pub(in crate::formatter) fn is_code(name: &str) -> bool {
        name.ends_with(ENDING) || name.ends_with(PROOF)
    }
}

/// What else the code depends on: the version of wasmtime, its settings, the processor's abilities.
fn environment(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn path(kept: &Kept, engine: &Engine, digest: &[u8; 32], ending: &str) -> PathBuf {
    kept.folder.join(format!("{}.{:016x}.{ending}", hex(digest), environment(engine)))
}

/// Binds what is kept (`about` says what that is) to its component, this program and this machine.
fn authenticator(kept: &Kept, engine: &Engine, digest: &[u8; 32], about: &str, content: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&kept.key).expect("HMAC takes a key of any length");
    mac.update(about.as_bytes());
    mac.update(digest);
    mac.update(&environment(engine).to_be_bytes());
    mac.update(content);
    mac
}

fn invalid(words: &str) -> Finding {
    Finding::error(
        "invalid_component",
        format!("it is truncated or not valid: {}", header::printable(words, 1000)),
        "build it again, or copy it again if it was cut on its way",
    )
}

/// Could not be judged, through no fault of the component.
pub(in crate::formatter) const NOT_COMPILED: &str = "not_compiled";

fn broken(error: &std::io::Error) -> Finding {
    Finding::error(
        NOT_COMPILED,
        format!("the compiler could not be run: {error}"),
        "this is the machine's doing, not the component's: are processes or memory short?",
    )
}

/// Runs the compiler as a child: the component on its standard input, machine code from its output.
fn in_child(bytes: &[u8], time: Duration) -> Result<Vec<u8>, Finding> {
    let seconds = time.as_secs().max(1);
    // This very program, also when its file was replaced meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .args([CHILD_COMMAND, &seconds.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_clear()
        .spawn()
        .map_err(|error| broken(&error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (code, words) = std::thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(bytes)));
        let words = scope.spawn(move || {
            let mut words = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = stderr.by_ref().take(CHILD_WORDS).read_to_end(&mut words);
                // What is beyond is read and dropped, so that the child does not wait for us.
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            }
            String::from_utf8_lossy(&words).trim().to_owned()
        });
        let mut code = Vec::new();
        let read = stdout.map(|mut stdout| stdout.read_to_end(&mut code));
        (read.transpose().map(|_| code), words.join().unwrap_or_default())
    });
    let status = child.wait().map_err(|error| broken(&error))?;
    let code = code.map_err(|error| broken(&error))?;
    if status.success() {
        return Ok(code);
    }
    if status.code() == Some(CHILD_INVALID) {
        return Err(invalid(&words));
    }
    if status.code().is_some() {
        return Err(Finding::error(
            "compile_failed",
            format!(
                "the compiler broke off on it: {}",
                header::printable(words.lines().next().unwrap_or_default(), 300)
            ),
            "this may be a fault of the compiler (wasmtime): report it with the file",
        ));
    }
    Err(Finding::error(
        "compile_limit",
        format!("compiling it takes more than {seconds} s of processor time or more memory than is given ({status})"),
        "make it smaller: fewer and shorter functions; an operator can raise --formatter-compile-time",
    ))
}

/// The hidden command that [`compile_for_parent`] stands behind.
pub const CHILD_COMMAND: &str = "compile-component";
/// The child's exit code for a component that is not valid.
const CHILD_INVALID: i32 = 3;

/// What the child does: reads a component from standard input, compiles it within `seconds` of processor
/// time, writes the machine code to standard output. The exit code is the process's.
///
/// # Errors
/// When the system does not let it read, write or limit itself.
pub fn compile_for_parent(seconds: u64) -> std::io::Result<u8> {
    limit(libc::RLIMIT_CPU, seconds)?;
    limit(libc::RLIMIT_AS, CHILD_ADDRESS_SPACE)?;
    limit(libc::RLIMIT_CORE, 0)?;
    // SAFETY: no memory is involved. It asks the kernel to end this process with its parent, so that a
    // host that is killed leaves no compiler behind.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: no memory is involved. A kernel that refuses leaves the priority as it is.
    unsafe { libc::nice(NICENESS) };
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    let engine = sandbox::compiling_engine().map_err(std::io::Error::other)?;
    match engine.precompile_component(&bytes) {
        Ok(code) => {
            std::io::stdout().lock().write_all(&code)?;
            Ok(0)
        }
        Err(error) => {
            std::io::stderr().lock().write_all(format!("{error:#}").as_bytes())?;
            Ok(u8::try_from(CHILD_INVALID).unwrap_or(u8::MAX))
        }
    }
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the struct lives through the call, which only reads it.
    if unsafe { libc::setrlimit(resource, &limit) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Loads machine code that this program made.
pub(in crate::formatter) fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Compiled> {
    // SAFETY: the bytes come from this program's own compiler (here or in its child) a moment ago, or from a
    // file whose MAC under this host's key was just verified over exactly these bytes in memory.
    unsafe { Compiled::deserialize(engine, code) }
}

/// A key for [`Kept`] in a folder of this user's own, made when it is not there.
///
/// # Errors
/// When the folder or the key cannot be made, or others may read the key.
pub fn own_key(folder: &Path) -> std::io::Result<[u8; 32]> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join("key");
    let mut key = [0; 32];
    match std::fs::File::open(&path) {
        Ok(mut file) => {
            let metadata = file.metadata()?;
            // SAFETY: no memory is involved.
            let me = unsafe { libc::geteuid() };
            if metadata.mode() & 0o077 != 0 || metadata.uid() != me {
                return Err(std::io::Error::other(format!("{} is not this user's alone", path.display())));
            }
            file.read_exact(&mut key)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            getrandom::fill(&mut key).map_err(std::io::Error::other)?;
            std::fs::File::options().create_new(true).write(true).mode(0o600).open(&path)?.write_all(&key)?;
        }
        Err(error) => return Err(error),
    }
    Ok(key)
}
