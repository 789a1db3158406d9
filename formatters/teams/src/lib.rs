//! The format `teams`: an Adaptive Card in the envelope that Teams workflows accept, as did the retired connectors
//! (FORMATS, section 2).
//!
//! Teams drops a card that is too large without an error, so each card is made with the first budget of
//! `budget::LEVELS` that keeps the body within the limits.

mod budget;
mod digest;
mod layout;
mod options;
mod response;

use budget::LEVELS;
use heraldry_formatter::adaptive_card::payload;
use heraldry_formatter::{
    Answer, Context, Digest, Digester, Error, Event, Formatter, Interpreter, Manifest, Payload, Verdict,
};

pub use options::Options;

/// The format `teams`; see the crate's documentation.
#[derive(Debug)]
pub struct Teams;

impl Formatter for Teams {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("Microsoft Teams"),
            description: Some("An Adaptive Card for a Microsoft Teams workflow, coloured by severity."),
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("teams", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, options: &Options) -> Result<Payload, Error> {
        let outline = event.outline().showing(options.evidence);
        payload(context.max_bytes, &LEVELS, |budget| layout::card(event, &outline, options, budget))
    }
}

impl Digester for Teams {
    fn digest(digest: &Digest<'_, '_>, options: &Options) -> Result<Payload, Error> {
        payload(None, &digest::LEVELS, |budget| digest::card(digest, options, budget))
    }
}

impl Interpreter for Teams {
    fn interpret(answer: &Answer) -> Verdict {
        response::verdict(answer)
    }
}

heraldry_formatter::export_formatter!(Teams);
heraldry_formatter::export_digester!(Teams);
heraldry_formatter::export_interpreter!(Teams);
