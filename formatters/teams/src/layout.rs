//! Which part of an event goes where in the card.

use heraldry_formatter::link::web_url;
use heraldry_formatter::outline::{LIST_SHOWN, List, Outline};
use heraldry_formatter::{Event, EventType, Severity};

use crate::budget::{Budget, LEVELS, reencoded};
use crate::card::{Action, Element, Fact, Message, TextRun};
use crate::wording::{fact, line, paragraphs};

/// More would be a menu (FORMATS, section 2).
const ACTIONS: usize = 3;
/// Of a button's address, in bytes; [`URL_REENCODED`] holds as well.
const URL_BYTES: usize = 2000;
/// Of a button's address as Teams may write it: a card has two at most, and they cannot be cut.
const URL_REENCODED: usize = 4000;

// Every list of an outline has room for what the first level shows.
const _: () = assert!(LEVELS[0].items <= LIST_SHOWN);

pub(crate) fn message<'a>(event: &'a Event<'_>, outline: &'a Outline<'_>, budget: &Budget) -> Message<'a> {
    let severity = event.severity();
    let mut body = Vec::with_capacity(10);
    body.push(head(event, severity, budget));
    body.push(Element::FactSet { facts: facts(event, severity, outline, budget) });
    if let Some(target) = &outline.target {
        body.push(Element::RichTextBlock {
            inlines: vec![TextRun::bold("Target: "), TextRun::plain(line(target, budget.passage))],
        });
    }
    for passage in &outline.passages {
        body.push(Element::RichTextBlock { inlines: vec![TextRun::plain(paragraphs(passage, budget.passage))] });
    }
    if let Some(evidence) = &outline.evidence {
        body.push(Element::RichTextBlock { inlines: vec![TextRun::code(paragraphs(evidence, budget.evidence))] });
    }
    body.extend(outline.lists.iter().map(|items| list(items, budget)));
    let mut actions = Vec::new();
    for link in &outline.links {
        let url = web_url(&link.address, URL_BYTES)
            .filter(|url| reencoded(url.as_bytes()) <= URL_REENCODED && actions.len() < ACTIONS);
        match url {
            Some(url) => actions.push(Action { title: link.label, url }),
            // It may not be pressed, but it may be read.
            None => body.push(Element::RichTextBlock {
                inlines: vec![
                    TextRun::bold(link.label),
                    TextRun::plain(format!(": {}", line(&link.address, budget.passage))),
                ],
            }),
        }
    }
    Message::of(body, actions)
}

/// The coloured top: the title, and under it what kind of news this is.
fn head<'a>(event: &'a Event<'_>, severity: Severity, budget: &Budget) -> Element<'a> {
    let title = line(&event.headline(), budget.title).into_owned();
    Element::Container {
        style: style(severity),
        bleed: true,
        items: vec![
            Element::RichTextBlock { inlines: vec![TextRun::title(title)] },
            Element::RichTextBlock {
                inlines: vec![TextRun::bold(severity.upper()), TextRun::plain(format!(" · {}", event.kind.phrase()))],
            },
        ],
    }
}

fn facts<'a>(event: &'a Event<'_>, severity: Severity, outline: &'a Outline<'_>, budget: &Budget) -> Vec<Fact<'a>> {
    let mut facts = Vec::with_capacity(16);
    let rated = matches!(event.kind, EventType::MonitorAlert | EventType::EngagementCompleted);
    if event.kind.is_finding() || rated {
        facts.push(Fact { title: "Severity", value: severity.title().into() });
    }
    let mut push = |title, value: &'a str| {
        facts.push(Fact { title, value: fact(value, budget.fact) });
    };
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
    let mut text = String::with_capacity(256);
    let shown = list.shown.iter().take(budget.items);
    let more = list.total - shown.len();
    for item in shown {
        text.push_str("\n\n• ");
        text.push_str(&line(item, budget.item));
    }
    if more > 0 {
        text.push_str(&format!("\n\nand {more} more"));
    }
    Element::RichTextBlock {
        inlines: vec![TextRun::bold(format!("{}: {}", list.label, list.total)), TextRun::plain(text)],
    }
}

/// FORMATS, section 8.
const fn style(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "default",
        Severity::Low => "accent",
        Severity::Medium | Severity::High => "warning",
        Severity::Critical => "attention",
    }
}
