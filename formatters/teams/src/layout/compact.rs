//! The compact layout: a few lines with event, target, engagement and time, and the first button.

use heraldry_formatter::adaptive_card::{Card, Element};
use heraldry_formatter::outline::Outline;
use heraldry_formatter::{Event, EventType};

use super::{action, engagement, glance, line, paragraph, style, title, when};
use crate::budget::Budget;
use crate::options::Options;

/// A value that shares its line with others; also a monitor's message.
const PIECE: usize = 80;
const TARGET: usize = 200;

pub(super) fn fill<'a>(
    card: &mut Card<'a>,
    event: &'a Event<'_>,
    outline: &'a Outline<'_>,
    options: &Options,
    budget: &Budget,
) {
    let mut pieces = glance(outline);
    for count in &outline.tally {
        pieces.push(format!("{} {} {}", count.severity.emoji(), count.count, count.severity.word()));
    }
    let target = outline.target.as_deref().unwrap_or_default();
    // The news of a monitor alert is its message.
    let message = match (event.kind, outline.passages.first()) {
        (EventType::MonitorAlert, Some(message)) => &**message,
        _ => "",
    };
    let when = when(event, options);
    let last = engagement(event, outline).into_iter().chain([&*when]);
    let items = [
        Element::text(title(outline, budget.title)),
        paragraph(line(pieces.iter().map(String::as_str), PIECE.min(budget.fact))).close(),
        paragraph(line([target], TARGET.min(budget.passage))).close(),
        paragraph(line([message], TARGET.min(budget.passage))).close(),
        paragraph(line(last, PIECE.min(budget.fact)).small().subtle()).close(),
    ];
    card.push(Element::container(style(event, outline), items));
    card.act(outline.links.iter().find_map(action));
}
