//! Adaptive Cards 1.4 as far as we use them, in the envelope of a message.

use std::borrow::Cow;

use serde::Serialize;

/// What is posted. Without exactly this envelope a workflow takes the post and then fails unseen.
#[derive(Serialize)]
pub(crate) struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    attachments: [Attachment<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment<'a> {
    content_type: &'static str,
    /// Always null.
    content_url: Option<&'static str>,
    content: Card<'a>,
}

#[derive(Serialize)]
struct Card<'a> {
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

#[derive(Serialize)]
struct Width {
    width: &'static str,
}

impl<'a> Message<'a> {
    /// A message of one card.
    pub(crate) fn of(body: Vec<Element<'a>>, actions: Vec<Action>) -> Self {
        Self {
            kind: "message",
            attachments: [Attachment {
                content_type: "application/vnd.microsoft.card.adaptive",
                content_url: None,
                content: Card {
                    kind: "AdaptiveCard",
                    schema: "http://adaptivecards.io/schemas/adaptive-card.json",
                    version: "1.4",
                    msteams: Width { width: "Full" },
                    body,
                    actions,
                },
            }],
        }
    }
}

/// A part of the card's body.
#[derive(Serialize)]
#[serde(tag = "type")]
pub(crate) enum Element<'a> {
    Container { style: &'static str, bleed: bool, items: Vec<Element<'a>> },
    RichTextBlock { inlines: Vec<TextRun<'a>> },
    FactSet { facts: Vec<Fact<'a>> },
}

/// Text that never passes a Markdown step.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) struct TextRun<'a> {
    pub(crate) text: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) font_type: Option<&'static str>,
}

impl<'a> TextRun<'a> {
    pub(crate) fn plain(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: text.into(), size: None, weight: None, font_type: None }
    }

    pub(crate) fn bold(text: impl Into<Cow<'a, str>>) -> Self {
        Self { weight: Some("Bolder"), ..Self::plain(text) }
    }

    pub(crate) fn title(text: impl Into<Cow<'a, str>>) -> Self {
        Self { size: Some("Large"), ..Self::bold(text) }
    }

    pub(crate) fn code(text: impl Into<Cow<'a, str>>) -> Self {
        Self { font_type: Some("Monospace"), ..Self::plain(text) }
    }
}

/// A row of a table of two columns. Both pass a Markdown step: the value is escaped.
#[derive(Serialize)]
pub(crate) struct Fact<'a> {
    pub(crate) title: &'static str,
    pub(crate) value: Cow<'a, str>,
}

/// A button that opens an address.
#[derive(Serialize)]
#[serde(tag = "type", rename = "Action.OpenUrl")]
pub(crate) struct Action {
    pub(crate) title: &'static str,
    pub(crate) url: String,
}
