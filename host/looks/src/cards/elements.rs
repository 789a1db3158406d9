//! The elements of a card's body.

use super::actions;
use crate::html::Html;
use crate::json;
use crate::limits::Limits;
use crate::link;
use crate::markup::{self, Dialect};
use crate::node::{Members, Node};

/// Members that arrange an element and show nothing.
const LAYOUT: &[&str] = &[
    "type",
    "id",
    "spacing",
    "separator",
    "height",
    "minHeight",
    "horizontalAlignment",
    "verticalContentAlignment",
    "bleed",
    "wrap",
    "maxLines",
    "rtl",
    "isSubtle",
    "weight",
    "size",
    "color",
    "fontType",
    "style",
    "width",
    "showBorder",
    "roundedCorners",
    "targetWidth",
    "grid.area",
];

/// Draws an element.
pub(super) fn draw(html: &mut Html, limits: &mut Limits, node: &Node) {
    let kind = node.text("type").unwrap_or_default();
    let mut members = Members::of(node);
    if members.bool("isVisible") == Some(false) {
        html.wrap("p", "note", |html| html.text("Hidden at first:"));
    }
    match kind {
        "TextBlock" => text_block(html, node, &mut members),
        "RichTextBlock" => rich_text(html, &mut members),
        "FactSet" => facts(html, members.list("facts")),
        "Container" => {
            html.wrap("div", style(node), |html| {
                for item in members.list("items") {
                    draw(html, limits, item);
                }
                select(html, &mut members);
            });
        }
        "ColumnSet" => {
            html.wrap("div", "columns", |html| {
                for item in members.list("columns") {
                    column(html, limits, item);
                }
                select(html, &mut members);
            });
        }
        "ActionSet" => actions::draw(html, limits, members.list("actions")),
        "Image" => image(html, &mut members),
        "ImageSet" => {
            members.ignore(&["imageSize"]);
            for item in members.list("images") {
                draw(html, limits, item);
            }
        }
        "Table" => table(html, limits, &mut members),
        _ => {
            json::labelled(html, if kind.is_empty() { "element" } else { kind }, node);
            return;
        }
    }
    members.ignore(LAYOUT);
    members.rest(html);
}

fn column(html: &mut Html, limits: &mut Limits, node: &Node) {
    let class = match node.get("width") {
        Some(Node::Text(width)) if width == "auto" => "column auto",
        Some(Node::Text(width)) if width.ends_with("px") => "column fixed",
        _ => "column",
    };
    let mut members = Members::of(node);
    html.wrap("div", class, |html| {
        html.wrap("div", style(node), |html| {
            for item in members.list("items") {
                draw(html, limits, item);
            }
            select(html, &mut members);
        });
    });
    members.ignore(LAYOUT);
    members.rest(html);
}

/// The class of a container's style.
fn style(node: &Node) -> &'static str {
    match node.text("style") {
        Some("emphasis") => "box emphasis",
        Some("good") => "box good",
        Some("warning") => "box warning",
        Some("attention") => "box attention",
        Some("accent") => "box accent",
        _ => "box",
    }
}

fn text_block(html: &mut Html, node: &Node, members: &mut Members<'_>) {
    let Some(text) = members.text("text") else { return };
    let is_heading = node.text("style") == Some("heading");
    within(html, &marks(node), |html| {
        if is_heading {
            html.wrap("h2", "", |html| markup::line(html, Dialect::Card, text));
        } else {
            html.wrap("div", "", |html| markup::draw(html, Dialect::Card, text));
        }
    });
}

fn rich_text(html: &mut Html, members: &mut Members<'_>) {
    html.wrap("p", "text", |html| {
        for run in members.list("inlines") {
            match run {
                Node::Text(text) => html.text(text),
                run => text_run(html, run),
            }
        }
    });
}

fn text_run(html: &mut Html, node: &Node) {
    let mut members = Members::of(node);
    let Some(text) = members.text("text").filter(|_| node.text("type") == Some("TextRun")) else {
        inline_rest(html, node);
        return;
    };
    let mut marks = marks(node);
    for (name, tag) in [("italic", "em"), ("strikethrough", "s"), ("underline", "u"), ("highlight", "mark")] {
        if members.bool(name) == Some(true) {
            marks.push((tag, ""));
        }
    }
    let address = node.get("selectAction").and_then(|action| action.text("url"));
    within(html, &marks, |html| match address {
        Some(address) => link::link(html, "", address, |html| html.text(text)),
        None => html.text(text),
    });
    members.ignore(LAYOUT);
    if let Some(action) = members.object("selectAction") {
        let mut action_members = Members::of(action);
        action_members.ignore(&["type"]);
        action_members.text("url");
        if action_members.has_rest() {
            inline_rest(html, action);
        }
    }
    if members.has_rest() {
        inline_rest(html, node);
    }
}

/// Shows a run that cannot be drawn, within its paragraph.
fn inline_rest(html: &mut Html, node: &Node) {
    html.wrap("code", "rest", |html| html.text(&format!("Not drawn: {}", node.to_json())));
}

/// The elements that show how a text is set.
fn marks(node: &Node) -> Vec<(&'static str, &'static str)> {
    let mut marks = Vec::new();
    match node.text("size") {
        Some("Small" | "small") => marks.push(("span", "small")),
        Some("Medium" | "medium") => marks.push(("span", "medium")),
        Some("Large" | "large" | "ExtraLarge" | "extraLarge") => marks.push(("span", "large")),
        _ => {}
    }
    match node.text("color") {
        Some("Attention" | "attention") => marks.push(("span", "ink attention")),
        Some("Warning" | "warning") => marks.push(("span", "ink warning")),
        Some("Good" | "good") => marks.push(("span", "ink good")),
        Some("Accent" | "accent") => marks.push(("span", "ink accent")),
        _ => {}
    }
    if node.get("isSubtle") == Some(&Node::Bool(true)) {
        marks.push(("span", "subtle"));
    }
    if matches!(node.text("weight"), Some("Bolder" | "bolder")) {
        marks.push(("span", "bold"));
    }
    if matches!(node.text("fontType"), Some("Monospace" | "monospace")) {
        marks.push(("span", "mono"));
    }
    // A block of text is no part of a line.
    if node.text("type") == Some("TextBlock") {
        for (tag, _) in &mut marks {
            *tag = "div";
        }
    }
    marks
}

fn within(html: &mut Html, marks: &[(&'static str, &'static str)], inside: impl FnOnce(&mut Html)) {
    let mut boxed: Box<dyn FnOnce(&mut Html) + '_> = Box::new(inside);
    for (tag, class) in marks.iter().rev() {
        let inner = boxed;
        boxed = Box::new(move |html| html.wrap(tag, class, inner));
    }
    boxed(html);
}

fn facts(html: &mut Html, facts: &[Node]) {
    html.wrap("table", "facts", |html| {
        html.wrap("tbody", "", |html| {
            for fact in facts {
                let mut members = Members::of(fact);
                let (title, value) = (members.text("title"), members.text("value"));
                html.wrap("tr", "", |html| {
                    html.with("th", &[("scope", "row")], |html| {
                        markup::line(html, Dialect::Card, title.unwrap_or_default());
                    });
                    html.wrap("td", "", |html| {
                        markup::draw(html, Dialect::Card, value.unwrap_or_default());
                        members.rest(html);
                    });
                });
            }
        });
    });
}

fn table(html: &mut Html, limits: &mut Limits, members: &mut Members<'_>) {
    let has_head = members.bool("firstRowAsHeader").or(members.bool("firstRowAsHeaders")) != Some(false);
    members.ignore(&["showGridLines", "gridStyle", "horizontalCellContentAlignment", "verticalCellContentAlignment"]);
    let widths = members.list("columns");
    let rows = members.list("rows");
    html.wrap("table", "grid", |html| {
        html.wrap("tbody", "", |html| {
            for (n, row) in rows.iter().enumerate() {
                html.wrap("tr", "", |html| cells(html, limits, row, has_head && n == 0));
            }
        });
    });
    // A column says its width, and nothing that can be seen otherwise.
    for column in widths {
        let mut members = Members::of(column);
        members.ignore(&["horizontalCellContentAlignment", "verticalCellContentAlignment"]);
        members.ignore(LAYOUT);
        members.rest(html);
    }
}

fn cells(html: &mut Html, limits: &mut Limits, row: &Node, is_head: bool) {
    let mut members = Members::of(row);
    let items = members.list("cells");
    members.ignore(LAYOUT);
    members.ignore(&["horizontalCellContentAlignment", "verticalCellContentAlignment"]);
    for cell in items {
        let (tag, attributes): (_, &[_]) = if is_head { ("th", &[("scope", "col")]) } else { ("td", &[]) };
        html.with(tag, attributes, |html| {
            let mut members = Members::of(cell);
            for item in members.list("items") {
                draw(html, limits, item);
            }
            select(html, &mut members);
            members.ignore(LAYOUT);
            members.rest(html);
        });
    }
    if members.has_rest() {
        html.wrap("td", "", |html| json::labelled(html, "row", row));
    }
}

fn image(html: &mut Html, members: &mut Members<'_>) {
    let Some(address) = members.text("url") else { return };
    let alt = members.text("altText").unwrap_or_default();
    html.wrap("p", "text", |html| link::picture(html, address, alt));
    select(html, members);
}

/// Draws what a click on an element does.
fn select(html: &mut Html, members: &mut Members<'_>) {
    if let Some(action) = members.object("selectAction") {
        html.wrap("p", "note", |html| html.text("On a click:"));
        actions::one(html, &mut Limits::default(), action);
    }
}
