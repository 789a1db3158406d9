//! Messages of Block Kit blocks.

use crate::html::Html;
use crate::json;
use crate::limits::{Limits, units};
use crate::link;
use crate::markup::{self, Dialect};
use crate::node::{Members, Node};

/// Members that only messages of this language have, besides `text`.
const OWN: &[&str] = &[
    "blocks",
    "attachments",
    "mrkdwn",
    "unfurl_links",
    "unfurl_media",
    "icon_emoji",
    "icon_url",
    "channel",
    "thread_ts",
    "username",
];

/// Returns true for an object with blocks, with attachments, or with a text and nothing that is foreign.
pub(crate) fn recognises(node: &Node) -> bool {
    let Node::Object(members) = node else { return false };
    let has_list = |name| node.get(name).and_then(Node::list).is_some_and(|items| items.iter().all(Node::is_object));
    let is_attached = has_list("attachments")
        && node.get("attachments").and_then(Node::list).is_some_and(|items| {
            items.iter().any(|item| ["blocks", "fallback", "color", "text"].iter().any(|name| item.get(name).is_some()))
        });
    has_list("blocks")
        || is_attached
        || (node.text("text").is_some()
            && members.iter().all(|(name, _)| name == "text" || OWN.contains(&name.as_str())))
}

/// Draws a message.
pub(crate) fn draw(html: &mut Html, limits: &mut Limits, node: &Node) {
    let mut members = Members::of(node);
    let is_plain = members.bool("mrkdwn") == Some(false);
    members.ignore(&["unfurl_links", "unfurl_media", "thread_ts"]);
    let blocks = members.list("blocks");
    let attachments = members.list("attachments");
    limits.add("blocks", count(blocks, attachments), 50, "blocks");
    if let Some(text) = members.text("text") {
        limits.add("text", units(text), 40_000, "characters");
        if blocks.is_empty() {
            body(html, text, is_plain);
        } else {
            // Beside blocks the text is what a notification says.
            html.wrap("p", "note", |html| {
                html.text("Notification: ");
                if is_plain {
                    markup::plain(html, Dialect::Blocks, text);
                } else {
                    markup::line(html, Dialect::Blocks, text);
                }
            });
        }
    }
    html.wrap("div", "message", |html| {
        for item in blocks {
            block(html, limits, item);
        }
        for item in attachments {
            attachment(html, limits, item);
        }
    });
    if !attachments.is_empty() {
        limits.add("attachments", attachments.len(), 100, "attachments");
    }
    for (name, label) in
        [("username", "Shown as"), ("channel", "Channel"), ("icon_emoji", "Icon"), ("icon_url", "Icon")]
    {
        if let Some(text) = members.text(name) {
            html.wrap("p", "note", |html| html.text(&format!("{label}: {text}")));
        }
    }
    members.rest(html);
}

fn count(blocks: &[Node], attachments: &[Node]) -> usize {
    let inside = |node: &Node| node.get("blocks").and_then(Node::list).map_or(0, <[_]>::len);
    blocks.len() + attachments.iter().map(inside).sum::<usize>()
}

fn body(html: &mut Html, text: &str, is_plain: bool) {
    if is_plain {
        html.wrap("p", "text", |html| markup::plain(html, Dialect::Blocks, text));
    } else {
        markup::draw(html, Dialect::Blocks, text);
    }
}

fn attachment(html: &mut Html, limits: &mut Limits, node: &Node) {
    let mut members = Members::of(node);
    let color = members.color("color");
    html.wrap("div", "attachment", |html| {
        color_bar(html, color);
        html.wrap("div", "", |html| {
            for item in members.list("blocks") {
                block(html, limits, item);
            }
            classic(html, &mut members);
            members.ignore(&["id", "mrkdwn_in", "ts"]);
            members.rest(html);
        });
    });
}

/// Draws the members that attachments had before there were blocks.
fn classic(html: &mut Html, members: &mut Members<'_>) {
    if let Some(text) = members.text("fallback") {
        html.wrap("p", "note", |html| html.text(&format!("Notification: {text}")));
    }
    for name in ["pretext", "author_name"] {
        if let Some(text) = members.text(name) {
            markup::draw(html, Dialect::Blocks, text);
        }
    }
    if let Some(title) = members.text("title") {
        html.wrap("h2", "", |html| match members.text("title_link") {
            Some(address) => link::link(html, "", address, |html| markup::plain(html, Dialect::Blocks, title)),
            None => markup::plain(html, Dialect::Blocks, title),
        });
    }
    if let Some(text) = members.text("text") {
        markup::draw(html, Dialect::Blocks, text);
    }
    for field in members.list("fields") {
        let mut field_members = Members::of(field);
        html.wrap("div", "field", |html| {
            if let Some(title) = field_members.text("title") {
                html.wrap("p", "bold", |html| markup::plain(html, Dialect::Blocks, title));
            }
            if let Some(value) = field_members.text("value") {
                markup::draw(html, Dialect::Blocks, value);
            }
            field_members.ignore(&["short"]);
            field_members.rest(html);
        });
    }
    if let Some(text) = members.text("footer") {
        html.wrap("p", "context", |html| markup::plain(html, Dialect::Blocks, text));
    }
}

/// Draws the bar at a message's side: a picture, since a style attribute would need an unsafe policy.
pub(crate) fn color_bar(html: &mut Html, color: Option<&str>) {
    let fill = match color.unwrap_or("8a8a8a") {
        "good" => "#2eb67d".to_owned(),
        "warning" => "#d97706".to_owned(),
        "danger" => "#b00020".to_owned(),
        digits => format!("#{}", digits.trim_start_matches('#')),
    };
    html.with("svg", &[("class", "bar"), ("aria-hidden", "true")], |html| {
        html.with("rect", &[("width", "100%"), ("height", "100%"), ("fill", &fill)], |_| {});
    });
}

fn block(html: &mut Html, limits: &mut Limits, node: &Node) {
    let kind = node.text("type").unwrap_or_default();
    let mut members = Members::of(node);
    members.ignore(&["type", "block_id", "expand"]);
    match kind {
        "header" => {
            if let Some(text) = members.object("text") {
                html.wrap("h2", "text", |html| object(html, limits, text, ("header", 150), true));
            }
        }
        "section" => section(html, limits, &mut members),
        "context" => {
            let items = members.list("elements");
            limits.add("elements of a context", items.len(), 10, "elements");
            html.wrap("div", "context", |html| {
                for item in items {
                    element(html, limits, item);
                }
            });
        }
        "actions" => {
            let items = members.list("elements");
            limits.add("elements of actions", items.len(), 25, "elements");
            html.wrap("div", "actions", |html| {
                for item in items {
                    element(html, limits, item);
                }
            });
        }
        "divider" => html.void("hr", &[]),
        "image" => element(html, limits, node),
        "markdown" if node.text("text").is_some() => {
            markup::draw(html, Dialect::Embeds, members.text("text").unwrap_or_default());
        }
        _ => {
            json::labelled(html, if kind.is_empty() { "block" } else { kind }, node);
            return;
        }
    }
    if kind != "image" {
        members.rest(html);
    }
}

fn section(html: &mut Html, limits: &mut Limits, members: &mut Members<'_>) {
    html.wrap("div", "section", |html| {
        html.wrap("div", "", |html| {
            if let Some(text) = members.object("text") {
                object(html, limits, text, ("text of a section", 3000), false);
            }
            let fields = members.list("fields");
            if !fields.is_empty() {
                limits.add("fields of a section", fields.len(), 10, "fields");
                html.wrap("div", "fields", |html| {
                    for field in fields {
                        html.wrap("div", "field", |html| object(html, limits, field, ("field", 2000), false));
                    }
                });
            }
        });
        if let Some(accessory) = members.object("accessory") {
            html.wrap("div", "actions", |html| element(html, limits, accessory));
        }
    });
}

/// Draws a text object.
fn object(html: &mut Html, limits: &mut Limits, node: &Node, limit: (&'static str, usize), is_line: bool) {
    let mut members = Members::of(node);
    let kind = node.text("type");
    members.ignore(&["type", "emoji", "verbatim"]);
    let Some(text) = members.text("text").filter(|_| matches!(kind, Some("mrkdwn" | "plain_text"))) else {
        html.wrap("code", "rest", |html| html.text(&format!("Not drawn: {}", node.to_json())));
        return;
    };
    limits.add(limit.0, units(text), limit.1, "characters");
    match (kind == Some("mrkdwn"), is_line) {
        (true, true) => markup::line(html, Dialect::Blocks, text),
        (true, false) => markup::draw(html, Dialect::Blocks, text),
        (false, true) => markup::plain(html, Dialect::Blocks, text),
        (false, false) => html.wrap("p", "text", |html| markup::plain(html, Dialect::Blocks, text)),
    }
    if members.has_rest() {
        html.wrap("code", "rest", |html| html.text(&format!("Not drawn: {}", node.to_json())));
    }
}

fn element(html: &mut Html, limits: &mut Limits, node: &Node) {
    let mut members = Members::of(node);
    match node.text("type").unwrap_or_default() {
        "mrkdwn" | "plain_text" => {
            object(html, limits, node, ("text of a context", 3000), false);
            return;
        }
        "image" => {
            members.ignore(&["type", "block_id"]);
            let address = members.text("image_url").or_else(|| members.text("url")).unwrap_or_default();
            let alt = members.text("alt_text").unwrap_or_default();
            html.wrap("p", "text", |html| link::picture(html, address, alt));
        }
        "button" if node.get("text").is_some_and(Node::is_object) => {
            members.ignore(&["type", "action_id", "block_id", "style", "value", "accessibility_label"]);
            let text = members.object("text").unwrap_or(&Node::Null);
            let limit = ("text of a button", 75);
            match members.text("url") {
                Some(address) => {
                    limits.add("URL of a button", units(address), 3000, "characters");
                    link::link(html, "button", address, |html| object(html, limits, text, limit, true));
                }
                None => html.wrap("span", "button", |html| object(html, limits, text, limit, true)),
            }
        }
        kind => {
            json::labelled(html, if kind.is_empty() { "element" } else { kind }, node);
            return;
        }
    }
    members.rest(html);
}
