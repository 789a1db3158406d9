//! The format `slack`: Block Kit messages for an incoming webhook (FORMATS, section 1).
//!
//! The message is one attachment, since only attachments have a colour, with the blocks inside, and a
//! `text` that notifications show. What comes from the event stands in `plain_text` objects, where no
//! markup works; of `mrkdwn` there are two: the code fence round the evidence, and the date.

mod answer;
mod layout;

use heraldry_formatter::{
    Answer, Context, Error, Event, Formatter, Interpreter, Manifest, NoOptions, Payload, Verdict,
};

/// The format.
#[derive(Debug)]
pub struct Slack;

impl Formatter for Slack {
    type Options = NoOptions;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("Slack"),
            description: Some("A Block Kit message for a Slack incoming webhook, coloured by severity."),
            options_schema: Some(NoOptions::SCHEMA),
            ..Manifest::new("slack", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, _: &Context, _: &NoOptions) -> Result<Payload, Error> {
        layout::message(event, &event.outline()).payload()
    }
}

impl Interpreter for Slack {
    fn interpret(answer: &Answer) -> Verdict {
        answer::verdict(answer)
    }
}

heraldry_formatter::export_formatter!(Slack);
heraldry_formatter::export_interpreter!(Slack);
