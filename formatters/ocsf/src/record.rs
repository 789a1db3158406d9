//! The record with its objects: names, types and numbers as in the schema (ocsf/ocsf-schema, 1.4.0).

use std::net::IpAddr;

use heraldry_formatter::identifier::{FindingKey, Scope};
use heraldry_formatter::line::{Target, sentence};
use heraldry_formatter::link::web_url;
use heraldry_formatter::raw::{join_lines, push_member};
use heraldry_formatter::text::bytes;
use heraldry_formatter::value::{Value, with_finite_numbers};
use heraldry_formatter::{Context, Event, Severity};
use serde::Serialize;

use crate::options::Options;
use crate::text::{self, line};

/// The OCSF schema version.
const SCHEMA_VERSION: &str = "1.4.0";

/// An event class.
#[derive(Clone, Copy)]
pub(crate) enum Class {
    Base,
    Vulnerability,
    Detection,
}

/// The change to a finding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Create,
    Update,
    Close,
    /// For an event that is not a finding.
    Other,
}

/// The state of a finding.
#[derive(Clone, Copy)]
pub(crate) enum Status {
    New,
    InProgress,
    Resolved,
}

/// One record. Absent members are left out.
#[derive(Serialize)]
pub(crate) struct Record<'a> {
    activity_id: u8,
    activity_name: &'static str,
    category_uid: u8,
    category_name: &'static str,
    class_uid: u16,
    class_name: &'static str,
    type_uid: u32,
    type_name: String,
    /// The time of the event, in milliseconds since 1970.
    time: i128,
    severity_id: u8,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_id: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confidence_id: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confidence: Option<&'static str>,
    /// True if the record calls for immediate attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) is_alert: Option<bool>,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comment: Option<String>,
    pub(crate) metadata: Metadata<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finding_info: Option<FindingInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) vulnerabilities: Vec<Vulnerability>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<Resource>,
    /// Written by [`Record::push_to`].
    #[serde(skip)]
    pub(crate) unmapped: Option<Unmapped<'a>>,
}

/// The origin of the record.
#[derive(Serialize)]
pub(crate) struct Metadata<'a> {
    version: &'static str,
    product: Product<'a>,
    /// Unique to this record.
    pub(crate) uid: String,
    event_code: &'static str,
    original_time: &'a str,
    /// Common to all records of an engagement.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_uid: Option<String>,
}

#[derive(Serialize)]
struct Product<'a> {
    name: &'a str,
    vendor_name: &'a str,
    version: &'a str,
}

/// The identity and description of the finding.
#[derive(Serialize)]
pub(crate) struct FindingInfo {
    pub(crate) uid: String,
    pub(crate) title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) desc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) src_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_time: Option<i128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) modified_time: Option<i128>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) data_sources: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) analytic: Option<Analytic>,
}

/// The tool or method that made the finding; its type is unknown.
#[derive(Serialize)]
pub(crate) struct Analytic {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    pub(crate) type_id: u8,
}

/// A weakness, with its identifier.
#[derive(Serialize)]
pub(crate) struct Vulnerability {
    #[serde(flatten)]
    pub(crate) known_as: KnownAs,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) severity: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) is_exploit_available: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) references: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remediation: Option<Remediation>,
}

/// The identifier of a weakness; the schema requires exactly one of these.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KnownAs {
    Cve {
        uid: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        cvss: Vec<Cvss>,
    },
    Cwe {
        uid: String,
    },
    Advisory {
        uid: String,
    },
}

/// A CVSS score.
#[derive(Serialize)]
pub(crate) struct Cvss {
    pub(crate) base_score: f64,
    pub(crate) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vector_string: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Remediation {
    pub(crate) desc: String,
}

/// An affected resource.
#[derive(Serialize)]
pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) uid: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Vec<&'static str>,
}

impl Resource {
    /// Makes a resource from a URL, a host with or without a port, an address, or any other name. `None` if none of the
    /// text is visible.
    pub(crate) fn of(whole: &str) -> Option<Self> {
        let uid = line(whole, text::NAME)?;
        let parts = Target::parse(&uid);
        let ip = parts.host.and_then(|host| host.parse().ok());
        let kind = match (parts.url, parts.host, ip) {
            (Some(_), ..) => Some("URL"),
            (None, Some(_), Some(_)) => Some("IP Address"),
            (None, Some(_), None) => Some("Host"),
            (None, None, _) => None,
        };
        Some(Self {
            name: parts.host.unwrap_or(&uid).to_owned(),
            kind: kind.map(str::to_owned),
            hostname: parts.host.filter(|_| ip.is_none()).map(str::to_owned),
            ip,
            labels: Vec::new(),
            uid,
        })
    }
}

/// Content that the schema has no attribute for.
#[derive(Serialize)]
pub(crate) struct Unmapped<'a> {
    /// `engagement` and `data` as posted. They are written without a parser.
    #[serde(skip)]
    engagement: Option<&'a str>,
    #[serde(skip)]
    data: Option<&'a str>,
    /// Set if the two members above were left out, because the record would exceed the size limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    /// The number of findings of a retest without a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    findings_left_out: Option<usize>,
}

/// Builds the records of one event.
pub(crate) struct RecordBuilder<'a, 'e> {
    pub(crate) event: &'a Event<'e>,
    pub(crate) context: &'a Context,
    pub(crate) options: &'a Options,
    pub(crate) time_ms: i128,
    scope: Scope,
    correlation_uid: Option<String>,
    src_url: Option<String>,
}

impl<'a, 'e> RecordBuilder<'a, 'e> {
    pub(crate) fn new(event: &'a Event<'e>, context: &'a Context, options: &'a Options, time_ms: i128) -> Self {
        // A retest has many records, and these are the same in all of them.
        let address = event.group().items("url").next().and_then(Value::text);
        Self {
            event,
            context,
            options,
            time_ms,
            scope: Scope::of(event),
            correlation_uid: event.engagement_id().and_then(text::id),
            src_url: address.and_then(|address| web_url(&address, text::ADDRESS)),
        }
    }

    /// The uid of the finding with this id.
    pub(crate) fn uid(&self, id: &str) -> Option<String> {
        match self.options.finding_uid {
            FindingKey::Engagement => self.scope.identifier(id, text::NAME, bytes),
            FindingKey::Finding => text::id(id),
        }
    }

    /// The common part of a record. `severity` is `None` if it is unknown.
    pub(crate) fn record(
        &self,
        class: Class,
        activity: Activity,
        severity: Option<Severity>,
        status: Option<Status>,
        message: String,
    ) -> Record<'a> {
        let (class_uid, class_name, category_uid, category_name) = class.names();
        let (activity_id, activity_name) = activity.names();
        let (severity_id, severity) = severity_names(severity);
        Record {
            activity_id,
            activity_name,
            category_uid,
            category_name,
            class_uid,
            class_name,
            type_uid: u32::from(class_uid) * 100 + u32::from(activity_id),
            type_name: format!("{class_name}: {activity_name}"),
            time: self.time_ms,
            severity_id,
            severity,
            status_id: status.map(|status| status.names().0),
            status: status.map(|status| status.names().1),
            confidence_id: None,
            confidence: None,
            is_alert: None,
            message,
            comment: None,
            metadata: Metadata {
                version: SCHEMA_VERSION,
                product: Product {
                    name: self.options.product_name(),
                    vendor_name: self.options.vendor_name(),
                    version: &self.context.product_version,
                },
                uid: self.event.id.into(),
                event_code: self.event.kind.name(),
                original_time: self.event.occurred_at,
                correlation_uid: self.correlation_uid.clone(),
            },
            finding_info: None,
            vulnerabilities: Vec::new(),
            resources: Vec::new(),
            unmapped: Some(Unmapped {
                engagement: self.event.engagement.as_ref().map(|engagement| engagement.json),
                data: Some(self.event.data()),
                truncated: None,
                findings_left_out: None,
            }),
        }
    }

    /// The record of an event that is not a finding.
    pub(crate) fn base_event(&self) -> Record<'a> {
        let message = match self.event.reason() {
            Some(reason) => line(&format!("{}: {reason}", sentence(self.event)), text::MESSAGE),
            None => None,
        };
        let message = message.unwrap_or_else(|| self.sentence());
        self.record(Class::Base, Activity::Other, Some(self.event.severity()), None, message)
    }

    /// The event in a sentence. May traverse long lists: do not call it for each of many records.
    pub(crate) fn sentence(&self) -> String {
        line(&sentence(self.event), text::MESSAGE).unwrap_or_else(|| self.event.kind.phrase().into())
    }

    /// The event's headline. May be slow, like [`RecordBuilder::sentence`].
    pub(crate) fn title(&self) -> String {
        line(&self.event.headline(), text::NAME).unwrap_or_else(|| self.event.kind.phrase().into())
    }

    /// The common part of `finding_info`.
    pub(crate) fn finding_info(&self, uid: Option<String>, title: String, activity: Activity) -> FindingInfo {
        let is_new = activity == Activity::Create;
        FindingInfo {
            uid: uid.unwrap_or_else(|| self.event.id.into()),
            title,
            desc: None,
            src_url: self.src_url.clone(),
            created_time: is_new.then_some(self.time_ms),
            modified_time: (!is_new).then_some(self.time_ms),
            data_sources: Vec::new(),
            analytic: None,
        }
    }
}

impl Record<'_> {
    /// Appends the record as one line of JSON.
    pub(crate) fn push_to(&self, body: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(&mut *body, self)?;
        let Some(unmapped) = &self.unmapped else { return Ok(()) };
        let mut members = serde_json::to_vec(unmapped)?;
        for (name, json) in [("engagement", unmapped.engagement), ("data", unmapped.data)] {
            if let Some(json) = json {
                push_member(&mut members, name, with_finite_numbers(json).as_bytes());
            }
        }
        join_lines(&mut members);
        push_member(body, "unmapped", &members);
        Ok(())
    }

    /// Records that `count` further findings of a retest have no record.
    pub(crate) fn leave_out_findings(&mut self, count: usize) {
        if let Some(unmapped) = &mut self.unmapped {
            *unmapped.findings_left_out.get_or_insert_default() += count;
        }
    }

    /// Removes the posted JSON, and sets the flag that says so.
    pub(crate) fn leave_out_posted(&mut self) {
        if let Some(unmapped) = &mut self.unmapped {
            (unmapped.engagement, unmapped.data, unmapped.truncated) = (None, None, Some(true));
        }
    }
}

impl Class {
    /// Returns `class_uid`, `class_name`, `category_uid` and `category_name`.
    const fn names(self) -> (u16, &'static str, u8, &'static str) {
        match self {
            Self::Base => (0, "Base Event", 0, "Uncategorized"),
            Self::Vulnerability => (2002, "Vulnerability Finding", 2, "Findings"),
            Self::Detection => (2004, "Detection Finding", 2, "Findings"),
        }
    }
}

impl Activity {
    const fn names(self) -> (u8, &'static str) {
        match self {
            Self::Create => (1, "Create"),
            Self::Update => (2, "Update"),
            Self::Close => (3, "Close"),
            Self::Other => (99, "Other"),
        }
    }
}

impl Status {
    const fn names(self) -> (u8, &'static str) {
        match self {
            Self::New => (1, "New"),
            Self::InProgress => (2, "In Progress"),
            Self::Resolved => (4, "Resolved"),
        }
    }
}

/// The mapping of FORMATS, section 8.
const fn severity_names(severity: Option<Severity>) -> (u8, &'static str) {
    match severity {
        None => (0, "Unknown"),
        Some(Severity::Info) => (1, "Informational"),
        Some(Severity::Low) => (2, "Low"),
        Some(Severity::Medium) => (3, "Medium"),
        Some(Severity::High) => (4, "High"),
        Some(Severity::Critical) => (5, "Critical"),
    }
}
