//! The layout: which part of an event goes where in the message.

use heraldry_formatter::Event;
use heraldry_formatter::link::web_url;
use heraldry_formatter::outline::{Fact, Link, List, Outline};
use heraldry_formatter::text::{ELLIPSIS, Rule, bare, is_blank, tidy, utf16};

use crate::budget::Budget;
use crate::embed::{AUTHOR, Author, CONTENT, Embed, FIELDS, Field, Footer, TITLE};
use crate::markdown::{code, link, literal};

/// The longest URL of the title, in bytes: other products report that 2048 is accepted.
pub(crate) const URL_BYTES: usize = 2000;

// The lengths of the parts of a line; their sum stays below CONTENT.
const LINE_TITLE: usize = 300;
const LINE_TEXT: usize = 280;
const LINE_NAME: usize = 110;
const LINE_ADDRESS: usize = 600;
const _: () = assert!(LINE_TITLE + 2 * LINE_TEXT + 3 * LINE_NAME + LINE_ADDRESS + 200 <= CONTENT);
/// Client and engagement above a title, each.
const AUTHOR_NAME: usize = 120;
const _: () = assert!(2 * AUTHOR_NAME + DOT.len() <= AUTHOR);
/// The separator of values in a line.
pub(crate) const DOT: &str = " · ";

/// The colour of good news about the host. Of a platform's events the severity counts, whatever they say.
const GOOD: u32 = 0x15_80_3D;

pub(crate) fn embed<'a>(event: &Event<'a>, outline: &Outline<'_>, budget: &Budget) -> Embed<'a> {
    let symbol = symbol(event, outline);
    let room = TITLE - symbol.encode_utf16().count() - 1;
    let title = title(event, room);
    let fields = fields(event, outline, budget, title.ends_with(ELLIPSIS));
    Embed {
        author: author(event.client_and_engagement()),
        title: format!("{symbol} {title}"),
        url: outline.links.first().and_then(|link| web_url(&link.address, URL_BYTES)),
        description: description(outline, budget),
        color: color(event, outline),
        fields,
        footer: Some(Footer { text: event.kind.phrase().into() }),
        timestamp: event.time().map(|_| event.occurred_at),
    }
}

/// One line, two for a monitor or a host event: severity, event, client, engagement, target, and a link.
pub(crate) fn line(event: &Event<'_>, outline: &Outline<'_>) -> String {
    let severity = event.severity();
    let title = title(event, LINE_TITLE);
    let mut line = format!("{} **{}** {title}", symbol(event, outline), severity.upper());
    let is_cut = title.ends_with(ELLIPSIS);
    let mut push = |between: &str, part: String| {
        if !part.is_empty() {
            line.push_str(between);
            line.push_str(&part);
        }
    };
    // A long status of a phase may have displaced its name in the title.
    if let Some(about) = outline.title_facts.first().filter(|_| is_cut && !event.kind.is_finding()) {
        push(DOT, literal(&about.value, Rule::ONE_LINE, LINE_NAME));
    }
    for name in event.client_and_engagement() {
        push(DOT, literal(name, Rule::ONE_LINE, LINE_NAME));
    }
    push(DOT, literal(outline.target.as_deref().unwrap_or_default(), Rule::ONE_LINE, LINE_TEXT));
    push(
        DOT,
        outline.links.first().and_then(|first| link(first.label, &first.address, LINE_ADDRESS)).unwrap_or_default(),
    );
    if outline.passage_is_news {
        let message = outline.passages.first().map_or("", |message| message);
        push("\n", literal(message, Rule::ONE_LINE, LINE_TEXT));
    }
    line
}

fn is_good_news(event: &Event<'_>, outline: &Outline<'_>) -> bool {
    event.kind.is_host() && outline.is_good_news
}

pub(crate) fn color(event: &Event<'_>, outline: &Outline<'_>) -> u32 {
    if is_good_news(event, outline) { GOOD } else { event.severity().rgb() }
}

/// The severity's disc, or the mark of good news.
pub(crate) fn symbol(event: &Event<'_>, outline: &Outline<'_>) -> &'static str {
    if is_good_news(event, outline) { outline.symbol } else { event.severity().emoji() }
}

/// The headline; the event type in words if the headline has no visible text.
pub(crate) fn title(event: &Event<'_>, limit: usize) -> String {
    let title = literal(&event.headline(), Rule::ONE_LINE, limit);
    if title.is_empty() { event.kind.phrase().into() } else { title }
}

/// Passages, evidence and links, one paragraph each.
fn description(outline: &Outline<'_>, budget: &Budget) -> String {
    let mut paragraphs: Vec<String> =
        outline.passages.iter().map(|passage| literal(passage, Rule::LINES, budget.passage)).collect();
    paragraphs.extend(outline.evidence.as_ref().and_then(|evidence| code(evidence, budget.evidence)));
    let mut links = Vec::new();
    for Link { label, address } in &outline.links {
        match link(label, address, budget.address) {
            Some(link) => links.push(link),
            // An address that is unsafe as a link is shown as text.
            None => paragraphs.push(labelled(label, address, budget.passage)),
        }
    }
    paragraphs.push(links.join(" · "));
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs.join("\n\n")
}

fn labelled(label: &str, value: &str, limit: usize) -> String {
    let value = literal(value, Rule::ONE_LINE, limit);
    if value.is_empty() { value } else { format!("{label}: {value}") }
}

fn fields(event: &Event<'_>, outline: &Outline<'_>, budget: &Budget, title_is_cut: bool) -> Vec<Field> {
    let mut fields = Vec::with_capacity(16);
    if event.kind.is_rated() {
        fields.push(Field { name: "Severity", value: event.severity().title().into(), inline: true });
    }
    let fact = |fact: &Fact<'_>| Field {
        name: fact.label,
        value: literal(&fact.value, Rule::ONE_LINE, budget.fact),
        inline: true,
    };
    let is_weakness = |fact: &&Fact<'_>| matches!(fact.label, "CVSS" | "CWE" | "CVE");
    let table = outline.table();
    if title_is_cut {
        fields.extend(outline.title_facts.iter().filter(|fact| fact.label != "Title").map(fact));
    }
    fields.extend(table.iter().filter(is_weakness).map(fact));
    if let Some(target) = &outline.target {
        // A target is often long, and must be readable as a whole.
        let value = literal(target, Rule::ONE_LINE, budget.target);
        fields.push(Field { name: "Target", value, inline: false });
    }
    fields.extend(table.iter().filter(|fact| !is_weakness(fact)).map(fact));
    fields.extend(outline.lists.iter().map(|items| list(items, budget)));
    if event.time().is_none() {
        let value = literal(event.occurred_at, Rule::ONE_LINE, budget.fact);
        fields.push(Field { name: "At", value, inline: true });
    }
    fields.retain(|field| !field.value.is_empty());
    fields.truncate(FIELDS);
    fields
}

/// The total, one item per line, and the number of items left out.
fn list(list: &List<'_>, budget: &Budget) -> Field {
    let mut lines = vec![list.total.to_string()];
    let shown = list.shown.iter().take(budget.items);
    let more = list.total - shown.len();
    lines.extend(shown.map(|item| format!("• {}", literal(item, Rule::ONE_LINE, budget.item))));
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    Field { name: list.label, value: lines.join("\n"), inline: false }
}

/// Client and engagement, above the title. Plain text: escapes would show their backslashes.
pub(crate) fn author<'n>(names: impl Iterator<Item = &'n str>) -> Option<Author> {
    let cut = |name: &'n str| tidy(bare(name), Rule::ONE_LINE, AUTHOR_NAME, utf16, ELLIPSIS);
    let names: Vec<_> = names.map(cut).filter(|name| !is_blank(name)).collect();
    (!names.is_empty()).then(|| Author { name: names.join(DOT) })
}
