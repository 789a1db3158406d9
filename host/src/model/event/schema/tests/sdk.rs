//! The members that the SDK and the formats read by name, found in their source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Property, repository};
use crate::model::event::EventType;

/// How a member is read: the name follows.
const READS: [&str; 4] = [".text(\"", ".items(\"", ".get(\"", ".identifiers(\""];
/// Members of the envelope and the names of groups.
const ENVELOPE: [&str; 6] = ["data", "engagement", "id", "name", "client", "caused_by"];
/// Members of an object that stands where a text is usual, as in `"target": {"host": "a.example", "port": 443}`.
const IN_PLACE_OF_TEXT: [&str; 1] = ["port"];
/// Members that no format reads: those that send the event as it was posted have them all the same.
const PASSED_ON: [&str; 1] = ["template"];

pub(super) fn check() {
    let mut described = BTreeSet::new();
    for &event_type in EventType::ALL {
        for group in Property::groups(event_type) {
            described.insert(group.name.clone());
            names(&group, &mut described);
        }
    }
    let mut sources = Vec::new();
    collect(&repository("formatters"), &mut sources);
    assert!(sources.len() > 30, "only {} files", sources.len());
    let read: BTreeSet<String> = sources.iter().flat_map(|source| read_in(source)).collect();
    let known = |name: &str| described.contains(name) || ENVELOPE.contains(&name) || IN_PLACE_OF_TEXT.contains(&name);
    let unknown: Vec<&String> = read.iter().filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "members that formats read and no schema has: {unknown:?}");
    for name in &described {
        let is_read = sources.iter().any(|source| is_named(source, name));
        assert_eq!(is_read, !PASSED_ON.contains(&name.as_str()), "{name}: described, and read by a format or not");
    }
}

/// The names of a group's members and of theirs.
fn names(property: &Property, into: &mut BTreeSet<String>) {
    let inner = property.items.iter().flat_map(|items| &items.properties);
    for member in property.properties.iter().chain(inner) {
        into.insert(member.name.clone());
        names(member, into);
    }
}

/// A name as a literal, or as the label of a list, which is its name in words.
fn is_named(source: &str, name: &str) -> bool {
    let words = name.replace('_', " ");
    let label = words[..1].to_uppercase() + &words[1..];
    source.contains(&format!("\"{name}\"")) || source.contains(&format!("\"{label}\""))
}

/// The names that are read. Other texts, as what a card shows, are no names of members.
fn read_in(source: &str) -> impl Iterator<Item = String> {
    let literals = READS.iter().flat_map(|read| source.split(read).skip(1));
    let names = literals.filter_map(|rest| Some(rest.split_once('"')?.0)).filter(|name| !name.is_empty());
    names.filter(|name| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())).map(str::to_owned)
}

/// The sources that read events: not those of tests, of tools for tests, and of what reads responses.
fn collect(folder: &Path, sources: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if path.is_dir() {
            if !["tests", "testing", "templates", "golden", "target"].contains(&name.as_str()) {
                collect(&path, sources);
            }
        } else if name.ends_with(".rs")
            && !["property.rs", "response.rs", "interpreter.rs", "tests.rs"].contains(&name.as_str())
        {
            let text = fs::read_to_string(&path).expect("a source file");
            let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            sources.push(product.to_owned());
        }
    }
}
