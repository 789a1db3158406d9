//! The layout: which part of an event goes where in the card.

mod compact;
mod full;

use heraldry_formatter::adaptive_card::{Action, Card, Element, Run, Style, reencoded};
use heraldry_formatter::outline::{Link, Outline};
use heraldry_formatter::{Event, Severity};

use crate::budget::Budget;
use crate::options::Options;

/// The longest URL of a button, in bytes; [`URL_REENCODED`] applies, too.
const URL_BYTES: usize = 2000;
/// The longest URL of a button in Teams' own encoding: a card has at most two, and a URL cannot be truncated.
const URL_REENCODED: usize = 4000;
/// The longest fixed text; never reached.
const WORDS: usize = 80;
/// The longest line of values, each of which is within its budget.
const LINE: usize = 2000;
/// The separator of values in a line.
pub(crate) const DOT: &str = " · ";

pub(crate) fn card<'a>(event: &'a Event<'_>, outline: &'a Outline<'_>, options: &Options, budget: &Budget) -> Card<'a> {
    let mut card = Card::new(options.width);
    if options.compact {
        compact::fill(&mut card, event, outline, options, budget);
    } else {
        full::fill(&mut card, event, outline, options, budget);
    }
    card
}

/// The title with its symbol.
fn title<'a>(outline: &'a Outline<'_>, limit: usize) -> [Run<'a>; 2] {
    [Run::compose(WORDS).words(outline.symbol).words(" ").finish(), Run::line(&*outline.title, limit).bold()]
}

/// The values that need no labels, the most important first: `Critical finding`, `CVSS 9.8`, `Step 2 of 5`.
fn summary_values(outline: &Outline<'_>) -> Vec<String> {
    let mut parts: Vec<_> = outline.summary.iter().map(|brief| brief.text.to_string()).collect();
    if let Some(step) = outline.step {
        let dots = step.dots().map(|dots| dots + "  ").unwrap_or_default();
        parts.push(format!("{dots}Step {} of {}", step.index, step.total));
    }
    parts
}

/// Values in one line, separated by dots, each truncated at `limit`.
pub(crate) fn line<'v>(values: impl IntoIterator<Item = &'v str>, limit: usize) -> Run<'static> {
    let mut text = Run::compose(LINE);
    for (n, value) in values.into_iter().enumerate() {
        text = text.words(if n == 0 { "" } else { DOT }).value(value, limit);
    }
    text.finish()
}

/// The time of the event, in words if it can be parsed.
fn when(event: &Event<'_>, options: &Options) -> String {
    event.time().and_then(|time| options.locale.date_time(time)).unwrap_or_else(|| event.occurred_at.to_owned())
}

/// A button, if the URL is safe to open and leaves room for the rest of the card.
fn action(link: &Link<'_>) -> Option<Action> {
    let action = Action::open(link.label, &link.address, URL_BYTES)?;
    (reencoded(action.url().as_bytes()) <= URL_REENCODED).then_some(action)
}

/// The background of the card's top: by severity (FORMATS, section 8) if the event has one.
fn style(event: &Event<'_>, outline: &Outline<'_>) -> Style {
    if outline.is_good_news {
        return Style::Good;
    }
    if !event.kind.is_rated() {
        return Style::Emphasis;
    }
    style_of(event.severity())
}

/// The background for a severity.
pub(crate) const fn style_of(severity: Severity) -> Style {
    match severity {
        Severity::Info => Style::Default,
        Severity::Low => Style::Accent,
        Severity::Medium | Severity::High => Style::Warning,
        Severity::Critical => Style::Attention,
    }
}

/// Client and engagement, less what the title says.
fn names<'a>(event: &'a Event<'_>, outline: &Outline<'_>) -> impl Iterator<Item = &'a str> {
    let engagement = event.engagement_name().or(event.engagement_id()).filter(|_| !outline.title_has_engagement());
    [event.engagement_client(), engagement].into_iter().flatten()
}

/// A paragraph with one run.
pub(crate) fn paragraph(run: Run<'_>) -> Element<'_> {
    Element::text([run])
}
