//! The format `json`: one JSON document per event, for receivers that process it with a program (FORMATS, section 6).
//!
//! `data` and `engagement` are copied from the posted event byte for byte, which preserves key order and the digits of
//! numbers; only the envelope around them is added. [`Shape`] selects the envelope.
//!
//! A digest is one document, too: counts, and the events in the same envelopes.

mod cloudevents;
mod digest;

use heraldry_formatter::raw::push_member;
use heraldry_formatter::{Context, Digest, Digester, Error, Event, Formatter, Join, Manifest, Payload};
use serde::{Deserialize, Serialize};

/// The format `json`; see the crate's documentation.
#[derive(Debug)]
pub struct Json;

/// The webhook's `format_options`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The envelope to send.
    #[serde(default)]
    pub shape: Shape,
}

/// The envelope around an event's data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// `type`, `timestamp` and `data` as in Standard Webhooks 1.0, with `id`, `version` and `engagement` in addition.
    #[default]
    Standard,
    /// The event as it was posted, without an envelope.
    Plain,
    /// CloudEvents 1.0, structured mode.
    CloudEvents,
}

/// The JSON Schema of the options, as in the manifest.
pub const OPTIONS_SCHEMA: &str = r#"{
"$schema":"https://json-schema.org/draft/2020-12/schema",
"type":"object",
"additionalProperties":false,
"properties":{
"shape":{
"type":"string",
"enum":["standard","plain","cloudevents"],
"default":"standard",
"description":"The envelope: standard (type, timestamp, id, version, engagement, data; as in Standard Webhooks), plain (the event as it was posted) or cloudevents (CloudEvents 1.0, structured mode)."
}}}"#;

/// The version of the `standard` envelope, incremented when a member changes its meaning.
const ENVELOPE_VERSION: u32 = 1;

impl Formatter for Json {
    type Options = Options;

    /// Both objects are copied as they are.
    const LEVELS: usize = 0;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("JSON"),
            description: Some(
                "One JSON document per event: the Standard Webhooks envelope, the event as posted, or a CloudEvent.",
            ),
            join: Join::Newline,
            options_schema: Some(OPTIONS_SCHEMA),
            ..Manifest::new("json", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, _: &Context, options: &Options) -> Result<Payload, Error> {
        let content_type = match options.shape {
            Shape::Standard | Shape::Plain => "application/json",
            Shape::CloudEvents => "application/cloudevents+json",
        };
        let body = document(event, options.shape)?;
        Ok(Payload { content_type: content_type.into(), headers: Vec::new(), body })
    }
}

impl Digester for Json {
    fn digest(digest: &Digest<'_, '_>, options: &Options) -> Result<Payload, Error> {
        let body = digest::document(digest, options.shape)?;
        Ok(Payload { content_type: "application/json".into(), headers: Vec::new(), body })
    }
}

heraldry_formatter::export_formatter!(Json);
heraldry_formatter::export_digester!(Json);

/// One event in its envelope.
fn document(event: &Event<'_>, shape: Shape) -> Result<Vec<u8>, Error> {
    match shape {
        Shape::Standard => standard(event),
        Shape::Plain => Ok(event.json.as_bytes().to_vec()),
        Shape::CloudEvents => {
            let mut body = written(&cloudevents::CloudEvent::of(event), event)?;
            push_member(&mut body, "data", event.data());
            Ok(body)
        }
    }
}

/// The envelope of the shape `standard`; `engagement` and `data` follow as they were posted.
#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// The time of the event; the header `webhook-timestamp` has the time of the attempt.
    timestamp: &'a str,
    id: &'a str,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    caused_by: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    fn of(event: &'a Event<'_>) -> Self {
        Self {
            kind: event.kind.name(),
            timestamp: event.occurred_at,
            id: event.id,
            version: ENVELOPE_VERSION,
            caused_by: event.caused_by.as_deref(),
        }
    }
}

fn standard(event: &Event<'_>) -> Result<Vec<u8>, Error> {
    let mut body = written(&Envelope::of(event), event)?;
    if let Some(engagement) = &event.engagement {
        push_member(&mut body, "engagement", engagement.json);
    }
    push_member(&mut body, "data", event.data());
    Ok(body)
}

fn written(document: &impl Serialize, event: &Event<'_>) -> Result<Vec<u8>, Error> {
    // The envelope takes about 300 bytes more than the event.
    let mut body = Vec::with_capacity(event.json.len() + 512);
    serde_json::to_writer(&mut body, document).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(body)
}
