//! Events: what happened in an engagement.

mod derive;
pub mod input;
mod schema;
mod searchable;
mod unknown;

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::EventId;
use super::time::Timestamp;

pub use schema::{FINDING_SCHEMA, data_schema_referring};
pub use searchable::Searchable;
pub use unknown::UnknownMembers;

macro_rules! event_types {
    ($($code:literal $variant:ident = $name:literal, $group:literal, $when:literal;)*) => {
        /// An event's type. The store writes its code, JSON its name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum EventType {
            $(#[doc = $when] $variant,)*
        }

        impl EventType {
            /// The catalogue, in the order in which it is shown.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The type's name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The member of `data` that an event of this type must have.
            pub fn group(self) -> &'static str {
                match self { $(Self::$variant => $group),* }
            }

            /// When an event of this type fires, for people.
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $when),* }
            }

            /// The file of `wit/schemas/` that describes `data`.
            fn schema_file(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("../../../../wit/schemas/", $name, ".json"))),*
                }
            }

            /// The type of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// The type's number in stored events.
            pub fn code(self) -> u32 {
                match self { $(Self::$variant => $code),* }
            }

            /// The type of this number in stored events.
            pub fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

// Code, variant, name, member of `data`, description. Codes and names are on disks: a code is never changed and never
// used again. The order of the lines is the catalogue's and free to change.
event_types! {
    0 FindingAdded = "finding_added", "finding", "A new finding is discovered.";
    1 FindingVerified = "finding_verified", "finding", "A finding is verified with a working proof of concept.";
    2 PhaseChanged = "phase_changed", "phase", "A testing phase starts or completes.";
    3 EngagementCompleted = "engagement_completed", "summary", "The full engagement finishes.";
    4 EngagementSigned = "engagement_signed", "authorization", "The client signs the authorization.";
    5 CriticalFinding = "critical_finding", "finding", "A finding with critical severity is added.";
    6 RetestCompleted = "retest_completed", "retest", "A retest cycle completes.";
    7 ReportReady = "report_ready", "report", "A report is generated and available for download.";
    8 SurfaceChanged = "surface_changed", "surface", "Surface drift detection detects a change.";
    9 MonitorAlert = "monitor_alert", "monitor", "Continuous monitoring triggers an alert.";
    10 WebhookFailing = "webhook_failing", "webhook", "A webhook's delivery failed for good, the first since a success.";
    11 WebhookDisabled = "webhook_disabled", "webhook", "A webhook was switched off by its circuit breaker or by its destination.";
    12 WebhookRecovered = "webhook_recovered", "webhook", "A webhook was switched on again by a probe.";
    13 DeliveryFailed = "delivery_failed", "delivery", "A further delivery of a failing webhook failed for good.";
    14 FormatterRejected = "formatter_rejected", "formatter", "A formatter was rejected.";
    15 FormatterRolledBack = "formatter_rolled_back", "formatter", "A version of a formatter failed and was replaced by the one before it.";
    16 HostDegraded = "host_degraded", "host", "The disk, the store or a certificate needs attention.";
}

impl EventType {
    /// True for a host event: what happened to Heraldry itself. It cannot be posted, and `*` does not include it.
    pub fn is_host(self) -> bool {
        match self {
            Self::FindingAdded
            | Self::FindingVerified
            | Self::PhaseChanged
            | Self::EngagementCompleted
            | Self::EngagementSigned
            | Self::CriticalFinding
            | Self::RetestCompleted
            | Self::ReportReady
            | Self::SurfaceChanged
            | Self::MonitorAlert => false,
            Self::WebhookFailing
            | Self::WebhookDisabled
            | Self::WebhookRecovered
            | Self::DeliveryFailed
            | Self::FormatterRejected
            | Self::FormatterRolledBack
            | Self::HostDegraded => true,
        }
    }

    /// The types of a platform's events: those that can be posted, in the catalogue's order.
    pub fn posted() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|event_type| !event_type.is_host())
    }

    /// The types of host events, in the catalogue's order.
    pub fn hosts() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|event_type| event_type.is_host())
    }

    /// The version of the formatter contract that brought the type.
    pub fn since(self) -> &'static str {
        if self.is_host() { "1.2.0" } else { "1.0.0" }
    }
}

impl EventType {
    /// The severity of a host event; other events have one of their own or none.
    pub fn host_severity(self) -> Option<Severity> {
        match self {
            Self::WebhookDisabled | Self::HostDegraded => Some(Severity::High),
            Self::WebhookFailing | Self::DeliveryFailed | Self::FormatterRejected | Self::FormatterRolledBack => {
                Some(Severity::Medium)
            }
            Self::WebhookRecovered => Some(Severity::Info),
            _ => None,
        }
    }
}

/// The name where a person reads it (JSON), the code in the store's compact encoding.
impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.as_str())
        } else {
            serializer.serialize_u32(self.code())
        }
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let known = if deserializer.is_human_readable() {
            Self::from_name(&Cow::<'de, str>::deserialize(deserializer)?)
        } else {
            Self::from_code(u32::deserialize(deserializer)?)
        };
        known.ok_or_else(|| D::Error::custom("an unknown event type"))
    }
}

/// The severity of a finding or an alert, least first. A filter compares them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Informational, CVSS 0.
    Info,
    /// CVSS 0.1-3.9.
    Low,
    /// CVSS 4.0-6.9.
    Medium,
    /// CVSS 7.0-8.9.
    High,
    /// CVSS 9.0-10.0.
    Critical,
}

impl Severity {
    /// Every severity, least first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity that this word names, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str().eq_ignore_ascii_case(word))
    }
}

/// An event that passed every check, ready to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The sender's id; absent: the store makes one.
    pub id: Option<EventId>,
    /// The event's type.
    pub event_type: EventType,
    /// When it happened; absent: the time of acceptance.
    pub occurred_at: Option<Timestamp>,
    /// The engagement's id, for filters.
    pub engagement_id: Option<String>,
    /// The finding's id, for searches.
    pub finding_id: Option<String>,
    /// The severity of the finding or alert, for filters.
    pub severity: Option<Severity>,
    /// The event's JSON object, byte for byte as it came in.
    pub json: String,
    /// SHA-256 of the JSON value in a canonical form: equal for equal values, however they are written. Zeros without an
    /// [`NewEvent::id`]: it tells whether an id is posted again with the same event.
    pub digest: [u8; 32],
}

/// An accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's id: the sender's, or one that the store made.
    pub id: EventId,
    /// The event's type.
    pub event_type: EventType,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When the host accepted it.
    pub accepted_at: Timestamp,
    /// The event that it was derived from.
    pub caused_by: Option<EventId>,
    /// The event's JSON object, byte for byte as it came in; the host's own text in a derived event.
    pub json: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_those_on_existing_disks() {
        let pinned = [
            (EventType::FindingAdded, 0, "finding_added"),
            (EventType::FindingVerified, 1, "finding_verified"),
            (EventType::PhaseChanged, 2, "phase_changed"),
            (EventType::EngagementCompleted, 3, "engagement_completed"),
            (EventType::EngagementSigned, 4, "engagement_signed"),
            (EventType::CriticalFinding, 5, "critical_finding"),
            (EventType::RetestCompleted, 6, "retest_completed"),
            (EventType::ReportReady, 7, "report_ready"),
            (EventType::SurfaceChanged, 8, "surface_changed"),
            (EventType::MonitorAlert, 9, "monitor_alert"),
            (EventType::WebhookFailing, 10, "webhook_failing"),
            (EventType::WebhookDisabled, 11, "webhook_disabled"),
            (EventType::WebhookRecovered, 12, "webhook_recovered"),
            (EventType::DeliveryFailed, 13, "delivery_failed"),
            (EventType::FormatterRejected, 14, "formatter_rejected"),
            (EventType::FormatterRolledBack, 15, "formatter_rolled_back"),
            (EventType::HostDegraded, 16, "host_degraded"),
        ];
        assert_eq!(pinned.len(), EventType::ALL.len(), "a new type is pinned here too");
        for (event_type, code, name) in pinned {
            assert_eq!(postcard::to_stdvec(&event_type).expect("encoded"), [code], "{name}");
            assert_eq!(postcard::from_bytes::<EventType>(&[code]).expect("decoded"), event_type);
            let json = format!("\"{name}\"");
            assert_eq!(serde_json::to_string(&event_type).expect("encoded"), json);
            assert_eq!(serde_json::from_str::<EventType>(&json).expect("decoded"), event_type);
        }
        assert!(postcard::from_bytes::<EventType>(&[99]).is_err());
        assert!(serde_json::from_str::<EventType>("\"other\"").is_err());
    }

    #[test]
    fn severities_have_the_names_of_existing_disks() {
        let names = Severity::ALL.map(|severity| serde_json::to_string(&severity).expect("encoded"));
        assert_eq!(names, [r#""info""#, r#""low""#, r#""medium""#, r#""high""#, r#""critical""#]);
        assert!(Severity::ALL.is_sorted(), "a filter compares them");
    }
}
