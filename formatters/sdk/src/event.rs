//! One event, parsed leniently: the host has checked the envelope; every other member may be absent or of an unexpected
//! type.

use std::borrow::Cow;
use std::cell::OnceCell;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use crate::cvss::Cvss;
use crate::outline::{self, Outline};
use crate::value::{LIST_ITEMS, Object, Value};
use crate::{Error, Problem, RawEvent, Severity};

/// The event types of contract version 1. Those of the host itself came with 1.2.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// A new finding is discovered.
    FindingAdded,
    /// A finding is verified with a working proof of concept.
    FindingVerified,
    /// A testing phase starts or completes.
    PhaseChanged,
    /// The full engagement finishes.
    EngagementCompleted,
    /// The client signs the authorization.
    EngagementSigned,
    /// A finding with critical severity is added.
    CriticalFinding,
    /// A retest cycle completes.
    RetestCompleted,
    /// A report is generated and available for download.
    ReportReady,
    /// Surface drift detection detects a change.
    SurfaceChanged,
    /// Continuous monitoring triggers an alert.
    MonitorAlert,
    /// A webhook's delivery failed for good, the first since a success.
    WebhookFailing,
    /// A webhook was switched off by its circuit breaker or by its destination.
    WebhookDisabled,
    /// A webhook was switched on again by a probe.
    WebhookRecovered,
    /// A further delivery of a failing webhook failed for good.
    DeliveryFailed,
    /// A formatter was rejected.
    FormatterRejected,
    /// A version of a formatter failed and was replaced by the one before it.
    FormatterRolledBack,
    /// The disk, the store or a certificate of the host needs attention.
    HostDegraded,
}

impl EventType {
    /// All event types.
    pub const ALL: [Self; 17] = [
        Self::FindingAdded,
        Self::FindingVerified,
        Self::PhaseChanged,
        Self::EngagementCompleted,
        Self::EngagementSigned,
        Self::CriticalFinding,
        Self::RetestCompleted,
        Self::ReportReady,
        Self::SurfaceChanged,
        Self::MonitorAlert,
        Self::WebhookFailing,
        Self::WebhookDisabled,
        Self::WebhookRecovered,
        Self::DeliveryFailed,
        Self::FormatterRejected,
        Self::FormatterRolledBack,
        Self::HostDegraded,
    ];

    /// The type with this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The name used in events and subscriptions: `finding_added`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FindingAdded => "finding_added",
            Self::FindingVerified => "finding_verified",
            Self::PhaseChanged => "phase_changed",
            Self::EngagementCompleted => "engagement_completed",
            Self::EngagementSigned => "engagement_signed",
            Self::CriticalFinding => "critical_finding",
            Self::RetestCompleted => "retest_completed",
            Self::ReportReady => "report_ready",
            Self::SurfaceChanged => "surface_changed",
            Self::MonitorAlert => "monitor_alert",
            Self::WebhookFailing => "webhook_failing",
            Self::WebhookDisabled => "webhook_disabled",
            Self::WebhookRecovered => "webhook_recovered",
            Self::DeliveryFailed => "delivery_failed",
            Self::FormatterRejected => "formatter_rejected",
            Self::FormatterRolledBack => "formatter_rolled_back",
            Self::HostDegraded => "host_degraded",
        }
    }

    /// The type in words, without any value of the event: `New finding`.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::FindingAdded => "New finding",
            Self::FindingVerified => "Finding verified",
            Self::PhaseChanged => "Testing phase changed",
            Self::EngagementCompleted => "Engagement completed",
            Self::EngagementSigned => "Authorization signed",
            Self::CriticalFinding => "Critical finding",
            Self::RetestCompleted => "Retest completed",
            Self::ReportReady => "Report ready",
            Self::SurfaceChanged => "Attack surface changed",
            Self::MonitorAlert => "Monitor alert",
            Self::WebhookFailing => "Webhook failing",
            Self::WebhookDisabled => "Webhook switched off",
            Self::WebhookRecovered => "Webhook recovered",
            Self::DeliveryFailed => "Delivery failed",
            Self::FormatterRejected => "Formatter rejected",
            Self::FormatterRolledBack => "Formatter rolled back",
            Self::HostDegraded => "Heraldry needs attention",
        }
    }

    /// The member of `data` that holds the event's content: `finding`.
    pub const fn group(self) -> &'static str {
        match self {
            Self::FindingAdded | Self::FindingVerified | Self::CriticalFinding => "finding",
            Self::PhaseChanged => "phase",
            Self::EngagementCompleted => "summary",
            Self::EngagementSigned => "authorization",
            Self::RetestCompleted => "retest",
            Self::ReportReady => "report",
            Self::SurfaceChanged => "surface",
            Self::MonitorAlert => "monitor",
            Self::WebhookFailing | Self::WebhookDisabled | Self::WebhookRecovered => "webhook",
            Self::DeliveryFailed => "delivery",
            Self::FormatterRejected | Self::FormatterRolledBack => "formatter",
            Self::HostDegraded => "host",
        }
    }

    /// Returns true if the event is about one finding.
    pub const fn is_finding(self) -> bool {
        matches!(self, Self::FindingAdded | Self::FindingVerified | Self::CriticalFinding)
    }

    /// Returns true for an event of the host itself: what happened to Heraldry, not in an engagement.
    pub const fn is_host(self) -> bool {
        matches!(
            self,
            Self::WebhookFailing
                | Self::WebhookDisabled
                | Self::WebhookRecovered
                | Self::DeliveryFailed
                | Self::FormatterRejected
                | Self::FormatterRolledBack
                | Self::HostDegraded
        )
    }

    /// Returns true if events of this type carry a severity or have one by their type. The severity of all others is
    /// info and need not be shown.
    pub const fn is_rated(self) -> bool {
        self.names_severity() || matches!(self, Self::EngagementCompleted)
    }

    /// Returns true if a line names the severity of events of this type in words: that of a finding, of a monitor's
    /// alert, or of what happened to the host.
    pub const fn names_severity(self) -> bool {
        self.is_finding() || self.is_host() || matches!(self, Self::MonitorAlert)
    }
}

/// The objects that are read in the same pass as the envelope: `data`, its groups, and objects in these.
pub(crate) const LEVELS: usize = 3;

/// The position of the separator in a time: it follows `YYYY-MM-DD`.
const TIME_SEPARATOR: usize = 10;

/// The longest text that is read as a time, in bytes; RFC 3339 allows any number of decimals.
const TIME: usize = 100;

/// The longest count that is a part of a sentence, in bytes: 20 digits have every 64-bit number.
const REPETITIONS: usize = 20;

/// One event. It keeps what was read of it.
#[derive(Debug)]
pub struct Event<'a> {
    /// The event id, a UUID.
    pub id: &'a str,
    /// The event type.
    pub kind: EventType,
    /// The time of the event: RFC 3339, UTC, milliseconds.
    pub occurred_at: &'a str,
    /// The whole event as posted, without surrounding white space.
    pub json: &'a str,
    /// The engagement that the event belongs to, if it has one.
    pub engagement: Option<Engagement<'a>>,
    /// The id of the event that the host derived this one from.
    pub caused_by: Option<Cow<'a, str>>,
    data: Value<'a>,
    envelope: Object<'a>,
    /// Stands in for a group that is missing.
    empty: Object<'a>,
    severity: OnceCell<Severity>,
    cvss: OnceCell<Option<Cvss<'a>>>,
    cwe: OnceCell<Vec<Cow<'a, str>>>,
    cve: OnceCell<Vec<Cow<'a, str>>>,
    counts: OnceCell<Vec<(Severity, Value<'a>)>>,
}

/// The engagement (a penetration test) that an event belongs to.
#[derive(Debug)]
pub struct Engagement<'a> {
    /// The platform's id of the engagement.
    pub id: Option<Cow<'a, str>>,
    /// The engagement's display name.
    pub name: Option<Cow<'a, str>>,
    /// The client that the engagement is done for.
    pub client: Option<Cow<'a, str>>,
    /// The object as posted.
    pub json: &'a str,
}

impl<'a> Event<'a> {
    /// Parses the envelope, and what most formats read of `data`.
    ///
    /// # Errors
    /// `unsupported-event` for a type that is not in [`EventType`]; `invalid-event` when the text is not a JSON object
    /// with an object `data`.
    pub fn parse(event: &'a RawEvent) -> Result<Self, Error> {
        Self::parse_to(event, LEVELS)
    }

    /// As [`Event::parse`], with the objects of so many levels; deeper ones are read when they are asked for.
    pub(crate) fn parse_to(event: &'a RawEvent, levels: usize) -> Result<Self, Error> {
        let kind = EventType::parse(&event.type_).ok_or_else(|| Error::UnsupportedEvent(event.type_.clone()))?;
        let json = event.json.trim_ascii();
        // The host has checked that the event is JSON. To check it again would take half of the instructions that a
        // large event may cost.
        let envelope = Object::scan(json, levels)
            .ok_or_else(|| invalid("", "not an event: one JSON object is expected".into()))?;
        let data = envelope
            .get("data")
            .filter(|data| data.is_object())
            .ok_or_else(|| invalid("/data", "an object is expected here".into()))?;
        let engagement = envelope.object("engagement").zip(envelope.get("engagement"));
        let engagement = engagement.map(|(members, value)| Engagement {
            id: members.text("id"),
            name: members.text("name"),
            client: members.text("client"),
            json: value.json(),
        });
        Ok(Self {
            id: &event.id,
            kind,
            occurred_at: &event.occurred_at,
            json,
            engagement,
            caused_by: envelope.text("caused_by"),
            data,
            envelope,
            empty: Object::default(),
            severity: OnceCell::new(),
            cvss: OnceCell::new(),
            cwe: OnceCell::new(),
            cve: OnceCell::new(),
            counts: OnceCell::new(),
        })
    }

    /// `data` as posted, byte for byte.
    pub fn data(&self) -> &'a str {
        self.data.json()
    }

    /// The members of `data`, as an object.
    pub fn groups(&self) -> &Object<'a> {
        self.envelope.object("data").unwrap_or(&self.empty)
    }

    /// The group of the event's type (`finding` in `finding_added`); empty if it is not an object.
    pub fn group(&self) -> &Object<'a> {
        self.groups().object(self.kind.group()).unwrap_or(&self.empty)
    }

    /// The group `verification`; empty unless the event is `finding_verified` and has it.
    pub fn verification(&self) -> &Object<'a> {
        match self.kind {
            EventType::FindingVerified => self.groups().object("verification").unwrap_or(&self.empty),
            _ => &self.empty,
        }
    }

    /// The webhook that a host event is about: its group, or the object `webhook` in a failed delivery; empty for all
    /// other events.
    pub fn webhook(&self) -> &Object<'a> {
        match self.kind {
            EventType::WebhookFailing | EventType::WebhookDisabled | EventType::WebhookRecovered => self.group(),
            EventType::DeliveryFailed => self.group().object("webhook").unwrap_or(&self.empty),
            _ => &self.empty,
        }
    }

    /// The name of what a host event is about: a webhook, a formatter, or the part of the host. `None` for all other
    /// events.
    pub fn subject(&self) -> Option<Cow<'a, str>> {
        match self.kind {
            EventType::DeliveryFailed => self.webhook().text("name").or_else(|| self.group().text("webhook")),
            EventType::HostDegraded => self.group().text("kind"),
            kind if kind.is_host() => self.group().text("name"),
            _ => None,
        }
    }

    /// Why a host event happened, in words. `None` for all other events.
    pub fn reason(&self) -> Option<Cow<'a, str>> {
        if self.kind.is_host() { self.group().text("reason") } else { None }
    }

    /// How often it happened, for a host event that stands for several.
    pub fn repetitions(&self) -> Option<Cow<'a, str>> {
        let count = self.group().get("count").filter(|_| self.kind.is_host())?;
        count.text().filter(|text| text.len() <= REPETITIONS && count.number().is_some_and(|number| number > 1.0))
    }

    /// The engagement's name.
    pub fn engagement_name(&self) -> Option<&str> {
        self.engagement.as_ref()?.name.as_deref()
    }

    /// The engagement's id.
    pub fn engagement_id(&self) -> Option<&str> {
        self.engagement.as_ref()?.id.as_deref()
    }

    /// The client that the engagement is done for.
    pub fn engagement_client(&self) -> Option<&str> {
        self.engagement.as_ref()?.client.as_deref()
    }

    /// The client and the engagement (its name, else its id), for the first lines of a message.
    pub fn client_and_engagement(&self) -> impl Iterator<Item = &str> {
        [self.engagement_client(), self.engagement_name().or(self.engagement_id())].into_iter().flatten()
    }

    /// The severity by the rules of FORMATS, section 8: the word of the finding or monitor, else derived from the
    /// finding's score; of a completed engagement the worst severity with a non-zero count; of a host event that of its
    /// type; info for all other events.
    pub fn severity(&self) -> Severity {
        *self.severity.get_or_init(|| self.read_severity())
    }

    fn read_severity(&self) -> Severity {
        let word = || self.group().get("severity").and_then(Value::string).and_then(|word| Severity::parse(&word));
        let score = || self.cvss()?.score.and_then(Severity::from_score);
        match self.kind {
            kind if kind.is_finding() => word().or_else(score).unwrap_or_default(),
            EventType::MonitorAlert => word().unwrap_or_default(),
            EventType::EngagementCompleted => self
                .counts()
                .iter()
                .find(|(_, count)| count.is_positive())
                .map(|(severity, _)| *severity)
                .unwrap_or_default(),
            EventType::WebhookDisabled | EventType::HostDegraded => Severity::High,
            EventType::WebhookFailing
            | EventType::DeliveryFailed
            | EventType::FormatterRejected
            | EventType::FormatterRolledBack => Severity::Medium,
            _ => Severity::Info,
        }
    }

    /// The severity on a scale of 0 to 10, see [`Severity::of_ten`]; for a finding its CVSS score counts, too.
    pub fn level(&self) -> u8 {
        let score = if self.kind.is_finding() { self.cvss().and_then(|cvss| cvss.score) } else { None };
        self.severity().of_ten(score)
    }

    /// The finding's CVSS score, see [`Cvss`]; of several the first valid one.
    pub fn cvss(&self) -> Option<Cvss<'a>> {
        self.cvss.get_or_init(|| self.group().get("cvss").and_then(Cvss::of)).clone()
    }

    /// The finding's CWE identifiers, normalized to the form `CWE-89`. After [`LIST_ITEMS`] of them the last one is a
    /// text with the number of the others: `and 7 more`.
    pub fn cwe(&self) -> Vec<Cow<'a, str>> {
        self.cwe.get_or_init(|| self.identifiers("cwe", "CWE-")).clone()
    }

    /// The finding's CVE identifiers, normalized to the form `CVE-2021-44228`; many of them as in [`Event::cwe`].
    pub fn cve(&self) -> Vec<Cow<'a, str>> {
        self.cve.get_or_init(|| self.identifiers("cve", "CVE-")).clone()
    }

    fn identifiers(&self, member: &str, prefix: &str) -> Vec<Cow<'a, str>> {
        let text = |item: Value<'a>| {
            if item.is_object() {
                let names = ["id", member, "cwe_id", "cve_id", "cweId", "cveId"];
                return item.object().first_text(&names).or_else(|| item.text());
            }
            item.text()
        };
        let items = self.group().items(member).take(LIST_ITEMS);
        let mut all: Vec<_> = items.filter_map(text).map(|text| with_prefix(text, prefix)).collect();
        match self.group().count(member) {
            ..=LIST_ITEMS => {}
            total => all.push(format!("and {} more", total - LIST_ITEMS).into()),
        }
        all
    }

    /// The finding counts of a completed engagement, worst severity first; absent ones are left out.
    pub fn counts(&self) -> Vec<(Severity, Value<'a>)> {
        self.counts.get_or_init(|| self.read_counts()).clone()
    }

    fn read_counts(&self) -> Vec<(Severity, Value<'a>)> {
        let Some(findings) = self.group().object("findings") else { return Vec::new() };
        let mut counts = Vec::with_capacity(Severity::ALL.len());
        for (word, count) in findings.iter() {
            if let Some(severity) = Severity::parse(&word)
                && counts.iter().all(|(known, _)| *known != severity)
            {
                counts.push((severity, count));
            }
        }
        counts.sort_by(|(one, _), (other, _)| other.cmp(one));
        counts
    }

    /// The target of a finding or monitor, see [`target_text`](outline::target_text).
    pub fn target(&self) -> Option<Cow<'a, str>> {
        let group = self.group();
        match group.get("target")? {
            target if target.is_object() || target.is_list() => outline::target_text(target),
            // The group keeps the text.
            _ => group.text("target"),
        }
    }

    /// The finding's title; `None` for other events, or if none of the title is visible.
    pub fn title(&self) -> Option<Cow<'a, str>> {
        if self.kind.is_finding() { self.group().text("title") } else { None }
    }

    /// A title for people: the finding's own title, or a phrase with the details of the event:
    /// `Phase started: reconnaissance`. Contains raw text of the event.
    pub fn headline(&self) -> Cow<'a, str> {
        outline::headline(self)
    }

    /// The content of the event for people, independent of any layout.
    pub fn outline(&self) -> Outline<'a> {
        Outline::of(self)
    }

    /// [`Event::occurred_at`], parsed; `None` if it is not RFC 3339.
    pub fn time(&self) -> Option<OffsetDateTime> {
        instant(self.occurred_at)
    }
}

/// Parses an RFC 3339 time with any offset (section 5.6): a `T` in either case separates date and time.
pub fn instant(text: &str) -> Option<OffsetDateTime> {
    // `time` skips the separator, whatever it is.
    let is_separated = matches!(text.as_bytes().get(TIME_SEPARATOR), Some(b'T' | b't')) && text.len() <= TIME;
    if is_separated { OffsetDateTime::parse(text, &Rfc3339).ok() } else { None }
}

/// An RFC 3339 time in milliseconds since 1970; `None` if it cannot be parsed or is before 1970.
pub(crate) fn milliseconds(text: &str) -> Option<i128> {
    let time = instant(text)?.unix_timestamp_nanos().div_euclid(1_000_000);
    (time >= 0).then_some(time)
}

fn invalid(pointer: &str, message: String) -> Error {
    Error::InvalidEvent(vec![Problem { pointer: pointer.into(), message }])
}

/// Normalizes `89`, `cwe-89`, `CWE 89` and `CWE-89` to `CWE-89`; other text is returned unchanged.
fn with_prefix<'a>(text: Cow<'a, str>, prefix: &str) -> Cow<'a, str> {
    if text.starts_with(prefix) {
        return text;
    }
    let is_number = |number: &str| {
        number.starts_with(|c: char| c.is_ascii_digit()) && number.bytes().all(|b| b.is_ascii_digit() || b == b'-')
    };
    let name = &prefix[..prefix.len() - 1];
    let bare = text.trim();
    let number = match bare.get(..name.len()) {
        Some(start) if start.eq_ignore_ascii_case(name) => bare[name.len()..].trim_start_matches(['-', '_', ':', ' ']),
        _ => bare,
    };
    if is_number(number) { Cow::Owned([prefix, number].concat()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(kind: &str, data: &str) -> RawEvent {
        RawEvent {
            id: "019a".into(),
            type_: kind.into(),
            occurred_at: "2026-11-17T10:12:45.120Z".into(),
            json: format!(r#"{{"type":"{kind}","data":{data}}}"#),
        }
    }

    fn severity(kind: &str, data: &str) -> Severity {
        Event::parse(&raw(kind, data)).expect("an event").severity()
    }

    #[test]
    fn severity_by_word_then_score_then_info() {
        let finding = |members: &str| severity("finding_added", &format!(r#"{{"finding":{{"title":"t"{members}}}}}"#));
        assert_eq!(finding(r#","severity":"HIGH","cvss":9.8"#), Severity::High);
        assert_eq!(finding(r#","cvss":9.8"#), Severity::Critical);
        assert_eq!(finding(r#","cvss":"4.0""#), Severity::Medium);
        assert_eq!(finding(r#","cvss":[null,"x",0.1]"#), Severity::Low);
        assert_eq!(finding(r#","cvss":11"#), Severity::Info);
        assert_eq!(finding(r#","severity":3"#), Severity::Info);
        assert_eq!(finding(""), Severity::Info);
        assert_eq!(severity("monitor_alert", r#"{"monitor":{"severity":"Low"}}"#), Severity::Low);
        assert_eq!(severity("phase_changed", r#"{"phase":{"severity":"high"}}"#), Severity::Info);
    }

    #[test]
    fn host_events_have_the_severity_of_their_type() {
        for (kind, expected) in [
            ("webhook_failing", Severity::Medium),
            ("webhook_disabled", Severity::High),
            ("webhook_recovered", Severity::Info),
            ("delivery_failed", Severity::Medium),
            ("formatter_rejected", Severity::Medium),
            ("formatter_rolled_back", Severity::Medium),
            ("host_degraded", Severity::High),
        ] {
            let group = EventType::parse(kind).expect("a type").group();
            assert_eq!(severity(kind, &format!(r#"{{"{group}":{{"severity":"critical"}}}}"#)), expected, "{kind}");
        }
        assert_eq!(EventType::ALL.iter().filter(|kind| kind.is_host()).count(), 7);
    }

    #[test]
    fn a_host_event_is_about_something_and_may_stand_for_several() {
        let of = |kind: &str, data: &str| {
            let raw = raw(kind, data);
            let event = Event::parse(&raw).expect("an event");
            let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned).unwrap_or_default();
            [
                owned(event.subject()),
                owned(event.webhook().text("url_host")),
                owned(event.reason()),
                owned(event.repetitions()),
            ]
        };
        let webhook = r#"{"name":"SOC","url_host":"h.example","reason":"why","count":3}"#;
        assert_eq!(of("webhook_failing", &format!(r#"{{"webhook":{webhook}}}"#)), ["SOC", "h.example", "why", "3"]);
        let delivery = format!(r#"{{"delivery":{{"webhook":{webhook},"reason":"other","count":1}}}}"#);
        assert_eq!(of("delivery_failed", &delivery), ["SOC", "h.example", "other", ""]);
        assert_eq!(of("delivery_failed", r#"{"delivery":{"webhook":"SOC"}}"#), ["SOC", "", "", ""]);
        assert_eq!(of("formatter_rejected", r#"{"formatter":{"name":"acme","count":"2"}}"#), ["acme", "", "", "2"]);
        assert_eq!(of("host_degraded", r#"{"host":{"kind":"disk","count":null}}"#), ["disk", "", "", ""]);
        assert_eq!(of("host_degraded", r#"{"host":[]}"#), ["", "", "", ""]);
        assert_eq!(of("phase_changed", r#"{"phase":{"name":"n","reason":"r","count":7}}"#), ["", "", "", ""]);
        let digits = format!(r#"{{"host":{{"count":{}}}}}"#, "7".repeat(21));
        assert_eq!(of("host_degraded", &digits)[3], "");
    }

    #[test]
    fn a_finished_engagement_is_as_bad_as_its_worst_finding() {
        for (findings, expected) in [
            (r#"{"info":3,"High":1,"critical":0}"#, Severity::High),
            (r#"{"medium":"2","low":7}"#, Severity::Medium),
            (r#"{"critical":1e400,"low":7}"#, Severity::Critical),
            (r#"{"critical":-1,"info":1}"#, Severity::Info),
            ("{}", Severity::Info),
            ("[1,2]", Severity::Info),
            ("7", Severity::Info),
        ] {
            let data = format!(r#"{{"summary":{{"findings":{findings}}}}}"#);
            assert_eq!(severity("engagement_completed", &data), expected, "{findings}");
        }
    }

    #[test]
    fn times_have_the_grammar_of_rfc_3339() {
        for (text, is_time) in [
            ("2026-01-31T12:00:00Z", true),
            ("2026-01-31t12:00:00.5z", true),
            ("2026-01-31T12:00:00-05:00", true),
            ("2026-01-31 12:00:00Z", false),
            ("2026-01-31512:00:00Z", false),
            ("2026-01-31Q12:00:00Z", false),
            ("2026-01-31\n12:00:00Z", false),
            ("2026-01-31T12:00:00", false),
            ("2026-01-31T12:00:00Zx", false),
            ("2026-01-31", false),
            ("", false),
        ] {
            assert_eq!(instant(text).is_some(), is_time, "{text:?}");
            assert_eq!(milliseconds(text).is_some(), is_time, "{text:?}");
        }
    }

    #[test]
    fn identifiers_without_end_are_counted() {
        let cwe = |items: usize| {
            let raw =
                raw("finding_added", &format!(r#"{{"finding":{{"title":"t","cwe":[{}7]}}}}"#, "7,".repeat(items - 1)));
            Event::parse(&raw).expect("an event").cwe().into_iter().map(Cow::into_owned).collect::<Vec<_>>()
        };
        assert_eq!(cwe(LIST_ITEMS), vec!["CWE-7"; LIST_ITEMS]);
        let more = cwe(LIST_ITEMS + 5);
        assert_eq!((more.len(), more[LIST_ITEMS].as_str()), (LIST_ITEMS + 1, "and 5 more"));
    }

    #[test]
    fn identifiers_are_normalized() {
        for (cwe, expected) in [
            ("89", &["CWE-89"][..]),
            (r#""89""#, &["CWE-89"]),
            (r#""cwe-89""#, &["CWE-89"]),
            (r#"["CWE: 79",20,null,"CWE-1"]"#, &["CWE-79", "CWE-20", "CWE-1"]),
            (r#""weak""#, &["weak"]),
            (r#"{"id":89,"name":"SQL injection"}"#, &["CWE-89"]),
            (r#"[{"cwe":"CWE-79"},{"name":"x"}]"#, &["CWE-79", "x"]),
            ("null", &[]),
        ] {
            let raw = raw("finding_added", &format!(r#"{{"finding":{{"title":"t","cwe":{cwe}}}}}"#));
            assert_eq!(Event::parse(&raw).expect("an event").cwe(), expected, "{cwe}");
        }
        let raw = raw("finding_added", r#"{"finding":{"title":"t","cve":["2021-44228","CVE-2020-1"]}}"#);
        assert_eq!(Event::parse(&raw).expect("an event").cve(), ["CVE-2021-44228", "CVE-2020-1"]);
    }

    #[test]
    fn invalid_events_are_rejected() {
        let error = |kind: &str, json: &str| {
            let mut raw = raw(kind, "{}");
            raw.json = json.into();
            Event::parse(&raw).expect_err("refused")
        };
        assert_eq!(error("later", "{}"), Error::UnsupportedEvent("later".into()));
        for (json, pointer) in
            [("", ""), ("[]", ""), ("{}", "/data"), (r#"{"data":[]}"#, "/data"), (r#"{"data":{}"#, "")]
        {
            match error("finding_added", json) {
                Error::InvalidEvent(problems) => assert_eq!(problems[0].pointer, pointer, "{json}"),
                other => panic!("{json} gave {other:?}"),
            }
        }
    }

    #[test]
    fn every_type_has_its_name() {
        for kind in EventType::ALL {
            assert_eq!(EventType::parse(kind.name()), Some(kind));
        }
    }
}
