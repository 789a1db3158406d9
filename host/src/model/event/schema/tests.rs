//! The schemas hold for the samples, and what is made from them is current. `UPDATE_GOLDEN=1 cargo test -p heraldry --lib
//! event::schema` writes it again after an intended change.

mod docs;
mod property;
mod python;
mod sdk;
mod typescript;

use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::model::event::{NewEvent, UnknownMembers};
use crate::samples;
use property::Property;

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Compares a generated file, or writes it.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "how generated files are written again")]
fn is_current(path: &str, expected: &str) {
    let file = repository(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, expected).expect("written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} is not what wit/schemas says; UPDATE_GOLDEN=1 cargo test writes it");
}

fn parsed(event_type: EventType) -> Value {
    serde_json::from_str(&event_type.data_schema()).expect("a schema")
}

#[test]
fn every_schema_is_valid_describes_its_group_and_forbids_no_member() {
    for &event_type in EventType::ALL {
        let schema = parsed(event_type);
        let name = event_type.as_str();
        assert!(jsonschema::draft202012::meta::is_valid(&schema), "{name}");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["required"], serde_json::json!([event_type.group()]), "{name}");
        assert_eq!(groups(event_type).iter().filter(|group| group.name == event_type.group()).count(), 1, "{name}");
        assert_eq!(schema["additionalProperties"], true, "{name}");
        for (group, schema) in properties(&schema) {
            assert_eq!(schema["additionalProperties"], true, "{name} {group}");
            for (member, schema) in properties(schema) {
                let place = format!("{name} {group} {member}");
                assert!(schema["description"].as_str().is_some_and(|text| text.ends_with('.')), "{place}");
                assert!(schema["type"].is_string() || schema["type"].is_array(), "{place}");
                let examples = schema["examples"].as_array().filter(|examples| !examples.is_empty());
                let validator = jsonschema::draft202012::new(schema).expect("a schema");
                assert!(examples.expect(&place).iter().all(|example| validator.is_valid(example)), "{place}");
            }
        }
    }
}

#[test]
fn the_samples_are_as_described_and_no_sample_makes_a_warning() {
    for sample in samples::all().iter().filter(|sample| !sample.json.contains("\"caused_by\"")) {
        let document = crate::json::check(sample.json.trim()).expect("JSON");
        let mut unknown = UnknownMembers::up_to(20);
        let place = crate::json::fields::Field::new(document.text(), "");
        let event = NewEvent::read_typed(&document, &place, &mut unknown, EventType::read).expect("an event");
        assert!(unknown.listed().is_empty(), "{}: {unknown:?}", sample.name);
        if !sample.name.contains("--") {
            let validator = jsonschema::draft202012::new(&parsed(event.event_type)).expect("a schema");
            let value: Value = serde_json::from_str(sample.json).expect("JSON");
            assert!(validator.is_valid(&value["data"]), "{}", sample.name);
        }
    }
}

#[test]
fn any_other_member_is_allowed() {
    for &event_type in EventType::ALL {
        let validator = jsonschema::draft202012::new(&parsed(event_type)).expect("a schema");
        let group = event_type.group();
        assert!(validator.is_valid(&serde_json::json!({group: {"title": "t", "other": [1]}, "more": 1})));
        assert!(!validator.is_valid(&serde_json::json!({})));
    }
}

#[test]
fn the_event_reference_and_the_types_of_the_templates_are_current() {
    is_current("docs/EVENTS.md", &docs::text());
    is_current("formatters/templates/js/events.d.ts", &typescript::text());
    is_current("formatters/templates/python/events.pyi", &python::text());
}

#[test]
fn formats_read_the_members_that_the_schemas_have_and_no_others() {
    sdk::check();
}
