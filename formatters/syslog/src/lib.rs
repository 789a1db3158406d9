//! The format `syslog`: one event as one message of RFC 5424, `<PRI>1 TIMESTAMP HOSTNAME APP-NAME - MSGID SD MSG`, or
//! for legacy collectors of RFC 3164, `<PRI>Mmm dd hh:mm:ss HOST TAG: MSG`.
//!
//! Values for machines are in the structured data, with RFC 3164 as `name="value"` after the sentence; text for people
//! is in MSG. Nothing in an event can end a value, a message or a line (FORMATS, sections 4 and 9): a receiver that
//! splits at lines or has a shorter limit would read the rest as another message.

mod options;

use std::borrow::Cow;

use heraldry_formatter::line::{Content, prose, sentence};
use heraldry_formatter::outline::item_text;
use heraldry_formatter::rfc5424::{MAX_BYTES, Message};
use heraldry_formatter::syslog::Protocol;
use heraldry_formatter::value::joined;
use heraldry_formatter::{
    Context, Error, Event, EventType, Formatter, Join, Kind, Manifest, Payload, Severity, rfc3164, rfc5424,
};

pub use options::Options;

/// The format `syslog`; see the crate's documentation.
#[derive(Debug)]
pub struct Syslog;

impl Formatter for Syslog {
    type Options = Options;

    fn manifest() -> Manifest {
        Manifest {
            title: Some("Syslog (RFC 5424, RFC 3164)"),
            description: Some(
                "One line per event: severity and type in the header, values as structured data, a sentence as the message.",
            ),
            kind: Kind::Line,
            join: Join::Newline,
            options_schema: Some(options::SCHEMA),
            ..Manifest::new("syslog", env!("CARGO_PKG_VERSION"))
        }
    }

    fn render(event: &Event<'_>, context: &Context, options: &Options) -> Result<Payload, Error> {
        let severity = event.severity();
        let mut content = Content::new(context.max_bytes.map_or(MAX_BYTES, |max| max as usize));
        add_params(&mut content, event, severity);
        add_sentence(&mut content, event, severity);
        match options.protocol {
            Protocol::Rfc5424 => rfc5424_message(event, context, options).payload(content),
            Protocol::Rfc3164 => rfc3164_header(event, context, options).payload(content),
        }
    }
}

fn rfc5424_message<'a>(event: &'a Event<'_>, context: &'a Context, options: &'a Options) -> Message<'a> {
    let header = rfc5424::Header {
        facility: options.facility,
        severity: event.severity(),
        timestamp: event.occurred_at,
        host_name: &context.host_name,
        app_name: options.app_name.as_str(),
        msgid: event.kind.name(),
    };
    Message { header, sd_id: &options.structured_data_id, bom: options.bom }
}

fn rfc3164_header<'a>(event: &'a Event<'_>, context: &'a Context, options: &'a Options) -> rfc3164::Header<'a> {
    rfc3164::Header {
        facility: options.facility,
        severity: event.severity(),
        timestamp: event.occurred_at,
        utc_offset: options.utc_offset,
        host_name: &context.host_name,
        tag: Some(options.app_name.as_str()),
    }
}

/// One sentence for people: `CRITICAL SQL injection: the description`.
fn add_sentence<'a, 'e: 'a>(content: &mut Content<'a>, event: &Event<'e>, severity: Severity) {
    if event.kind.names_severity() {
        content.text("", severity.upper());
    }
    content.text(" ", sentence(event));
    if let Some(prose) = prose(event) {
        content.text(": ", prose);
    }
}

/// The parameters of one event, the most important ones first.
fn add_params<'a>(content: &mut Content<'a>, event: &'a Event<'_>, severity: Severity) {
    let group = event.group();
    content.whole_param("id", Some(event.id));
    let object_id = match event.kind {
        kind if kind.is_finding() => Some("finding_id"),
        EventType::ReportReady => Some("report_id"),
        EventType::RetestCompleted => Some("retest_id"),
        EventType::MonitorAlert => Some("monitor_id"),
        EventType::DeliveryFailed => Some("delivery_id"),
        _ => None,
    };
    if let Some(name) = object_id {
        content.param(name, group.text("id"));
    }
    if event.kind.names_severity() {
        content.param("severity", Some(severity.word()));
    }
    if event.kind.is_finding() {
        content.param("cvss", event.cvss().map(|cvss| cvss.text));
        content.param("cve", list(event.cve()));
        content.param("cwe", list(event.cwe()));
    }
    content.param("target", event.target());
    content.param("ip", group.text("ip"));
    content.param("engagement_id", event.engagement_id());
    content.param("engagement_name", event.engagement_name());
    content.param("tool", group.text("tool"));
    content.param("url", group.text("url").or_else(|| group.text("report_url")));
    add_type_params(content, event);
}

/// Parameters that only some event types have.
fn add_type_params<'a>(content: &mut Content<'a>, event: &'a Event<'_>) {
    let group = event.group();
    match event.kind {
        EventType::FindingVerified => {
            let verification = event.verification();
            content.param("verification_method", verification.text("method"));
            content.param("verified_by", verification.text("verified_by"));
            content.param("poc_url", verification.text("poc_url"));
        }
        EventType::PhaseChanged => {
            content.param("phase_name", group.text("name"));
            content.param("phase_status", group.text("status"));
            content.param("phase_index", group.text("index"));
            content.param("phase_total", group.text("total"));
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
                content.param(name, count.text());
            }
        }
        EventType::RetestCompleted => {
            for (name, member) in
                [("retest_fixed", "fixed"), ("retest_still_open", "still_open"), ("retest_regressed", "regressed")]
            {
                content.param(name, list(group.items(member).map(item_text)));
            }
        }
        kind if kind.is_host() => add_host_params(content, event),
        _ => {}
    }
}

/// Parameters of what happened to the host.
fn add_host_params<'a>(content: &mut Content<'a>, event: &'a Event<'_>) {
    let (group, webhook) = (event.group(), event.webhook());
    content.param("webhook_id", webhook.text("id"));
    content.param("webhook_name", event.subject().filter(|_| !webhook.is_empty()));
    content.param("url_host", webhook.text("url_host"));
    content.param("format", webhook.text("format"));
    match event.kind {
        EventType::DeliveryFailed => {
            content.param("event_id", group.text("event_id"));
            content.param("event_type", group.text("event_type"));
        }
        EventType::FormatterRejected | EventType::FormatterRolledBack => {
            content.param("formatter_name", event.subject());
            content.param("formatter_version", group.text("version"));
            content.param("formatter_digest", group.text("digest"));
        }
        EventType::HostDegraded => content.param("host_part", event.subject()),
        _ => {}
    }
    content.param("count", group.text("count"));
}

/// A list becomes one value, separated by commas: of a repeated name receivers keep only the last.
fn list<'a>(items: impl IntoIterator<Item = Cow<'a, str>>) -> Option<Cow<'a, str>> {
    joined(items, ",", MAX_BYTES)
}

heraldry_formatter::export_formatter!(Syslog);
