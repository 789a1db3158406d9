//! The layout of a digest: one embed with its numbers, and one for each of the worst events; or a few lines.

use heraldry_formatter::digest::{Counts, Group};
use heraldry_formatter::link::web_url;
use heraldry_formatter::text::Rule;
use heraldry_formatter::{Digest, Event};

use crate::embed::{CONTENT, EMBED, EMBEDS, Embed, Footer, Message, units};
use crate::layout::{DOT, URL_BYTES, author, color, symbol, title};
use crate::markdown::{link, literal};
use crate::options::Options;

/// Engagements with their numbers.
const GROUPS: usize = 5;
/// Events in a compact message.
const SHOWN_COMPACT: usize = 5;

// The lengths of the parts in UTF-16 units, escapes included. Their sum, for the most events, stays below EMBED.
const TITLE: usize = 150;
const TARGET: usize = 150;
const NAME: usize = 60;
const VALUE: usize = 40;
/// The numbers of one engagement, and other words of the format.
const WORDS: usize = 100;
const HEAD: usize = 256 + 3 * WORDS + GROUPS * (2 * NAME + 2 * DOT.len() + WORDS) + 2 * WORDS;
const ITEM: usize = TITLE + 8 + 2 * TARGET + 3 * (VALUE + DOT.len()) + 2 * (NAME + DOT.len());
const _: () = assert!(HEAD <= 2_000 && ITEM <= 800);
/// A target in a line of a compact message.
const LINE_TARGET: usize = 80;
/// An address in a line of a compact message.
const LINE_ADDRESS: usize = 300;

pub(crate) fn message<'a>(digest: &Digest<'_, '_>, options: &'a Options) -> Message<'a> {
    if options.compact {
        return Message::line(options.username(), lines(digest, options));
    }
    let mut embeds: Vec<_> = digest.worst().take(EMBEDS - 1).map(|event| item(event, digest, options)).collect();
    // Nine events with the longest texts do not fit; those that do are the worst.
    while embeds.iter().map(Embed::length).sum::<usize>() + HEAD > EMBED {
        embeds.pop();
    }
    embeds.insert(0, head(digest, embeds.len()));
    Message::embeds(options.username(), embeds)
}

/// The numbers, and what is not among the `shown` events.
fn head(digest: &Digest<'_, '_>, shown: usize) -> Embed<'static> {
    let groups = digest.groups();
    let mut lines = vec![numbers(digest.counts())];
    if groups.len() > 1 {
        lines.extend(groups.iter().take(GROUPS).map(engagement));
        match groups.len().saturating_sub(GROUPS) {
            0 => {}
            1 => lines.push("and 1 more engagement".into()),
            more => lines.push(format!("and {more} more engagements")),
        }
    }
    lines.retain(|line| !line.is_empty());
    let small_print =
        [digest.part_words(), digest.rest_words(shown), digest.command().map(|it| format!("In full: {it}"))];
    let small_print: Vec<_> = small_print.into_iter().flatten().collect();
    Embed {
        author: author(groups.iter().filter(|_| groups.len() == 1).flat_map(Group::names)),
        title: format!("{} {}", digest.severity().emoji(), digest.headline()),
        description: lines.join("\n"),
        color: digest.severity().rgb(),
        footer: (!small_print.is_empty()).then(|| Footer { text: small_print.join(DOT) }),
        ..Embed::default()
    }
}

/// `🔴 7 critical · 🟠 22 high · 3 other`.
fn numbers(counts: &Counts) -> String {
    let mut parts: Vec<_> =
        counts.iter().map(|(severity, count)| format!("{} {count} {}", severity.emoji(), severity.word())).collect();
    // The title has the number of all.
    if counts.news() > 0 && counts.news() < counts.total() {
        parts.push(format!("{} other", counts.news()));
    }
    parts.join(DOT)
}

fn engagement(group: &Group<'_>) -> String {
    let mut parts: Vec<_> = group.names().map(|name| literal(name, Rule::ONE_LINE, NAME)).collect();
    if group.name.is_none() {
        parts.insert(0, "No engagement".into());
    }
    parts.push(group.counts.words());
    parts.retain(|part| !part.is_empty());
    parts.join(DOT)
}

/// An event by its title, which is its link, with what tells it from others.
fn item(event: &Event<'_>, digest: &Digest<'_, '_>, options: &Options) -> Embed<'static> {
    let outline = event.outline().showing(options.evidence);
    let mut parts = vec![literal(outline.target.as_deref().unwrap_or_default(), Rule::ONE_LINE, TARGET)];
    let facts = outline.summary.iter().filter(|brief| brief.fact.is_some());
    parts.extend(facts.take(3).map(|brief| literal(&brief.text, Rule::ONE_LINE, VALUE)));
    if digest.groups().len() > 1 {
        parts.extend(event.client_and_engagement().map(|name| literal(name, Rule::ONE_LINE, NAME)));
    }
    parts.retain(|part| !part.is_empty());
    let mut description = parts.join(DOT);
    if let Some(news) = outline.passages.first().filter(|_| outline.passage_is_news) {
        if !description.is_empty() {
            description.push('\n');
        }
        description.push_str(&literal(news, Rule::ONE_LINE, TARGET));
    }
    Embed {
        title: format!("{} {}", symbol(event, &outline), title(event, TITLE)),
        url: outline.links.iter().find_map(|link| web_url(&link.address, URL_BYTES)),
        description,
        color: color(event, &outline),
        ..Embed::default()
    }
}

/// The numbers, then a line for each of the worst events.
fn lines(digest: &Digest<'_, '_>, options: &Options) -> String {
    let mut head = vec![format!("{} **{}**", digest.severity().emoji(), digest.headline())];
    head.extend(digest.part_words());
    if let [group] = digest.groups() {
        head.extend(group.names().map(|name| literal(name, Rule::ONE_LINE, NAME)));
    }
    head.push(numbers(digest.counts()));
    head.retain(|part| !part.is_empty());
    let mut lines = vec![head.join(DOT)];
    let mut shown = 0;
    for event in digest.worst().take(SHOWN_COMPACT) {
        let outline = event.outline().showing(options.evidence);
        let link = outline.links.iter().find_map(|address| link(address.label, &address.address, LINE_ADDRESS));
        let mut line = format!("{} {}", symbol(event, &outline), title(event, TITLE));
        let target = literal(outline.target.as_deref().unwrap_or_default(), Rule::ONE_LINE, LINE_TARGET);
        if !target.is_empty() {
            line.push_str(DOT);
            line.push_str(&target);
        }
        if let Some(link) = link {
            line.push_str(DOT);
            line.push_str(&link);
        }
        let length: usize = lines.iter().map(|line| units(line) + 1).sum();
        if length + units(&line) + WORDS > CONTENT {
            break;
        }
        lines.push(line);
        shown += 1;
    }
    lines.extend(digest.rest_words(shown));
    lines.join("\n")
}
