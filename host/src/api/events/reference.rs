//! The event reference in the OpenAPI document: a schema for each event type, made of `wit/schemas/`, and the samples.
//! Host events are described as well, and not among what is posted.

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

/// The component of the events that the host makes of what happens to itself.
const HOST_EVENT: &str = "HostEvent";

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
        let about = "A host event, as webhooks that name its type get it: what happened to Heraldry itself. It cannot be posted";
        schemas.push((HOST_EVENT.to_owned(), one_of(EventType::hosts(), about)));
    }
}

impl PartialSchema for EventBody {
    fn schema() -> RefOr<Schema> {
        one_of(EventType::posted(), "An event; `type` decides what its `data` has")
    }
}

/// An event of one of these types.
fn one_of(event_types: impl Iterator<Item = EventType>, description: &str) -> RefOr<Schema> {
    let mut types = OneOfBuilder::new().description(Some(description));
    let mut discriminator = Discriminator::new("type");
    for event_type in event_types {
        let reference = Ref::from_schema_name(event_name(event_type));
        discriminator.mapping.insert(event_type.as_str().to_owned(), reference.ref_location.clone());
        types = types.item(reference);
    }
    types.discriminator(Some(discriminator)).into()
}

/// Adds the sample of each type as an example of what is posted.
pub(in crate::api) fn add_examples(openapi: &mut OpenApi) {
    let post = openapi.paths.paths.get_mut("/api/v1/events").and_then(|item| item.post.as_mut());
    let body = post.and_then(|post| post.request_body.as_mut()).and_then(|body| match body {
        RefOr::T(body) => body.content.get_mut("application/json"),
        RefOr::Ref(_) => None,
    });
    let Some(RefOr::T(content)) = body else { return };
    for event_type in EventType::posted() {
        let sample = samples::without_id(event_type).and_then(|sample| serde_json::from_str(&sample).ok());
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

/// An event that the host makes: it has everything but an engagement, and `data` as its schema describes it.
fn host_event_schema(event_type: EventType) -> Value {
    json!({
        "type": "object",
        "description": event_type.description(),
        "required": ["type", "id", "occurred_at", "data"],
        "properties": {
            "type": {"type": "string", "enum": [event_type.as_str()]},
            "occurred_at": {"type": "string", "format": "date-time", "description": "When it happened"},
            "id": {"type": "string", "format": "uuid", "description": "The event's id"},
            "data": reference(&data_name(event_type)),
        },
    })
}

/// An event of a type. `data` is what its schema describes; or else what the host requires, since a member of another type
/// than the usual one is accepted too.
fn event_schema(event_type: EventType) -> Value {
    if event_type.is_host() {
        return host_event_schema(event_type);
    }
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
        for (name, of) in [("EventBody", EventType::posted().count()), ("HostEvent", EventType::hosts().count())] {
            assert_eq!(schemas[name]["oneOf"].as_array().map(Vec::len), Some(of), "{name}");
            assert_eq!(schemas[name]["discriminator"]["mapping"].as_object().map(serde_json::Map::len), Some(of));
        }
    }

    #[test]
    fn what_is_posted_is_no_host_event() {
        let document = serde_json::to_value(crate::api::document()).expect("a document");
        let body = &document["components"]["schemas"]["EventBody"];
        let whole = json!({"allOf": [body], "components": document["components"]});
        let posted = jsonschema::validator_for(&whole).expect("a JSON Schema");
        let host =
            json!({"allOf": [document["components"]["schemas"]["HostEvent"]], "components": document["components"]});
        let host = jsonschema::validator_for(&host).expect("a JSON Schema");
        for event_type in EventType::hosts() {
            let sample = samples::all().iter().find(|sample| sample.name == event_type.as_str()).expect("a sample");
            let event: Value = serde_json::from_str(sample.json).expect("JSON");
            assert!(host.is_valid(&event) && !posted.is_valid(&event), "{}", sample.name);
        }
    }

    #[test]
    fn the_samples_are_examples_and_fit_and_so_does_every_event_that_is_accepted() {
        let document = serde_json::to_value(crate::api::document()).expect("a document");
        let content = &document["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]["application/json"];
        let whole = json!({"allOf": [content["schema"]], "components": document["components"]});
        let validator = jsonschema::validator_for(&whole).expect("a JSON Schema");
        let examples = content["examples"].as_object().expect("examples");
        assert_eq!(examples.len(), EventType::posted().count());
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
