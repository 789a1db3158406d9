//! Adaptive Cards: messages that Teams accepts and shows regardless of the input text (FORMATS, section 2).
//!
//! Every constructor takes raw text and cleans, truncates and escapes it; an element without visible text is left out.
//! Lengths are UTF-16 units of the text before escaping and are not counted again: Teams limits the whole card, in
//! bytes. A card that is too large is dropped by Teams without an error, so [`payload`] makes smaller ones until one
//! fits. The format decides which part of an event goes where.
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
//!     card.add_action(Action::open("Open finding", "https://platform.example/findings/F-0101", 2_000));
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

/// The most actions of one card; further ones are left out. Teams shows six.
pub const ACTIONS: usize = 6;

/// The longest title of an action, in UTF-16 units.
pub const ACTION_TITLE: usize = 80;

/// One card, in the envelope of a message. A workflow accepts any other envelope and then fails without an error.
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
    /// Always null; Teams requires the member.
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

/// The width of a card in Teams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "lowercase"))]
#[serde(into = "MsTeams")]
pub enum Width {
    /// As wide as the channel.
    #[default]
    Full,
    /// As narrow as a message: the default of Teams.
    Default,
}

/// [`Width`] in the card's `msteams` member.
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
    /// An empty card of version 1.4.
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

    /// Appends an element to the body. An element without visible content is ignored.
    pub fn push(&mut self, element: Element<'a>) {
        if !element.is_empty() {
            self.attachments[0].content.body.push(element);
        }
    }

    /// Calls [`Card::push`] for each element.
    pub fn extend(&mut self, elements: impl IntoIterator<Item = Element<'a>>) {
        elements.into_iter().for_each(|element| self.push(element));
    }

    /// Adds a button under the card. Returns `false` when there is no action or the card has [`ACTIONS`] already; the
    /// caller then shows the address as text.
    pub fn add_action(&mut self, action: Option<Action>) -> bool {
        let actions = &mut self.attachments[0].content.actions;
        match action {
            Some(action) if actions.len() < ACTIONS => {
                actions.push(action);
                true
            }
            _ => false,
        }
    }

    /// The number of buttons.
    pub fn actions(&self) -> usize {
        self.attachments[0].content.actions.len()
    }
}

/// One element of the card's body.
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
    /// Buttons within the card; those of [`Card::add_action`] are under it.
    ActionSet {
        actions: [Action; 1],
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type")]
struct Column<'a> {
    width: &'static str,
    items: Vec<Element<'a>>,
}

/// The distance to the element above: 0, 8, 12 or 16 pixels in Teams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Spacing {
    None,
    Small,
    Medium,
}

impl<'a> Element<'a> {
    /// Elements on a coloured background that reaches from edge to edge.
    pub fn container(style: Style, items: impl IntoIterator<Item = Element<'a>>) -> Self {
        let items = items.into_iter().filter(|item| !item.is_empty()).collect();
        Self(Kind::Container { spacing: None, style, bleed: true, items })
    }

    /// Elements on a background of their own, set off from those around them.
    pub fn panel(items: impl IntoIterator<Item = Element<'a>>) -> Self {
        let items = items.into_iter().filter(|item| !item.is_empty()).collect();
        Self(Kind::Container { spacing: None, style: Style::Emphasis, bleed: false, items })
    }

    /// One paragraph, made of runs.
    pub fn text(runs: impl IntoIterator<Item = Run<'a>>) -> Self {
        let inlines = runs.into_iter().filter(|run| !run.is_empty()).collect();
        Self(Kind::RichTextBlock { spacing: None, inlines })
    }

    /// A multi-line text, one paragraph per line, because clients disagree on how to show a line feed inside a run
    /// (microsoft/AdaptiveCards#4914). Truncated at `limit` UTF-16 units and after `most` lines; consecutive empty
    /// lines make one gap. `style` sets the look of each run.
    pub fn lines(text: &str, limit: usize, most: usize, style: impl Fn(Run<'a>) -> Run<'a>) -> Vec<Self> {
        let mut elements = Vec::new();
        let mut spacing = None;
        for run in text::lines(text, limit, most) {
            if run.is_empty() {
                spacing = Some(Spacing::Small);
            } else {
                elements.push(Self(Kind::RichTextBlock { spacing, inlines: vec![style(run)] }));
                spacing = Some(Spacing::None);
            }
        }
        elements
    }

    /// A name with its value, in columns aligned with those of the row above. Unlike the values of [`Element::facts`],
    /// neither goes through Markdown. Empty without a value.
    pub fn row(name: Run<'a>, value: Run<'a>) -> Self {
        let columns = if value.is_empty() {
            Vec::new()
        } else {
            let column = |width, run| Column { width, items: vec![Self::text([run])] };
            vec![column("100px", name), column("stretch", value)]
        };
        Self(Kind::ColumnSet { spacing: Some(Spacing::Small), columns })
    }

    /// Elements with a button of their own at the right.
    pub fn with_button(items: impl IntoIterator<Item = Element<'a>>, button: Option<Action>) -> Self {
        let items: Vec<_> = items.into_iter().filter(|item| !item.is_empty()).collect();
        let mut columns = Vec::new();
        if !items.is_empty() {
            columns.push(Column { width: "stretch", items });
            let button = button.map(|button| Self(Kind::ActionSet { actions: [button] }));
            columns.extend(button.map(|button| Column { width: "auto", items: vec![button] }));
        }
        Self(Kind::ColumnSet { spacing: None, columns })
    }

    /// Elements side by side, in columns of equal width.
    pub fn columns(columns: impl IntoIterator<Item = Vec<Element<'a>>>) -> Self {
        let filled = |items: &Vec<Element<'_>>| items.iter().any(|item| !item.is_empty());
        let column = |items| Column { width: "stretch", items };
        Self(Kind::ColumnSet { spacing: None, columns: columns.into_iter().filter(filled).map(column).collect() })
    }

    /// A table of two columns.
    pub fn facts(facts: impl IntoIterator<Item = Fact<'a>>) -> Self {
        Self(Kind::FactSet { facts: facts.into_iter().filter(|fact| !fact.is_empty()).collect() })
    }

    /// Places the element directly under the one above.
    #[must_use]
    pub fn no_spacing(self) -> Self {
        Self(self.0.spaced(Spacing::None))
    }

    /// Sets a larger distance to the element above than usual.
    #[must_use]
    pub fn wide_spacing(self) -> Self {
        Self(self.0.spaced(Spacing::Medium))
    }

    /// Returns true if the element shows nothing.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Kind::Container { items, .. } => items.is_empty(),
            Kind::RichTextBlock { inlines, .. } => inlines.is_empty(),
            Kind::ColumnSet { columns, .. } => columns.is_empty(),
            Kind::FactSet { facts } => facts.is_empty(),
            Kind::ActionSet { .. } => false,
        }
    }
}

impl Kind<'_> {
    fn spaced(mut self, wanted: Spacing) -> Self {
        match &mut self {
            Self::Container { spacing, .. } | Self::RichTextBlock { spacing, .. } | Self::ColumnSet { spacing, .. } => {
                *spacing = Some(wanted);
            }
            // These keep their default spacing.
            Self::FactSet { .. } | Self::ActionSet { .. } => {}
        }
        self
    }
}

/// A container's background colour; the reader's theme decides the shade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// No colour.
    Default,
    /// Light grey.
    Emphasis,
    /// Green.
    Good,
    /// Blue.
    Accent,
    /// Yellow.
    Warning,
    /// Red.
    Attention,
}

/// A button that opens a URL.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "Action.OpenUrl")]
pub struct Action {
    title: Cow<'static, str>,
    url: String,
}

impl Action {
    /// Returns `None` when `address` is not a web URL that is safe to open ([`web_url`]) or is longer than `max_bytes`,
    /// or when the title has no visible text; the caller then shows the address as text. The title is truncated at
    /// [`ACTION_TITLE`].
    pub fn open(title: &str, address: &str, max_bytes: usize) -> Option<Self> {
        let title = text::line(title, ACTION_TITLE);
        if title.is_empty() {
            return None;
        }
        let url = web_url(address, max_bytes)?;
        Some(Self { title: Cow::Owned(title.into_owned()), url })
    }

    /// The URL as it is sent.
    pub fn url(&self) -> &str {
        &self.url
    }
}
