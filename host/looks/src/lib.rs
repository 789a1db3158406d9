//! Draws the body of a request as the people at the destination see it: bytes and a content type in, inert HTML out.
//!
//! No destination and no formatter is named here. The body's content language is recognised by its own marks, so a
//! third party's formatter is drawn too: Adaptive Cards, Block Kit, embeds, syslog lines, CEF, LEEF, otherwise JSON,
//! otherwise text. Members that cannot be drawn are shown as labelled JSON.
//!
//! Bodies are hostile. All text is escaped, links are https only and name their host, control and bidirectional
//! characters become visible marks, nothing loads or runs, and the output's size is bounded.

#![forbid(unsafe_code)]

mod blocks;
mod cards;
mod embeds;
mod html;
mod json;
mod limits;
mod lines;
mod link;
mod markup;
mod moment;
mod node;

use html::Html;
use limits::Limits;
use node::Node;

/// Upper bound of a fragment's size in bytes.
pub const MAX_FRAGMENT_BYTES: usize = html::MAX_BYTES + 64 * 1024;

/// The style sheet of a [document](Drawing::document).
pub const STYLE: &str = include_str!("look.css");

macro_rules! style_hash {
    () => {
        "'sha256-ypvhV1c6CIMbJ7OK/mjtam+4zVZmc9+udBh+KUvQUHQ='"
    };
}

/// [`STYLE`] as a source of a `style-src` directive.
pub const STYLE_SOURCE: &str = style_hash!();

/// The `Content-Security-Policy` to serve a [document](Drawing::document) with.
pub const POLICY: &str = concat!(
    "default-src 'none'; style-src ",
    style_hash!(),
    "; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox"
);

/// The content language that a body was recognised as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Adaptive Cards, alone or attached to a message.
    Cards,
    /// A message of Block Kit blocks, also inside coloured attachments.
    Blocks,
    /// A message with embeds.
    Embeds,
    /// Lines of RFC 5424 or RFC 3164.
    Syslog,
    /// Lines of the Common Event Format.
    Cef,
    /// Lines of the Log Event Extended Format.
    Leef,
    /// One JSON value.
    Json,
    /// JSON values, one after another.
    JsonSequence,
    /// Any other text.
    Text,
    /// No bytes at all.
    Empty,
}

impl Language {
    /// The name to show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cards => "Adaptive Card",
            Self::Blocks => "Block Kit message",
            Self::Embeds => "Message with embeds",
            Self::Syslog => "Syslog",
            Self::Cef => "CEF",
            Self::Leef => "LEEF",
            Self::Json => "JSON",
            Self::JsonSequence => "JSON, several values",
            Self::Text => "Text",
            Self::Empty => "Empty body",
        }
    }
}

/// A drawn body.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// What the body was recognised as.
    pub language: Language,
    /// One `article` element, to be styled by [`STYLE`].
    pub fragment: String,
}

impl Drawing {
    /// Returns a whole document: the fragment with its style, to be served with [`POLICY`].
    #[must_use]
    pub fn document(&self) -> String {
        let name = self.language.name();
        format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Preview: {name}</title>\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head>\
             <body><main>{}</main></body></html>",
            self.fragment
        )
    }
}

/// Draws a body. The content type only decides where the body's own marks do not.
#[must_use]
pub fn draw(content_type: &str, body: &[u8]) -> Drawing {
    let text = String::from_utf8_lossy(body);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut html = Html::new();
    let mut limits = Limits::default();
    let language = inside(&mut html, &mut limits, text, content_type);

    let mut whole = Html::new();
    whole.wrap("article", class(language), |whole| {
        whole.wrap("h1", "", |whole| whole.text(language.name()));
        if std::str::from_utf8(body).is_err() {
            whole.wrap("p", "over", |whole| {
                whole.text("The body is not UTF-8: bytes that are not are shown as \u{fffd}.");
            });
        }
        limits.alert(whole);
        whole.append(html);
        limits.table(whole);
    });
    Drawing { language, fragment: whole.finish() }
}

const fn class(language: Language) -> &'static str {
    match language {
        Language::Cards => "looks cards",
        Language::Blocks => "looks blocks",
        Language::Embeds => "looks embeds",
        _ => "looks",
    }
}

fn inside(html: &mut Html, limits: &mut Limits, text: &str, content_type: &str) -> Language {
    if text.trim().is_empty() {
        html.wrap("p", "note", |html| html.text("The body is empty."));
        return Language::Empty;
    }
    let is_text = content_type.trim_start().to_ascii_lowercase().starts_with("text/");
    if json::is_one_value(text) && !(is_text && text.trim_start().starts_with(|c: char| c != '{' && c != '[')) {
        return value(html, limits, text);
    }
    if let Some(language) = lines::draw(html, limits, text) {
        return language;
    }
    if let Some(values) = json::sequence(text) {
        json::several(html, &values);
        return Language::JsonSequence;
    }
    html.wrap("pre", "text", |html| html.text(text));
    Language::Text
}

fn value(html: &mut Html, limits: &mut Limits, text: &str) -> Language {
    // Fails for numbers that no float holds; such a body is no chat message.
    if let Ok(node) = serde_json::from_str::<Node>(text) {
        if cards::recognises(&node) {
            cards::draw(html, limits, &node, text.len());
            return Language::Cards;
        }
        if embeds::recognises(&node) {
            embeds::draw(html, limits, &node);
            return Language::Embeds;
        }
        if blocks::recognises(&node) {
            blocks::draw(html, limits, &node);
            return Language::Blocks;
        }
    }
    json::whole(html, text);
    Language::Json
}
