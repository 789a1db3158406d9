//! `heraldry`: parse, run, outcome to exit code. 0 is success, 1 a failure, 64 a wrong command line or
//! configuration; a reader that closes our standard output (`| head`) is no error.

use std::process::ExitCode;
use std::time::Duration;

use heraldry::cli;

/// Measured (`cargo bench --bench host`), the system's allocator cost a fifth of a delivery's processor time: what one
/// thread allocates another one frees here, all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a blocking call that nobody waits for any more (a read from a terminal) may hold up the end.
const STRAGGLERS: Duration = Duration::from_millis(200);

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
    runtime.shutdown_timeout(STRAGGLERS);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => cli::report(&failure),
    }
}
