//! `heraldry`: parses the command line, runs the command, maps its outcome to an exit code.
//!
//! 0 is success, 1 a failure, 64 (`EX_USAGE`) a wrong command line or configuration. A broken pipe on standard output
//! (`| head`) is not an error.

use std::process::ExitCode;
use std::time::Duration;

use heraldry::cli;

/// With the system's allocator a delivery took a fifth more processor time (`cargo bench --bench host`): memory that
/// one thread allocates is usually freed by another here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the process waits at its end for blocking calls that have no consumer any more, such as a read from a
/// terminal.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

/// Turns transparent huge pages off for this process. The allocator asks for them, and one that is touched anywhere is
/// resident as a whole: that was half of the memory of an idle host and a third under load, for a difference in time that
/// the benchmark cannot tell from noise.
fn disable_huge_pages() {
    let (disable, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // A kernel that denies it leaves them on.
    // SAFETY: no argument is a pointer.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, disable, unused, unused, unused) };
}

fn main() -> ExitCode {
    disable_huge_pages();
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(exit) => return exit,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::report(&cli::Failure::no_runtime(error)),
    };
    let outcome = runtime.block_on(command.run());
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => cli::report(&failure),
    }
}
