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

fn main() -> ExitCode {
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
