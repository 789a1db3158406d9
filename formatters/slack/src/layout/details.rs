//! The details, shown beside the coloured bar, where Slack may fold them.

use heraldry_formatter::Event;
use heraldry_formatter::block_kit::{Blocks, Button, Compose, Mrkdwn, PlainText, TEXT, Text};
use heraldry_formatter::outline::{List, Outline};

use super::INLINE_VALUE;
use super::line_builder::{DOT, LineBuilder};

const PASSAGE: usize = 600;
const EVIDENCE: usize = 500;
const LIST_ITEM: usize = 150;

pub(super) fn fill<'a>(
    blocks: &mut Blocks<'a>,
    event: &'a Event<'_>,
    outline: &'a Outline<'_>,
    title_may_be_cut: bool,
) {
    if title_may_be_cut {
        let in_title = outline.title_facts.iter();
        let lines = in_title.fold(LineBuilder::new(), |lines, fact| lines.fact(fact.label, &fact.value, PASSAGE));
        blocks.section(lines.finish());
    }
    for passage in &outline.passages {
        blocks.section(PlainText::lines(&**passage, PASSAGE));
    }
    if let Some(evidence) = &outline.evidence {
        blocks.section(Mrkdwn::code(evidence, EVIDENCE));
    }
    if event.kind.is_rated() {
        lists(blocks, outline);
    }
    // An address that is unsafe as a link is shown as text.
    for link in outline.links.iter().filter(|link| Button::open(link.label, &link.address).is_none()) {
        let text = PlainText::compose(PASSAGE).words(link.label).words(": ").value(&link.address, PASSAGE);
        blocks.section(text.finish());
    }
    blocks.context(small_print(event, outline));
}

/// A block for each list.
pub(super) fn lists(blocks: &mut Blocks<'_>, outline: &Outline<'_>) {
    for items in &outline.lists {
        blocks.section(if items.is_short() { line(items) } else { list(items) });
    }
}

/// `✅ Fixed (3): F-0101, F-0102, F-0103`.
fn line(list: &List<'_>) -> PlainText<'static> {
    let mut text = heading(list).words(": ");
    for (n, item) in list.shown.iter().enumerate() {
        text = text.words(if n == 0 { "" } else { ", " }).value(item, LIST_ITEM);
    }
    match list.total - list.shown.len() {
        0 => text.finish(),
        more => text.words(&format!(" and {more} more")).finish(),
    }
}

/// The heading, one item per line, and the number of items left out.
fn list(list: &List<'_>) -> PlainText<'static> {
    let mut text = heading(list);
    for item in &list.shown {
        text = text.words("\n• ").value(item, LIST_ITEM);
    }
    match list.total - list.shown.len() {
        0 => text.finish(),
        more => text.words(&format!("\nand {more} more")).finish(),
    }
}

fn heading(list: &List<'_>) -> Compose {
    PlainText::compose(TEXT).words(list.symbol).words(" ").words(list.label).words(&format!(" ({})", list.total))
}

/// Identifiers, and the time of the event.
fn small_print<'a>(event: &'a Event<'_>, outline: &Outline<'_>) -> Vec<Text<'a>> {
    let mut lines = LineBuilder::new();
    for note in &outline.notes {
        lines = lines.value(&format!("{} ", note.label), &note.value, INLINE_VALUE);
    }
    // In the reader's time zone, if Slack can show it so.
    let before = if lines.is_empty() { "" } else { DOT.trim() };
    match event.time().and_then(|time| Mrkdwn::labelled_date(before, time.unix_timestamp(), event.occurred_at)) {
        Some(date) => vec![lines.finish().into(), date.into()],
        None => vec![lines.value("At ", event.occurred_at, INLINE_VALUE).finish().into()],
    }
}
