//! The format `teams`: an Adaptive Card in the envelope that Teams workflows take, and the old connectors
//! took (FORMATS, section 2).
//!
//! A card that is too large never arrives, and nobody hears of it: so each card is made with the budget
//! of `budget::LEVELS` that first gives a body within the limits.

mod answer;
mod budget;
mod card;
mod layout;
mod wording;

use heraldry_formatter::{
    Answer, Context, Error, Event, Formatter, Interpreter, Manifest, NoOptions, Payload, Verdict,
};

/// The format.
#[derive(Debug)]
pub struct Teams;

impl Formatter for Teams {
    type Options = NoOptions;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("Microsoft Teams"),
            description: Some("An Adaptive Card for a Microsoft Teams workflow, coloured by severity."),
            options_schema: Some(NoOptions::SCHEMA),
            ..Manifest::new("teams", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, _: &NoOptions) -> Result<Payload, Error> {
        let max_bytes = context.max_bytes.map_or(budget::BODY_BYTES, |max| budget::BODY_BYTES.min(max as usize));
        let outline = event.outline();
        // Most cards have 2 to 4 KiB; doubling from nothing would copy as much again.
        let mut body = Vec::with_capacity(4096);
        for level in &budget::LEVELS {
            body.clear();
            let message = layout::message(event, &outline, level);
            serde_json::to_writer(&mut body, &message).map_err(|e| Error::Internal(e.to_string()))?;
            if body.len() <= max_bytes && budget::reencoded(&body) <= budget::REENCODED_BYTES {
                break;
            }
        }
        Ok(Payload { content_type: "application/json; charset=utf-8".into(), headers: Vec::new(), body })
    }
}

impl Interpreter for Teams {
    fn interpret(answer: &Answer) -> Verdict {
        answer::verdict(answer)
    }
}

heraldry_formatter::export_formatter!(Teams);
heraldry_formatter::export_interpreter!(Teams);
