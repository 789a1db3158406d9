//! The compact layout: a few lines with event, client, engagement, time and target, and the first button.

use heraldry_formatter::Event;
use heraldry_formatter::adaptive_card::{Card, Element};
use heraldry_formatter::outline::Outline;

use super::{action, line, names, paragraph, style, summary_values, title, when};
use crate::budget::Budget;
use crate::options::Options;

/// A value that shares its line with others.
const INLINE_VALUE: usize = 80;
const TARGET: usize = 200;

pub(super) fn fill<'a>(
    card: &mut Card<'a>,
    event: &'a Event<'_>,
    outline: &'a Outline<'_>,
    options: &Options,
    budget: &Budget,
) {
    let mut parts = summary_values(outline);
    for count in &outline.tally {
        parts.push(format!("{} {} {}", count.severity.emoji(), count.count, count.severity.word()));
    }
    let target = outline.target.as_deref().unwrap_or_default();
    let news = outline.passages.first().filter(|_| outline.passage_is_news);
    let message = news.map_or("", |message| message);
    let when = when(event, options);
    let whose = names(event, outline).chain([&*when]);
    let items = [
        Element::text(title(outline, budget.title)),
        paragraph(line(whose, INLINE_VALUE.min(budget.fact)).small().subtle()).no_spacing(),
        paragraph(line(parts.iter().map(String::as_str), INLINE_VALUE.min(budget.fact))).no_spacing(),
        paragraph(line([target], TARGET.min(budget.passage))).no_spacing(),
        paragraph(line([message], TARGET.min(budget.passage))).no_spacing(),
    ];
    card.push(Element::container(style(event, outline), items));
    card.add_action(outline.links.iter().find_map(action));
}
