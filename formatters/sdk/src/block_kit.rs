//! Block Kit: messages that Slack takes, whatever text goes in (FORMATS, section 1).
//!
//! Every constructor takes raw text and cleans, cuts and escapes it; a text of which nothing is left takes its
//! block with it. What Slack limits is limited here, lengths in UTF-16 units of the escaped text: no way of
//! counting that Slack may use gives more. Which part of an event goes where is the format's own business.
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

/// The most blocks of a message; what comes after is left out, and the last one says so.
pub const BLOCKS: usize = 50;
/// The most blocks beside the coloured bar, likewise: Slack has refused more as `invalid_attachments`
/// (slackapi/bolt-python#914, a user's report; the documents name no number).
pub const COLORED_BLOCKS: usize = 20;
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

/// What is posted: a line for notifications, blocks, and more blocks beside a coloured bar.
///
/// Only an attachment has a colour, and what stands in one "may be wrapped, truncated, or hidden behind a show more"
/// (Slack's documents, as grafana-cold-storage/oncall#323 has them); a mention there is shown and notifies nobody
/// (fingerprintjs/fingerprintjs-pro-use-cases#242). So what matters goes to [`Message::blocks`], the rest to
/// [`Message::colored`].
#[derive(Debug, Serialize)]
pub struct Message<'a> {
    text: Line<'a>,
    /// Off, or absent: `text` holds words of the event, which are no markup.
    #[serde(skip_serializing_if = "Option::is_none")]
    mrkdwn: Option<bool>,
    /// Off: else Slack would fetch every address in `text`, which may be the weak spot itself.
    unfurl_links: bool,
    unfurl_media: bool,
    #[serde(skip_serializing_if = "Blocks::is_empty")]
    blocks: Blocks<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment<'a>>,
}

/// A plain text where Slack wants a bare string, and perhaps somebody who is to be told.
#[derive(Debug)]
struct Line<'a> {
    text: PlainText<'a>,
    mentions: Option<Mrkdwn>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Without any text Slack refuses the message.
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

/// Blocks, one under the other; the last says so when there were too many.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Blocks<'a> {
    blocks: Vec<Block<'a>>,
    /// How many there may be.
    #[serde(skip)]
    most: usize,
    /// Stands before the number of a button, which a message may have only once.
    #[serde(skip)]
    buttons: &'static str,
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
        /// At the right.
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
    /// A message without blocks yet. `text` is what notifications show and, once there are blocks, nobody else; a few
    /// hundred characters are enough.
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

    /// Has the notification mention somebody, too. Never what an event says: there is no such thing as a
    /// [`Mention`] out of it.
    pub fn mention(&mut self, mentions: Mrkdwn) {
        if !mentions.is_empty() {
            self.text.mentions = Some(mentions);
            self.mrkdwn = None;
        }
    }

    /// What is always seen.
    pub fn blocks(&mut self) -> &mut Blocks<'a> {
        &mut self.blocks
    }

    /// What stands beside a bar of this colour, and may have to be opened to be seen. There is one bar; the colour is
    /// the last that was asked for.
    pub fn colored(&mut self, color: Color) -> &mut Blocks<'a> {
        self.attachments.truncate(1);
        match self.attachments.len() {
            0 => self.attachments.push(Attachment { color, blocks: Blocks::new(COLORED_BLOCKS, "more") }),
            _ => self.attachments[0].color = color,
        }
        &mut self.attachments[0].blocks
    }

    /// The message as what a delivery carries. A bar beside nothing is left out.
    ///
    /// # Errors
    /// None that anybody has seen: what is serialised has no keys but names.
    pub fn payload(mut self) -> Result<Payload, Error> {
        self.attachments.retain(|attachment| !attachment.blocks.is_empty());
        // Most messages have 1 to 3 KiB; doubling from nothing would copy as much again.
        let mut body = Vec::with_capacity(4096);
        serde_json::to_writer(&mut body, &self).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(Payload { content_type: "application/json; charset=utf-8".into(), headers: Vec::new(), body })
    }
}

impl<'a> Blocks<'a> {
    fn new(most: usize, buttons: &'static str) -> Self {
        Self { blocks: Vec::with_capacity(8), most, buttons }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
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
            self.push(Block::Section { text: Some(text), fields: Vec::new(), accessory: None });
        }
    }

    /// Adds a paragraph with a line under it, cut at [`FIELD_TEXT`], and a button at the right: all that one block
    /// can hold.
    pub fn summary(&mut self, text: PlainText<'a>, line: Option<Mrkdwn>, button: Option<Button>) {
        let accessory = button.map(|button| self.named(button));
        let fields = line.into_iter().map(|line| Text::from(line).within(FIELD_TEXT)).filter(|line| !line.is_empty());
        if !text.is_empty() {
            self.push(Block::Section { text: Some(text.into()), fields: fields.collect(), accessory });
        }
    }

    /// Adds a table of two columns, each field cut at [`FIELD_TEXT`], in as many sections as it takes.
    pub fn fields<T: Into<Text<'a>>>(&mut self, fields: impl IntoIterator<Item = T>) {
        let fields = fields.into_iter().map(|field| field.into().within(FIELD_TEXT)).filter(|field| !field.is_empty());
        self.chunks(fields, SECTION_FIELDS, |fields| Block::Section { text: None, fields, accessory: None });
    }

    /// Adds a line of small print, in as many blocks as it takes.
    pub fn context<T: Into<Text<'a>>>(&mut self, elements: impl IntoIterator<Item = T>) {
        let elements = elements.into_iter().map(Into::into).filter(|element| !element.is_empty());
        self.chunks(elements, CONTEXT_ELEMENTS, |elements| Block::Context { elements });
    }

    /// Adds a row of buttons, in as many blocks as it takes.
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

    /// Different for each button of a message, as Slack wants it.
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
