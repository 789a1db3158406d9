//! The actions of a card.

use crate::html::Html;
use crate::json;
use crate::limits::Limits;
use crate::link;
use crate::node::{Members, Node};

/// Draws a row of actions.
pub(super) fn draw(html: &mut Html, limits: &mut Limits, actions: &[Node]) {
    if actions.is_empty() {
        return;
    }
    html.wrap("ul", "actions", |html| {
        for action in actions {
            html.wrap("li", "", |html| one(html, limits, action));
        }
    });
}

/// Draws an action as what it does.
pub(super) fn one(html: &mut Html, limits: &mut Limits, node: &Node) {
    let kind = node.text("type").unwrap_or_default();
    let mut members = Members::of(node);
    members.ignore(&["type", "id", "style", "mode", "isEnabled"]);
    let title = members.text("title");
    match kind {
        "Action.OpenUrl" if node.text("url").is_some() => {
            let address = members.text("url").unwrap_or_default();
            link::link(html, "button", address, |html| html.text(title.unwrap_or(address)));
        }
        "Action.ShowCard" if node.get("card").is_some_and(Node::is_object) => {
            html.wrap("span", "button", |html| html.text(title.unwrap_or("Show")));
            if let Some(card) = members.object("card") {
                super::card(html, limits, card);
            }
        }
        "Action.Submit" | "Action.Execute" | "Action.ToggleVisibility" => {
            html.wrap("span", "button", |html| html.text(title.unwrap_or(kind)));
        }
        _ => {
            json::labelled(html, if kind.is_empty() { "action" } else { kind }, node);
            return;
        }
    }
    members.rest(html);
}
