//! The host's side of one instance: its log, its use of memory and tables, and the limit that stopped it.

use serde::Serialize;
use wasmtime::ResourceLimiter;

use super::bindings::formatter::heraldry::formatter::log;
use super::engine::SandboxEngine;
use super::error::Limit;
use super::terms::Expired;
use crate::model::header;

/// Bytes of one log line.
const LOG_LINE_BYTES: usize = 1024;

/// The beginning of the line in which the SDK logs a panic.
const PANIC: &str = "panicked at ";

/// Severity of a log line, in the words of `wit/formatter.wit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the contract's own words, see wit/formatter.wit")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// One line that a formatter logged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct LogLine {
    /// Severity of the line.
    pub level: LogLevel,
    /// The line, cut at 1 KiB.
    pub message: String,
}

/// State that wasmtime hands back to the host while an instance runs.
pub(super) struct InstanceState {
    /// Linear memory of all memories now, in bytes.
    memory: usize,
    /// The highest value of `memory`.
    pub(super) memory_peak: usize,
    pub(super) memory_limit: usize,
    /// Elements of all tables now.
    tables: usize,
    pub(super) tables_limit: usize,
    /// The limit whose growth was denied; the instance traps on it.
    pub(super) denied: Option<Limit>,
    /// The limit on time that stopped the instance.
    pub(super) expired: Option<Expired>,
    pub(super) log: Vec<LogLine>,
    log_limit: usize,
    /// Log lines beyond the limit.
    pub(super) log_dropped: u64,
    /// The line in which a panic was logged: the SDK's hook writes it right before the trap.
    pub(super) panic: Option<String>,
}

impl InstanceState {
    pub(super) fn new(engine: &SandboxEngine, log_limit: usize) -> Self {
        Self {
            memory: 0,
            memory_peak: 0,
            memory_limit: engine.memory_bytes,
            tables: 0,
            tables_limit: engine.table_elements,
            denied: None,
            expired: None,
            log: Vec::new(),
            log_limit,
            log_dropped: 0,
            panic: None,
        }
    }
}

impl log::Host for InstanceState {
    fn log(&mut self, level: log::Level, message: String) {
        if level == log::Level::Error && message.starts_with(PANIC) {
            self.panic = Some(header::printable(&message, LOG_LINE_BYTES));
        }
        if self.log.len() >= self.log_limit {
            self.log_dropped += 1;
            return;
        }
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.log.push(LogLine { level, message: header::printable(&message, LOG_LINE_BYTES) });
    }
}

impl ResourceLimiter for InstanceState {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let memory = self.memory + desired.saturating_sub(current);
        if memory <= self.memory_limit {
            self.memory = memory;
            self.memory_peak = self.memory_peak.max(memory);
            return Ok(true);
        }
        self.denied = Some(Limit::Memory);
        Err(wasmtime::Error::msg("out of memory"))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.tables += desired.saturating_sub(current);
        if self.tables <= self.tables_limit {
            return Ok(true);
        }
        self.denied = Some(Limit::Table);
        Err(wasmtime::Error::msg("out of table elements"))
    }
}
