//! The event reference in the OpenAPI document: a schema for each event type, made of `wit/schemas/`, and the samples.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::schema::{Discriminator, OneOfBuilder, Schema};
use utoipa::openapi::{OpenApi, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::view::EngagementBody;
use crate::model::event::{EventType, FINDING_SCHEMA, data_schema_referring};
use crate::samples;

/// The component of the group that several types share.
const FINDING: &str = "Finding";

/// An event, as it is posted: one of the types. Only its schema is used.
pub(super) struct EventBody;

impl ToSchema for EventBody {
    fn name() -> Cow<'static, str> {
        "EventBody".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((EngagementBody::name().into(), EngagementBody::schema()));
        schemas.push((FINDING.to_owned(), component(FINDING_SCHEMA)));
        for &event_type in EventType::ALL {
            let place = Ref::from_schema_name(FINDING).ref_location;
            schemas.push((data_name(event_type), component(&data_schema_referring(event_type, &place))));
            schemas.push((event_name(event_type), component(&event_schema(event_type).to_string())));
        }
    }
}

impl PartialSchema for EventBody {
    fn schema() -> RefOr<Schema> {
        let mut types = OneOfBuilder::new().description(Some("An event; `type` decides what its `data` has"));
        let mut discriminator = Discriminator::new("type");
        for &event_type in EventType::ALL {
            let reference = Ref::from_schema_name(event_name(event_type));
            discriminator.mapping.insert(event_type.as_str().to_owned(), reference.ref_location.clone());
            types = types.item(reference);
        }
        types.discriminator(Some(discriminator)).into()
    }
}

/// Adds the sample of each type as an example of what is posted.
pub(in crate::api) fn add_examples(openapi: &mut OpenApi) {
    let post = openapi.paths.paths.get_mut("/api/v1/events").and_then(|item| item.post.as_mut());
    let body = post.and_then(|post| post.request_body.as_mut()).and_then(|body| match body {
        RefOr::T(body) => body.content.get_mut("application/json"),
        RefOr::Ref(_) => None,
    });
    let Some(RefOr::T(content)) = body else { return };
    for &event_type in EventType::ALL {
        let sample = samples::to_post(event_type).and_then(|sample| serde_json::from_str(&sample).ok());
        let example = ExampleBuilder::new().summary(event_type.description()).value(sample).build();
        content.examples.insert(event_type.as_str().to_owned(), RefOr::T(example));
    }
}

/// A JSON Schema as a component. Keywords that OpenAPI's types do not have would be lost; a test compares.
fn component(schema: &str) -> RefOr<Schema> {
    let mut schema: Value = serde_json::from_str(schema).expect("a test reads every schema");
    if let Some(members) = schema.as_object_mut() {
        members.remove("$schema");
    }
    serde_json::from_value(schema).expect("a test makes every component")
}

/// An event of a type. `data` is what its schema describes; or else what the host requires, since a member of another type
/// than the usual one is accepted too.
fn event_schema(event_type: EventType) -> Value {
    let group = event_type.group();
    let required = match serde_json::from_str::<Value>(FINDING_SCHEMA) {
        Ok(finding) if group == "finding" => json!({
            "type": "object", "required": finding["required"],
            "properties": {"title": finding["properties"]["title"], "severity": finding["properties"]["severity"]},
        }),
        _ => json!({"type": "object"}),
    };
    json!({
        "type": "object",
        "description": event_type.description(),
        "required": ["type", "data"],
        "properties": {
            "type": {"type": "string", "enum": [event_type.as_str()]},
            "occurred_at": {
                "type": "string", "format": "date-time",
                "description": "When it happened, as RFC 3339 writes it; absent: the time of acceptance",
            },
            "id": {
                "type": "string", "format": "uuid",
                "description": "The event's id; posting it again has no further effect. Absent: the host generates one",
            },
            "engagement": reference(&EngagementBody::name()),
            "data": {"anyOf": [
                reference(&data_name(event_type)),
                {
                    "type": "object",
                    "description": "Members of other types than the usual ones are accepted too, and shown as text",
                    "required": [group], "properties": {group: required},
                },
            ]},
        },
        "additionalProperties": false,
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": Ref::from_schema_name(name).ref_location})
}

fn data_name(event_type: EventType) -> String {
    format!("{event_type:?}Data")
}

fn event_name(event_type: EventType) -> String {
    format!("{event_type:?}Event")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_the_schemas_without_loss() {
        let document = serde_json::to_value(crate::api::document()).expect("a document");
        let schemas = &document["components"]["schemas"];
        let file = |text: &str| {
            let mut schema: Value = serde_json::from_str(text).expect("a schema");
            schema.as_object_mut().expect("an object").remove("$schema");
            schema
        };
        assert_eq!(schemas[FINDING], file(FINDING_SCHEMA));
        for &event_type in EventType::ALL {
            let text = data_schema_referring(event_type, "#/components/schemas/Finding");
            assert_eq!(schemas[data_name(event_type)], file(&text), "{event_type:?}");
            assert_eq!(schemas[event_name(event_type)], event_schema(event_type), "{event_type:?}");
        }
        assert_eq!(schemas["EventBody"]["oneOf"].as_array().map(Vec::len), Some(EventType::ALL.len()));
    }

    #[test]
    fn the_samples_are_examples_and_fit_and_so_does_every_event_that_is_accepted() {
        let document = serde_json::to_value(crate::api::document()).expect("a document");
        let content = &document["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]["application/json"];
        let whole = json!({"allOf": [content["schema"]], "components": document["components"]});
        let validator = jsonschema::validator_for(&whole).expect("a JSON Schema");
        let examples = content["examples"].as_object().expect("examples");
        assert_eq!(examples.len(), EventType::ALL.len());
        for (name, example) in examples {
            assert_eq!(example["value"]["type"], **name);
            assert!(validator.is_valid(&example["value"]), "{name}");
        }
        for sample in samples::posted() {
            let event: Value = serde_json::from_str(sample.json).expect("JSON");
            assert!(validator.is_valid(&event), "{}", sample.name);
            assert!(validator.is_valid(&json!([event])), "{}", sample.name);
        }
    }
}
