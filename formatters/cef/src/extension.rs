//! The mapping of an event to extension keys.

use std::borrow::Cow;

use heraldry_formatter::cef::{
    CUSTOM_TEXT, Custom, CustomTime, Double, Ipv4, Ipv6, Label, Long, Port, Record, Text, Time,
};
use heraldry_formatter::line::{LINE_FEEDS, Target, addresses, prose, sentence, value};
use heraldry_formatter::value::{Value, joined};
use heraldry_formatter::{Event, EventType};

use crate::options::Labels;

/// The longest text without a key of its own, put before the description in `msg`, in bytes: half of `msg`.
const MAX_ASIDE_BYTES: usize = 511;

/// Adds the event's content to `record`, the most important pairs first. `target` is the target of the event's group;
/// the owner's `labels` override the defaults.
pub(crate) fn fill<'a>(record: &mut Record<'a>, event: &'a Event<'_>, target: Option<&'a str>, labels: &'a Labels) {
    let group = event.group();
    record.time(Time::Rt, Some(event.occurred_at));
    record.whole_text(Text::ExternalId, Some(event.id));
    record.whole_text(Text::Cat, Some(event.kind.name()));
    let parts = target.map(Target::parse).unwrap_or_default();
    record.text(Text::Dhost, parts.host);
    record.port(Port::Dpt, parts.port);
    // `dst` accepts IPv4 only; `c6a3` is for IPv6.
    let (v4, v6) = addresses(event, parts.host);
    record.ipv4(Ipv4::Dst, v4);
    record.ipv6(Ipv6::C6a3, "Destination IPv6 Address", v6);
    record.text(Text::Request, parts.url);
    if event.kind == EventType::PhaseChanged {
        record.text(Text::Act, group.text("status"));
        record.long(
            Long::Cn1,
            or(&labels.cn1, "phaseIndex"),
            group.get("index").and_then(Value::number).and_then(whole),
        );
    }
    if event.kind.is_finding() {
        record.double(Double::Cfp1, or(&labels.cfp1, "cvss"), event.cvss().and_then(|cvss| cvss.score));
    }
    record.custom(Custom::Cs1, or(&labels.cs1, "objectId"), object_id(event));
    record.custom(Custom::Cs2, or(&labels.cs2, "engagementId"), event.engagement_id());
    record.custom(Custom::Cs3, or(&labels.cs3, "engagementName"), event.engagement_name());
    record.custom(Custom::Cs4, or(&labels.cs4, "client"), event.engagement_client());
    record.custom(Custom::Cs5, or(&labels.cs5, "weakness"), weakness(event));

    let verification = event.verification();
    let proof = verification.text("poc_url");
    let link = group.text("url").or_else(|| group.text("report_url"));
    let has_link = link.is_some();
    // A target that no other key contains as a whole.
    let loose_target = target.filter(|whole| parts.url.is_none() && parts.host != Some(whole.trim()));
    match (link.or_else(|| proof.clone()), loose_target) {
        (Some(link), _) => record.custom(Custom::Cs6, or(&labels.cs6, "link"), Some(link)),
        (None, target) => record.custom(Custom::Cs6, or(&labels.cs6, "target"), target),
    }
    let target_aside = loose_target.filter(|_| has_link || proof.is_some());
    let [cvss, occurrences, index] = untyped(event);
    let asides = [
        ("Target", target_aside.map(Cow::Borrowed)),
        ("Proof of concept", proof.filter(|_| has_link)),
        ("CVSS", cvss),
        ("Occurrences", occurrences),
        ("Phase index", index),
        ("Delivery", group.text("id").filter(|_| event.kind == EventType::DeliveryFailed)),
        ("Event", group.text("event_id").filter(|_| event.kind == EventType::DeliveryFailed)),
    ];

    let signer = group.text("signer").filter(|_| event.kind == EventType::EngagementSigned);
    record.text(Text::Suser, verification.text("verified_by").or(signer));
    record.text(Text::Reason, verification.text("method").or_else(|| event.reason()));
    let is_webhook = event.kind.group() == "webhook" || event.kind == EventType::DeliveryFailed;
    record.text(Text::DestinationServiceName, event.subject().filter(|_| is_webhook));
    record.text(Text::SourceServiceName, group.text("tool"));
    let count = group.get(if event.kind.is_host() { "count" } else { "occurrences" });
    record.count(count.and_then(Value::number).and_then(whole));
    record.time(Time::Start, group.text("started_at").as_deref());
    record.time(Time::End, group.text("completed_at").as_deref());
    record.custom_time(
        CustomTime::DeviceCustomDate1,
        or(&labels.device_custom_date1, "signedAt"),
        group.text("signed_at").as_deref(),
    );
    record.message(message(event, asides));
}

/// The id of the finding, report, retest, monitor or webhook, which a failed delivery has as well; the digest of a
/// formatter.
fn object_id<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    match event.kind {
        EventType::DeliveryFailed => event.webhook().text("id"),
        EventType::FormatterRejected | EventType::FormatterRolledBack => event.group().text("digest"),
        _ => event.group().text("id"),
    }
}

/// Score, occurrences and index of a phase, as far as they are not the numbers that their keys take (`1e400`).
fn untyped<'a>(event: &'a Event<'_>) -> [Option<Cow<'a, str>>; 3] {
    let group = event.group();
    let number = |member: &str| group.get(member).and_then(Value::number).and_then(whole);
    let is_count = number("occurrences").is_some_and(|count| (0..=i64::from(i32::MAX)).contains(&count));
    let cvss = event.cvss().filter(|cvss| event.kind.is_finding() && cvss.score.is_none());
    let occurrences = group.text("occurrences").filter(|_| event.kind.is_finding() && !is_count);
    // With the number of phases, the sentence has the index.
    let is_phase = event.kind == EventType::PhaseChanged && group.text("total").is_none();
    let index = group.text("index").filter(|_| is_phase && number("index").is_none());
    [cvss.map(|cvss| cvss.text), occurrences, index]
}

/// The owner's label, or the default.
fn or<'a>(label: &'a Option<Label>, ours: &'static str) -> &'a str {
    label.as_ref().map_or(ours, Label::as_str)
}

/// `msg`: the description or the monitor's message, else the event in a sentence, for a host event with its reason.
/// Before it, one per line, the values that have no key of their own.
fn message<'a, const N: usize>(event: &'a Event<'_>, asides: [(&str, Option<Cow<'a, str>>); N]) -> Cow<'a, str> {
    let text = match prose(event) {
        Some(reason) if event.kind.is_host() => format!("{}: {reason}", sentence(event)).into(),
        Some(text) => text,
        None if event.kind.is_finding() => Cow::Borrowed(""),
        None => sentence(event),
    };
    if asides.iter().all(|(_, aside)| aside.is_none()) {
        return text;
    }
    let mut out = String::new();
    for (label, aside) in asides {
        if let Some(aside) = aside {
            out.push_str(label);
            out.push_str(": ");
            out.push_str(&value(aside, LINE_FEEDS, MAX_ASIDE_BYTES));
            out.push('\n');
        }
    }
    out.push_str(&text);
    Cow::Owned(out)
}

/// `CVE-2021-44228, CWE-502`.
fn weakness<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    if !event.kind.is_finding() {
        return None;
    }
    joined(event.cve().into_iter().chain(event.cwe()), ", ", CUSTOM_TEXT)
}

/// The number as an integer, if that is exact in both a double and a long.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}
