//! The format `slack`: Block Kit messages for an incoming webhook (FORMATS, section 1).
//!
//! The important part (title, target, buttons, mentions) is in the message's own blocks; the details are in one
//! attachment, because only attachments have a colour, and Slack may fold them. A `text` is for notifications. Text of
//! the event is put into `plain_text` objects, in which Slack interprets no markup; `mrkdwn` is used in three places:
//! the code fence around the evidence, dates, and the mentions of the webhook's options.
//!
//! A digest has the same parts: its numbers, the worst events with their buttons, and the names of the next ones beside the
//! coloured bar.

mod digest;
mod layout;
mod options;
mod response;

use heraldry_formatter::{
    Answer, Context, Digest, Digester, Error, Event, Formatter, Interpreter, Manifest, Payload, Verdict,
};

pub use options::Options;

/// The format `slack`; see the crate's documentation.
#[derive(Debug)]
pub struct Slack;

impl Formatter for Slack {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("Slack"),
            description: Some("A Block Kit message for a Slack incoming webhook, coloured by severity."),
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("slack", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, _: &Context, options: &Options) -> Result<Payload, Error> {
        layout::message(event, &event.outline().showing(options.evidence), options).payload()
    }
}

impl Digester for Slack {
    fn digest(digest: &Digest<'_, '_>, options: &Options) -> Result<Payload, Error> {
        digest::message(digest, options).payload()
    }
}

impl Interpreter for Slack {
    fn interpret(answer: &Answer) -> Verdict {
        response::verdict(answer)
    }
}

heraldry_formatter::export_formatter!(Slack);
heraldry_formatter::export_digester!(Slack);
heraldry_formatter::export_interpreter!(Slack);
