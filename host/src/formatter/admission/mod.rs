//! Judging a module: is it a formatter, and does it hold up on the sample events?

pub(super) mod check;
pub(super) mod manifest;
pub(super) mod report;
