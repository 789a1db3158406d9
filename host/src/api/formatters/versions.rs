//! Uploaded formatters: install, list versions, activate, roll back, delete.

use axum::Json;
use axum::extract::State;
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::auth::{Admin, Reader};
use super::super::body::Unread;
use super::super::path::PathText;
use super::super::precondition::{Current, Preconditions};
use super::super::problem::{ApiError, Code};
use super::super::state::Shared;
use crate::formatter::{FormatterInfo, InstallError, VersionInfo, Which};
use crate::json::Document;
use crate::json::fault::Faults;
use crate::json::fields::Field;
use crate::model::audit::{Action, AuditEvent, FieldChange};
use crate::model::delivery::FormatterRef;
use crate::model::token::Token;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(versions)).routes(routes!(activate)).routes(routes!(rollback))
}

/// A WebAssembly component, as raw bytes.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only its schema is used")]
struct ComponentBytes(Vec<u8>);

/// Installs a component: it is checked, rendered on the sample events, stored as a version of this name and used from
/// now on. Attempts in flight finish with the version that they began with. The new version is on probation (a canary):
/// if it fails on an event that its predecessor can format, the host rolls back to that one.
#[utoipa::path(put, operation_id = "install_formatter", path = "/api/v1/formatters/{name}", tag = "formatters", security(("bearer" = [])),
    params(("name" = String, Path, description = "The name in the component's manifest")),
    request_body(content = ComponentBytes, content_type = "application/wasm"),
    responses((status = 200, description = "A new version of an existing formatter", body = FormatterInfo),
        (status = 201, description = "A new formatter", body = FormatterInfo,
            headers(("Location" = String, description = "Where the formatter is"))),
        (status = 404, description = "The name is not a valid formatter name"),
        (status = 409, description = "The name is a built-in formatter's, or comes from the formatters folder"),
        (status = 412, description = "A precondition does not hold, as `If-None-Match: *` for a name that exists"),
        (status = 422, description = "The component is rejected; `code` and `reason` say why"),
        (status = 429, description = "The token has too many previews and checks in flight"),
        (status = 503, description = "All tokens together have too many previews and checks in flight"),
        (status = 507, description = "The disk is full")))]
pub(super) async fn install(
    Admin(by): Admin,
    PathText(name): PathText,
    State(api): State<Shared>,
    body: Unread,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1], Json<FormatterInfo>), ApiError> {
    let preconditions = Preconditions::read(body.headers());
    let slot = api.trial_limit().admit(by.id).await?;
    let bytes = body.read_component(&api).await?;
    let preconditions = preconditions?;
    // At once, before the work of a check; and again in the moment of the change, for what came in between.
    preconditions.check(&Current::exists(api.catalog.get(&name).is_some()))?;
    let wants = move |exists| preconditions.check(&Current::exists(exists)).is_ok();
    let is_new = api.catalog.install(name.clone(), bytes, wants, slot).await.map_err(rejection)?;
    audit(&api, &by, Action::FormatterInstalled, &name).await?;
    let info = api.catalog.get(&name).ok_or_else(|| ApiError::not_found("formatter"))?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    // Names in manifests are ASCII, so the fallback is never used.
    let location = HeaderValue::try_from(format!("/api/v1/formatters/{name}"));
    let location = location.unwrap_or(HeaderValue::from_static("/api/v1/formatters"));
    Ok((status, [(LOCATION, location)], Json(info)))
}

/// Deletes an uploaded formatter with all of its versions.
#[utoipa::path(delete, operation_id = "delete_formatter", path = "/api/v1/formatters/{name}", tag = "formatters", security(("bearer" = [])),
    params(("name" = String, Path, description = "The format's name")),
    responses((status = 204, description = "Deleted"),
        (status = 400, description = "A precondition that is not a list of entity tags"), (status = 404, description = "No such formatter"),
        (status = 409, description = "Webhooks use it (`detail` lists them), or it was not uploaded"),
        (status = 412, description = "A precondition does not hold"),
        (status = 507, description = "The disk is full")))]
pub(super) async fn delete(
    Admin(by): Admin,
    PathText(name): PathText,
    State(api): State<Shared>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    if api.catalog.get(&name).is_none() {
        return Err(ApiError::not_found("formatter"));
    }
    Preconditions::read(&headers)?.check(&Current::Untagged)?;
    let webhooks = api.store.webhooks();
    let users: Vec<String> = webhooks
        .newest_first()
        .iter()
        .filter(|webhook| webhook.config.format == name)
        .map(|webhook| webhook.id.to_string())
        .collect();
    if !users.is_empty() {
        let detail = format!("webhooks use this formatter; give them another format first: {}", users.join(", "));
        return Err(ApiError::new(Code::Conflict, detail));
    }
    api.catalog.delete(name.clone()).await.map_err(rejection)?;
    audit(&api, &by, Action::FormatterDeleted, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The versions of a formatter, newest first.
#[utoipa::path(get, operation_id = "list_formatter_versions", path = "/api/v1/formatters/{name}/versions", tag = "formatters", security(("bearer" = [])),
    params(("name" = String, Path, description = "The format's name")),
    responses((status = 200, description = "All known versions", body = Vec<VersionInfo>),
        (status = 404, description = "No such formatter")))]
async fn versions(
    _: Reader,
    PathText(name): PathText,
    State(api): State<Shared>,
) -> Result<Json<Vec<VersionInfo>>, ApiError> {
    api.catalog.versions(&name).map(Json).ok_or_else(|| ApiError::not_found("formatter"))
}

/// The version to use, by exactly one of the two members.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct ActivateInput {
    /// The version in the manifest; the newest component that has it is used.
    #[schema(nullable = false)]
    version: Option<String>,
    /// The component's digest: `sha256:` and 64 hexadecimal digits.
    #[schema(nullable = false)]
    digest: Option<String>,
}

/// Switches an uploaded formatter to another of its versions.
#[utoipa::path(post, operation_id = "activate_formatter_version", path = "/api/v1/formatters/{name}/activate", tag = "formatters", security(("bearer" = [])),
    params(("name" = String, Path, description = "The format's name")),
    request_body = ActivateInput,
    responses((status = 200, description = "The formatter as it is now", body = FormatterInfo),
        (status = 404, description = "No such formatter"),
        (status = 409, description = "It was not uploaded, or the version's component is no longer stored"),
        (status = 429, description = "The token has too many previews and checks in flight"),
        (status = 503, description = "All tokens together have too many previews and checks in flight"),
        (status = 507, description = "The disk is full")))]
async fn activate(
    Admin(by): Admin,
    PathText(name): PathText,
    State(api): State<Shared>,
    body: Unread,
) -> Result<Json<FormatterInfo>, ApiError> {
    if api.catalog.get(&name).is_none() {
        return Err(ApiError::not_found("formatter"));
    }
    let payload = body.read_json(&api).await?;
    let (which, field) = read(&payload.json()?)?;
    let slot = api.trial_limit().admit(by.id).await?;
    match api.catalog.activate(name.clone(), which, slot).await {
        Ok(()) => {
            audit(&api, &by, Action::FormatterActivated, &name).await?;
            now(&api, &name)
        }
        Err(InstallError::Missing) => {
            let mut faults = Faults::new();
            faults.add(field, "unknown_version", "the formatter has no such version; GET …/versions lists all");
            Err(ApiError::fields(faults.into_inner()))
        }
        Err(error) => Err(rejection(error)),
    }
}

/// Switches an uploaded formatter back to the version that was in use before.
#[utoipa::path(post, operation_id = "roll_back_formatter", path = "/api/v1/formatters/{name}/rollback", tag = "formatters", security(("bearer" = [])),
    params(("name" = String, Path, description = "The format's name")),
    responses((status = 200, description = "The formatter as it is now", body = FormatterInfo),
        (status = 404, description = "No such formatter"),
        (status = 409, description = "It was not uploaded, or there is no earlier version"),
        (status = 422, description = "This host no longer accepts the earlier version"),
        (status = 507, description = "The disk is full")))]
async fn rollback(
    Admin(by): Admin,
    PathText(name): PathText,
    State(api): State<Shared>,
) -> Result<Json<FormatterInfo>, ApiError> {
    api.catalog.roll_back(name.clone()).await.map_err(rejection)?;
    audit(&api, &by, Action::FormatterRolledBack, &name).await?;
    now(&api, &name)
}

/// Records the change and its actor in the audit log, with the version that is now in use.
async fn audit(api: &Shared, by: &Token, action: Action, name: &str) -> Result<(), ApiError> {
    let component = api.catalog.current(name);
    let changes = component.map(|component| {
        let FormatterRef { version, digest, .. } = component.reference().clone();
        vec![FieldChange::to("version", version), FieldChange::to("digest", digest)]
    });
    tracing::info!(formatter = name, by = %by.id, ?action, "formatter changed");
    Ok(api.store.audit(AuditEvent::formatter(by.into(), action, name, changes.unwrap_or_default())).await?)
}

fn now(api: &Shared, name: &str) -> Result<Json<FormatterInfo>, ApiError> {
    api.catalog.get(name).map(Json).ok_or_else(|| ApiError::not_found("formatter"))
}

/// The requested version, and the JSON pointer of the member that names it.
fn read(document: &Document<'_>) -> Result<(Which, &'static str), ApiError> {
    let mut faults = Faults::new();
    let body = Field::new(document.text(), "");
    let which = body.object(&["version", "digest"], &[], &mut faults).and_then(|body| {
        match (body.get("version"), body.get("digest")) {
            (Some(version), None) => Some((Which::Version(version.string(&mut faults)?), "/version")),
            (None, Some(digest)) => Some((Which::Digest(digest.string(&mut faults)?), "/digest")),
            _ => {
                faults.add("", "invalid", "give either version or digest");
                None
            }
        }
    });
    let faults = faults.into_inner();
    which.filter(|_| faults.is_empty()).ok_or_else(|| ApiError::fields(faults))
}

fn rejection(error: InstallError) -> ApiError {
    match error {
        InstallError::Missing => ApiError::not_found("formatter"),
        InstallError::Loading => {
            let detail = "the version in use is still being loaded after the host's start; try again";
            ApiError::new(Code::Unavailable, detail).retry_after(std::time::Duration::from_secs(1))
        }
        InstallError::Unwanted => {
            let detail = "another request installed or deleted it meanwhile; read it, then decide again";
            ApiError::new(Code::PreconditionFailed, detail)
        }
        InstallError::Conflict(detail) => ApiError::new(Code::Conflict, detail),
        InstallError::Rejected(rejection) => ApiError::component_rejected(rejection.code, rejection.reason),
        InstallError::NotStored(detail) => ApiError::new(Code::DiskFull, format!("nothing was changed: {detail}"))
            .retry_after(std::time::Duration::from_secs(10)),
    }
}
