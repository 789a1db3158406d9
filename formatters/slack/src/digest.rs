//! The layout of a digest: its numbers, the worst events with their buttons, and where the others are.

use heraldry_formatter::block_kit::{Button, Compose, HEADER_TEXT, Message, Mrkdwn, PlainText, TEXT};
use heraldry_formatter::digest::{Counts, Group};
use heraldry_formatter::{Digest, Event};

use crate::layout::line_builder::LineBuilder;
use crate::layout::{color, notification};
use crate::options::Options;

/// Events with a button each.
const SHOWN: usize = 10;
/// Events in a compact message.
const SHOWN_COMPACT: usize = 5;
/// Further events of which the title is shown.
const NAMED: usize = 15;
/// Engagements with their numbers.
const GROUPS: usize = 5;
/// Engagements in the line for notifications.
const GROUPS_IN_LINE: usize = 1;

// Maximum lengths, our choice: what a reader can scan.
const TITLE: usize = 150;
const NAMED_TITLE: usize = 120;
const TARGET: usize = 200;
const NAME: usize = 80;
const VALUE: usize = 80;

pub(crate) fn message(digest: &Digest<'_, '_>, options: &Options) -> Message<'static> {
    let severity = digest.severity();
    let mentions = Mrkdwn::mentions(options.mentions_of(digest));
    let headline = format!("{}: {}", digest.headline(), digest.counts().words());
    // Several engagements do not fit into one line.
    let names = digest.groups().iter().take(GROUPS_IN_LINE).filter(|_| digest.groups().len() == 1);
    let mut message = Message::new(notification(severity, &headline, names.flat_map(Group::names)));
    message.mention(mentions.clone());
    if options.compact {
        fill_compact(&mut message, digest, options, mentions);
    } else {
        fill(&mut message, digest, options, mentions);
    }
    message
}

fn fill(message: &mut Message<'static>, digest: &Digest<'_, '_>, options: &Options, mentions: Mrkdwn) {
    let blocks = message.blocks();
    blocks.header(title(digest, HEADER_TEXT).finish());
    blocks.section(mentions);
    blocks.section(lead(LineBuilder::new(), digest).finish());
    for event in digest.worst().take(SHOWN) {
        let (text, button) = item(event, digest, options);
        blocks.summary(text, None, button);
    }
    blocks.context([small_print(digest, SHOWN)]);
    let mut named = LineBuilder::new();
    for (event, count) in digest.titles(SHOWN).into_iter().take(NAMED) {
        let (symbol, title) = name(event);
        named = named.line().value(&symbol, &title, NAMED_TITLE);
        if count > 1 {
            named = named.suffix(&format!(" (× {count})"));
        }
    }
    message.colored(color(digest.severity())).section(named.finish());
}

/// One block with the first button.
fn fill_compact(message: &mut Message<'static>, digest: &Digest<'_, '_>, options: &Options, mentions: Mrkdwn) {
    let mut lines = LineBuilder::of(title(digest, TEXT).words("\n"));
    lines = lead(lines, digest);
    let mut button = None;
    for event in digest.worst().take(SHOWN_COMPACT) {
        let (symbol, title) = name(event);
        lines = lines.line().value(&symbol, &title, NAMED_TITLE);
        if let Some(target) = event.outline().showing(options.evidence).target {
            lines = lines.value("", &target, VALUE);
        }
        button = button.or_else(|| first_button(event, options));
    }
    let rest = digest.rest_words(SHOWN_COMPACT).unwrap_or_default();
    message.blocks().summary(lines.line().words(&rest).finish(), Some(mentions), button);
}

/// `🔴 300 findings (part 1 of 3, 2345 events in all)`.
fn title(digest: &Digest<'_, '_>, limit: usize) -> Compose {
    let text = PlainText::compose(limit).words(digest.severity().emoji()).words(" ").words(&digest.headline());
    match digest.part_words() {
        Some(part) => text.words(" (").words(&part).words(")"),
        None => text,
    }
}

/// Client and engagement, then the numbers; of several engagements the numbers of each.
fn lead(mut lines: LineBuilder, digest: &Digest<'_, '_>) -> LineBuilder {
    let groups = digest.groups();
    if let [group] = groups {
        lines = group.names().fold(lines, |lines, name| lines.value("", name, NAME));
        return numbers(lines.line(), digest.counts());
    }
    lines = numbers(lines, digest.counts());
    for group in groups.iter().take(GROUPS) {
        lines = lines.line();
        if group.name.is_none() {
            lines = lines.words("No engagement");
        }
        lines = group.names().fold(lines, |lines, name| lines.value("", name, NAME));
        lines = lines.words(&group.counts.words());
    }
    match groups.len().saturating_sub(GROUPS) {
        0 => lines,
        1 => lines.line().words("and 1 more engagement"),
        more => lines.line().words(&format!("and {more} more engagements")),
    }
}

/// `🔴 7 critical · 🟠 22 high · 3 other`.
fn numbers(lines: LineBuilder, counts: &Counts) -> LineBuilder {
    let lines = counts.iter().fold(lines, |lines, (severity, count)| {
        lines.words(&format!("{} {count} {}", severity.emoji(), severity.word()))
    });
    match counts.news() {
        0 => lines,
        // The title has the number of all.
        count if count == counts.total() => lines,
        count => lines.words(&format!("{count} other")),
    }
}

/// An event by its title, with what tells it from others, and its button.
fn item(event: &Event<'_>, digest: &Digest<'_, '_>, options: &Options) -> (PlainText<'static>, Option<Button>) {
    let outline = event.outline().showing(options.evidence);
    let (symbol, title) = name(event);
    let mut lines = LineBuilder::new().value(&symbol, &title, TITLE).line();
    if let Some(target) = &outline.target {
        lines = lines.value("", target, TARGET).line();
    }
    for fact in outline.summary.iter().filter(|brief| brief.fact.is_some()) {
        lines = lines.value("", &fact.text, VALUE);
    }
    if digest.groups().len() > 1 && !outline.title_has_engagement() {
        lines = event.client_and_engagement().fold(lines.line(), |lines, name| lines.value("", name, NAME));
    }
    if outline.passage_is_news {
        lines = outline.passages.iter().fold(lines, |lines, passage| lines.line().value("", passage, TARGET));
    }
    (lines.finish(), first_button(event, options))
}

fn first_button(event: &Event<'_>, options: &Options) -> Option<Button> {
    let outline = event.outline().showing(options.evidence);
    outline.links.iter().find_map(|link| Button::open(link.label, &link.address))
}

/// The symbol with a space, and the title; the type in words if the title has no visible text.
fn name(event: &Event<'_>) -> (String, String) {
    let outline = event.outline();
    let title = PlainText::line(&*outline.title, TEXT);
    let title = if title.is_empty() { event.kind.phrase().to_owned() } else { outline.title.into_owned() };
    (format!("{} ", outline.symbol), title)
}

/// How many events are not named above, and how to see them all.
fn small_print(digest: &Digest<'_, '_>, shown: usize) -> PlainText<'static> {
    let mut lines = LineBuilder::new();
    if let Some(rest) = digest.rest_words(shown) {
        lines = lines.words(&rest);
    }
    if let Some(command) = digest.command() {
        lines = lines.words(&format!("In full: {command}"));
    }
    lines.finish()
}
