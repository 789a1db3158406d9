//! Webhooks: where events go, in which format, and how hard Heraldry tries.

pub mod expression;
pub mod input;
pub mod judge;

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use self::expression::{ExpressionVerdict, Verdicts};
use super::event::{EventType, Severity};
use super::id::WebhookId;
use super::probe::Trip;
use super::secret::Secret;
use super::time::Timestamp;
use super::url::DeliveryUrl;

/// The configuration of a webhook, as an admin sets it.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookConfig {
    /// 1-200 characters.
    pub name: String,
    /// Where deliveries go.
    pub url: DeliveryUrl,
    /// The signing secret; 1-256 characters. A `whsec_` secret is valid base64 after its prefix.
    pub secret: Option<Secret>,
    /// The subscribed event types.
    pub event_types: Subscription,
    /// The formatter's name.
    pub format: String,
    /// The formatter's options: one JSON object as compact text, members sorted.
    pub format_options: String,
    /// Headers sent with each HTTP delivery, names as given, at most 20, 8 KiB together.
    pub headers: Vec<(String, Secret)>,
    /// Which of the events of these types it wants.
    pub filter: Filter,
    /// True to get a critical finding once: not as a finding that was added and again as the event derived from it.
    pub critical_once: bool,
    /// Whose turn it is among the deliveries that wait.
    pub order: Order,
    /// How often attempts may be made; `None`: as often as they are due.
    pub rate_limit: Option<RateLimit>,
    /// CA bundle and client certificate, for TLS.
    pub tls: TlsNames,
    /// How many events one request may carry; `None`: one.
    pub batch: Option<Batch>,
    /// Events that are collected and told of in one message; `None`: each on its own.
    pub digest: Option<Digest>,
    /// Retries after the first attempt, 0-10.
    pub retry_count: u32,
    /// The whole attempt, in milliseconds, 1000-30000.
    pub timeout_ms: u32,
}

/// At most so many attempts in so many seconds, whichever seconds these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many attempts, 1-10000.
    #[schema(minimum = 1, maximum = 10_000)]
    pub count: u32,
    /// In how many seconds, 1-86400.
    #[schema(minimum = 1, maximum = 86_400)]
    pub per_seconds: u32,
}

/// Names from the server's configuration: the API chooses among those that the operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsNames {
    /// The CA bundle that alone vouches for the destination; absent: the system's CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ca: Option<String>,
    /// The certificate that this host shows; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub client_cert: Option<String>,
}

impl TlsNames {
    /// Returns true if nothing is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Several events in one request, where the format's payloads can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// How many events at most, 2-1000.
    #[schema(minimum = 2, maximum = 1000)]
    pub max_events: u32,
    /// How long an event may wait for others, in milliseconds, 0-60000.
    #[schema(minimum = 0, maximum = 60_000)]
    pub max_wait_ms: u32,
}

/// The order of a webhook's deliveries. The names are on disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// What is due first goes first.
    #[default]
    Arrival,
    /// The most severe goes first, within a severity as they came; events without one rank as info.
    Severity,
    /// One at a time in the order of acceptance: the next only when the one before is done.
    Strict,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::Arrival, Self::Severity, Self::Strict];

    /// The name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arrival => "arrival",
            Self::Severity => "severity",
            Self::Strict => "strict",
        }
    }

    /// Returns true for the default, which records leave out.
    pub fn is_arrival(&self) -> bool {
        *self == Self::Arrival
    }
}

/// Several events told of in one message, where the formatter can make digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// How long events are collected, from the first one on, in seconds, 5-3600.
    #[schema(minimum = 5, maximum = 3600)]
    pub window_seconds: u32,
    /// More events than this become one message; so many or fewer go out one by one, 1-1000.
    #[schema(minimum = 1, maximum = 1000)]
    pub over: u32,
    /// Events of this severity and above go out at once and alone; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub bypass_severity: Option<Severity>,
}

impl Digest {
    /// The most events of one message.
    pub const MAX_EVENTS: usize = 1_000;
    /// The most bytes of the events of one message.
    pub const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// Returns true if an event of this severity goes out at once and alone.
    pub fn is_bypassed_by(&self, severity: Option<Severity>) -> bool {
        self.bypass_severity.zip(severity).is_some_and(|(least, severity)| severity >= least)
    }

    /// How long events are collected, in milliseconds.
    pub fn window_ms(&self) -> i64 {
        i64::from(self.window_seconds) * 1000
    }
}

/// The event types that a webhook subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// `*`: every type of the platform's events, also those that later versions bring; no host events.
    All,
    /// `*` and these host events, never none.
    AllAnd(Vec<EventType>),
    /// These, in the order given, without duplicates, never empty.
    Only(Vec<EventType>),
}

impl Subscription {
    /// `*` and, of these types, those that it does not include.
    pub fn all_and(types: Vec<EventType>) -> Self {
        let host: Vec<_> = types.into_iter().filter(|event_type| event_type.is_host()).collect();
        if host.is_empty() { Self::All } else { Self::AllAnd(host) }
    }

    /// Returns true if events of this type were subscribed to.
    pub fn wants(&self, event_type: EventType) -> bool {
        match self {
            Self::All => !event_type.is_host(),
            Self::AllAnd(host) => !event_type.is_host() || host.contains(&event_type),
            Self::Only(types) => types.contains(&event_type),
        }
    }

    /// The names as the API shows them.
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::All => vec!["*"],
            Self::AllAnd(host) => {
                std::iter::once("*").chain(host.iter().map(|event_type| event_type.as_str())).collect()
            }
            Self::Only(types) => types.iter().map(|event_type| event_type.as_str()).collect(),
        }
    }
}

/// Which events of the subscribed types pass. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The least severity that passes; events without a severity pass.
    pub min_severity: Option<Severity>,
    /// The engagements whose events pass; events without an engagement do not. Never empty.
    pub engagement_ids: Option<Vec<String>>,
    /// An expression in CEL that must be true; 1-2,000 characters, checked when it is saved.
    pub expression: Option<String>,
}

/// Why a webhook makes no deliveries, or that it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Deliveries are made.
    Active,
    /// An admin switched it off: new events make no deliveries.
    OffByAdmin,
    /// The breaker or a 410 switched it off: new events make held deliveries.
    Tripped {
        /// The sentence that `disabled_reason` shows.
        reason: String,
        /// Its cause, and the probes that may end it.
        trip: Trip,
    },
}

impl Activity {
    /// Returns true if deliveries are made.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }

    /// The trip of a webhook that the breaker or a 410 switched off.
    pub fn trip(&self) -> Option<&Trip> {
        match self {
            Self::Tripped { trip, .. } => Some(trip),
            Self::Active | Self::OffByAdmin => None,
        }
    }
}

/// A webhook as the host keeps it.
#[derive(Debug)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// The configuration, without being switched on or off.
    pub config: WebhookConfig,
    /// Its activity: it delivers, or the reason why not.
    pub activity: Activity,
    /// Counts changes of the configuration and of the activity; what the `ETag` is made of.
    pub revision: u64,
    /// Counts how often it was switched on again: what was queued under an earlier activation is held.
    pub activation: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its configuration last changed.
    pub updated_at: Timestamp,
    /// Secrets that were replaced and sign beside the new one for a while, the newest first.
    pub old_secrets: Vec<OldSecret>,
    /// Counters of its deliveries; they change without a new revision.
    pub health: Health,
}

/// A secret that was replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct OldSecret {
    /// The secret.
    pub secret: Secret,
    /// When it ceases to sign, in milliseconds of the steady clock.
    pub until_ms: i64,
}

impl Webhook {
    /// A copy with the same revision.
    pub fn unchanged(&self) -> Self {
        Self {
            id: self.id,
            config: self.config.clone(),
            activity: self.activity.clone(),
            revision: self.revision,
            activation: self.activation,
            created_at: self.created_at,
            updated_at: self.updated_at,
            old_secrets: self.old_secrets.clone(),
            health: Health::new(self.health.values()),
        }
    }

    /// A copy with the next revision, for a change: what changes is set over it.
    pub fn changed(&self) -> Self {
        Self { revision: self.revision + 1, ..self.unchanged() }
    }

    /// The verdict of its filter's expression, if it has one that was evaluated.
    pub fn verdict<'a>(&self, verdicts: Option<&'a Verdicts>) -> Option<&'a ExpressionVerdict> {
        self.config.filter.expression.as_deref().and_then(|expression| verdicts?.get(expression))
    }

    /// The replaced secrets that still sign at this time of the steady clock.
    pub fn old_secrets_at(&self, steady_ms: i64) -> impl Iterator<Item = &OldSecret> {
        self.old_secrets.iter().filter(move |old| old.until_ms > steady_ms)
    }
}

/// Running counters of one webhook. Only the store's writer changes them; anyone may read.
#[derive(Debug, Default)]
pub struct Health {
    failure_count: AtomicU32,
    /// Milliseconds since 1970; 0: never.
    last_success_ms: AtomicI64,
    /// Milliseconds since 1970; 0: never.
    last_failure_ms: AtomicI64,
}

/// The counters' values at one moment, as the store keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HealthValues {
    /// Deliveries that failed for good, in a row.
    pub failure_count: u32,
    /// When an attempt last succeeded.
    pub last_success_at: Option<Timestamp>,
    /// When an attempt last failed.
    pub last_failure_at: Option<Timestamp>,
}

impl Health {
    /// Counters that begin at these values.
    pub fn new(values: HealthValues) -> Self {
        let health = Self::default();
        health.set(values);
        health
    }

    /// The values now.
    pub fn values(&self) -> HealthValues {
        let time = |cell: &AtomicI64| match cell.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(Timestamp::from_unix_ms(ms)),
        };
        HealthValues {
            failure_count: self.failure_count.load(Ordering::Relaxed),
            last_success_at: time(&self.last_success_ms),
            last_failure_at: time(&self.last_failure_ms),
        }
    }

    /// Replaces the values.
    pub fn set(&self, values: HealthValues) {
        self.failure_count.store(values.failure_count, Ordering::Relaxed);
        self.last_success_ms.store(values.last_success_at.map_or(0, Timestamp::unix_ms), Ordering::Relaxed);
        self.last_failure_ms.store(values.last_failure_at.map_or(0, Timestamp::unix_ms), Ordering::Relaxed);
    }
}
