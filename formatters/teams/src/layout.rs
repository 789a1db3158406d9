//! Which part of an event goes where in the card.

use heraldry_formatter::adaptive_card::{Action, Card, Element, Fact, Run, Style, reencoded};
use heraldry_formatter::outline::{LIST_SHOWN, List, Outline};
use heraldry_formatter::{Event, EventType, Severity};

use crate::budget::{Budget, LEVELS};

/// More would be a menu (FORMATS, section 2).
const ACTIONS: usize = 3;
/// Of a button's address, in bytes; [`URL_REENCODED`] holds as well.
const URL_BYTES: usize = 2000;
/// Of a button's address as Teams may write it: a card has two at most, and they cannot be cut.
const URL_REENCODED: usize = 4000;
/// Of words of our own, which nothing has to shorten.
const WORDS: usize = 80;
/// Of a whole list: its budget cuts each item, and this none of them.
const LIST: usize = 2000;

// Every list of an outline has room for what the first level shows.
const _: () = assert!(LEVELS[0].items <= LIST_SHOWN);

pub(crate) fn card<'a>(event: &'a Event<'_>, outline: &'a Outline<'_>, budget: &Budget) -> Card<'a> {
    let severity = event.severity();
    let mut card = Card::new();
    card.push(head(event, severity, budget));
    card.push(Element::facts(facts(event, severity, outline, budget)));
    if let Some(target) = &outline.target {
        card.push(Element::text([label("Target: "), Run::line(&**target, budget.passage)]));
    }
    for passage in &outline.passages {
        card.push(Element::text([Run::paragraphs(&**passage, budget.passage)]));
    }
    if let Some(evidence) = &outline.evidence {
        card.push(Element::text([Run::paragraphs(&**evidence, budget.evidence).monospace()]));
    }
    for items in &outline.lists {
        card.push(list(items, budget));
    }
    for link in &outline.links {
        let action = Action::open(link.label, &link.address, URL_BYTES)
            .filter(|action| reencoded(action.url().as_bytes()) <= URL_REENCODED && card.actions() < ACTIONS);
        if !card.act(action) {
            // It may not be pressed, but it may be read.
            let address = Run::compose(budget.passage + 2).words(": ").value(&link.address, budget.passage).finish();
            card.push(Element::text([label(link.label), address]));
        }
    }
    card
}

/// The coloured top: the title, and under it what kind of news this is.
fn head<'a>(event: &'a Event<'_>, severity: Severity, budget: &Budget) -> Element<'a> {
    let kind = Run::compose(WORDS).words(" · ").words(event.kind.phrase()).finish();
    Element::container(
        style(severity),
        [
            Element::text([Run::line(event.headline(), budget.title).bold().large()]),
            Element::text([label(severity.upper()), kind]),
        ],
    )
}

fn facts<'a>(event: &'a Event<'_>, severity: Severity, outline: &'a Outline<'_>, budget: &Budget) -> Vec<Fact<'a>> {
    let mut facts = Vec::with_capacity(16);
    let mut push = |title, value: &'a str| facts.push(Fact::new(title, value, budget.fact));
    let rated = matches!(event.kind, EventType::MonitorAlert | EventType::EngagementCompleted);
    if event.kind.is_finding() || rated {
        push("Severity", severity.title());
    }
    for fact in &outline.facts {
        push(fact.label, &fact.value);
    }
    if let Some(engagement) = event.engagement_name().or(event.engagement_id()) {
        push("Engagement", engagement);
    }
    if let Some(client) = event.engagement_client() {
        push("Client", client);
    }
    push("Occurred", event.occurred_at);
    facts
}

/// A heading with the count, an item a line, and how many more there are.
fn list(list: &List<'_>, budget: &Budget) -> Element<'static> {
    let heading = Run::compose(WORDS).words(list.label).words(&format!(": {}", list.total)).finish().bold();
    let mut text = Run::compose(LIST);
    let shown = list.shown.iter().take(budget.items);
    let more = list.total - shown.len();
    for item in shown {
        text = text.words("\n• ").value(item, budget.item);
    }
    if more > 0 {
        text = text.words(&format!("\nand {more} more"));
    }
    Element::text([heading, text.finish()])
}

/// Bold words of our own, with the spaces that they have.
fn label(words: &str) -> Run<'_> {
    Run::words(words).bold()
}

/// FORMATS, section 8.
const fn style(severity: Severity) -> Style {
    match severity {
        Severity::Info => Style::Default,
        Severity::Low => Style::Accent,
        Severity::Medium | Severity::High => Style::Warning,
        Severity::Critical => Style::Attention,
    }
}
