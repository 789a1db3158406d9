//! Which part of an event goes into which block.

use heraldry_formatter::link::web_url;
use heraldry_formatter::outline::{Fact, List, Outline};
use heraldry_formatter::{Event, EventType, Severity};

use crate::blocks::{Attachment, BUTTON_URL, Block, Button, FIELD_TEXT, HEADER_TEXT, Message, SECTION_FIELDS, Text};
use crate::wording::{fenced, line, paragraphs};

// Ours (FORMATS, section 1): what a reader takes in at a glance, far below what Slack would take.
const FALLBACK_TITLE: usize = 200;
const FALLBACK_ENGAGEMENT: usize = 80;
const PASSAGE: usize = 600;
const EVIDENCE: usize = 500;
const LIST_ITEM: usize = 150;
const CONTEXT_TEXT: usize = 300;

pub(crate) fn message<'a>(event: &Event<'a>) -> Message<'a> {
    let severity = event.severity();
    let headline = event.headline();
    Message {
        text: fallback(event, severity, &headline),
        mrkdwn: false,
        unfurl_links: false,
        unfurl_media: false,
        attachments: [Attachment { color: color(severity), blocks: blocks(event, severity, &headline) }],
    }
}

/// `CRITICAL: SQL injection (DVWA)`, at most 300 characters.
fn fallback(event: &Event<'_>, severity: Severity, headline: &str) -> String {
    let mut text = format!("{}: {}", severity.upper(), line(headline, FALLBACK_TITLE));
    if let Some(name) = event.engagement_name() {
        text.push_str(" (");
        text.push_str(&line(name, FALLBACK_ENGAGEMENT));
        text.push(')');
    }
    text
}

fn blocks<'a>(event: &Event<'a>, severity: Severity, headline: &str) -> Vec<Block<'a>> {
    let outline = event.outline();
    let emoji = emoji(severity);
    let room = HEADER_TEXT - emoji.encode_utf16().count() - 1;
    let mut blocks = Vec::with_capacity(12);
    blocks.push(Block::Header { text: Text::plain(format!("{emoji} {}", line(headline, room))) });
    let mut fields = fields(event, severity, &outline).into_iter().peekable();
    while fields.peek().is_some() {
        blocks.push(Block::fields(fields.by_ref().take(SECTION_FIELDS).collect()));
    }
    for passage in &outline.passages {
        let text = paragraphs(passage, PASSAGE).into_owned();
        blocks.push(Block::text(Text::plain(text)));
    }
    if let Some(evidence) = &outline.evidence {
        blocks.push(Block::text(Text::mrkdwn(fenced(evidence, EVIDENCE))));
    }
    for items in &outline.lists {
        blocks.push(Block::text(Text::plain(list(items))));
    }
    let mut buttons = Vec::new();
    for link in &outline.links {
        match web_url(&link.address, BUTTON_URL) {
            Some(url) => buttons.push(Button::link(buttons.len(), link.label, url)),
            // It may not be pressed, but it may be read.
            None => blocks.push(Block::text(Text::plain(format!(
                "{}: {}",
                link.label,
                line(&link.address, PASSAGE - link.label.len() - 2)
            )))),
        }
    }
    if !buttons.is_empty() {
        blocks.push(Block::Actions { elements: buttons });
    }
    blocks.push(Block::Context { elements: context(event) });
    blocks
}

fn fields<'a>(event: &Event<'a>, severity: Severity, outline: &Outline<'a>) -> Vec<Text<'static>> {
    let mut fields = Vec::with_capacity(SECTION_FIELDS);
    let rated = matches!(event.kind, EventType::MonitorAlert | EventType::EngagementCompleted);
    if event.kind.is_finding() || rated {
        fields.push(Text::plain(format!("Severity: {}", severity.title())));
    }
    let target = outline.target.as_deref();
    let target = target.map(|target| Text::plain(labelled("Target", ": ", target)));
    let (weakness, rest): (Vec<_>, Vec<_>) =
        outline.facts.iter().partition(|fact| matches!(fact.label, "CVSS" | "CWE" | "CVE"));
    fields.extend(weakness.into_iter().map(field));
    fields.extend(target);
    fields.extend(rest.into_iter().map(field));
    fields
}

fn field(fact: &Fact<'_>) -> Text<'static> {
    let text = match fact.label {
        "CVSS" => labelled("CVSS", " ", &fact.value),
        // `CWE-89` says what it is.
        label @ ("CWE" | "CVE") if fact.value.starts_with(label) => line(&fact.value, FIELD_TEXT).into_owned(),
        label => labelled(label, ": ", &fact.value),
    };
    Text::plain(text)
}

fn labelled(label: &str, between: &str, value: &str) -> String {
    let room = FIELD_TEXT - label.len() - between.len();
    format!("{label}{between}{}", line(value, room))
}

/// A heading with the count, an item a line, and how many more there are.
fn list(list: &List<'_>) -> String {
    let mut text = format!("{}: {}", list.label, list.total);
    for item in &list.shown {
        text.push_str("\n• ");
        text.push_str(&line(item, LIST_ITEM));
    }
    let more = list.total - list.shown.len();
    if more > 0 {
        text.push_str(&format!("\nand {more} more"));
    }
    text
}

/// Whose event it is, of what kind, and when it happened.
fn context(event: &Event<'_>) -> Vec<Text<'static>> {
    let mut elements = Vec::with_capacity(4);
    let engagement = event.engagement_name().or(event.engagement_id());
    for part in [engagement, event.engagement_client()].into_iter().flatten() {
        elements.push(Text::plain(line(part, CONTEXT_TEXT).into_owned()));
    }
    elements.push(Text::plain(event.kind.phrase()));
    elements.push(when(event));
    elements
}

/// A date that Slack shows in the reader's own time zone; a reader without Slack sees RFC 3339.
fn when(event: &Event<'_>) -> Text<'static> {
    let iso = event.occurred_at;
    // Nothing that could end the markup: the host writes this, but a test or a tool may not.
    let harmless = |b: u8| b.is_ascii_digit() || b"TZ:.+-".contains(&b);
    if let Some(time) = event.time().filter(|_| iso.bytes().all(harmless)) {
        let epoch = time.unix_timestamp();
        if epoch >= 0 {
            return Text::mrkdwn(format!("<!date^{epoch}^{{date_short}} {{time}}|{iso}>"));
        }
    }
    Text::plain(format!("At {}", line(iso, CONTEXT_TEXT - 3)))
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
const fn color(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "#6B7280",
        Severity::Low => "#2563EB",
        Severity::Medium => "#D97706",
        Severity::High => "#EA580C",
        Severity::Critical => "#B00020",
    }
}
