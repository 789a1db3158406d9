//! For a formatter's own tests, behind the feature `testing`.

pub mod golden;
pub mod samples;
pub mod strategy;
