//! For a formatter's own tests, behind the feature `testing`.
//!
//! - [`golden`]: whole outputs for the samples, kept in files.
//! - [`samples`]: the events of `wit/samples`, and the contexts in which they travel.
//! - [`strategy`]: events and texts out of a generator, with whatever an attacker would put into them.
//! - [`cef_reader`], [`leef_reader`], [`rfc3164_reader`], [`rfc5424_reader`]: strict readers, written from the standards and not from the builders.
//! - [`manifest`]: what every manifest of ours keeps to.
//! - [`cleaned`]: what FORMATS, section 9, makes of a text.

pub mod cef_reader;
pub mod cleaned;
pub mod golden;
pub mod leef_reader;
pub mod manifest;
pub mod rfc3164_reader;
pub mod rfc5424_reader;
pub mod samples;
pub mod strategy;
