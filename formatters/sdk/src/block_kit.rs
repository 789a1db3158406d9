//! Block Kit: messages that Slack accepts regardless of the input text (FORMATS, section 1).
//!
//! Every constructor takes raw text and cleans, truncates and escapes it; a block without visible text is left out.
//! Every limit of Slack's is enforced here. Lengths are UTF-16 units of the escaped text, an upper bound of every unit
//! that Slack may count in. The format decides which part of an event goes where.
//!
//! ```
//! use heraldry_formatter::block_kit::{Button, Color, Message, PlainText};
//!
//! let mut message = Message::new(PlainText::line("HIGH: a < b", 300));
//! message.blocks().header(PlainText::line("a < b", 150));
//! message.blocks().actions(Button::open("Open finding", "https://platform.example/findings/F-0101"));
//! message.colored(Color::rgb(0xEA_58_0C)).section(PlainText::lines("Two\nlines, no <!channel>.", 600));
//! let payload = message.payload()?;
//! assert!(!String::from_utf8_lossy(&payload.body).contains('<'));
//! # Ok::<(), heraldry_formatter::Error>(())
//! ```

mod mention;
#[cfg(test)]
mod property;
mod text;

use serde::{Serialize, Serializer};

pub use mention::Mention;
pub use text::{Compose, Mrkdwn, PlainText, Text};

use crate::link::web_url;
use crate::{Error, Payload};

/// The most blocks of a message; further ones are left out, and the last block says so.
pub const BLOCKS: usize = 50;
/// The most blocks beside the coloured bar; further ones are left out, and the last block says so. Slack has rejected
/// more as `invalid_attachments` (slackapi/bolt-python#914, a user's report; the documentation names no number).
pub const COLORED_BLOCKS: usize = 20;
/// The longest text of a header, in UTF-16 units, as are all lengths below.
pub const HEADER_TEXT: usize = 150;
/// The longest text of a section, of a context element, and of any text object.
pub const TEXT: usize = 3000;
/// The longest text of one field of a section.
pub const FIELD_TEXT: usize = 2000;
/// The most fields of one section.
pub const SECTION_FIELDS: usize = 10;
/// The most elements of one context.
pub const CONTEXT_ELEMENTS: usize = 10;
/// The most buttons of one block.
pub const ACTIONS: usize = 25;
/// The longest label of a button.
pub const BUTTON_TEXT: usize = 75;
/// The longest URL of a button.
pub const BUTTON_URL: usize = 3000;

/// A message: a line for notifications, blocks, and further blocks beside a coloured bar.
///
/// Only an attachment has a colour, and its content "may be wrapped, truncated, or hidden behind a show more" (Slack's
/// documentation, as quoted in grafana-cold-storage/oncall#323); a mention in an attachment is shown but notifies
/// no one (fingerprintjs/fingerprintjs-pro-use-cases#242). Important content therefore goes to [`Message::blocks`], the
/// rest to [`Message::colored`].
#[derive(Debug, Serialize)]
pub struct Message<'a> {
    text: Line<'a>,
    /// Off, or absent: `text` holds words of the event, which are not markup.
    #[serde(skip_serializing_if = "Option::is_none")]
    mrkdwn: Option<bool>,
    /// Off: otherwise Slack would fetch every URL in `text`, including the vulnerable one.
    unfurl_links: bool,
    unfurl_media: bool,
    #[serde(skip_serializing_if = "Blocks::is_empty")]
    blocks: Blocks<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment<'a>>,
}

/// Plain text where Slack expects a bare string, optionally with mentions.
#[derive(Debug)]
struct Line<'a> {
    text: PlainText<'a>,
    mentions: Option<Mrkdwn>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Slack rejects a message without text.
        let text = if self.text.is_empty() { "-" } else { self.text.as_str() };
        match &self.mentions {
            Some(mentions) => to.collect_str(&format_args!("{text} {}", mentions.as_str())),
            None => to.serialize_str(text),
        }
    }
}

#[derive(Debug, Serialize)]
struct Attachment<'a> {
    color: Color,
    blocks: Blocks<'a>,
}

/// A column of blocks. When there are too many, the last one says so.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Blocks<'a> {
    blocks: Vec<Block<'a>>,
    /// The most blocks allowed.
    #[serde(skip)]
    most: usize,
    /// Prefix of the `action_id` of each button, which must be unique within a message.
    #[serde(skip)]
    buttons: &'static str,
}

/// The colour of the bar beside the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color([u8; 7]);

impl Color {
    /// A colour from `0xRRGGBB`; the highest byte is ignored.
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
    /// Has a text, fields, or both.
    Section {
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<Text<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        fields: Vec<Text<'a>>,
        /// Shown at the right.
        #[serde(skip_serializing_if = "Option::is_none")]
        accessory: Option<Button>,
    },
    Actions {
        elements: Vec<Button>,
    },
    Context {
        elements: Vec<Text<'a>>,
    },
}

impl<'a> Message<'a> {
    /// A message without blocks. Slack shows `text` in notifications only, once there are blocks; a few hundred
    /// characters are enough.
    pub fn new(text: PlainText<'a>) -> Self {
        Self {
            text: Line { text, mentions: None },
            mrkdwn: Some(false),
            unfurl_links: false,
            unfurl_media: false,
            blocks: Blocks::new(BLOCKS, "open"),
            attachments: Vec::new(),
        }
    }

    /// Makes the notification mention people. A [`Mention`] comes from a webhook's options and cannot be made from an
    /// event.
    pub fn mention(&mut self, mentions: Mrkdwn) {
        if !mentions.is_empty() {
            self.text.mentions = Some(mentions);
            self.mrkdwn = None;
        }
    }

    /// The blocks that are always visible.
    pub fn blocks(&mut self) -> &mut Blocks<'a> {
        &mut self.blocks
    }

    /// The blocks beside a bar of this colour, which the reader may have to expand. There is one bar; it takes the last
    /// colour that was set.
    pub fn colored(&mut self, color: Color) -> &mut Blocks<'a> {
        self.attachments.truncate(1);
        match self.attachments.len() {
            0 => self.attachments.push(Attachment { color, blocks: Blocks::new(COLORED_BLOCKS, "more") }),
            _ => self.attachments[0].color = color,
        }
        &mut self.attachments[0].blocks
    }

    /// Serializes the message as a delivery's payload. An attachment without blocks is left out.
    ///
    /// # Errors
    /// `internal` if serialization fails, which no known input causes: all keys are field names.
    pub fn payload(mut self) -> Result<Payload, Error> {
        self.attachments.retain(|attachment| !attachment.blocks.is_empty());
        // Most messages have 1 to 3 KiB; growing the buffer from nothing would copy as much again.
        let mut body = Vec::with_capacity(4096);
        serde_json::to_writer(&mut body, &self).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(Payload { content_type: "application/json; charset=utf-8".into(), headers: Vec::new(), body })
    }
}

impl<'a> Blocks<'a> {
    fn new(most: usize, buttons: &'static str) -> Self {
        Self { blocks: Vec::with_capacity(8), most, buttons }
    }

    /// Returns true if there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Adds a heading, truncated at [`HEADER_TEXT`].
    pub fn header(&mut self, text: PlainText<'a>) {
        if !text.is_empty() {
            self.push(Block::Header { text: text.within(HEADER_TEXT) });
        }
    }

    /// Adds a paragraph.
    pub fn section(&mut self, text: impl Into<Text<'a>>) {
        let text = text.into();
        if !text.is_empty() {
            self.push(Block::Section { text: Some(text), fields: Vec::new(), accessory: None });
        }
    }

    /// Adds a paragraph with a line under it, truncated at [`FIELD_TEXT`], and a button at the right: the most that one
    /// block can hold.
    pub fn summary(&mut self, text: PlainText<'a>, line: Option<Mrkdwn>, button: Option<Button>) {
        let accessory = button.map(|button| self.named(button));
        let fields = line.into_iter().map(|line| Text::from(line).within(FIELD_TEXT)).filter(|line| !line.is_empty());
        if !text.is_empty() {
            self.push(Block::Section { text: Some(text.into()), fields: fields.collect(), accessory });
        }
    }

    /// Adds a two-column table, each field truncated at [`FIELD_TEXT`], in as many sections as needed.
    pub fn fields<T: Into<Text<'a>>>(&mut self, fields: impl IntoIterator<Item = T>) {
        let fields = fields.into_iter().map(|field| field.into().within(FIELD_TEXT)).filter(|field| !field.is_empty());
        self.chunks(fields, SECTION_FIELDS, |fields| Block::Section { text: None, fields, accessory: None });
    }

    /// Adds a line of small print, in as many blocks as needed.
    pub fn context<T: Into<Text<'a>>>(&mut self, elements: impl IntoIterator<Item = T>) {
        let elements = elements.into_iter().map(Into::into).filter(|element| !element.is_empty());
        self.chunks(elements, CONTEXT_ELEMENTS, |elements| Block::Context { elements });
    }

    /// Adds a row of buttons, in as many blocks as needed.
    pub fn actions(&mut self, buttons: impl IntoIterator<Item = Button>) {
        let mut buttons = buttons.into_iter().peekable();
        while buttons.peek().is_some() {
            let mut elements = Vec::new();
            for button in buttons.by_ref().take(ACTIONS) {
                elements.push(Button { action_id: self.action_id(elements.len()), ..button });
            }
            self.push(Block::Actions { elements });
        }
    }

    fn named(&self, button: Button) -> Button {
        Button { action_id: self.action_id(0), ..button }
    }

    /// An id that is unique within the message, as Slack requires.
    fn action_id(&self, beside: usize) -> String {
        let count = |block: &Block<'_>| match block {
            Block::Actions { elements } => elements.len(),
            Block::Section { accessory: Some(_), .. } => 1,
            _ => 0,
        };
        let before: usize = self.blocks.iter().map(count).sum();
        format!("{}-{}", self.buttons, before + beside)
    }

    fn chunks<T>(&mut self, items: impl Iterator<Item = T>, most: usize, block: impl Fn(Vec<T>) -> Block<'a>) {
        let mut items = items.peekable();
        while items.peek().is_some() {
            self.push(block(items.by_ref().take(most).collect()));
        }
    }

    fn push(&mut self, block: Block<'a>) {
        if self.blocks.len() < self.most {
            self.blocks.push(block);
        } else if let Some(last) = self.blocks.last_mut() {
            *last = Block::Context { elements: vec![PlainText::line("...", 3).into()] };
        }
    }
}

/// A button that opens a URL.
#[derive(Debug, Serialize)]
pub struct Button {
    #[serde(rename = "type")]
    kind: &'static str,
    text: PlainText<'static>,
    url: String,
    action_id: String,
}

impl Button {
    /// Returns `None` when `address` is not a web URL that is safe to open ([`web_url`]) or is longer than
    /// [`BUTTON_URL`], or when the label has no visible text; the caller then shows the address as text. The label is
    /// truncated at [`BUTTON_TEXT`].
    pub fn open(label: &str, address: &str) -> Option<Self> {
        let text = PlainText::line(label, BUTTON_TEXT);
        if text.is_empty() {
            return None;
        }
        let url = web_url(address, BUTTON_URL)?;
        Some(Self { kind: "button", text: text.into_owned(), url, action_id: String::new() })
    }
}
