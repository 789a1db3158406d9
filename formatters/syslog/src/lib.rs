//! `syslog`: one event as one message of RFC 5424, `<PRI>1 TIMESTAMP HOSTNAME APP-NAME - MSGID SD MSG`.
//!
//! What a machine looks for stands in the structured data, what a person reads in MSG. Nothing in an
//! event can end a value, a message or a line (FORMATS, sections 4 and 9): a receiver that splits lines or
//! runs out of room would believe what comes after.

mod options;

use std::borrow::Cow;

use heraldry_formatter::line::{
    CONTENT_TYPE, Field, Header, SYSLOG_MAX_BYTES, fit, prose, push_escaped, sentence, value,
};
use heraldry_formatter::outline::item_text;
use heraldry_formatter::text::Rule;
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
        let max_bytes = context.max_bytes.map_or(SYSLOG_MAX_BYTES, |max| max as usize);
        let severity = event.severity();
        let mut line = String::with_capacity(1024);
        Header {
            facility: options.facility.number(),
            severity,
            timestamp: event.occurred_at,
            host_name: &context.host_name,
            app_name: options.app_name.as_str(),
            msgid: event.kind.name(),
        }
        .push_to(&mut line);

        let mut params = Params { list: Vec::with_capacity(24), max_bytes };
        params.of(event, severity);
        let mut params = params.list;
        let mut message = field("", message(event, severity, max_bytes));
        message.frame_bytes = 1;
        message.is_special = |_| false;

        let sd_id = options.structured_data_id.as_str();
        let head_bytes = line.len() + sd_id.len() + 2;
        let fits = max_bytes.checked_sub(head_bytes).is_some_and(|room| fit(&mut message, &mut params, 0, room));
        if !fits {
            return Err(Error::Internal(format!(
                "the header of the message alone has {head_bytes} bytes, the transport takes {max_bytes}"
            )));
        }
        push_data(&mut line, sd_id, &params);
        if !message.value.is_empty() {
            line.push(' ');
            line.push_str(&message.value);
        }
        Ok(Payload { content_type: CONTENT_TYPE.into(), headers: Vec::new(), body: line.into_bytes() })
    }
}

/// `CRITICAL SQL injection: what the description says`: one sentence for people. Longer than `max_bytes`
/// at most where it is not the whole of it.
fn message<'a>(event: &Event<'a>, severity: Severity, max_bytes: usize) -> Cow<'a, str> {
    let sentence = value(sentence(event), Rule::SPACES, max_bytes);
    let prose = prose(event).map(|prose| value(prose, Rule::SPACES, max_bytes));
    if prose.is_none() && !has_severity(event.kind) {
        return sentence;
    }
    let prose = prose.unwrap_or_default();
    let mut out = String::with_capacity(sentence.len() + prose.len() + 12);
    if has_severity(event.kind) {
        out.push_str(severity.upper());
        out.push(' ');
    }
    out.push_str(&sentence);
    if !prose.is_empty() {
        out.push_str(": ");
        out.push_str(&prose);
    }
    Cow::Owned(out)
}

/// Whether a severity is the event's own and not what its kind of event always has.
fn has_severity(kind: EventType) -> bool {
    kind.is_finding() || kind == EventType::MonitorAlert
}

/// The SD-PARAMs of one event, the ones that matter most first.
struct Params<'a> {
    list: Vec<Field<'a>>,
    /// The most that the whole line may have.
    max_bytes: usize,
}

impl<'a> Params<'a> {
    /// All that the event has. A name stands once (RFC 5424 lets it repeat, syslog-ng keeps the last).
    fn of(&mut self, event: &'a Event<'_>, severity: Severity) {
        let group = event.group();
        self.push("id", Some(Cow::Borrowed(event.id)));
        if let Some(id) = self.list.last_mut() {
            id.atomic = true;
        }
        let object_id = match event.kind {
            kind if kind.is_finding() => Some("finding_id"),
            EventType::ReportReady => Some("report_id"),
            EventType::RetestCompleted => Some("retest_id"),
            EventType::MonitorAlert => Some("monitor_id"),
            _ => None,
        };
        if let Some(name) = object_id {
            self.push(name, group.text("id"));
        }
        if has_severity(event.kind) {
            self.push("severity", Some(severity.word().into()));
        }
        if event.kind.is_finding() {
            self.push("cvss", event.cvss().map(|cvss| cvss.text));
            self.push("cve", joined(&event.cve()));
            self.push("cwe", joined(&event.cwe()));
        }
        self.push("target", group.text("target"));
        self.push("ip", group.text("ip"));
        self.push("engagement_id", event.engagement_id().map(Cow::Borrowed));
        self.push("engagement_name", event.engagement_name().map(Cow::Borrowed));
        self.push("tool", group.text("tool"));
        self.push("url", group.text("url").or_else(|| group.text("report_url")));
        self.particulars(event);
    }

    /// What only one type has.
    fn particulars(&mut self, event: &'a Event<'_>) {
        let group = event.group();
        match event.kind {
            EventType::FindingVerified => {
                let verification = event.verification();
                self.push("verification_method", verification.text("method"));
                self.push("verified_by", verification.text("verified_by"));
                self.push("poc_url", verification.text("poc_url"));
            }
            EventType::PhaseChanged => {
                self.push("phase_name", group.text("name"));
                self.push("phase_status", group.text("status"));
                self.push("phase_index", group.text("index"));
                self.push("phase_total", group.text("total"));
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
                    self.push(name, count.text());
                }
            }
            EventType::RetestCompleted => {
                for (name, member) in
                    [("retest_fixed", "fixed"), ("retest_still_open", "still_open"), ("retest_regressed", "regressed")]
                {
                    let items: Vec<_> = group.items(member).into_iter().map(item_text).collect();
                    self.push(name, joined(&items));
                }
            }
            _ => {}
        }
    }

    /// Adds a parameter, unless nothing of it would be left.
    fn push(&mut self, name: &'static str, text: Option<Cow<'a, str>>) {
        let Some(text) = text else { return };
        let value = value(text, Rule::SPACES, self.max_bytes);
        if !value.is_empty() {
            self.list.push(field(name, value));
        }
    }
}

/// An SD-PARAM: beside its value it takes a space, its name, `=` and two quotes.
fn field<'a>(name: &'static str, value: Cow<'a, str>) -> Field<'a> {
    Field { name, label: None, value, frame_bytes: name.len() + 4, is_special: must_be_escaped, atomic: false }
}

/// RFC 5424, section 6.3.3: these three and nothing else.
fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b']')
}

/// Lists go into one value, with commas: a repeated name would lose all but the last.
fn joined<'a>(items: &[Cow<'a, str>]) -> Option<Cow<'a, str>> {
    match items {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(Cow::Owned(many.join(","))),
    }
}

/// STRUCTURED-DATA (RFC 5424, section 6.3).
fn push_data(line: &mut String, sd_id: &str, params: &[Field<'_>]) {
    if params.iter().all(|param| param.value.is_empty()) {
        line.push('-');
        return;
    }
    line.push('[');
    line.push_str(sd_id);
    for param in params.iter().filter(|param| !param.value.is_empty()) {
        line.push(' ');
        line.push_str(param.name);
        line.push_str("=\"");
        push_escaped(line, &param.value, must_be_escaped);
        line.push('"');
    }
    line.push(']');
}

heraldry_formatter::export_formatter!(Syslog);
