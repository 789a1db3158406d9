//! A schema as a tree, with its members in the order of the file.

use crate::json::fault::Faults;
use crate::json::fields::Field;
use crate::model::event::{EventType, FINDING_SCHEMA};

/// A schema and the name that it stands under.
#[derive(Debug, Default)]
pub(super) struct Property {
    pub(super) name: String,
    pub(super) types: Vec<String>,
    pub(super) description: String,
    /// The first example, as JSON.
    pub(super) example: Option<String>,
    /// The elements, if it can be a list.
    pub(super) items: Option<Box<Property>>,
    pub(super) properties: Vec<Property>,
    pub(super) is_required: bool,
}

impl Property {
    /// The groups of a type: what its `data` has.
    pub(super) fn groups(event_type: EventType) -> Vec<Self> {
        read("data", &event_type.data_schema()).properties
    }

    /// The groups of these types, each name once.
    pub(super) fn groups_of(event_types: impl Iterator<Item = EventType>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for group in event_types.flat_map(Self::groups) {
            if all.iter().all(|other| other.name != group.name) {
                all.push(group);
            }
        }
        all
    }

    /// The group that several types share.
    pub(super) fn finding() -> Self {
        read("finding", FINDING_SCHEMA)
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.types.iter().any(|listed| listed == name)
    }
}

fn read(name: &str, text: &str) -> Property {
    property(name, &Field::new(text.trim(), ""), &mut Faults::new())
}

fn property(name: &str, schema: &Field<'_>, faults: &mut Faults) -> Property {
    let mut read = Property { name: name.to_owned(), ..Property::default() };
    let mut required = Vec::new();
    for (keyword, value) in schema.members(faults).expect("an object") {
        match keyword.as_str() {
            "type" => read.types = texts(&value, faults),
            "description" => read.description = value.string(faults).expect("a text"),
            "examples" => read.example = elements(&value, faults).first().map(|example| example.text().to_owned()),
            "items" => read.items = Some(Box::new(property("", &value, faults))),
            "required" => required = texts(&value, faults),
            "properties" => {
                let members = value.members(faults).expect("an object");
                read.properties = members.iter().map(|(name, schema)| property(name, schema, faults)).collect();
            }
            _ => {}
        }
    }
    for member in &mut read.properties {
        member.is_required = required.contains(&member.name);
    }
    read
}

fn elements<'a>(field: &Field<'a>, faults: &mut Faults) -> Vec<Field<'a>> {
    field.elements(faults).expect("a list")
}

/// The texts of a list, or the one text.
fn texts(field: &Field<'_>, faults: &mut Faults) -> Vec<String> {
    if let Some(one) = field.string(&mut Faults::new()) {
        return vec![one];
    }
    elements(field, faults).iter().filter_map(|element| element.string(faults)).collect()
}
