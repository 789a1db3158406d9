//! What formatters share: everything that is not one destination's own business.
//!
//! A formatter is a type that implements [`Formatter`] and a line that exports it as a component:
//!
//! ```
//! use heraldry_formatter::{Context, Error, Event, Formatter, Manifest, NoOptions, Payload};
//!
//! pub struct Headlines;
//!
//! impl Formatter for Headlines {
//!     type Options = NoOptions;
//!
//!     fn manifest() -> Manifest {
//!         Manifest::new("headlines", "1.0.0")
//!     }
//!
//!     fn render(event: &Event<'_>, _: &Context, _: &NoOptions) -> Result<Payload, Error> {
//!         Ok(Payload {
//!             content_type: "text/plain; charset=utf-8".into(),
//!             headers: vec![],
//!             body: event.headline().into_owned().into_bytes(),
//!         })
//!     }
//! }
//!
//! heraldry_formatter::export_formatter!(Headlines);
//! ```
//!
//! `render` is plain Rust and runs wherever Rust runs; [`format()`] is the whole of what the component
//! does, so that a test or a benchmark on the host calls exactly what the sandbox calls.
//!
//! A destination that says in words what its status does not (a 200 that tells of a failure) is read by a second
//! trait, [`Interpreter`], exported with [`export_interpreter!`]; who leaves it out is never asked, and the status
//! decides:
//!
//! ```
//! use heraldry_formatter::{Answer, Interpreter, Verdict};
//!
//! pub struct Headlines;
//!
//! impl Interpreter for Headlines {
//!     fn interpret(answer: &Answer) -> Verdict {
//!         match answer.text().trim() {
//!             "paper jam" => Verdict::retry_after(Some(60_000), "paper jam: somebody has to open the printer"),
//!             _ => Verdict::by_status(),
//!         }
//!     }
//! }
//!
//! heraldry_formatter::export_interpreter!(Headlines);
//! ```
//!
//! Between the host and these traits:
//!
//! - [`component`]: the trait, the manifest, what lies between the WIT's types and the trait.
//! - [`interpreter`]: what a destination's answer means.
//! - [`options`]: option values that several formats have.
//!
//! What an event says:
//!
//! - [`event`]: a lenient view of one event; [`value`]: of any JSON inside it.
//! - [`outline`]: what a person needs to know of an event, before any layout.
//! - [`line`](mod@line): an event in one sentence, a target taken apart, values for formats of one line.
//! - [`severity`], [`text`], [`link`], [`date`]: one rule each, the same in every format.
//!
//! Builders, which take raw text and from which nothing comes out that the destination refuses or misreads:
//!
//! - [`block_kit`]: Slack; [`adaptive_card`]: Teams.
//! - [`cef`], [`leef`]: records of the Common Event Format and of IBM's; [`rfc5424`], [`rfc3164`]: messages of the newer and the older
//!   syslog, between which [`syslog`] lets an owner choose.
//!
//! For a formatter's own tests, behind the feature `testing`: golden files over the shared samples, events from a
//! generator, strict readers.

pub mod adaptive_card;
#[cfg(all(target_arch = "wasm32", feature = "bump-allocator"))]
mod alloc;
pub mod block_kit;
pub mod cef;
pub mod component;
pub mod date;
pub mod event;
#[cfg(any(test, feature = "golden"))]
pub mod golden;
pub mod interpreter;
pub mod leef;
pub mod line;
pub mod link;
pub mod options;
pub mod outline;
pub mod rfc3164;
pub mod rfc5424;
pub mod severity;
pub mod syslog;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod value;

/// What `wit/formatter.wit` says, as Rust. Generated; use the names that the crate re-exports.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from the WIT, whose documentation it carries")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "formatter",
        pub_export_macro: true,
        default_bindings_module: "heraldry_formatter::bindings",
        additional_derives: [PartialEq, Eq],
    });
}

/// The interface `interpret` as Rust, in a world of its own: a crate that does not use it exports nothing of
/// it. Generated; use [`interpreter`].
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from the WIT, whose documentation it carries")]
pub mod interpreter_bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "interpreter",
        pub_export_macro: true,
        default_bindings_module: "heraldry_formatter::interpreter_bindings",
        additional_derives: [PartialEq, Eq],
    });
}

pub use bindings::exports::heraldry::formatter::format::{Context, Error, Event as RawEvent, Header, Payload, Problem};
pub use bindings::heraldry::formatter::log::Level;
pub use component::{Formatter, Join, Kind, Manifest, NoOptions, Size, describe, format, log};
pub use event::{Event, EventType};
pub use interpreter::{Answer, Interpreter, Verdict};
pub use severity::Severity;
