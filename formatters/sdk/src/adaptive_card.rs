//! Adaptive Cards: messages that Teams takes and shows, whatever text goes in (FORMATS, section 2).
//!
//! Every constructor takes raw text and cleans, cuts and escapes it; what nothing is left of is left out. Lengths
//! are UTF-16 units of the text before escaping, and never counted again: what Teams limits is the whole card,
//! in bytes. A card that is too large never arrives, and nobody hears of it, so [`payload`] makes smaller ones
//! until one fits. Which part of an event goes where is the format's own business.
//!
//! ```
//! use heraldry_formatter::adaptive_card::{Action, Card, Element, Fact, Run, Style, payload};
//!
//! let text = "[a](javascript:x) {{DATE()}}".repeat(2_000);
//! let payload = payload(None, &[20_000, 500], |&limit| {
//!     let mut card = Card::new();
//!     card.push(Element::container(Style::Warning, [Element::text([Run::line("HIGH: a < b", 200).bold()])]));
//!     card.push(Element::facts([Fact::new("CVSS", "7.4", 20)]));
//!     card.push(Element::text([Run::paragraphs(&text, limit)]));
//!     card.act(Action::open("Open finding", "https://platform.example/findings/F-0101", 2_000));
//!     card
//! })?;
//! assert!(payload.body.len() < 2_000);
//! # Ok::<(), heraldry_formatter::Error>(())
//! ```

#[cfg(test)]
mod property;
mod size;
mod text;

use std::borrow::Cow;

use serde::Serialize;

pub use size::{BODY_BYTES, REENCODED_BYTES, payload, reencoded};
pub use text::{Compose, Fact, Run};

use crate::link::web_url;

/// The most actions of one card; what comes after is left out. Teams shows six.
pub const ACTIONS: usize = 6;

/// The longest title of an action.
pub const ACTION_TITLE: usize = 80;

/// One card, in the envelope of a message: without exactly this envelope a workflow takes the post and then
/// fails unseen.
#[derive(Debug, Serialize)]
pub struct Card<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    attachments: [Attachment<'a>; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment<'a> {
    content_type: &'static str,
    /// Always null.
    content_url: Option<&'static str>,
    content: Content<'a>,
}

#[derive(Debug, Serialize)]
struct Content<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    msteams: Width,
    body: Vec<Element<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
}

#[derive(Debug, Serialize)]
struct Width {
    width: &'static str,
}

impl<'a> Card<'a> {
    /// A card of the version 1.4, as wide as the channel, without anything on it.
    pub fn new() -> Self {
        Self {
            kind: "message",
            attachments: [Attachment {
                content_type: "application/vnd.microsoft.card.adaptive",
                content_url: None,
                content: Content {
                    kind: "AdaptiveCard",
                    schema: "http://adaptivecards.io/schemas/adaptive-card.json",
                    version: "1.4",
                    msteams: Width { width: "Full" },
                    body: Vec::with_capacity(10),
                    actions: Vec::new(),
                },
            }],
        }
    }

    /// Adds an element under the last one, unless there is nothing in it.
    pub fn push(&mut self, element: Element<'a>) {
        if !element.is_empty() {
            self.attachments[0].content.body.push(element);
        }
    }

    /// Adds a button under the card. `false` when there is none, or the card has [`ACTIONS`] already: then show
    /// the address as text.
    pub fn act(&mut self, action: Option<Action>) -> bool {
        let actions = &mut self.attachments[0].content.actions;
        match action {
            Some(action) if actions.len() < ACTIONS => {
                actions.push(action);
                true
            }
            _ => false,
        }
    }

    /// How many buttons the card has.
    pub fn actions(&self) -> usize {
        self.attachments[0].content.actions.len()
    }
}

impl Default for Card<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// A part of the card's body.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Element<'a>(Kind<'a>);

#[derive(Debug, Serialize)]
#[serde(tag = "type")]
enum Kind<'a> {
    Container { style: Style, bleed: bool, items: Vec<Element<'a>> },
    RichTextBlock { inlines: Vec<Run<'a>> },
    FactSet { facts: Vec<Fact<'a>> },
}

impl<'a> Element<'a> {
    /// Elements on a coloured ground, from edge to edge.
    pub fn container(style: Style, items: impl IntoIterator<Item = Element<'a>>) -> Self {
        let items = items.into_iter().filter(|item| !item.is_empty()).collect();
        Self(Kind::Container { style, bleed: true, items })
    }

    /// One paragraph of runs.
    pub fn text(runs: impl IntoIterator<Item = Run<'a>>) -> Self {
        Self(Kind::RichTextBlock { inlines: runs.into_iter().filter(|run| !run.is_empty()).collect() })
    }

    /// A table of two columns.
    pub fn facts(facts: impl IntoIterator<Item = Fact<'a>>) -> Self {
        Self(Kind::FactSet { facts: facts.into_iter().filter(|fact| !fact.is_empty()).collect() })
    }

    /// Whether nothing would be seen.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Kind::Container { items, .. } => items.is_empty(),
            Kind::RichTextBlock { inlines } => inlines.is_empty(),
            Kind::FactSet { facts } => facts.is_empty(),
        }
    }
}

/// A container's colour, as the reader's theme has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// None.
    Default,
    /// Something to look at.
    Emphasis,
    /// All is well.
    Good,
    /// Blue.
    Accent,
    /// Yellow.
    Warning,
    /// Red.
    Attention,
}

/// A button that opens an address.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "Action.OpenUrl")]
pub struct Action {
    title: Cow<'static, str>,
    url: String,
}

impl Action {
    /// `None` when `address` is none that may be pressed ([`web_url`]), is longer than `max_bytes`, or when
    /// nothing of the title is left: then show the address as text. The title is cut at [`ACTION_TITLE`].
    pub fn open(title: &str, address: &str, max_bytes: usize) -> Option<Self> {
        let title = text::line(title, ACTION_TITLE);
        if title.is_empty() {
            return None;
        }
        let url = web_url(address, max_bytes)?;
        Some(Self { title: Cow::Owned(title.into_owned()), url })
    }

    /// The address as it is sent.
    pub fn url(&self) -> &str {
        &self.url
    }
}
