//! Block Kit: messages that Slack takes, whatever text goes in (FORMATS, section 1).
//!
//! Every constructor takes raw text and cleans, cuts and escapes it; a text of which nothing is left takes its
//! block with it. What Slack limits is limited here, lengths in UTF-16 units of the escaped text: no way of
//! counting that Slack may use gives more. Which part of an event goes where is the format's own business.
//!
//! ```
//! use heraldry_formatter::block_kit::{Button, Color, Message, PlainText};
//!
//! let mut message = Message::new(PlainText::line("HIGH: a < b", 300), Color::rgb(0xEA_58_0C));
//! message.header(PlainText::line("a < b", 150));
//! message.section(PlainText::lines("Two\nlines, no <!channel>.", 600));
//! message.actions(Button::open("Open finding", "https://platform.example/findings/F-0101"));
//! let payload = message.payload()?;
//! assert!(!String::from_utf8_lossy(&payload.body).contains('<'));
//! # Ok::<(), heraldry_formatter::Error>(())
//! ```

#[cfg(test)]
mod property;
mod text;

use serde::{Serialize, Serializer};

pub use text::{Compose, Mrkdwn, PlainText, Text};

use crate::link::web_url;
use crate::{Error, Payload};

/// The most blocks of a message; what comes after is left out, and the last one says so.
pub const BLOCKS: usize = 50;
/// The longest text of a header.
pub const HEADER_TEXT: usize = 150;
/// The longest text of a section or in a context, and of any text object.
pub const TEXT: usize = 3000;
/// The longest of a section's fields.
pub const FIELD_TEXT: usize = 2000;
/// The most fields of one section.
pub const SECTION_FIELDS: usize = 10;
/// The most elements of one context.
pub const CONTEXT_ELEMENTS: usize = 10;
/// The most buttons of one block.
pub const ACTIONS: usize = 25;
/// The longest label of a button.
pub const BUTTON_TEXT: usize = 75;
/// The longest address of a button.
pub const BUTTON_URL: usize = 3000;

/// What is posted: a line for notifications, and one attachment with the blocks, since only attachments have
/// a colour.
#[derive(Debug, Serialize)]
pub struct Message<'a> {
    text: PlainContent<'a>,
    /// Off: `text` holds words of the event, which are no markup.
    mrkdwn: bool,
    /// Off: else Slack would fetch every address in `text`, which may be the weak spot itself.
    unfurl_links: bool,
    unfurl_media: bool,
    attachments: [Attachment<'a>; 1],
}

/// A plain text where Slack wants a bare string.
#[derive(Debug)]
struct PlainContent<'a>(PlainText<'a>);

impl Serialize for PlainContent<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Without any text Slack refuses the message.
        to.serialize_str(if self.0.is_empty() { "-" } else { self.0.as_str() })
    }
}

#[derive(Debug, Serialize)]
struct Attachment<'a> {
    color: Color,
    blocks: Vec<Block<'a>>,
}

/// The colour of the bar beside the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color([u8; 7]);

impl Color {
    /// `0xRRGGBB`; the highest byte is ignored.
    pub const fn rgb(rgb: u32) -> Self {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = *b"#000000";
        let mut digit = 0;
        while digit < 6 {
            text[6 - digit] = HEX[(rgb >> (4 * digit)) as usize & 15];
            digit += 1;
        }
        Self(text)
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Serialize for Color {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Header {
        text: PlainText<'a>,
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

impl<'a> Message<'a> {
    /// A message without blocks yet. `text` is what notifications show, with the blocks nowhere else; a few
    /// hundred characters are enough.
    pub fn new(text: PlainText<'a>, color: Color) -> Self {
        Self {
            text: PlainContent(text),
            mrkdwn: false,
            unfurl_links: false,
            unfurl_media: false,
            attachments: [Attachment { color, blocks: Vec::with_capacity(12) }],
        }
    }

    /// Adds a heading, cut at [`HEADER_TEXT`].
    pub fn header(&mut self, text: PlainText<'a>) {
        if !text.is_empty() {
            self.push(Block::Header { text: text.within(HEADER_TEXT) });
        }
    }

    /// Adds a paragraph.
    pub fn section(&mut self, text: impl Into<Text<'a>>) {
        let text = text.into();
        if !text.is_empty() {
            self.push(Block::Section { text: Some(text), fields: Vec::new() });
        }
    }

    /// Adds a table of two columns, each field cut at [`FIELD_TEXT`], in as many sections as it takes.
    pub fn fields<T: Into<Text<'a>>>(&mut self, fields: impl IntoIterator<Item = T>) {
        let fields = fields.into_iter().map(|field| field.into().within(FIELD_TEXT)).filter(|field| !field.is_empty());
        self.chunks(fields, SECTION_FIELDS, |fields| Block::Section { text: None, fields });
    }

    /// Adds a line of small print, in as many blocks as it takes.
    pub fn context<T: Into<Text<'a>>>(&mut self, elements: impl IntoIterator<Item = T>) {
        let elements = elements.into_iter().map(Into::into).filter(|element| !element.is_empty());
        self.chunks(elements, CONTEXT_ELEMENTS, |elements| Block::Context { elements });
    }

    /// Adds a row of buttons, in as many blocks as it takes.
    pub fn actions(&mut self, buttons: impl IntoIterator<Item = Button>) {
        let taken = self.buttons();
        // Different for each button of a message, as Slack wants it.
        let named = |(n, button): (usize, Button)| Button { action_id: format!("open-{}", taken + n), ..button };
        let buttons = buttons.into_iter().enumerate().map(named);
        self.chunks(buttons, ACTIONS, |elements| Block::Actions { elements });
    }

    /// The message as what a delivery carries.
    ///
    /// # Errors
    /// None that anybody has seen: what is serialised has no keys but names.
    pub fn payload(&self) -> Result<Payload, Error> {
        // Most messages have 1 to 3 KiB; doubling from nothing would copy as much again.
        let mut body = Vec::with_capacity(4096);
        serde_json::to_writer(&mut body, self).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(Payload { content_type: "application/json; charset=utf-8".into(), headers: Vec::new(), body })
    }

    fn buttons(&self) -> usize {
        let count = |block: &Block<'_>| if let Block::Actions { elements } = block { elements.len() } else { 0 };
        self.attachments[0].blocks.iter().map(count).sum()
    }

    fn chunks<T>(&mut self, items: impl Iterator<Item = T>, most: usize, block: impl Fn(Vec<T>) -> Block<'a>) {
        let mut items = items.peekable();
        while items.peek().is_some() {
            self.push(block(items.by_ref().take(most).collect()));
        }
    }

    fn push(&mut self, block: Block<'a>) {
        let blocks = &mut self.attachments[0].blocks;
        if blocks.len() < BLOCKS {
            blocks.push(block);
        } else {
            blocks[BLOCKS - 1] = Block::Context { elements: vec![PlainText::line("...", 3).into()] };
        }
    }
}

/// A button that opens an address.
#[derive(Debug, Serialize)]
pub struct Button {
    #[serde(rename = "type")]
    kind: &'static str,
    text: PlainText<'static>,
    url: String,
    action_id: String,
}

impl Button {
    /// `None` when `address` is none that may be pressed ([`web_url`]), is longer than [`BUTTON_URL`], or when
    /// nothing of the label is left: then show the address as text. The label is cut at [`BUTTON_TEXT`].
    pub fn open(label: &str, address: &str) -> Option<Self> {
        let text = PlainText::line(label, BUTTON_TEXT);
        if text.is_empty() {
            return None;
        }
        let url = web_url(address, BUTTON_URL)?;
        Some(Self { kind: "button", text: text.into_owned(), url, action_id: String::new() })
    }
}
