//! The full layout: the event on a coloured background, labelled values, passages, evidence, lists, small print.

use heraldry_formatter::Event;
use heraldry_formatter::adaptive_card::{Card, Element, Run};
use heraldry_formatter::outline::{Fact, LIST_SHOWN, List, Outline};

use super::{LINE, WORDS, action, line, names, paragraph, style, summary_values, title, when};
use crate::budget::{Budget, LEVELS};
use crate::options::Options;

/// More buttons would be a menu (FORMATS, section 2).
const ACTIONS: usize = 3;

// The first level shows no more items than an outline holds.
const _: () = assert!(LEVELS[0].items <= LIST_SHOWN);

pub(super) fn fill<'a>(
    card: &mut Card<'a>,
    event: &'a Event<'_>,
    outline: &'a Outline<'_>,
    options: &Options,
    budget: &Budget,
) {
    let [symbol, title] = title(outline, budget.title);
    let title_may_be_cut = title.may_be_cut();
    let head = [
        Element::text([symbol.large(), title.large()]),
        paragraph(line(names(event, outline), budget.fact)).no_spacing(),
        paragraph(line(summary_values(outline).iter().map(String::as_str), budget.fact)).no_spacing(),
        tally(outline, budget),
    ];
    card.push(Element::container(style(event, outline), head));
    if title_may_be_cut {
        card.extend(outline.title_facts.iter().map(|fact| row(fact, options, budget.passage)));
    }
    let target = outline.target.as_deref().map(|target| Run::line(target, budget.passage));
    card.extend(target.map(|target| Element::row(name("Target"), target)));
    card.extend(outline.facts.iter().map(|fact| row(fact, options, budget.fact)));
    for passage in &outline.passages {
        card.extend(Element::lines(passage, budget.passage, budget.lines, |run| run));
    }
    if let Some(evidence) = &outline.evidence {
        card.push(Element::panel(Element::lines(evidence, budget.evidence, budget.lines, Run::monospace)));
    }
    for items in &outline.lists {
        card.extend(list(items, budget));
    }
    for link in &outline.links {
        let action = action(link).filter(|_| card.actions() < ACTIONS);
        if !card.add_action(action) {
            // An address that is unsafe as a link is shown as text.
            let label = Run::compose(WORDS).words(link.label).words(": ").finish().bold();
            card.push(Element::text([label, Run::line(&*link.address, budget.passage)]));
        }
    }
    card.push(paragraph(small_print(event, outline, options, budget).small().subtle()).wide_spacing());
}

/// The number of findings of each severity, side by side.
fn tally<'a>(outline: &Outline<'_>, budget: &Budget) -> Element<'a> {
    let column = |count: &heraldry_formatter::outline::Count<'_>| {
        let word = Run::compose(WORDS).words(count.severity.emoji()).words(" ").words(count.severity.word());
        let number = Run::compose(budget.item).value(&count.count, budget.item).finish();
        vec![paragraph(number.bold().large()), paragraph(word.finish()).no_spacing()]
    };
    Element::columns(outline.tally.iter().map(column))
}

fn name(label: &'static str) -> Run<'static> {
    Run::line(label, WORDS).bold()
}

fn row<'a>(fact: &'a Fact<'_>, options: &Options, limit: usize) -> Element<'a> {
    let value = match fact.time.and_then(|time| options.locale.date_time(time)) {
        Some(date) => Run::line(date, WORDS),
        None => Run::line(&*fact.value, limit),
    };
    Element::row(name(fact.label), value)
}

/// A heading with the count; the items on the same line if they fit, else one per line; and the number of items left
/// out.
fn list(list: &List<'_>, budget: &Budget) -> Vec<Element<'static>> {
    let heading = Run::compose(WORDS).words(list.symbol).words(" ").words(list.label);
    let heading = heading.words(&format!(" ({})", list.total)).finish().bold();
    let shown = list.shown.iter().take(budget.items);
    let more = list.total - shown.len();
    if list.is_short() {
        let mut items = Run::compose(LINE);
        for (n, item) in shown.enumerate() {
            items = items.words(if n == 0 { "  " } else { ", " }).value(item, budget.item);
        }
        let items = if more > 0 { items.words(&format!(" and {more} more")) } else { items };
        return vec![Element::text([heading, items.finish()])];
    }
    let mut elements = vec![paragraph(heading)];
    elements.extend(shown.map(|item| {
        let item = Run::compose(budget.item + 2).words("• ").value(item, budget.item);
        paragraph(item.finish()).no_spacing()
    }));
    if more > 0 {
        elements.push(paragraph(Run::compose(WORDS).words(&format!("and {more} more")).finish()).no_spacing());
    }
    elements
}

/// Identifiers, and the time of the event.
fn small_print(event: &Event<'_>, outline: &Outline<'_>, options: &Options, budget: &Budget) -> Run<'static> {
    let notes: Vec<_> = outline.notes.iter().map(|note| format!("{} {}", note.label, note.value)).collect();
    let when = when(event, options);
    line(notes.iter().map(String::as_str).chain([&*when]), budget.fact)
}
