//! The layout of a digest: its numbers, the worst events with their buttons, and where the others are.

use heraldry_formatter::adaptive_card::{Action, Card, Element, Run, reencoded};
use heraldry_formatter::digest::{Counts, Group};
use heraldry_formatter::{Digest, Event};

use crate::layout::{DOT, line, paragraph, style_of};
use crate::options::Options;

/// How much of a digest a card shows.
pub(crate) struct Budget {
    /// Events with a button each.
    shown: usize,
    /// Further events of which the title is shown.
    named: usize,
    /// Engagements with their numbers.
    groups: usize,
    /// The title of an event, in UTF-16 units, as all lengths.
    title: usize,
    /// The target, or the message of a monitor.
    passage: usize,
    /// One of several values in a line.
    value: usize,
    /// The URL of a button in Teams' own encoding; an event with a longer one has no button.
    address: usize,
}

/// The budgets, the most generous first; each further one is tried if the previous did not fit. The last fits any
/// digest: a unit takes at most 6 bytes once re-encoded, and an event at most 700 bytes in addition to its texts.
pub(crate) const LEVELS: [Budget; 5] = [
    Budget { shown: 10, named: 15, groups: 5, title: 150, passage: 200, value: 80, address: 500 },
    Budget { shown: 10, named: 5, groups: 5, title: 100, passage: 120, value: 60, address: 500 },
    Budget { shown: 7, named: 0, groups: 4, title: 80, passage: 80, value: 40, address: 500 },
    Budget { shown: 5, named: 0, groups: 3, title: 60, passage: 60, value: 30, address: 500 },
    Budget { shown: 3, named: 0, groups: 2, title: 40, passage: 40, value: 20, address: 300 },
];

/// Events in a compact card.
const SHOWN_COMPACT: usize = 5;
/// The longest URL of a button, in bytes.
const URL_BYTES: usize = 500;
/// The longest fixed text; never reached.
const WORDS: usize = 300;

pub(crate) fn card(digest: &Digest<'_, '_>, options: &Options, budget: &Budget) -> Card<'static> {
    let mut card = Card::new(options.width);
    card.push(Element::container(style_of(digest.severity()), head(digest, budget)));
    if options.compact {
        let shown = SHOWN_COMPACT.min(budget.shown);
        let lines = digest.worst().take(shown).map(|event| {
            let target = event.outline().showing(options.evidence).target.unwrap_or_default();
            let place = line([&*target], budget.value);
            let dot = if place.is_empty() { "" } else { DOT };
            Element::text([name(event, budget.title), Run::words(dot), place])
        });
        card.extend(close(lines));
        card.extend(digest.rest_words(shown).map(|rest| paragraph(Run::line(rest, WORDS).small().subtle())));
        let first = digest.worst().take(shown).find_map(|event| button(event, options, budget));
        card.add_action(first);
        return card;
    }
    card.extend(digest.worst().take(budget.shown).map(|event| item(event, digest, options, budget)));
    let named = digest.titles(budget.shown).into_iter().take(budget.named).map(|(event, count)| {
        let number = if count > 1 { format!(" (× {count})") } else { String::new() };
        Element::text([name(event, budget.title), Run::compose(WORDS).words(&number).finish()])
    });
    card.extend(close(named));
    card.push(paragraph(small_print(digest, budget.shown).small().subtle()).wide_spacing());
    card
}

/// Lines that stand close to each other.
fn close(lines: impl Iterator<Item = Element<'static>>) -> impl Iterator<Item = Element<'static>> {
    lines.enumerate().map(|(n, line)| if n == 0 { line } else { line.no_spacing() })
}

/// The number of events; client and engagement; how many there are of each severity.
fn head(digest: &Digest<'_, '_>, budget: &Budget) -> Vec<Element<'static>> {
    let title = Run::compose(WORDS).words(digest.severity().emoji()).words(" ").words(&digest.headline()).finish();
    let mut head = vec![paragraph(title.large().bold())];
    head.extend(digest.part_words().map(|part| paragraph(Run::line(part, WORDS)).no_spacing()));
    let groups = digest.groups();
    if let [group] = groups {
        head.push(paragraph(line(group.names(), budget.value)).no_spacing());
    }
    head.push(numbers(digest.counts()));
    if groups.len() > 1 {
        head.extend(groups.iter().take(budget.groups).map(|group| paragraph(engagement(group, budget)).no_spacing()));
        let more = match groups.len().saturating_sub(budget.groups) {
            0 => return head,
            1 => "and 1 more engagement".to_owned(),
            more => format!("and {more} more engagements"),
        };
        head.push(paragraph(Run::line(more, WORDS)).no_spacing());
    }
    head
}

/// The number of events of each severity, side by side.
fn numbers(counts: &Counts) -> Element<'static> {
    let column = |count: usize, words: String| {
        vec![
            paragraph(Run::line(count.to_string(), WORDS).bold().large()),
            paragraph(Run::line(words, WORDS)).no_spacing(),
        ]
    };
    let mut columns: Vec<_> = counts
        .iter()
        .map(|(severity, count)| column(count, format!("{} {}", severity.emoji(), severity.word())))
        .collect();
    // The title has the number of all.
    if counts.news() > 0 && counts.news() < counts.total() {
        columns.push(column(counts.news(), "other".into()));
    }
    Element::columns(columns)
}

/// Client and engagement with the numbers of the latter.
fn engagement(group: &Group<'_>, budget: &Budget) -> Run<'static> {
    let none = group.name.is_none().then_some("No engagement");
    let counts = group.counts.words();
    line(none.into_iter().chain(group.names()).chain([&*counts]), budget.value.max(counts.len()))
}

/// An event by its title, with what tells it from others, and its button.
fn item(event: &Event<'_>, digest: &Digest<'_, '_>, options: &Options, budget: &Budget) -> Element<'static> {
    let outline = event.outline().showing(options.evidence);
    let facts = outline.summary.iter().filter(|brief| brief.fact.is_some()).map(|brief| &*brief.text);
    let mut elements = vec![paragraph(name(event, budget.title).bold())];
    let target = outline.target.as_deref().unwrap_or_default();
    elements.push(paragraph(Run::line(target.to_owned(), budget.passage)).no_spacing());
    let whose: Vec<_> = event
        .client_and_engagement()
        .filter(|_| digest.groups().len() > 1 && !outline.title_has_engagement())
        .collect();
    elements.push(paragraph(line(facts.chain(whose), budget.value).small().subtle()).no_spacing());
    let news = outline.passages.first().filter(|_| outline.passage_is_news);
    elements.extend(news.map(|news| paragraph(Run::line(news.to_string(), budget.passage)).no_spacing()));
    Element::with_button(elements, button(event, options, budget))
}

fn button(event: &Event<'_>, options: &Options, budget: &Budget) -> Option<Action> {
    let outline = event.outline().showing(options.evidence);
    let action = outline.links.iter().find_map(|link| Action::open(link.label, &link.address, URL_BYTES))?;
    (reencoded(action.url().as_bytes()) <= budget.address).then_some(action)
}

/// The symbol and the title; the type in words if the title has no visible text.
fn name(event: &Event<'_>, limit: usize) -> Run<'static> {
    let outline = event.outline();
    let is_visible = !Run::line(&*outline.title, limit).is_empty();
    let title = if is_visible { &*outline.title } else { event.kind.phrase() };
    Run::compose(limit + WORDS).words(outline.symbol).words(" ").value(title, limit).finish()
}

/// How many events are not named above, and how to see them all.
fn small_print(digest: &Digest<'_, '_>, shown: usize) -> Run<'static> {
    let rest = digest.rest_words(shown);
    let command = digest.command().map(|command| format!("In full: {command}"));
    line([&rest, &command].into_iter().flatten().map(String::as_str), WORDS)
}
