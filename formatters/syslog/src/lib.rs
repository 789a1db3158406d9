//! `syslog`: one event as one message of RFC 5424, `<PRI>1 TIMESTAMP HOSTNAME APP-NAME - MSGID SD MSG`.
//!
//! What a machine looks for stands in the structured data, what a person reads in MSG. Nothing in an
//! event can end a value, a message or a line (FORMATS, sections 4 and 9): a receiver that splits lines or
//! runs out of room would believe what comes after.

mod options;

use std::borrow::Cow;

use heraldry_formatter::line::{prose, sentence};
use heraldry_formatter::outline::item_text;
use heraldry_formatter::rfc5424::{Header, MAX_BYTES, Message};
use heraldry_formatter::{Context, Error, Event, EventType, Formatter, Join, Kind, Manifest, Payload, Severity};

pub use options::Options;

/// The format.
#[derive(Debug)]
pub struct Syslog;

impl Formatter for Syslog {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("Syslog (RFC 5424)"),
            description: Some(
                "One line an event: severity and type in the header, the facts as structured data, a sentence to read.",
            ),
            kind: Kind::Line,
            join: Join::Newline,
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("syslog", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, options: &Options) -> Result<Payload, Error> {
        let max_bytes = context.max_bytes.map_or(MAX_BYTES, |max| max as usize);
        let severity = event.severity();
        let header = Header {
            facility: options.facility,
            severity,
            timestamp: event.occurred_at,
            host_name: &context.host_name,
            app_name: options.app_name.as_str(),
            msgid: event.kind.name(),
        };
        let mut message = Message::new(header, &options.structured_data_id, max_bytes);
        params(&mut message, event, severity);
        say(&mut message, event, severity);
        message.payload()
    }
}

/// `CRITICAL SQL injection: what the description says`: one sentence for people.
fn say<'a, 'e: 'a>(message: &mut Message<'a>, event: &Event<'e>, severity: Severity) {
    if has_severity(event.kind) {
        message.text("", severity.upper());
    }
    message.text(" ", sentence(event));
    if let Some(prose) = prose(event) {
        message.text(": ", prose);
    }
}

/// Whether a severity is the event's own and not what its kind of event always has.
fn has_severity(kind: EventType) -> bool {
    kind.is_finding() || kind == EventType::MonitorAlert
}

/// The SD-PARAMs of one event, the ones that matter most first.
fn params<'a>(message: &mut Message<'a>, event: &'a Event<'_>, severity: Severity) {
    let group = event.group();
    message.whole_param("id", Some(event.id));
    let object_id = match event.kind {
        kind if kind.is_finding() => Some("finding_id"),
        EventType::ReportReady => Some("report_id"),
        EventType::RetestCompleted => Some("retest_id"),
        EventType::MonitorAlert => Some("monitor_id"),
        _ => None,
    };
    if let Some(name) = object_id {
        message.param(name, group.text("id"));
    }
    if has_severity(event.kind) {
        message.param("severity", Some(severity.word()));
    }
    if event.kind.is_finding() {
        message.param("cvss", event.cvss().map(|cvss| cvss.text));
        message.param("cve", joined(&event.cve()));
        message.param("cwe", joined(&event.cwe()));
    }
    message.param("target", group.text("target"));
    message.param("ip", group.text("ip"));
    message.param("engagement_id", event.engagement_id());
    message.param("engagement_name", event.engagement_name());
    message.param("tool", group.text("tool"));
    message.param("url", group.text("url").or_else(|| group.text("report_url")));
    particulars(message, event);
}

/// What only one type has.
fn particulars<'a>(message: &mut Message<'a>, event: &'a Event<'_>) {
    let group = event.group();
    match event.kind {
        EventType::FindingVerified => {
            let verification = event.verification();
            message.param("verification_method", verification.text("method"));
            message.param("verified_by", verification.text("verified_by"));
            message.param("poc_url", verification.text("poc_url"));
        }
        EventType::PhaseChanged => {
            message.param("phase_name", group.text("name"));
            message.param("phase_status", group.text("status"));
            message.param("phase_index", group.text("index"));
            message.param("phase_total", group.text("total"));
        }
        EventType::EngagementCompleted => {
            for (severity, count) in event.counts() {
                let name = match severity {
                    Severity::Critical => "findings_critical",
                    Severity::High => "findings_high",
                    Severity::Medium => "findings_medium",
                    Severity::Low => "findings_low",
                    Severity::Info => "findings_info",
                };
                message.param(name, count.text());
            }
        }
        EventType::RetestCompleted => {
            for (name, member) in
                [("retest_fixed", "fixed"), ("retest_still_open", "still_open"), ("retest_regressed", "regressed")]
            {
                let items: Vec<_> = group.items(member).into_iter().map(item_text).collect();
                message.param(name, joined(&items));
            }
        }
        _ => {}
    }
}

/// Lists go into one value, with commas: a repeated name would lose all but the last.
fn joined<'a>(items: &[Cow<'a, str>]) -> Option<Cow<'a, str>> {
    match items {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(Cow::Owned(many.join(","))),
    }
}

heraldry_formatter::export_formatter!(Syslog);
