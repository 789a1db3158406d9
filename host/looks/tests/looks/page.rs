//! A drawn document, parsed as a browser does, held to a fixed list of elements and attributes.

use std::rc::Rc;

use heraldry_looks::{Drawing, MAX_FRAGMENT_BYTES, STYLE};
use html5ever::driver::parse_document;
use html5ever::tendril::TendrilSink;
use markup5ever_rcdom::{Node, NodeData, RcDom};

const NONE: &[&str] = &[];

/// Elements with their attributes besides `class`.
const ELEMENTS: &[(&str, &[&str])] = &[
    ("html", &["lang"]),
    ("head", NONE),
    ("meta", &["charset", "name", "content"]),
    ("title", NONE),
    ("style", NONE),
    ("body", NONE),
    ("main", NONE),
    ("article", NONE),
    ("section", NONE),
    ("div", NONE),
    ("h1", NONE),
    ("h2", NONE),
    ("h3", NONE),
    ("h4", NONE),
    ("p", NONE),
    ("span", &["title"]),
    ("strong", NONE),
    ("em", NONE),
    ("s", NONE),
    ("u", NONE),
    ("mark", NONE),
    ("small", NONE),
    ("code", NONE),
    ("pre", NONE),
    ("blockquote", NONE),
    ("ul", NONE),
    ("ol", &["start"]),
    ("li", NONE),
    ("table", NONE),
    ("caption", NONE),
    ("tbody", NONE),
    ("tr", NONE),
    ("th", &["scope"]),
    ("td", NONE),
    ("meter", &["max", "value", "aria-label"]),
    ("a", &["href", "rel"]),
    ("time", &["datetime"]),
    ("hr", NONE),
    ("svg", &["aria-hidden"]),
    ("rect", &["width", "height", "fill"]),
];

/// Parses a drawing's document and checks that it holds only what this crate writes.
pub fn parse(drawing: &Drawing) -> RcDom {
    assert!(drawing.fragment.len() <= MAX_FRAGMENT_BYTES, "{} bytes", drawing.fragment.len());
    let document = drawing.document();
    let dom = parse_document(RcDom::default(), html5ever::ParseOpts::default()).one(document.as_str());
    let errors = dom.errors.borrow();
    assert!(errors.is_empty(), "{errors:?}\n{}", drawing.fragment);
    drop(errors);
    check(&dom.document);
    dom
}

fn check(node: &Rc<Node>) {
    match &node.data {
        NodeData::Element { name, attrs, .. } => {
            let tag = &*name.local;
            let known = ELEMENTS.iter().find(|(known, _)| *known == tag);
            let (_, attributes) = known.unwrap_or_else(|| panic!("an element {tag}"));
            for attribute in attrs.borrow().iter() {
                let (key, value) = (&*attribute.name.local, &*attribute.value);
                assert!(key == "class" || attributes.contains(&key), "an attribute {key} of {tag}");
                match key {
                    "class" => {
                        assert!(value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b' '), "class {value}");
                    }
                    "href" => assert!(value.starts_with("https://"), "a link to {value}"),
                    "rel" => assert_eq!(value, "noreferrer noopener"),
                    "fill" => {
                        assert!(value.len() == 7 && value[1..].bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
                    }
                    _ => {}
                }
            }
            if tag == "style" {
                assert_eq!(text(node), STYLE);
            }
        }
        NodeData::Comment { contents } => panic!("a comment {contents}"),
        NodeData::ProcessingInstruction { target, .. } => panic!("an instruction {target}"),
        _ => {}
    }
    for child in node.children.borrow().iter() {
        check(child);
    }
}

fn text(node: &Rc<Node>) -> String {
    let mut out = String::new();
    collect(node, &mut out, &|_, _| true);
    out
}

/// Collects the text of the elements that `is_read` lets pass by tag and class.
fn collect(node: &Rc<Node>, out: &mut String, is_read: &dyn Fn(&str, &str) -> bool) {
    match &node.data {
        NodeData::Text { contents } => out.push_str(&contents.borrow()),
        NodeData::Element { name, attrs, .. } => {
            let attrs = attrs.borrow();
            let class =
                attrs.iter().find(|attribute| &*attribute.name.local == "class").map(|attribute| &*attribute.value);
            if !is_read(&name.local, class.unwrap_or_default()) {
                return;
            }
        }
        _ => {}
    }
    for child in node.children.borrow().iter() {
        collect(child, out, is_read);
    }
}

/// Returns the text of a drawing without white space, and without what the crate adds: hosts of links, notes, limits.
pub fn message(drawing: &Drawing) -> String {
    let mut out = String::new();
    collect(&parse(drawing).document, &mut out, &|tag, class| {
        !["h1", "style", "title"].contains(&tag) && !["host", "note", "limits", "over"].contains(&class)
    });
    squeezed(&out)
}

/// Returns all of a drawing's text without white space.
pub fn everything(drawing: &Drawing) -> String {
    let mut out = String::new();
    collect(&parse(drawing).document, &mut out, &|tag, _| tag != "style");
    squeezed(&out)
}

/// Takes all white space away.
pub fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}
