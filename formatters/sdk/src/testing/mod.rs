//! Test support for formatters, behind the feature `testing`.
//!
//! - [`golden`]: outputs for the samples, compared with files.
//! - [`samples`]: the events of `wit/samples`, and the contexts of a call.
//! - [`strategy`]: generated events and texts, with hostile content.
//! - [`cef_reader`], [`leef_reader`], [`rfc3164_reader`], [`rfc5424_reader`]: strict parsers, written from the
//!   standards independently of the builders.
//! - [`manifest`]: checks that apply to all built-in manifests.
//! - [`cleaned`]: a second implementation of the cleaning rules (FORMATS, section 9).

pub mod cef_reader;
pub mod cleaned;
pub mod golden;
pub mod leef_reader;
pub mod manifest;
pub mod rfc3164_reader;
pub mod rfc5424_reader;
pub mod samples;
pub mod strategy;
