//! Block Kit as far as we use it, and its limits.

use std::borrow::Cow;

use serde::Serialize;

/// Of a header's text, in characters (FORMATS, section 1).
pub(crate) const HEADER_TEXT: usize = 150;
/// Of one of a section's fields.
pub(crate) const FIELD_TEXT: usize = 2000;
/// How many fields a section has.
pub(crate) const SECTION_FIELDS: usize = 10;
/// Of a button's address.
pub(crate) const BUTTON_URL: usize = 3000;

/// What is posted.
#[derive(Serialize)]
pub(crate) struct Message<'a> {
    /// For notifications, and the line above the attachment.
    pub(crate) text: String,
    /// Off: `text` holds words of the event, which are no markup.
    pub(crate) mrkdwn: bool,
    /// Off: else Slack would fetch every address in `text`, which may be the weak spot itself.
    pub(crate) unfurl_links: bool,
    pub(crate) unfurl_media: bool,
    pub(crate) attachments: [Attachment<'a>; 1],
}

/// The part with a colour.
#[derive(Serialize)]
pub(crate) struct Attachment<'a> {
    /// `#RRGGBB`.
    pub(crate) color: &'static str,
    pub(crate) blocks: Vec<Block<'a>>,
}

/// A layout block.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Block<'a> {
    Header {
        text: Text<'a>,
    },
    /// Has a text or fields.
    Section {
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<Text<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        fields: Vec<Text<'a>>,
    },
    Actions {
        elements: Vec<Button>,
    },
    Context {
        elements: Vec<Text<'a>>,
    },
}

impl<'a> Block<'a> {
    /// A section with one text.
    pub(crate) fn text(text: Text<'a>) -> Self {
        Self::Section { text: Some(text), fields: Vec::new() }
    }

    /// A section with fields; at most [`SECTION_FIELDS`].
    pub(crate) fn fields(fields: Vec<Text<'a>>) -> Self {
        Self::Section { text: None, fields }
    }
}

/// A text object. Its text is escaped, not empty, and within its block's limit.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Text<'a> {
    PlainText {
        text: Cow<'a, str>,
        /// Always off: `:tada:` in an event stays `:tada:`.
        emoji: bool,
    },
    Mrkdwn {
        text: Cow<'a, str>,
        /// Always on: nothing becomes a link or a mention by itself.
        verbatim: bool,
    },
}

impl<'a> Text<'a> {
    pub(crate) fn plain(text: impl Into<Cow<'a, str>>) -> Self {
        Self::PlainText { text: text.into(), emoji: false }
    }

    pub(crate) fn mrkdwn(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Mrkdwn { text: text.into(), verbatim: true }
    }
}

/// A button that opens an address.
#[derive(Serialize)]
pub(crate) struct Button {
    #[serde(rename = "type")]
    kind: &'static str,
    text: Text<'static>,
    url: String,
    /// Different for each button of a message.
    action_id: String,
}

impl Button {
    /// The `n`th button of the message.
    pub(crate) fn link(n: usize, label: &'static str, url: String) -> Self {
        Self { kind: "button", text: Text::plain(label), url, action_id: format!("open-{n}") }
    }
}
