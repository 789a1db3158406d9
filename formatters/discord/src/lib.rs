//! The format `discord`: one embed per event for the webhook of a Discord channel, or one line (FORMATS, section 13). A
//! digest has one embed with its numbers and one for each of the worst events.
//!
//! Text of the event is shown verbatim: every character that Discord's Markdown interprets is escaped ([`markdown`]),
//! mentions are disabled (`allowed_mentions`), and only web URLs become links. Discord rejects a message that exceeds
//! one of its limits as a whole, so each message is made with the first budget of [`budget::LEVELS`] that keeps it
//! within all of them.
//!
//! Discord accepts a webhook's message without reporting whether it was saved, unless the URL ends in `?wait=true`.

mod budget;
mod digest;
mod embed;
mod layout;
mod markdown;
mod options;
mod response;

use heraldry_formatter::{
    Answer, Context, Digest, Digester, Error, Event, Formatter, Interpreter, Manifest, Payload, Verdict,
};

use embed::Message;
pub use options::Options;

/// The format `discord`; see the crate's documentation.
#[derive(Debug)]
pub struct Discord;

impl Formatter for Discord {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("Discord"),
            description: Some(
                "An embed for a webhook of a Discord channel, coloured by severity; add ?wait=true to the webhook's URL, so that Discord reports messages that it could not save.",
            ),
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("discord", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, options: &Options) -> Result<Payload, Error> {
        let outline = event.outline().showing(options.evidence);
        let username = options.username();
        if options.compact {
            return payload(&Message::line(username, layout::line(event, &outline)));
        }
        let most_bytes = context.max_bytes.map_or(usize::MAX, |max| max as usize);
        let mut last = None;
        for budget in &budget::LEVELS {
            let embed = layout::embed(event, &outline, budget);
            let fits = embed.fits();
            let made = payload(&Message::embeds(username, vec![embed]))?;
            if fits && made.body.len() <= most_bytes {
                return Ok(made);
            }
            last = Some(made);
        }
        // The last level fits any event; only a lower limit of the transport can fail here.
        last.ok_or_else(|| Error::Internal("there is no budget".into()))
    }
}

impl Digester for Discord {
    fn digest(digest: &Digest<'_, '_>, options: &Options) -> Result<Payload, Error> {
        payload(&digest::message(digest, options))
    }
}

fn payload(message: &Message<'_>) -> Result<Payload, Error> {
    // Most messages have 1 to 2 KiB.
    let mut body = Vec::with_capacity(4096);
    serde_json::to_writer(&mut body, message).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(Payload { content_type: "application/json; charset=utf-8".into(), headers: Vec::new(), body })
}

impl Interpreter for Discord {
    fn interpret(answer: &Answer) -> Verdict {
        response::verdict(answer)
    }
}

heraldry_formatter::export_formatter!(Discord);
heraldry_formatter::export_digester!(Discord);
heraldry_formatter::export_interpreter!(Discord);
