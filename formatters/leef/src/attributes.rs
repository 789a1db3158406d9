//! The mapping of an event to attributes.
//!
//! `src` stays unset: events do not contain the tester's address, and QRadar would treat any value as an attacker's.

use std::borrow::Cow;
use std::net::IpAddr;

use heraldry_formatter::leef::{Address, Port, Record, TEXT, Text};
use heraldry_formatter::line::{Target, addresses, prose, sentence};
use heraldry_formatter::outline::item_text;
use heraldry_formatter::value::joined;
use heraldry_formatter::{Event, EventType, Severity};

/// Adds the event's content to `record`: first the attributes without text of the event, then predefined ones, then
/// custom ones. `target` is the target of the event's group.
pub(crate) fn fill<'a>(record: &mut Record<'a>, event: &'a Event<'_>, target: Option<&'a str>) {
    let group = event.group();
    let parts = target.map(Target::parse).unwrap_or_default();
    let (v4, v6) = addresses(event, parts.host);
    let address = v4.map(IpAddr::V4).or(v6.map(IpAddr::V6));
    record.address(Address::Dst, address);
    record.port(Port::DstPort, parts.port);
    record.whole_custom("eventUid", Some(event.id));
    if event.kind.names_severity() {
        record.whole_custom("severity", Some(event.severity().word()));
    }

    let verification = event.verification();
    let is_signed = event.kind == EventType::EngagementSigned;
    let signer = group.text("signer").filter(|_| is_signed);
    record.text(Text::UsrName, verification.text("verified_by").or(signer));
    record.text(Text::Role, group.text("role").filter(|_| is_signed));
    record.text(Text::Url, parts.url);

    record.custom("objectId", group.text("id"));
    if event.kind.is_finding() {
        record.custom("cvss", event.cvss().map(|cvss| cvss.text));
        record.custom("cve", list(event.cve()));
        record.custom("cwe", list(event.cwe()));
    }
    record.custom("target", target);
    record.custom("targetHost", parts.host);
    // The addresses, unless `dst` is the only one.
    let addresses = group.text("ip").filter(|text| address.is_none_or(|address| text.trim() != address.to_string()));
    record.custom("targetIps", addresses);
    record.custom("title", Some(event.headline()));
    record.custom("engagementId", event.engagement_id());
    record.custom("engagementName", event.engagement_name());
    record.custom("client", event.engagement_client());
    record.custom_url("link", group.text("url").or_else(|| group.text("report_url")));
    record.custom("tool", group.text("tool"));
    fill_type_specific(record, event);
    record.message(prose(event).unwrap_or_else(|| sentence(event)));
}

/// Attributes that only some event types have.
fn fill_type_specific<'a>(record: &mut Record<'a>, event: &'a Event<'_>) {
    let group = event.group();
    match event.kind {
        EventType::FindingVerified => {
            let verification = event.verification();
            record.custom("method", verification.text("method"));
            record.custom_url("pocUrl", verification.text("poc_url"));
        }
        EventType::PhaseChanged => {
            for (name, member) in
                [("phaseName", "name"), ("phaseStatus", "status"), ("phaseIndex", "index"), ("phaseTotal", "total")]
            {
                record.custom(name, group.text(member));
            }
        }
        EventType::EngagementCompleted => {
            for (severity, count) in event.counts() {
                let name = match severity {
                    Severity::Critical => "findingsCritical",
                    Severity::High => "findingsHigh",
                    Severity::Medium => "findingsMedium",
                    Severity::Low => "findingsLow",
                    Severity::Info => "findingsInfo",
                };
                record.custom(name, count.text());
            }
            record.custom("startedAt", group.text("started_at"));
            record.custom("completedAt", group.text("completed_at"));
        }
        EventType::EngagementSigned => record.custom("signedAt", group.text("signed_at")),
        EventType::RetestCompleted => {
            for (name, member) in
                [("retestFixed", "fixed"), ("retestStillOpen", "still_open"), ("retestRegressed", "regressed")]
            {
                record.custom(name, list(group.items(member).map(item_text)));
            }
        }
        EventType::FindingAdded | EventType::CriticalFinding => record.custom("occurrences", group.text("occurrences")),
        kind if kind.is_host() => fill_host(record, event),
        _ => {}
    }
}

/// Attributes of what happened to the host; `objectId` is the webhook's or the delivery's id.
fn fill_host<'a>(record: &mut Record<'a>, event: &'a Event<'_>) {
    let (group, webhook) = (event.group(), event.webhook());
    record.custom("webhookId", webhook.text("id"));
    record.custom("webhookName", event.subject().filter(|_| !webhook.is_empty()));
    record.custom("webhookFormat", webhook.text("format"));
    match event.kind {
        EventType::DeliveryFailed => {
            record.custom("failedEventId", group.text("event_id"));
            record.custom("failedEventType", group.text("event_type"));
        }
        EventType::FormatterRejected | EventType::FormatterRolledBack => {
            record.custom("formatterName", event.subject());
            record.custom("formatterVersion", group.text("version"));
            record.custom("formatterDigest", group.text("digest"));
        }
        EventType::HostDegraded => record.custom("hostPart", event.subject()),
        _ => {}
    }
    record.custom("reason", event.reason());
    record.custom("repetitions", group.text("count"));
}

/// A list becomes one value: of two attributes with the same key QRadar may read only one.
fn list<'a>(items: impl IntoIterator<Item = Cow<'a, str>>) -> Option<Cow<'a, str>> {
    joined(items, ",", TEXT)
}
