//! Events: what happened in an engagement.

mod derive;
pub mod input;

use serde::{Deserialize, Serialize};

use super::id::EventId;
use super::time::Timestamp;

macro_rules! event_types {
    ($($variant:ident = $name:literal, $group:literal, $when:literal;)*) => {
        /// What may happen.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
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

            /// The type of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

event_types! {
    FindingAdded = "finding_added", "finding", "A new finding is discovered.";
    FindingVerified = "finding_verified", "finding", "A finding is verified with a working proof of concept.";
    PhaseChanged = "phase_changed", "phase", "A testing phase starts or completes.";
    EngagementCompleted = "engagement_completed", "summary", "The full engagement finishes.";
    EngagementSigned = "engagement_signed", "authorization", "The client signs the authorization.";
    CriticalFinding = "critical_finding", "finding", "A finding with critical severity is added.";
    RetestCompleted = "retest_completed", "retest", "A retest cycle completes.";
    ReportReady = "report_ready", "report", "A report is generated and available for download.";
    SurfaceChanged = "surface_changed", "surface", "Surface drift detection detects a change.";
    MonitorAlert = "monitor_alert", "monitor", "Continuous monitoring triggers an alert.";
}

/// How bad a finding or an alert is, least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
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
    /// What happened.
    pub event_type: EventType,
    /// When it happened; absent: the time of acceptance.
    pub occurred_at: Option<Timestamp>,
    /// The engagement's id, for filters.
    pub engagement_id: Option<String>,
    /// The severity of the finding or alert, for filters.
    pub severity: Option<Severity>,
    /// The event's JSON object, byte for byte as it came in.
    pub json: String,
    /// SHA-256 of the JSON value in a canonical form: equal for equal values, however they are spelled.
    pub digest: [u8; 32],
}

/// An accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// What happened.
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
