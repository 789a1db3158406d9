//! The compiler in a process of its own. Compiling a third-party module may take any time and memory (a compile
//! bomb), so a child of this very program does it, within limits that the kernel enforces.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};

use super::engine::compiling_engine;
use super::error::CompileError;
use crate::formatter::thread;

/// The hidden command that runs [`compile_for_parent`].
pub const CHILD_COMMAND: &str = "compile-component";
/// The child's exit code for a component that is not valid.
const EXIT_INVALID: u8 = 3;
/// Address space of the child, in bytes; compiling an 18 MiB component takes about 2 GiB of it.
const ADDRESS_SPACE: u64 = 8 * 1024 * 1024 * 1024;
/// Bytes of the child's error message that are kept.
const MESSAGE_BYTES: u64 = 8 * 1024;

/// Compiles in a child: the component goes to its standard input, machine code comes from its standard output.
pub(super) fn compile(bytes: &[u8], time: Duration) -> Result<Vec<u8>, CompileError> {
    let seconds = time.as_secs().max(1);
    // /proc/self/exe is the running program even after its file was replaced by an upgrade.
    let mut child = Command::new("/proc/self/exe")
        .args([CHILD_COMMAND, &seconds.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_clear()
        .spawn()
        .map_err(CompileError::NotRun)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (code, message) = std::thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(bytes)));
        let message = scope.spawn(move || {
            let mut message = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = stderr.by_ref().take(MESSAGE_BYTES).read_to_end(&mut message);
                // The rest is drained, so that a full pipe does not block the child.
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            }
            String::from_utf8_lossy(&message).trim().to_owned()
        });
        let mut code = Vec::new();
        let read = stdout.map(|mut stdout| stdout.read_to_end(&mut code));
        (read.transpose().map(|_| code), message.join().unwrap_or_default())
    });
    let status = child.wait().map_err(CompileError::NotRun)?;
    let code = code.map_err(CompileError::NotRun)?;
    match status.code() {
        Some(0) => Ok(code),
        Some(exit) if exit == i32::from(EXIT_INVALID) => Err(CompileError::Invalid(message)),
        Some(_) => Err(CompileError::Crashed(message.lines().next().unwrap_or_default().to_owned())),
        None => Err(CompileError::Limit { seconds, status }),
    }
}

/// The child's side: reads a component from standard input, compiles it within `seconds` of processor time, and
/// writes the machine code to standard output. Returns the exit code of the process.
///
/// # Errors
/// When the system does not let it read, write or limit itself.
pub fn compile_for_parent(seconds: u64) -> std::io::Result<u8> {
    limit(Resource::Cpu, seconds)?;
    limit(Resource::As, ADDRESS_SPACE)?;
    limit(Resource::Core, 0)?;
    // The kernel ends this process with its parent, so that a host that is killed leaves no compiler behind.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // Deliveries go first.
    thread::lower_priority_of_child();
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    let engine = compiling_engine().map_err(std::io::Error::other)?;
    match engine.precompile_component(&bytes) {
        Ok(code) => {
            std::io::stdout().lock().write_all(&code)?;
            Ok(0)
        }
        Err(error) => {
            std::io::stderr().lock().write_all(format!("{error:#}").as_bytes())?;
            Ok(EXIT_INVALID)
        }
    }
}

fn limit(resource: Resource, most: u64) -> std::io::Result<()> {
    rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    Ok(())
}
