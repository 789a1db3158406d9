//! The format `splunk-hec`: one envelope per event for Splunk's HTTP Event Collector, endpoint
//! `/services/collector/event` (FORMATS, section 5).
//!
//! `{"time":1794910365.120,"host","source","sourcetype","index"?,"event":{..},"fields":{..}}`: `event` is the event as
//! posted, so that numbers keep their digits; only a number beyond a double, which a parser would reject together with
//! the event, is a string. `fields` is indexed, and flat.
//!
//! The token belongs in a header of the webhook, `Authorization: Splunk TOKEN`: headers are stored encrypted and never
//! shown, options are not. A success means that Splunk accepted the event, not that it is indexed yet.

mod envelope;
mod options;
mod response;

use heraldry_formatter::raw::push_member;
use heraldry_formatter::value::with_finite_numbers;
use heraldry_formatter::{
    Answer, Context, Error, Event, Formatter, Header, Interpreter, Join, Manifest, Payload, Verdict,
};

use envelope::{Envelope, Fields};
pub use options::Options;

/// The format `splunk-hec`; see the crate's documentation.
#[derive(Debug)]
pub struct SplunkHec;

impl Formatter for SplunkHec {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("Splunk HTTP Event Collector"),
            description: Some(
                "One envelope per event for Splunk's HTTP Event Collector (/services/collector/event); the token goes into the header Authorization. Delivered means accepted, not yet indexed.",
            ),
            join: Join::Concatenate,
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("splunk-hec", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, options: &Options) -> Result<Payload, Error> {
        // The envelope takes about 400 bytes more than the event.
        let mut body = Vec::with_capacity(event.json.len() + 1024);
        let internal = |e: serde_json::Error| Error::Internal(e.to_string());
        serde_json::to_writer(&mut body, &Envelope::of(event, context, options)).map_err(internal)?;
        push_member(&mut body, "event", with_finite_numbers(event.json).as_bytes());
        push_member(&mut body, "fields", serde_json::to_vec(&Fields::of(event)).map_err(internal)?);
        let channel = |channel: &options::Channel| Header {
            name: "X-Splunk-Request-Channel".into(),
            value: channel.as_str().into(),
        };
        Ok(Payload {
            content_type: "application/json; charset=utf-8".into(),
            headers: options.channel.iter().map(channel).collect(),
            body,
        })
    }
}

impl Interpreter for SplunkHec {
    fn interpret(answer: &Answer) -> Verdict {
        response::verdict(answer)
    }
}

heraldry_formatter::export_formatter!(SplunkHec);
heraldry_formatter::export_interpreter!(SplunkHec);
