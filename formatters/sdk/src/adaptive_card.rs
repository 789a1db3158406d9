//! Adaptive Cards: messages that Teams takes and shows, whatever text goes in (FORMATS, section 2).
//!
//! Every constructor takes raw text and cleans, cuts and escapes it; what nothing is left of is left out. Lengths
//! are UTF-16 units of the text before escaping, and never counted again: what Teams limits is the whole card,
//! in bytes. A card that is too large never arrives, and nobody hears of it, so [`payload`] makes smaller ones
//! until one fits. Which part of an event goes where is the format's own business.
//!
//! ```
//! use heraldry_formatter::adaptive_card::{Action, Card, Element, Run, Style, Width, payload};
//!
//! let text = "[a](javascript:x) {{DATE()}}".repeat(2_000);
//! let payload = payload(None, &[20_000, 500], |&limit| {
//!     let mut card = Card::new(Width::Full);
//!     card.push(Element::container(Style::Warning, [Element::text([Run::line("HIGH: a < b", 200).bold()])]));
//!     card.push(Element::row(Run::line("CVSS", 20).bold(), Run::line("7.4", 20)));
//!     card.extend(Element::lines(&text, limit, 10, |run| run));
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

use serde::{Deserialize, Serialize};

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
    #[serde(skip_serializing_if = "Width::is_default")]
    msteams: Width,
    body: Vec<Element<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
}

/// How wide Teams shows a card. A `default` one is as narrow as a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "lowercase"))]
#[serde(into = "MsTeams")]
pub enum Width {
    /// As wide as the channel.
    #[default]
    Full,
    /// As Teams has it.
    Default,
}

/// [`Width`], as Teams' own member of a card says it.
#[derive(Debug, Serialize)]
struct MsTeams {
    width: &'static str,
}

impl From<Width> for MsTeams {
    fn from(width: Width) -> Self {
        Self { width: if width.is_default() { "Default" } else { "Full" } }
    }
}

impl Width {
    const fn is_default(&self) -> bool {
        matches!(self, Self::Default)
    }
}

impl<'a> Card<'a> {
    /// A card of the version 1.4, without anything on it.
    pub fn new(width: Width) -> Self {
        Self {
            kind: "message",
            attachments: [Attachment {
                content_type: "application/vnd.microsoft.card.adaptive",
                content_url: None,
                content: Content {
                    kind: "AdaptiveCard",
                    schema: "http://adaptivecards.io/schemas/adaptive-card.json",
                    version: "1.4",
                    msteams: width,
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

    /// [`Card::push`] for each.
    pub fn extend(&mut self, elements: impl IntoIterator<Item = Element<'a>>) {
        elements.into_iter().for_each(|element| self.push(element));
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

/// A part of the card's body.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Element<'a>(Kind<'a>);

#[derive(Debug, Serialize)]
#[serde(tag = "type")]
enum Kind<'a> {
    Container {
        #[serde(skip_serializing_if = "Option::is_none")]
        spacing: Option<Spacing>,
        style: Style,
        bleed: bool,
        items: Vec<Element<'a>>,
    },
    RichTextBlock {
        #[serde(skip_serializing_if = "Option::is_none")]
        spacing: Option<Spacing>,
        inlines: Vec<Run<'a>>,
    },
    ColumnSet {
        #[serde(skip_serializing_if = "Option::is_none")]
        spacing: Option<Spacing>,
        columns: Vec<Column<'a>>,
    },
    FactSet {
        facts: Vec<Fact<'a>>,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type")]
struct Column<'a> {
    width: &'static str,
    items: Vec<Element<'a>>,
}

/// How far an element is from the one above it; in Teams 0, 8, 12 or 16 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Spacing {
    None,
    Small,
    Medium,
}

impl<'a> Element<'a> {
    /// Elements on a coloured ground, from edge to edge.
    pub fn container(style: Style, items: impl IntoIterator<Item = Element<'a>>) -> Self {
        let items = items.into_iter().filter(|item| !item.is_empty()).collect();
        Self(Kind::Container { spacing: None, style, bleed: true, items })
    }

    /// Elements on a ground of their own, set off from what stands around them.
    pub fn panel(items: impl IntoIterator<Item = Element<'a>>) -> Self {
        let items = items.into_iter().filter(|item| !item.is_empty()).collect();
        Self(Kind::Container { spacing: None, style: Style::Emphasis, bleed: false, items })
    }

    /// One paragraph of runs.
    pub fn text(runs: impl IntoIterator<Item = Run<'a>>) -> Self {
        let inlines = runs.into_iter().filter(|run| !run.is_empty()).collect();
        Self(Kind::RichTextBlock { spacing: None, inlines })
    }

    /// A text of lines: a paragraph for each, since what a line feed in a run becomes differs from client to client
    /// (microsoft/AdaptiveCards#4914). Cut at `limit`, and after `most` lines; an empty line is only a gap. `dress`
    /// says how the runs look.
    pub fn lines(text: &str, limit: usize, most: usize, dress: impl Fn(Run<'a>) -> Run<'a>) -> Vec<Self> {
        let mut elements = Vec::new();
        let mut spacing = None;
        for run in text::lines(text, limit, most) {
            if run.is_empty() {
                spacing = Some(Spacing::Small);
            } else {
                elements.push(Self(Kind::RichTextBlock { spacing, inlines: vec![dress(run)] }));
                spacing = Some(Spacing::None);
            }
        }
        elements
    }

    /// A name and a value beside it, in columns that stand under those of the row above. Neither passes a Markdown
    /// step, as the values of [`Element::facts`] do. Nothing without a value.
    pub fn row(name: Run<'a>, value: Run<'a>) -> Self {
        let columns = if value.is_empty() {
            Vec::new()
        } else {
            let column = |width, run| Column { width, items: vec![Self::text([run])] };
            vec![column("100px", name), column("stretch", value)]
        };
        Self(Kind::ColumnSet { spacing: Some(Spacing::Small), columns })
    }

    /// Elements side by side, all of one width.
    pub fn columns(columns: impl IntoIterator<Item = Vec<Element<'a>>>) -> Self {
        let filled = |items: &Vec<Element<'_>>| items.iter().any(|item| !item.is_empty());
        let column = |items| Column { width: "stretch", items };
        Self(Kind::ColumnSet { spacing: None, columns: columns.into_iter().filter(filled).map(column).collect() })
    }

    /// A table of two columns.
    pub fn facts(facts: impl IntoIterator<Item = Fact<'a>>) -> Self {
        Self(Kind::FactSet { facts: facts.into_iter().filter(|fact| !fact.is_empty()).collect() })
    }

    /// Right under the element above.
    #[must_use]
    pub fn close(self) -> Self {
        Self(self.0.spaced(Spacing::None))
    }

    /// Further away from the element above than usual.
    #[must_use]
    pub fn apart(self) -> Self {
        Self(self.0.spaced(Spacing::Medium))
    }

    /// Whether nothing would be seen.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Kind::Container { items, .. } => items.is_empty(),
            Kind::RichTextBlock { inlines, .. } => inlines.is_empty(),
            Kind::ColumnSet { columns, .. } => columns.is_empty(),
            Kind::FactSet { facts } => facts.is_empty(),
        }
    }
}

impl Kind<'_> {
    fn spaced(mut self, wanted: Spacing) -> Self {
        match &mut self {
            Self::Container { spacing, .. } | Self::RichTextBlock { spacing, .. } | Self::ColumnSet { spacing, .. } => {
                *spacing = Some(wanted);
            }
            // A table is never set off.
            Self::FactSet { .. } => {}
        }
        self
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
