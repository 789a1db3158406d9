//! Values that come out of a component, checked and cleaned before anyone else sees them.

use std::time::Duration;

use super::bindings::digester::exports::heraldry::formatter::digest;
use super::bindings::formatter::exports::heraldry::formatter::format as wit;
use super::bindings::interpreter::exports::heraldry::formatter::interpret;
use super::error::{Limit, RenderError};
use crate::json::fault::Fault;
use crate::model::header;
use crate::model::settings::SandboxSettings;

/// Bytes of a message that a formatter returns; longer ones are cut.
const MESSAGE_BYTES: usize = 500;
/// Faults of one error; further ones are dropped.
const FAULTS: usize = 20;

/// The content of one delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// The value of `Content-Type`.
    pub content_type: String,
    /// Extra headers as (name, value), checked against the contract's rules.
    pub headers: Vec<(String, String)>,
    /// The request's body, or the line of a syslog message.
    pub body: bytes::Bytes,
}

impl Payload {
    /// Bytes of body, headers and content type, which count against the limit on output.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.body.len() + headers + self.content_type.len()
    }

    /// The payload that `format` returned.
    pub(super) fn try_from_wit(payload: wit::Payload, settings: &SandboxSettings) -> Result<Self, RenderError> {
        let wit::Payload { content_type, headers, body } = payload;
        let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
        Self { content_type, headers, body: body.into() }.checked(settings)
    }

    /// The same payload, checked against the contract's rules.
    fn checked(self, settings: &SandboxSettings) -> Result<Self, RenderError> {
        let illegal = |reason: String| Err(RenderError::Illegal(reason));
        if self.bytes() > settings.output_bytes {
            let allowed = format!("{} bytes", settings.output_bytes);
            return Err(RenderError::Limit { limit: Limit::Output, allowed });
        }
        if self.headers.len() > settings.headers {
            return Err(RenderError::Limit { limit: Limit::Headers, allowed: settings.headers.to_string() });
        }
        if self.content_type.is_empty() || !header::is_legal_value(&self.content_type) {
            return illegal("the content type is empty or has characters that a header cannot carry".into());
        }
        for (given, value) in &self.headers {
            let name = header::printable(given, 60);
            if let Err(reason) = header::check_name(given) {
                return illegal(format!("the header {name:?} {reason}"));
            }
            if !header::is_legal_value(value) {
                return illegal(format!("the value of the header {name:?} has characters that a header cannot carry"));
            }
        }
        Ok(self)
    }
}

/// One message of many events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digested {
    /// The content of the message.
    pub payload: Payload,
    /// The events that the format has no message for, by their place, in order.
    pub unsupported: Vec<usize>,
}

impl Digested {
    /// The message that `digest` returned for so many events.
    pub(super) fn try_from_wit(
        message: digest::Message,
        events: usize,
        settings: &SandboxSettings,
    ) -> Result<Self, RenderError> {
        let digest::Message { content_type, headers, body, unsupported } = message;
        let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
        let payload = Payload { content_type, headers, body: body.into() };
        let mut unsupported: Vec<usize> = unsupported.into_iter().map(|place| place as usize).collect();
        unsupported.sort_unstable();
        unsupported.dedup();
        if let Some(last) = unsupported.last().filter(|last| **last >= events) {
            let reason = format!("it names the event {last} as unsupported, and there are {events}, from 0");
            return Err(RenderError::Illegal(reason));
        }
        // What is not sent need not be right.
        let payload = if unsupported.len() == events { payload } else { payload.checked(settings)? };
        Ok(Self { payload, unsupported })
    }
}

/// A formatter's judgement of a destination's response, its texts cleaned for display.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The status code decides.
    ByStatus,
    /// Delivered, regardless of the status code.
    Delivered,
    /// Failed for now; the delivery is retried.
    Retry {
        /// The shortest wait before the next attempt.
        after: Option<Duration>,
        /// The formatter's reason, shown in the history.
        reason: String,
    },
    /// Failed for good.
    Failed {
        /// The formatter's reason, shown in the history.
        reason: String,
        /// True if the webhook is to be switched off.
        deactivate: bool,
    },
}

impl From<interpret::Verdict> for Verdict {
    fn from(verdict: interpret::Verdict) -> Self {
        let clean = |reason: String| header::printable(reason.trim(), MESSAGE_BYTES);
        match verdict {
            interpret::Verdict::ByStatus => Self::ByStatus,
            interpret::Verdict::Delivered => Self::Delivered,
            interpret::Verdict::Retry(retry) => Self::Retry {
                after: retry.after_ms.map(|ms| Duration::from_millis(ms.into())),
                reason: clean(retry.reason),
            },
            interpret::Verdict::Failed(failed) => {
                Self::Failed { reason: clean(failed.reason), deactivate: failed.deactivate }
            }
        }
    }
}

impl RenderError {
    /// What a formatter says itself, cleaned.
    pub(super) fn internal(words: &str) -> Self {
        Self::Internal(header::printable(words, MESSAGE_BYTES))
    }
}

impl From<wit::Error> for RenderError {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::UnsupportedEvent(event_type) => Self::Unsupported(header::printable(&event_type, 100)),
            wit::Error::InvalidOptions(problems) => Self::InvalidOptions(faults(problems)),
            wit::Error::InvalidEvent(problems) => Self::InvalidEvent(faults(problems)),
            wit::Error::Internal(message) => Self::internal(&message),
        }
    }
}

fn faults(problems: Vec<wit::Problem>) -> Vec<Fault> {
    let problems = problems.into_iter().take(FAULTS);
    problems
        .map(|problem| Fault {
            pointer: header::printable(&problem.pointer, 200),
            code: "formatter",
            detail: header::printable(&problem.message, MESSAGE_BYTES),
        })
        .collect()
}
