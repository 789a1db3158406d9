//! The log, on standard error.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Installs the log: Heraldry's own lines from `level` up, those of libraries from `warn` up only, so that
/// `debug` stays readable. A subscriber that is installed already (as in tests) stays.
pub(crate) fn start(format: LogFormat, level: Level) {
    let libraries = level.min(Level::WARN);
    let wanted = Targets::new().with_target("heraldry", level).with_default(LevelFilter::from_level(libraries));
    let registry = tracing_subscriber::registry().with(wanted);
    let started = match format {
        LogFormat::Text => {
            let lines = fmt::layer().with_target(false).with_ansi(colored()).with_writer(std::io::stderr);
            registry.with(lines).try_init()
        }
        LogFormat::Json => {
            let lines = fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
            registry.with(lines).try_init()
        }
    };
    drop(started);
}

fn colored() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}
