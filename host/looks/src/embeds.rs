//! Messages with embeds.

use crate::blocks::color_bar;
use crate::html::Html;
use crate::limits::{Limits, units};
use crate::link;
use crate::markup::{self, Dialect};
use crate::node::{Members, Node};

/// Members of a message, besides its embeds.
const OWN: &[&str] =
    &["content", "embeds", "username", "avatar_url", "tts", "allowed_mentions", "flags", "thread_name", "components"];

const SUPPRESS_EMBEDS: u64 = 1 << 2;
const SUPPRESS_NOTIFICATIONS: u64 = 1 << 12;

/// Returns true for an object with embeds, or with content and nothing that is foreign.
pub(crate) fn recognises(node: &Node) -> bool {
    let Node::Object(members) = node else { return false };
    let has_embeds = node.get("embeds").and_then(Node::list).is_some_and(|items| items.iter().all(Node::is_object));
    has_embeds || (node.text("content").is_some() && members.iter().all(|(name, _)| OWN.contains(&name.as_str())))
}

/// Draws a message.
pub(crate) fn draw(html: &mut Html, limits: &mut Limits, node: &Node) {
    let mut members = Members::of(node);
    members.ignore(&["tts"]);
    for (name, label) in
        [("username", "Shown as"), ("avatar_url", "Picture of the sender"), ("thread_name", "New thread")]
    {
        if let Some(text) = members.text(name) {
            html.wrap("p", "note", |html| html.text(&format!("{label}: {text}")));
        }
    }
    if let Some(text) = members.text("content").filter(|text| !text.is_empty()) {
        limits.add("content", units(text), 2000, "characters");
        markup::draw(html, Dialect::Embeds, text);
    }
    let embeds = members.list("embeds");
    limits.add("embeds", embeds.len(), 10, "embeds");
    limits.add("all embeds", embeds.iter().map(length).sum(), 6000, "characters");
    for item in embeds {
        embed(html, limits, item);
    }
    pings(html, &mut members);
    members.rest(html);
}

/// Says whom a message may ping, and how loudly.
fn pings(html: &mut Html, members: &mut Members<'_>) {
    if let Some(allowed) = members.object("allowed_mentions") {
        let mut allowed_members = Members::of(allowed);
        let kinds: Vec<_> = allowed_members.list("parse").iter().map(|kind| kind.str().unwrap_or("?")).collect();
        let words = if kinds.is_empty() { "nobody by its text".to_owned() } else { kinds.join(", ") };
        html.wrap("p", "note", |html| html.text(&format!("Pings: {words}")));
        allowed_members.rest(html);
    }
    if let Some(flags) = members.whole("flags") {
        let mut words = Vec::new();
        for (flag, word) in
            [(SUPPRESS_EMBEDS, "no embeds of links"), (SUPPRESS_NOTIFICATIONS, "without a notification")]
        {
            if flags & flag != 0 {
                words.push(word.to_owned());
            }
        }
        let others = flags & !(SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS);
        if others != 0 {
            words.push(format!("other flags {others}"));
        }
        html.wrap("p", "note", |html| html.text(&format!("Sent: {}", words.join(", "))));
    }
}

/// The characters that count for the limit of all embeds.
fn length(node: &Node) -> usize {
    let own = ["title", "description"].iter().filter_map(|name| node.text(name));
    let inner = [("author", "name"), ("footer", "text")];
    let inner = inner.iter().filter_map(|(name, part)| node.get(name)?.text(part));
    let fields = node.get("fields").and_then(Node::list).unwrap_or(&[]);
    let fields = fields.iter().flat_map(|field| [field.text("name"), field.text("value")]).flatten();
    own.chain(inner).chain(fields).map(units).sum()
}

fn embed(html: &mut Html, limits: &mut Limits, node: &Node) {
    let mut members = Members::of(node);
    members.ignore(&["type"]);
    let color = members.whole("color").map(|color| format!("{:06x}", color & 0xff_ff_ff));
    html.wrap("section", "attachment", |html| {
        color_bar(html, color.as_deref());
        html.wrap("div", "", |html| {
            head(html, limits, &mut members);
            fields(html, limits, members.list("fields"));
            for name in ["image", "thumbnail"] {
                if let Some(picture) = members.object(name) {
                    let mut members = Members::of(picture);
                    if let Some(address) = members.text("url") {
                        html.wrap("p", "text", |html| link::picture(html, address, ""));
                    }
                    members.ignore(&["width", "height", "proxy_url"]);
                    members.rest(html);
                }
            }
            foot(html, limits, &mut members);
            members.rest(html);
        });
    });
}

fn head(html: &mut Html, limits: &mut Limits, members: &mut Members<'_>) {
    if let Some(author) = members.object("author") {
        let mut author = Members::of(author);
        let name = author.text("name").unwrap_or_default();
        limits.add("author", units(name), 256, "characters");
        html.wrap("p", "author", |html| match author.text("url") {
            Some(address) => link::link(html, "", address, |html| html.text(name)),
            None => html.text(name),
        });
        author.rest(html);
    }
    let address = members.text("url");
    if let Some(title) = members.text("title") {
        limits.add("title", units(title), 256, "characters");
        html.wrap("h2", "text", |html| match address {
            Some(address) => link::link(html, "", address, |html| markup::text_only(html, Dialect::Embeds, title)),
            None => markup::line(html, Dialect::Embeds, title),
        });
    } else if let Some(address) = address {
        html.wrap("p", "text", |html| link::bare(html, address));
    }
    if let Some(text) = members.text("description") {
        limits.add("description", units(text), 4096, "characters");
        markup::draw(html, Dialect::Embeds, text);
    }
}

fn fields(html: &mut Html, limits: &mut Limits, fields: &[Node]) {
    if fields.is_empty() {
        return;
    }
    limits.add("fields", fields.len(), 25, "fields");
    html.wrap("div", "fields", |html| {
        for field in fields {
            let mut members = Members::of(field);
            let class = if members.bool("inline") == Some(true) { "field" } else { "field wide" };
            html.wrap("div", class, |html| {
                if let Some(name) = members.text("name") {
                    limits.add("name of a field", units(name), 256, "characters");
                    html.wrap("p", "bold", |html| markup::line(html, Dialect::Embeds, name));
                }
                if let Some(value) = members.text("value") {
                    limits.add("value of a field", units(value), 1024, "characters");
                    markup::draw(html, Dialect::Embeds, value);
                }
                members.rest(html);
            });
        }
    });
}

fn foot(html: &mut Html, limits: &mut Limits, members: &mut Members<'_>) {
    let footer = members.object("footer");
    let timestamp = members.text("timestamp");
    if let Some(text) = footer.and_then(|footer| footer.text("text")) {
        limits.add("footer", units(text), 2048, "characters");
    }
    if footer.is_some() || timestamp.is_some() {
        html.wrap("p", "context", |html| {
            let text = footer.and_then(|footer| footer.text("text"));
            html.text(text.unwrap_or_default());
            if let Some(timestamp) = timestamp {
                html.text(if text.is_some() { " · " } else { "" });
                html.wrap("span", "", |html| html.text(timestamp));
            }
        });
    }
    if let Some(footer) = footer {
        let mut footer = Members::of(footer);
        footer.text("text");
        footer.rest(html);
    }
}
