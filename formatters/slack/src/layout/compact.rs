//! The compact layout: one short block with event, client, engagement, target, and the first button.

use heraldry_formatter::Event;
use heraldry_formatter::block_kit::{Button, Message, Mrkdwn};
use heraldry_formatter::outline::Outline;

use super::line_builder::LineBuilder;
use super::{NAME, names, summary_line, title};

const TITLE: usize = 150;
const TARGET: usize = 200;
const MESSAGE: usize = 200;

pub(super) fn fill(message: &mut Message<'_>, event: &Event<'_>, outline: &Outline<'_>, mentions: Mrkdwn) {
    let may_be_cut = title(outline, TITLE).may_be_cut();
    let title = LineBuilder::new().value(&format!("{} ", outline.symbol), &outline.title, TITLE).line();
    let mut lines = names(event, outline).fold(title, |lines, name| lines.value("", name, NAME));
    lines = summary_line(lines, outline);
    // A finding's truncated title needs no further explanation.
    if may_be_cut && !event.kind.is_finding() {
        lines = outline.title_facts.iter().fold(lines, |lines, fact| lines.value("", &fact.value, NAME));
    }
    if let Some(target) = &outline.target {
        lines = lines.value("", target, TARGET);
    }
    if outline.passage_is_news {
        for passage in &outline.passages {
            lines = lines.line().value("", passage, MESSAGE);
        }
    }
    let button = outline.links.iter().find_map(|link| Button::open(link.label, &link.address));
    message.blocks().summary(lines.finish(), Some(mentions), button);
}
