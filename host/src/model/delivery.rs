//! Deliveries (one event on its way to one webhook) and attempts (one try).

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{AttemptId, DeliveryId, EventId, WebhookId};
use super::time::Timestamp;

/// Where a delivery stands, as readers of the API see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waiting for its first or next attempt, or under way.
    Pending,
    /// Accepted by the destination.
    Delivered,
    /// Failed for good: no retry is left, or the destination rejected it finally.
    Failed,
    /// Waiting until the webhook is switched on and recovered, or its formatter is loaded again.
    Held,
    /// The formatter does not render this event type.
    Skipped,
    /// The webhook was deleted.
    Cancelled,
}

/// A delivery as `GET /events/{id}` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct DeliveryView {
    /// The delivery's id, sent as `webhook-id`.
    #[schema(value_type = uuid::Uuid)]
    pub id: DeliveryId,
    /// The webhook that it goes to.
    #[schema(value_type = uuid::Uuid)]
    pub webhook_id: WebhookId,
    /// Its present status.
    pub status: Status,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the next attempt is due; null when there is none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// The delivery that this one repeats; absent when it repeats none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>, nullable = false)]
    pub redelivery_of: Option<DeliveryId>,
}

/// The next step of a delivery: what the scheduler decided, what the store records, what the circuit breaker looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Done: the destination accepted it.
    Delivered,
    /// Done: it failed for good. Held and failed deliveries are the dead-letter queue that `recover` reads.
    Failed {
        /// The reason to switch the webhook off at once; `None`: the circuit breaker decides.
        deactivate: Option<String>,
    },
    /// Done: it failed for good in the formatter. It joins the dead-letter queue, and is no fault of the destination.
    Unrendered,
    /// Another attempt.
    Again {
        /// How long to wait, from the moment at which the step is recorded.
        after: Duration,
        /// True if the attempt that was made counts as a retry and for the webhook's health. False for one that was cut
        /// by a shutdown, was not made, or was a batch that goes out again in halves.
        counts: bool,
    },
    /// Done: the formatter does not render this event type.
    Skipped,
    /// The event or the webhook is gone: there is nothing to record.
    Dropped,
}

/// The place of a message among those that the events of one window make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// How many messages there are.
    pub parts: u32,
    /// The events of all of them.
    pub total: u32,
}

/// The class that an attempt's error begins with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorClass {
    /// `timeout_ms` ran out while the destination read the request or responded.
    Timeout,
    /// The name does not resolve, or not in time.
    Dns,
    /// No TCP connection, or not in time, or it broke.
    Connect,
    /// The TLS handshake failed, or took too long.
    Tls,
    /// The SSRF guard denied the address.
    Policy,
    /// The destination responded with another status than 2xx, or with a body that means failure.
    Status,
    /// The response is not HTTP.
    Protocol,
    /// The formatter made no payload.
    Formatter,
    /// Cut by a shutdown.
    Interrupted,
}

impl ErrorClass {
    /// Every class, for tables and metrics.
    pub const ALL: [Self; 9] = [
        Self::Timeout,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Policy,
        Self::Status,
        Self::Protocol,
        Self::Formatter,
        Self::Interrupted,
    ];

    /// The class that this word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    /// The word that the history and the metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Policy => "policy",
            Self::Status => "status",
            Self::Protocol => "protocol",
            Self::Formatter => "formatter",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Which component rendered an attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FormatterRef {
    /// The format's name.
    pub name: String,
    /// The formatter's own version.
    pub version: String,
    /// `sha256:` and the component's digest in lower-case hex.
    pub digest: String,
}

/// A destination's HTTP response, as far as a formatter may read it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// At most [`Response::HEADERS`], their names in lower case; never cookies.
    pub headers: Vec<(String, String)>,
    /// The body's first [`Response::BODY_BYTES`].
    pub body: Vec<u8>,
}

impl Response {
    /// Headers that are kept.
    pub const HEADERS: usize = 64;
    /// Bytes of the body that are kept.
    pub const BODY_BYTES: usize = 8 * 1024;
}

/// One try, as the history lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attempt {
    /// The attempt's id; a page's `before` takes it.
    #[schema(value_type = uuid::Uuid)]
    pub id: AttemptId,
    /// The delivery that this was a try of.
    #[schema(value_type = uuid::Uuid)]
    pub delivery_id: DeliveryId,
    /// The event; null for a test.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub event_id: Option<EventId>,
    /// The event's type.
    #[schema(value_type = String)]
    pub event_type: Cow<'static, str>,
    /// Which try, from 1.
    pub attempt: u32,
    /// True if the destination accepted it.
    pub success: bool,
    /// The response's status; null without a response.
    pub status_code: Option<u16>,
    /// Why it failed: the error's class and a sentence; null on success.
    pub error: Option<String>,
    /// How long the attempt took, in milliseconds.
    pub duration_ms: u64,
    /// The first 1 KiB of the response's body, as text; null without a response. Secrets of the webhook are `[redacted]`.
    pub response_excerpt: Option<String>,
    /// The component that rendered the payload; null when none was loaded.
    pub formatter: Option<FormatterRef>,
    /// A remark for the webhook's admin, such as that another version of the formatter had to step in; null when
    /// there is nothing.
    pub note: Option<String>,
    /// True if this was `POST /webhooks/{id}/test`.
    pub is_test: bool,
    /// When the next attempt is due; null when this was the last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// When the attempt was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl Attempt {
    /// The class of its error.
    pub fn error_class(&self) -> Option<ErrorClass> {
        let (word, _) = self.error.as_deref()?.split_once(':')?;
        ErrorClass::from_word(word)
    }
}
