//! Which part of an event goes into which block.

use heraldry_formatter::block_kit::{
    Button, Color, FIELD_TEXT, HEADER_TEXT, Message, Mrkdwn, PlainText, SECTION_FIELDS, TEXT, Text,
};
use heraldry_formatter::outline::{Fact, List, Outline};
use heraldry_formatter::{Event, EventType, Severity};

// Ours (FORMATS, section 1): what a reader takes in at a glance, far below what Slack would take.
const FALLBACK: usize = 300;
const FALLBACK_TITLE: usize = 200;
const FALLBACK_ENGAGEMENT: usize = 80;
const PASSAGE: usize = 600;
const EVIDENCE: usize = 500;
const LIST_ITEM: usize = 150;
const CONTEXT_TEXT: usize = 300;

pub(crate) fn message<'a>(event: &'a Event<'_>, outline: &'a Outline<'_>) -> Message<'a> {
    let severity = event.severity();
    let headline = event.headline();
    let mut message = Message::new(fallback(event, severity, &headline), color(severity));
    message.header(
        PlainText::compose(HEADER_TEXT).words(emoji(severity)).words(" ").value(&headline, HEADER_TEXT).finish(),
    );
    message.fields(fields(event, severity, outline));
    for passage in &outline.passages {
        message.section(PlainText::lines(&**passage, PASSAGE));
    }
    if let Some(evidence) = &outline.evidence {
        message.section(Mrkdwn::code(evidence, EVIDENCE));
    }
    for items in &outline.lists {
        message.section(list(items));
    }
    let mut buttons = Vec::new();
    for link in &outline.links {
        match Button::open(link.label, &link.address) {
            Some(button) => buttons.push(button),
            // It may not be pressed, but it may be read.
            None => message.section(labelled(link.label, ": ", &link.address, PASSAGE)),
        }
    }
    message.actions(buttons);
    message.context(context(event));
    message
}

/// `CRITICAL: SQL injection (DVWA)`.
fn fallback(event: &Event<'_>, severity: Severity, headline: &str) -> PlainText<'static> {
    let text = PlainText::compose(FALLBACK).words(severity.upper()).words(": ").value(headline, FALLBACK_TITLE);
    match event.engagement_name() {
        Some(name) => text.words(" (").value(name, FALLBACK_ENGAGEMENT).words(")").finish(),
        None => text.finish(),
    }
}

fn fields<'a>(event: &'a Event<'_>, severity: Severity, outline: &'a Outline<'_>) -> Vec<PlainText<'a>> {
    let mut fields = Vec::with_capacity(SECTION_FIELDS);
    let rated = matches!(event.kind, EventType::MonitorAlert | EventType::EngagementCompleted);
    if event.kind.is_finding() || rated {
        fields.push(labelled("Severity", ": ", severity.title(), FIELD_TEXT));
    }
    let is_weakness = |fact: &&Fact<'_>| matches!(fact.label, "CVSS" | "CWE" | "CVE");
    fields.extend(outline.facts.iter().filter(is_weakness).map(field));
    fields.extend(outline.target.as_deref().map(|target| labelled("Target", ": ", target, FIELD_TEXT)));
    fields.extend(outline.facts.iter().filter(|fact| !is_weakness(fact)).map(field));
    fields
}

fn field<'a>(fact: &'a Fact<'_>) -> PlainText<'a> {
    match fact.label {
        "CVSS" => labelled("CVSS", " ", &fact.value, FIELD_TEXT),
        // `CWE-89` says what it is.
        label @ ("CWE" | "CVE") if fact.value.starts_with(label) => PlainText::line(&*fact.value, FIELD_TEXT),
        label => labelled(label, ": ", &fact.value, FIELD_TEXT),
    }
}

fn labelled(label: &str, between: &str, value: &str, limit: usize) -> PlainText<'static> {
    PlainText::compose(limit).words(label).words(between).value(value, limit).finish()
}

/// A heading with the count, an item a line, and how many more there are.
fn list(list: &List<'_>) -> PlainText<'static> {
    let mut text = PlainText::compose(TEXT).words(list.label).words(&format!(": {}", list.total));
    for item in &list.shown {
        text = text.words("\n• ").value(item, LIST_ITEM);
    }
    match list.total - list.shown.len() {
        0 => text.finish(),
        more => text.words(&format!("\nand {more} more")).finish(),
    }
}

/// Whose event it is, of what kind, and when it happened.
fn context<'a>(event: &'a Event<'_>) -> Vec<Text<'a>> {
    let mut elements = Vec::with_capacity(4);
    let engagement = event.engagement_name().or(event.engagement_id());
    for part in [engagement, event.engagement_client()].into_iter().flatten() {
        elements.push(PlainText::line(part, CONTEXT_TEXT).into());
    }
    elements.push(PlainText::line(event.kind.phrase(), CONTEXT_TEXT).into());
    elements.push(when(event));
    elements
}

/// When it happened, in the reader's own time zone if it can be told.
fn when<'a>(event: &Event<'_>) -> Text<'a> {
    let date = event.time().and_then(|time| Mrkdwn::date(time.unix_timestamp(), event.occurred_at));
    match date {
        Some(date) => date.into(),
        None => labelled("At", " ", event.occurred_at, CONTEXT_TEXT).into(),
    }
}

/// FORMATS, section 8.
const fn emoji(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "⚪",
        Severity::Low => "🔵",
        Severity::Medium => "🟡",
        Severity::High => "🟠",
        Severity::Critical => "🔴",
    }
}

/// FORMATS, section 8.
const fn color(severity: Severity) -> Color {
    match severity {
        Severity::Info => Color::rgb(0x6B_72_80),
        Severity::Low => Color::rgb(0x25_63_EB),
        Severity::Medium => Color::rgb(0xD9_77_06),
        Severity::High => Color::rgb(0xEA_58_0C),
        Severity::Critical => Color::rgb(0xB0_00_20),
    }
}
