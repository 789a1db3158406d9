//! The parts of the OpenAPI document that hold for all operations: head, error schema, common error responses. The rest
//! is in the attributes of the handlers.

use std::fmt::Write as _;

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, License, OpenApi, OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use super::problem::{Code, FieldProblem, Problem};

/// Title, version, security scheme and error schemas.
pub(super) fn head() -> OpenApi {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token of `/api/v1/tokens`"));
    let components = ComponentsBuilder::new()
        .security_scheme("bearer", SecurityScheme::Http(bearer.build()))
        .schema(Problem::name(), Problem::schema())
        .schema(FieldProblem::name(), FieldProblem::schema())
        .build();
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".into());
    let info = InfoBuilder::new()
        .title("Heraldry")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(description()))
        .license(Some(license))
        .build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

fn description() -> String {
    let mut text = String::from(
        "Events in, signed deliveries out. Times are RFC 3339 in UTC, ids are UUIDs. Every error is \
         `application/problem+json` (RFC 9457) with a stable `code`:\n\n| status | code | |\n| --- | --- | --- |\n",
    );
    for code in Code::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} | `{}` | {} |", code.status().as_u16(), code.as_str(), code.title());
    }
    text
}

/// Adds the error responses that every operation of a kind has in common, and the sample events.
pub(super) fn complete(mut openapi: OpenApi) -> OpenApi {
    for item in openapi.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten() {
            complete_operation(operation);
        }
    }
    super::events::add_examples(&mut openapi);
    openapi
}

fn complete_operation(operation: &mut Operation) {
    let guarded = operation.security.is_some();
    let has_body = operation.request_body.is_some();
    let mut possible = vec![500];
    if guarded {
        possible.extend([401, 403, 503]);
    }
    if has_body {
        possible.extend([400, 408, 413, 415, 422]);
    }
    for status in possible {
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_string()).or_insert_with(|| RefOr::T(problem(meaning(status))));
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
        {
            *response = problem(&response.description);
        }
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "Not strict JSON, or an invalid header",
        401 => "No token, or a wrong one",
        403 => "The token's role may not do this",
        408 => "The body did not arrive in time",
        413 => "Over a limit; `code` and `detail` say which",
        415 => "Unsupported content type, or a content encoding",
        422 => "Invalid fields; `errors` lists each",
        503 => "Not ready or overloaded; see `Retry-After`",
        _ => "An internal error, which was logged",
    }
}

fn problem(description: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name(Problem::name())));
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    fn document() -> Value {
        serde_json::to_value(crate::api::document()).expect("a document")
    }

    #[test]
    fn every_route_of_the_contract_is_described_and_no_other() {
        let document = document();
        let mut found = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in item.as_object().expect("an item").keys() {
                found.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let expected = [
            "GET /api/v1/webhooks",
            "POST /api/v1/webhooks",
            "GET /api/v1/webhooks/{id}",
            "PUT /api/v1/webhooks/{id}",
            "DELETE /api/v1/webhooks/{id}",
            "POST /api/v1/webhooks/{id}/test",
            "GET /api/v1/webhooks/{id}/deliveries",
            "POST /api/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver",
            "POST /api/v1/webhooks/{id}/recover",
            "POST /api/v1/webhooks/{id}/rotate-secret",
            "GET /api/v1/audit",
            "GET /api/v1/deliveries",
            "GET /api/v1/events",
            "GET /api/v1/status",
            "POST /api/v1/console-links",
            "GET /api/v1/export",
            "GET /api/v1/webhooks/event-types",
            "POST /api/v1/events",
            "GET /api/v1/events/{id}",
            "GET /api/v1/events/{id}/explain",
            "POST /api/v1/webhooks/filter-preview",
            "GET /api/v1/formatters",
            "GET /api/v1/formatters/{name}",
            "POST /api/v1/formatters/{name}/preview",
            "PUT /api/v1/formatters/{name}",
            "DELETE /api/v1/formatters/{name}",
            "GET /api/v1/formatters/{name}/versions",
            "POST /api/v1/formatters/{name}/activate",
            "POST /api/v1/formatters/{name}/rollback",
            "GET /api/v1/tokens",
            "POST /api/v1/tokens",
            "DELETE /api/v1/tokens/{id}",
            "GET /healthz",
            "GET /readyz",
            "GET /metrics",
            "GET /openapi.json",
            "GET /docs",
        ];
        assert_eq!(found, expected.map(str::to_owned).into());
    }

    #[test]
    fn guarded_operations_declare_their_security_and_their_errors() {
        for (path, item) in document()["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("an item") {
                let guarded = path.starts_with("/api/v1");
                assert_eq!(operation["security"].is_array(), guarded, "{method} {path}");
                assert_eq!(operation["responses"]["401"].is_object(), guarded, "{method} {path}");
                assert_eq!(operation["responses"]["403"].is_object(), guarded, "{method} {path}");
                assert_eq!(
                    operation["responses"]["404"].is_object(),
                    path.contains('{'),
                    "{method} {path}: 404 where something is looked up"
                );
                if operation["requestBody"].is_object() {
                    for status in ["400", "413", "415", "422"] {
                        let content = &operation["responses"][status]["content"];
                        assert!(content["application/problem+json"].is_object(), "{method} {path} {status}");
                    }
                }
            }
        }
    }

    #[test]
    fn operation_names_are_unique() {
        let document = document();
        let items = document["paths"].as_object().expect("paths").values();
        let operations = items.flat_map(|item| item.as_object().expect("an item").values());
        let names: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().expect("a name")).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }

    #[test]
    fn every_reference_resolves() {
        fn walk(value: &Value, root: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(reference)) = members.get("$ref") {
                        let pointer = reference.strip_prefix('#').expect("a local reference");
                        assert!(root.pointer(pointer).is_some(), "{reference}");
                    }
                    members.values().for_each(|member| walk(member, root));
                }
                Value::Array(elements) => elements.iter().for_each(|element| walk(element, root)),
                _ => {}
            }
        }
        let document = document();
        walk(&document, &document);
    }
}
