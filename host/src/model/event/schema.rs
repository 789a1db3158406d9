//! What an event of a type usually has: a JSON Schema of its `data` (`wit/schemas/`). The API, the documentation, the types
//! in the templates and the warnings about unknown members are all made from these files.

use std::sync::LazyLock;

use serde_json::Value;

use super::EventType;

/// The schema of the group `finding`, which three types share.
pub const FINDING_SCHEMA: &str = include_str!("../../../../wit/schemas/finding.json");
/// What stands for it in their schemas.
const FINDING_REFERENCE: &str = r#"{"$ref": "finding.json"}"#;
/// The keyword for other names that people use for a member.
const ALIASES: &str = "x-aliases";

impl EventType {
    /// The JSON Schema of `data`, complete in itself.
    pub fn data_schema(self) -> String {
        self.schema_file().replace(FINDING_REFERENCE, FINDING_SCHEMA.trim_end())
    }
}

/// The JSON Schema of a type's `data`, with a reference to [`FINDING_SCHEMA`] at this place instead of it.
pub fn data_schema_referring(event_type: EventType, place: &str) -> String {
    event_type.schema_file().replace(FINDING_REFERENCE, &format!("{{\"$ref\": \"{place}\"}}"))
}

/// A member of `data` whose own members are described.
#[derive(Debug)]
pub(super) struct Group {
    /// The member's name.
    pub(super) name: String,
    /// Its members, sorted by name.
    pub(super) members: Vec<Member>,
}

/// A usual member of a group.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name.
    pub(super) name: String,
    /// Other names that people use for it.
    pub(super) aliases: Vec<String>,
}

impl Group {
    /// Returns true for the name of a usual member.
    pub(super) fn knows(&self, name: &str) -> bool {
        // Compares lengths first; faster than a binary search for so few.
        self.members.iter().any(|member| member.name == name)
    }
}

/// The groups that the schema of a type describes.
pub(super) fn groups(event_type: EventType) -> &'static [Group] {
    static GROUPS: LazyLock<Vec<(EventType, Vec<Group>)>> =
        LazyLock::new(|| EventType::ALL.iter().map(|event_type| (*event_type, read(*event_type))).collect());
    GROUPS.iter().find(|(listed, _)| *listed == event_type).map_or(&[], |(_, groups)| groups)
}

fn read(event_type: EventType) -> Vec<Group> {
    let schema: Value = serde_json::from_str(&event_type.data_schema()).expect("a test reads every schema");
    let group = |(name, group): (&String, &Value)| Group {
        name: name.clone(),
        members: properties(group).map(member).collect(),
    };
    properties(&schema).map(group).collect()
}

/// The properties of an object's schema, sorted by name, as `serde_json` keeps them.
fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn member((name, schema): (&String, &Value)) -> Member {
    let aliases = schema[ALIASES].as_array().into_iter().flatten();
    Member { name: name.clone(), aliases: aliases.filter_map(Value::as_str).map(str::to_owned).collect() }
}

#[cfg(test)]
mod tests;
