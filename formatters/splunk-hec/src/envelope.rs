//! The envelope: Splunk's metadata around the event.

use std::borrow::Cow;

use heraldry_formatter::line::value;
use heraldry_formatter::text::Rule;
use heraldry_formatter::{Context, Event, Severity};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::options::{Index, Options};

/// The longest value of an indexed field, in bytes: a longer one is useless in a search, and the event has the full
/// value.
const FIELD_BYTES: usize = 1000;

/// One event as the event endpoint accepts it ("Format events for HTTP Event Collector"); `event` and `fields` follow.
#[derive(Serialize)]
pub(crate) struct Envelope<'a> {
    /// The time of the event, in seconds since 1970 with three decimals. Without it Splunk uses the time of arrival.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    time: Option<i128>,
    host: &'a str,
    source: &'a str,
    sourcetype: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
}

/// The indexed fields. Their names do not occur in the event itself: Splunk extracts those at search time, and a field
/// from two sources would have two values. Strings only: Splunk rejects nested values with code 15.
#[derive(Serialize)]
pub(crate) struct Fields<'a> {
    event_id: &'a str,
    event_type: &'static str,
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    engagement_id: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn of(event: &'a Event<'_>, context: &'a Context, options: &'a Options) -> Self {
        let sourcetype = match &options.sourcetype {
            Some(sourcetype) => sourcetype.as_str().into(),
            None => format!("heraldry:{}", event.kind.group()).into(),
        };
        Self {
            time: event.time().map(|time| time.unix_timestamp_nanos() / 1_000_000).filter(|ms| *ms >= 0),
            host: options.host.as_ref().map_or(&context.host_name, |host| host.as_str()),
            source: options.source.as_ref().map_or("heraldry", |source| source.as_str()),
            sourcetype,
            index: options.index.as_ref().map(Index::as_str),
        }
    }
}

impl<'a> Fields<'a> {
    pub(crate) fn of(event: &'a Event<'_>) -> Self {
        let engagement_id = event.engagement_id().map(|id| value(id, Rule::SPACES, FIELD_BYTES));
        Self {
            event_id: event.id,
            event_type: event.kind.name(),
            severity: event.severity(),
            engagement_id: engagement_id.filter(|id| !id.is_empty()),
        }
    }
}

/// Milliseconds as seconds, exactly: a floating-point number would round.
fn seconds<S: Serializer>(ms: &Option<i128>, to: S) -> Result<S::Ok, S::Error> {
    let number = ms.map(|ms| RawValue::from_string(format!("{}.{:03}", ms / 1000, ms % 1000)));
    number.transpose().map_err(serde::ser::Error::custom)?.serialize(to)
}
