//! Adaptive Cards, alone or attached to a message.

mod actions;
mod elements;

use crate::html::Html;
use crate::json;
use crate::limits::Limits;
use crate::node::{Members, Node};

const CONTENT_TYPE: &str = "application/vnd.microsoft.card.adaptive";
/// Of a message, after the client's own encoding of it.
const MAX_MESSAGE_BYTES: usize = 28 * 1024;

/// Returns true for a card, and for a message that has one attached.
pub(crate) fn recognises(node: &Node) -> bool {
    is_card(node) || node.get("attachments").and_then(Node::list).is_some_and(|items| items.iter().any(has_card))
}

fn is_card(node: &Node) -> bool {
    node.text("type") == Some("AdaptiveCard")
}

fn has_card(attachment: &Node) -> bool {
    attachment.text("contentType") == Some(CONTENT_TYPE) && attachment.get("content").is_some_and(Node::is_object)
}

/// Draws a body of so many bytes.
pub(crate) fn draw(html: &mut Html, limits: &mut Limits, node: &Node, bytes: usize) {
    limits.add("message", bytes, MAX_MESSAGE_BYTES, "bytes");
    if is_card(node) {
        card(html, limits, node);
        return;
    }
    let mut members = Members::of(node);
    members.ignore(&["type"]);
    for name in ["summary", "text"] {
        if let Some(text) = members.text(name) {
            html.wrap("p", "text", |html| html.text(text));
        }
    }
    for attachment in members.list("attachments") {
        if has_card(attachment) {
            let mut members = Members::of(attachment);
            members.ignore(&["contentType"]);
            if let Some(content) = members.object("content") {
                card(html, limits, content);
            }
            members.rest(html);
        } else {
            json::labelled(html, "attachment", attachment);
        }
    }
    members.rest(html);
}

/// Draws a card.
fn card(html: &mut Html, limits: &mut Limits, node: &Node) {
    html.wrap("section", "card", |html| {
        let mut members = Members::of(node);
        members.ignore(&["type", "$schema", "version", "verticalContentAlignment", "minHeight", "rtl", "lang"]);
        if let Some(teams) = members.object("msteams") {
            client(html, teams);
        }
        for element in members.list("body") {
            elements::draw(html, limits, element);
        }
        actions::draw(html, limits, members.list("actions"));
        members.rest(html);
    });
}

/// Draws what a card says to the client: whom its mentions reach.
fn client(html: &mut Html, node: &Node) {
    let mut members = Members::of(node);
    members.ignore(&["width"]);
    for entity in members.list("entities") {
        let mut members = Members::of(entity);
        members.ignore(&["type", "text"]);
        if let Some(mentioned) = members.object("mentioned") {
            let mut mentioned = Members::of(mentioned);
            let (name, id) = (mentioned.text("name").unwrap_or("?"), mentioned.text("id").unwrap_or("?"));
            html.wrap("p", "note", |html| html.text(&format!("Mentions {name} ({id})")));
            mentioned.rest(html);
        }
        members.rest(html);
    }
    members.rest(html);
}
