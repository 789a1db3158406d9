//! The layout: which part of an event goes into which block.

mod compact;
mod details;
pub(crate) mod line_builder;

use heraldry_formatter::block_kit::{Button, Color, HEADER_TEXT, Message, Mrkdwn, PlainText};
use heraldry_formatter::outline::{Fact, Outline};
use heraldry_formatter::{Event, Severity};

use self::line_builder::LineBuilder;
use crate::options::Options;

// Maximum lengths, our choice (FORMATS, section 1): what a reader can scan, far below Slack's limits.
const FALLBACK: usize = 300;
const FALLBACK_TITLE: usize = 180;
/// Client and engagement in the same line.
const FALLBACK_NAME: usize = 45;
/// A value that shares its line with others.
const INLINE_VALUE: usize = 80;
/// A name, long enough to be recognised.
const NAME: usize = 150;
const TARGET: usize = 1000;
const FACT: usize = 300;

pub(crate) fn message<'a>(event: &'a Event<'_>, outline: &'a Outline<'_>, options: &Options) -> Message<'a> {
    let severity = event.severity();
    let mentions = Mrkdwn::mentions(options.mentions(severity));
    let mut message = Message::new(fallback(event, severity));
    message.mention(mentions.clone());
    if options.compact {
        compact::fill(&mut message, event, outline, mentions);
    } else {
        fill(&mut message, event, outline, mentions);
        let title_may_be_cut = title(outline, HEADER_TEXT).may_be_cut();
        let color = if outline.is_good_news { GOOD } else { color(severity) };
        details::fill(message.colored(color), event, outline, title_may_be_cut);
    }
    message
}

/// `CRITICAL: SQL injection (Contoso: Customer portal)`.
fn fallback(event: &Event<'_>, severity: Severity) -> PlainText<'static> {
    let headline = event.headline();
    let names = [event.engagement_client(), event.engagement_name()];
    notification(severity, &headline, names.into_iter().flatten())
}

/// The line for notifications: severity, event, and the names of client and engagement.
pub(crate) fn notification<'n>(
    severity: Severity,
    headline: &str,
    names: impl Iterator<Item = &'n str>,
) -> PlainText<'static> {
    let mut text = PlainText::compose(FALLBACK).words(severity.upper()).words(": ").value(headline, FALLBACK_TITLE);
    let mut names = names.peekable();
    if names.peek().is_none() {
        return text.finish();
    }
    for (n, name) in names.enumerate() {
        text = text.words(if n == 0 { " (" } else { ": " }).value(name, FALLBACK_NAME);
    }
    text.words(")").finish()
}

/// The part that is always visible: event, mentions, target, and links.
fn fill<'a>(message: &mut Message<'a>, event: &Event<'_>, outline: &'a Outline<'_>, mentions: Mrkdwn) {
    let blocks = message.blocks();
    blocks.header(title(outline, HEADER_TEXT));
    blocks.section(mentions);
    blocks.section(lead(event, outline));
    blocks.context(outline.facts.iter().filter_map(localized_date));
    if !event.kind.is_rated() {
        // For an event without a severity the lists are the news.
        details::lists(blocks, outline);
    }
    blocks.actions(outline.links.iter().filter_map(|link| Button::open(link.label, &link.address)));
}

/// `🔴 SQL injection`.
fn title(outline: &Outline<'_>, limit: usize) -> PlainText<'static> {
    PlainText::compose(limit).words(outline.symbol).words(" ").value(&outline.title, limit).finish()
}

/// One line of values that need no labels, the client and the engagement, then one line per labelled value.
fn lead(event: &Event<'_>, outline: &Outline<'_>) -> PlainText<'static> {
    let mut lines = summary_line(LineBuilder::new(), outline).line();
    for name in names(event, outline) {
        lines = lines.value("", name, NAME);
    }
    if let Some(target) = &outline.target {
        lines = lines.fact("Target", target, TARGET);
    }
    for fact in outline.facts.iter().filter(|fact| localized_date(fact).is_none()) {
        lines = lines.fact(fact.label, &fact.value, FACT);
    }
    lines.finish()
}

/// The values that need no labels: `Critical finding · CVSS 9.8`, `🔴 1 critical · 🟠 3 high`, `●◐○○○ Step 2 of 5`.
fn summary_line(mut lines: LineBuilder, outline: &Outline<'_>) -> LineBuilder {
    for brief in &outline.summary {
        lines = lines.value("", &brief.text, INLINE_VALUE);
    }
    for count in &outline.tally {
        let disc = format!("{} ", count.severity.emoji());
        lines = lines.value(&disc, &format!("{} {}", cut(&count.count), count.severity.word()), INLINE_VALUE);
    }
    if let Some(step) = outline.step {
        let dots = step.dots().map(|dots| dots + "  ").unwrap_or_default();
        lines = lines.value(&dots, &format!("Step {} of {}", step.index, step.total), INLINE_VALUE);
    }
    lines
}

/// Client and engagement, less what the title says.
fn names<'e>(event: &'e Event<'_>, outline: &Outline<'_>) -> impl Iterator<Item = &'e str> {
    let engagement = event.engagement_name().or(event.engagement_id()).filter(|_| !outline.title_has_engagement());
    [event.engagement_client(), engagement].into_iter().flatten()
}

/// A count is a few digits; any other text in its place must not displace the next count.
fn cut(count: &str) -> String {
    let mut digits: String = count.chars().take(12).collect();
    if digits.len() < count.len() {
        digits.push_str("...");
    }
    digits
}

/// `Started` and the time, in the reader's time zone; `None` if the fact is not a time that Slack can show so.
fn localized_date(fact: &Fact<'_>) -> Option<Mrkdwn> {
    let time = fact.time?;
    Mrkdwn::labelled_date(fact.label, time.unix_timestamp(), fact.value.trim())
}

/// The colour of good news.
const GOOD: Color = Color::rgb(0x15_80_3D);

/// The colours of FORMATS, section 8.
pub(crate) const fn color(severity: Severity) -> Color {
    Color::rgb(severity.rgb())
}
