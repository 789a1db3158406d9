//! The names, ranges and defaults of a webhook's fields, each once.

use std::ops::RangeInclusive;

use crate::model::event::EventType;

/// Fields that a request body may have.
pub const FIELDS: &[&str] = &[
    "name",
    "url",
    "secret",
    "generate_secret",
    "event_types",
    "format",
    "format_options",
    "headers",
    "filter",
    "critical_once",
    "order",
    "rate_limit",
    "tls",
    "batch",
    "digest",
    "retry_count",
    "timeout_ms",
    "is_active",
];

/// Read-only fields: shown by reads, rejected in a body.
pub const READ_ONLY_FIELDS: &[&str] = &[
    "id",
    "has_secret",
    "header_names",
    "failure_count",
    "disabled_reason",
    "expression_error",
    "last_success_at",
    "last_failure_at",
    "waiting",
    "held",
    "oldest_waiting_at",
    "next_attempt_at",
    "next_probe_at",
    "created_at",
    "updated_at",
];

/// Members of `filter`.
pub const FILTER_FIELDS: &[&str] = &["min_severity", "engagement_ids", "expression"];

/// Members of `rate_limit`, all required.
pub const RATE_LIMIT_FIELDS: &[&str] = &["count", "per_seconds"];
/// Members of `tls`.
pub const TLS_FIELDS: &[&str] = &["ca", "client_cert"];
/// Members of `batch`, all required.
pub const BATCH_FIELDS: &[&str] = &["max_events", "max_wait_ms"];

/// Members of `digest`.
pub const DIGEST_FIELDS: &[&str] = &["window_seconds", "over", "bypass_severity"];

/// Attempts that a rate limit may allow.
pub const RATE_COUNT: RangeInclusive<u32> = 1..=10_000;
/// The seconds that it counts them in.
pub const RATE_SECONDS: RangeInclusive<u32> = 1..=86_400;
/// Events that one request may carry.
pub const BATCH_EVENTS: RangeInclusive<u32> = 2..=1000;
/// How long an event may wait for others, in milliseconds.
pub const BATCH_WAIT_MS: RangeInclusive<u32> = 0..=60_000;
/// How long a digest collects events, in seconds.
pub const DIGEST_SECONDS: RangeInclusive<u32> = 5..=3600;
/// The number of events above which a digest is made.
pub const DIGEST_OVER: RangeInclusive<u32> = 1..=1000;
/// A filter expression's length, in characters.
pub const EXPRESSION_CHARS: RangeInclusive<usize> = 1..=2000;
/// The length of a name in the server's configuration, in characters.
pub(super) const TLS_NAME_CHARS: RangeInclusive<usize> = 1..=63;

/// A name's length, in characters.
pub const NAME_CHARS: RangeInclusive<usize> = 1..=200;
/// A secret's length, in characters.
pub const SECRET_CHARS: RangeInclusive<usize> = 1..=256;
/// A secret that begins so is base64 after it (Standard Webhooks 1.0).
pub const SECRET_PREFIX: &str = "whsec_";
/// Headers of one webhook.
pub const MAX_HEADERS: usize = 20;
/// Names and values of one webhook's headers together, in bytes.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;
/// Retries after the first attempt.
pub const RETRY_COUNT: RangeInclusive<u32> = 0..=10;
/// The whole attempt, in milliseconds.
pub const TIMEOUT_MS: RangeInclusive<u32> = 1000..=30_000;
/// Engagements that one filter may name.
pub(super) const MAX_ENGAGEMENT_IDS: usize = 1000;
/// One webhook's options as compact JSON, in bytes.
pub(super) const MAX_OPTIONS_BYTES: usize = 64 * 1024;

/// `event_types` when a body does not say.
pub const DEFAULT_EVENT_TYPES: [EventType; 3] =
    [EventType::FindingAdded, EventType::PhaseChanged, EventType::EngagementCompleted];
/// `format` when a body does not say.
pub const DEFAULT_FORMAT: &str = "json";
/// `retry_count` when a body does not say.
pub const DEFAULT_RETRY_COUNT: u32 = 3;
/// `timeout_ms` when a body does not say.
pub const DEFAULT_TIMEOUT_MS: u32 = 5000;
