//! The webhooks that a file lists, by name, before anything in them is looked up.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::document::{Document, Fault};

/// One webhook of the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Its JSON pointer in the file.
    pub(super) pointer: String,
    /// Its fields, as in the API; references to secrets are not resolved.
    pub(super) fields: Map<String, Value>,
}

/// The webhooks of a file, in its order. Their fields are checked later.
///
/// # Errors
/// Everything that is wrong: members beside `webhooks`, webhooks without a name or with the name of another.
pub(super) fn entries(document: &Document) -> Result<Vec<Entry>, Vec<Fault>> {
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    let mut fault = |pointer: &str, text: String| faults.push(Fault::new(document.line(pointer), text));
    let Value::Object(members) = &document.value else {
        return Err(vec![Fault::new(1, "the file must be an object with the member `webhooks`")]);
    };
    for name in members.keys().filter(|name| *name != "webhooks") {
        let pointer = format!("/{}", crate::json::fault::token(name));
        fault(&pointer, format!("`{name}` is not known here; the file has one member, `webhooks`"));
    }
    let listed = match members.get("webhooks") {
        Some(Value::Array(listed)) => listed.as_slice(),
        Some(_) => {
            fault("/webhooks", "`webhooks` must be a list: [[webhooks]] in TOML, [{…}] in JSON".to_owned());
            &[]
        }
        None => {
            fault("", "the file has no `webhooks`; an empty list is `webhooks = []`".to_owned());
            &[]
        }
    };
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, value) in listed.iter().enumerate() {
        let pointer = format!("/webhooks/{index}");
        let name = value.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        match (value, name) {
            (Value::Object(fields), Some(name)) => {
                if let Some(line) = seen.insert(name, document.line(&pointer)) {
                    let text = format!("the name `{name}` is that of another webhook, on line {line}");
                    fault(&format!("{pointer}/name"), text);
                }
                entries.push(Entry { name: name.to_owned(), pointer, fields: fields.clone() });
            }
            (Value::Object(_), None) => {
                fault(&format!("{pointer}/name"), "a webhook needs a `name`, by which it is found again".to_owned());
            }
            _ => fault(&pointer, "a webhook must be a table of fields".to_owned()),
        }
    }
    if faults.is_empty() { Ok(entries) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Result<Vec<Entry>, Vec<String>> {
        let document = Document::parse(Path::new("w.toml"), text).expect("a document");
        let texts = |faults: Vec<Fault>| faults.into_iter().map(|fault| format!("{}: {}", fault.line, fault.text));
        entries(&document).map_err(|faults| texts(faults).collect())
    }

    #[test]
    fn webhooks_come_in_the_files_order() {
        let entries = read("[[webhooks]]\nname = \"z\"\n[[webhooks]]\nname = \"a\"\nurl = \"u\"\n").expect("webhooks");
        assert_eq!(entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["z", "a"]);
        assert_eq!((entries[1].pointer.as_str(), &entries[1].fields["url"]), ("/webhooks/1", &Value::from("u")));
        assert!(read("webhooks = []").is_ok_and(|entries| entries.is_empty()));
    }

    #[test]
    fn everything_wrong_is_named_with_its_line() {
        let text = "webhook = 1\n[[webhooks]]\nname = \"a\"\n[[webhooks]]\nurl = \"u\"\n[[webhooks]]\nname = \"a\"\n";
        let faults = read(text).expect_err("faults");
        let wanted = ["1: `webhook` is not known here", "4: a webhook needs a `name`", "7: the name `a` is that of"];
        assert_eq!(faults.len(), wanted.len(), "{faults:?}");
        assert!(faults.iter().zip(wanted).all(|(fault, wanted)| fault.starts_with(wanted)), "{faults:?}");
        assert!(faults[2].ends_with("on line 2"), "{faults:?}");
        for (text, wanted) in [
            ("", "1: the file has no `webhooks`"),
            ("webhooks = 3", "1: `webhooks` must"),
            ("webhooks = [1]", "1: a webhook must"),
        ] {
            assert!(read(text).expect_err(text)[0].starts_with(wanted), "{text}");
        }
    }
}
