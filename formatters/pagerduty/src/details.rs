//! `custom_details`: a flat table for the person on call.

use heraldry_formatter::Event;
use heraldry_formatter::link::web_url;
use heraldry_formatter::outline::{List, Outline};
use heraldry_formatter::text::{ELLIPSIS, Rule, bare, is_blank, tidy, utf16};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

// Maximum lengths in UTF-16 units (FORMATS, section 14).
const FACT: usize = 500;
const TARGET: usize = 2000;
const PASSAGE: usize = 3000;
const EVIDENCE: usize = 3000;
const ITEM: usize = 300;

/// The rows of the table, in order: a label, and a text or a list.
pub(crate) struct Details<'a> {
    rows: Vec<(&'a str, Row)>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    Text(String),
    List(Vec<String>),
}

impl<'a> Details<'a> {
    /// The details of an event. URLs of at most `address_bytes` that are safe to open are links of the alert and not
    /// repeated here.
    pub(crate) fn of(event: &'a Event<'_>, outline: &'a Outline<'_>, note: Option<&str>, address_bytes: usize) -> Self {
        let mut details = Self { rows: Vec::with_capacity(20) };
        details.line("Event", event.kind.phrase(), FACT);
        details.line("Note", note.unwrap_or_default(), FACT);
        if event.kind.is_rated() {
            details.line("Severity", event.severity().title(), FACT);
        }
        details.line("Target", outline.target.as_deref().unwrap_or_default(), TARGET);
        // The alert's summary contains the title, and a row below the engagement.
        let in_title = outline.title_facts.iter().filter(|fact| !["Title", "Engagement"].contains(&fact.label));
        for fact in in_title.chain(&outline.table()) {
            details.line(fact.label, &fact.value, FACT);
        }
        let passages: Vec<_> = outline.passages.iter().filter_map(|passage| lines(passage, PASSAGE)).collect();
        details.text("Description", (!passages.is_empty()).then(|| passages.join("\n\n")));
        details.text("Evidence", outline.evidence.as_deref().and_then(|evidence| lines(evidence, EVIDENCE)));
        for list in &outline.lists {
            details.rows.push((list.label, Row::List(items(list))));
        }
        for link in outline.links.iter().filter(|link| web_url(&link.address, address_bytes).is_none()) {
            details.line(link.label, &link.address, FACT);
        }
        details.line("Engagement", event.engagement_name().or(event.engagement_id()).unwrap_or_default(), FACT);
        details.line("Client", event.engagement_client().unwrap_or_default(), FACT);
        details.line("Event id", event.id, FACT);
        details
    }

    fn line(&mut self, name: &'a str, value: &str, limit: usize) {
        let value = tidy(bare(value), Rule::ONE_LINE, limit, utf16, ELLIPSIS);
        self.text(name, (!is_blank(&value)).then(|| value.into_owned()));
    }

    fn text(&mut self, name: &'a str, value: Option<String>) {
        self.rows.extend(value.map(|value| (name, Row::Text(value))));
    }
}

/// The first items, and the number of items left out.
fn items(list: &List<'_>) -> Vec<String> {
    let shown = list.shown.iter().map(|item| tidy(bare(item), Rule::ONE_LINE, ITEM, utf16, ELLIPSIS).into_owned());
    let mut items: Vec<String> = shown.collect();
    match list.total - list.shown.len() {
        0 => {}
        more => items.push(format!("and {more} more")),
    }
    items
}

fn lines(text: &str, limit: usize) -> Option<String> {
    let text = tidy(bare(text), Rule::LINES, limit, utf16, ELLIPSIS);
    (!is_blank(&text)).then(|| text.into_owned())
}

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.rows.len()))?;
        for (name, row) in &self.rows {
            map.serialize_entry(name, row)?;
        }
        map.end()
    }
}
