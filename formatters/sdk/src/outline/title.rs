//! The title of an event, and the symbol shown before it.

use std::borrow::Cow;

use super::BRIEF;
use crate::Severity;
use crate::event::{Event, EventType};
use crate::value::{Object, Value};

/// The symbol for this kind of event; the severity's disc if it has a severity.
pub(super) fn symbol(event: &Event<'_>) -> &'static str {
    let is_good_news = is_good_news(event);
    match event.kind {
        EventType::FindingAdded | EventType::FindingVerified | EventType::CriticalFinding | EventType::MonitorAlert => {
            event.severity().emoji()
        }
        EventType::PhaseChanged | EventType::RetestCompleted if is_good_news => "✅",
        EventType::PhaseChanged if has_status(event, "started") => "▶️",
        EventType::RetestCompleted if has_any(event, "regressed") => "⚠️",
        EventType::PhaseChanged | EventType::RetestCompleted => "🔁",
        EventType::EngagementCompleted => "🏁",
        EventType::EngagementSigned => "✍️",
        EventType::ReportReady => "📄",
        EventType::SurfaceChanged => "🌐",
        EventType::WebhookRecovered => "✅",
        EventType::WebhookFailing
        | EventType::WebhookDisabled
        | EventType::DeliveryFailed
        | EventType::FormatterRejected
        | EventType::FormatterRolledBack
        | EventType::HostDegraded => event.severity().emoji(),
    }
}

/// See [`Outline::is_good_news`](super::Outline::is_good_news).
pub(super) fn is_good_news(event: &Event<'_>) -> bool {
    match event.kind {
        EventType::EngagementSigned | EventType::WebhookRecovered => true,
        EventType::PhaseChanged => has_status(event, "completed"),
        EventType::RetestCompleted => {
            has_any(event, "fixed") && !has_any(event, "still_open") && !has_any(event, "regressed")
        }
        EventType::EngagementCompleted => has_no_findings(event),
        _ => false,
    }
}

/// Returns true if all counts are present and zero.
pub(super) fn has_no_findings(event: &Event<'_>) -> bool {
    let counts = event.counts();
    !counts.is_empty() && counts.iter().all(|(_, count)| count.number() == Some(0.0))
}

pub(super) fn has_status(event: &Event<'_>, word: &str) -> bool {
    event.group().text("status").is_some_and(|status| status.trim().eq_ignore_ascii_case(word))
}

/// Returns true if the list has items, or if the number in its place is not 0.
fn has_any(event: &Event<'_>, list: &str) -> bool {
    let group = event.group();
    let is_list = group.get(list).is_some_and(Value::is_list);
    group.items(list).next().is_some_and(|item| is_list || item.number() != Some(0.0))
}

/// The headline with two exceptions: a completed engagement has its name instead of its counts, which a layout shows
/// elsewhere; and a long status of a phase is left out, because it would push out the phase's name.
pub(super) fn title<'a>(event: &Event<'a>) -> Cow<'a, str> {
    let phrase = event.kind.phrase();
    let name = match event.kind {
        EventType::EngagementCompleted => event.engagement_name().map(|name| name.to_owned().into()),
        EventType::PhaseChanged if has_long_status(event) => event.group().text("name"),
        _ => return headline(event),
    };
    name.map_or(Cow::Borrowed(phrase), |name: Cow<'_, str>| format!("{phrase}: {name}").into())
}

/// Returns true if a phase's status is too long for a title.
pub(super) fn has_long_status(event: &Event<'_>) -> bool {
    event.group().text("status").is_some_and(|status| status.len() > BRIEF)
}

/// See [`Event::headline`].
pub(crate) fn headline<'a>(event: &Event<'a>) -> Cow<'a, str> {
    let group = event.group();
    let phrase = event.kind.phrase();
    let with = |what: Option<Cow<'a, str>>| match what {
        Some(what) => Cow::Owned(format!("{phrase}: {what}")),
        None => Cow::Borrowed(phrase),
    };
    match event.kind {
        EventType::FindingAdded | EventType::FindingVerified | EventType::CriticalFinding => {
            event.title().unwrap_or(Cow::Borrowed(phrase))
        }
        EventType::PhaseChanged => match (group.text("status"), group.text("name")) {
            (Some(status), Some(name)) => format!("Phase {status}: {name}").into(),
            (Some(status), None) => format!("Testing phase {status}").into(),
            (None, name) => with(name),
        },
        EventType::EngagementCompleted => {
            let found = |(severity, count): (Severity, Value<'a>)| {
                count.text().filter(|_| count.is_positive()).map(|count| format!("{count} {}", severity.word()))
            };
            let found: Vec<_> = event.counts().into_iter().filter_map(found).collect();
            with((!found.is_empty()).then(|| found.join(", ").into()))
        }
        EventType::EngagementSigned => match group.text("signer") {
            Some(signer) => format!("{phrase} by {signer}").into(),
            None => phrase.into(),
        },
        EventType::RetestCompleted => {
            with(counted(group, [("fixed", "fixed"), ("still_open", "still open"), ("regressed", "regressed")]))
        }
        EventType::SurfaceChanged => {
            with(counted(group, [("added", "added"), ("removed", "removed"), ("changed", "changed")]))
        }
        EventType::ReportReady => with(group.text("title")),
        EventType::MonitorAlert => with(group.text("name")),
        EventType::DeliveryFailed => match (event.repetitions(), event.subject()) {
            (Some(count), Some(webhook)) => format!("{count} deliveries failed: {webhook}").into(),
            (Some(count), None) => format!("{count} deliveries failed").into(),
            (None, webhook) => with(webhook),
        },
        EventType::WebhookFailing
        | EventType::WebhookDisabled
        | EventType::WebhookRecovered
        | EventType::FormatterRejected
        | EventType::FormatterRolledBack
        | EventType::HostDegraded => with(event.subject()),
    }
}

/// The length of each list that the group has: `1 fixed, 2 still open, 0 regressed`.
fn counted<'a>(group: &Object<'a>, lists: [(&str, &str); 3]) -> Option<Cow<'a, str>> {
    let count = |(member, word): (&str, &str)| {
        let value = group.get(member)?;
        Some(if value.is_number() {
            format!("{} {word}", value.json())
        } else {
            format!("{} {word}", group.count(member))
        })
    };
    let counts: Vec<_> = lists.into_iter().filter_map(count).collect();
    (!counts.is_empty()).then(|| counts.join(", ").into())
}
