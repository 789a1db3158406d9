//! The formatter SDK: what all formats share, and none of what is specific to one destination.
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
//! `render` is plain Rust and runs anywhere; [`format()`] is all that the component does, so a native test or benchmark
//! runs exactly what the sandbox runs.
//!
//! Some services report failures in the body of a response that has a success status. A second trait, [`Interpreter`],
//! exported with [`export_interpreter!`], interprets responses. It is optional: without it the HTTP status decides.
//!
//! ```
//! use heraldry_formatter::{Answer, Interpreter, Verdict};
//!
//! pub struct Headlines;
//!
//! impl Interpreter for Headlines {
//!     fn interpret(answer: &Answer) -> Verdict {
//!         match answer.text().trim() {
//!             "paper jam" => Verdict::retry_after(Some(60_000), "paper jam: open the printer"),
//!             _ => Verdict::by_status(),
//!         }
//!     }
//! }
//!
//! heraldry_formatter::export_interpreter!(Headlines);
//! ```
//!
//! A third one, [`Digester`], exported with [`export_digester!`], makes one message of many events, for webhooks that
//! collect them. It is optional, too; [`mod@digest`] has an example.
//!
//! Between the host and these traits:
//!
//! - [`component`]: the trait, the manifest, and the glue between the WIT's types and the trait.
//! - [`interpreter`]: the meaning of a destination's response.
//! - [`mod@digest`]: many events in one message.
//! - [`options`]: option types that several formats use.
//!
//! The content of an event:
//!
//! - [`event`]: a lenient view of one event; [`value`]: of any JSON inside it.
//! - [`outline`]: the content for people, independent of any layout.
//! - [`line`](mod@line): an event in one sentence, the parts of a target, values for single-line formats.
//! - [`severity`], [`text`], [`link`], [`date`], [`identifier`]: one rule each, the same in every format.
//! - [`raw`]: JSON that is copied as it was posted.
//!
//! Builders, which take raw text and never produce output that the destination rejects or misreads:
//!
//! - [`block_kit`]: Slack; [`adaptive_card`]: Teams.
//! - [`cef`], [`leef`]: records of the Common Event Format and of IBM's LEEF; [`rfc5424`], [`rfc3164`]: messages of the
//!   current and the legacy syslog protocol; [`syslog`] lets a webhook choose between them.
//!
//! For a formatter's own tests, behind the feature `testing`: golden files over the shared samples, generated events,
//! and strict parsers of the output formats.

pub mod adaptive_card;
#[cfg(all(target_arch = "wasm32", feature = "bump-allocator"))]
mod alloc;
pub mod block_kit;
pub mod cef;
pub mod component;
mod cvss;
pub mod date;
pub mod digest;
pub mod event;
#[cfg(any(test, feature = "golden"))]
pub mod golden;
pub mod identifier;
pub mod interpreter;
pub mod leef;
pub mod line;
pub mod link;
#[cfg(any(test, target_arch = "wasm32"))]
mod memory;
pub mod options;
pub mod outline;
pub mod raw;
pub mod rfc3164;
pub mod rfc5424;
pub mod severity;
pub mod syslog;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod value;

/// The bindings of `wit/formatter.wit`. Generated; use the names that the crate re-exports.
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

/// The bindings of the interface `interpret`, in a world of their own, so that a crate that does not use it does not
/// export it. Generated; use [`interpreter`].
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

/// The bindings of the interface `digest`, likewise in a world of their own. Generated; use [`mod@digest`].
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from the WIT, whose documentation it carries")]
pub mod digest_bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "digester",
        pub_export_macro: true,
        default_bindings_module: "heraldry_formatter::digest_bindings",
        additional_derives: [PartialEq, Eq],
    });
}

pub use bindings::exports::heraldry::formatter::format::{Context, Error, Event as RawEvent, Header, Payload, Problem};
pub use bindings::heraldry::formatter::log::Level;
pub use component::{Formatter, Join, Kind, Manifest, NoOptions, Size, describe, format, log};
pub use digest::{Digest, Digester, digest};
pub use event::{Event, EventType};
pub use interpreter::{Answer, Interpreter, Verdict};
pub use severity::Severity;
