//! Admission: is a module a formatter that this host can use?
//!
//! Every component, built in or from a third party, passes [`check::check`], which lists all findings at once: the
//! [`interface`] of the module, its [`manifest`], and its behaviour on the [`samples`].

mod budget;
mod check;
mod digests;
mod interface;
mod manifest;
mod report;
mod samples;
mod validator;

pub use interface::{CONTRACT_VERSIONS, exported_contract};
pub use manifest::{Join, Kind, Manifest, is_name, option_faults};
pub use report::{Described, Finding, Rejection, Report, Severity, Trial, Warning};
pub use validator::Sample;

pub(super) use check::{Admitted, check, too_large};
pub(super) use manifest::Options;
pub(super) use validator::Validator;

#[cfg(fuzzing)]
pub(crate) use self::{
    check::fuzzing as fuzz_header, interface::fuzzing as fuzz_contract, manifest::fuzzing as fuzz_manifest,
};
