//! API tokens: list, create, delete.

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Admin, Reader};
use super::body::Unread;
use super::path::PathId;
use super::precondition::{Current, Preconditions};
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::json::Document;
use crate::json::fault::Faults;
use crate::json::fields::{self, Field};
use crate::model::id::TokenId;
use crate::model::time::Timestamp;
use crate::model::token::{Role, Token};
use crate::model::webhook::input::NAME_CHARS;
use crate::store::Deleted;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete))
}

/// A new token.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenInput {
    /// A name for people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The role: what the token permits.
    role: Role,
}

/// A token that was just created.
#[derive(Serialize, utoipa::ToSchema)]
struct NewToken {
    /// The token's id.
    #[schema(value_type = uuid::Uuid)]
    id: TokenId,
    /// A name for people.
    name: String,
    /// The role: what the token permits.
    role: Role,
    /// The token itself; it is not shown again.
    token: String,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// All tokens, newest first, without their secret texts.
#[utoipa::path(get, operation_id = "list_tokens", path = "/api/v1/tokens", tag = "tokens", security(("bearer" = [])),
    responses((status = 200, description = "All tokens", body = Vec<Token>)))]
async fn list(_: Reader, State(api): State<Shared>) -> Json<Vec<Token>> {
    Json(api.store.tokens())
}

/// Creates a token. Its text is only in this response; the host stores a hash.
#[utoipa::path(post, operation_id = "create_token", path = "/api/v1/tokens", tag = "tokens", security(("bearer" = [])),
    request_body = TokenInput,
    responses(
        (status = 201, description = "The token, with its text", body = NewToken),
        (status = 507, description = "The disk is full; nothing was changed")))]
async fn create(
    Admin(by): Admin,
    State(api): State<Shared>,
    body: Unread,
) -> Result<(StatusCode, Json<NewToken>), ApiError> {
    let payload = body.read_json(&api).await?;
    let input = TokenInput::read(&payload.json()?)?;
    let (token, text) = api.store.create_token(input.name, input.role, (&by).into()).await?;
    tracing::info!(token = %token.id, by = %by.id, role = ?token.role, "token created");
    let Token { id, name, role, created_at } = token;
    Ok((StatusCode::CREATED, Json(NewToken { id, name, role, token: text.expose().to_owned(), created_at })))
}

/// Deletes a token; requests with it are rejected from now on. The last admin token stays: without one nobody could
/// manage the host.
#[utoipa::path(delete, operation_id = "delete_token", path = "/api/v1/tokens/{id}", tag = "tokens", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The token")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "A precondition that is not a list of entity tags"),
        (status = 404, description = "No such token"),
        (status = 409, description = "It is the last admin token"),
        (status = 412, description = "A precondition does not hold"),
        (status = 507, description = "The disk is full; nothing was changed")))]
async fn delete(
    Admin(by): Admin,
    PathId(id): PathId<TokenId>,
    State(api): State<Shared>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    if !api.store.tokens().iter().any(|token| token.id == id) {
        return Err(ApiError::not_found("token"));
    }
    Preconditions::read(&headers)?.check(&Current::Untagged)?;
    match api.store.delete_token(id, (&by).into()).await? {
        Deleted::Done => {}
        Deleted::Missing => return Err(ApiError::not_found("token")),
        Deleted::Rejected => {
            let detail = "this is the last admin token, without which nobody could manage the host; create another one \
                          first";
            return Err(ApiError::new(Code::Conflict, detail));
        }
    }
    tracing::info!(token = %id, by = %by.id, "token deleted");
    Ok(StatusCode::NO_CONTENT)
}

impl TokenInput {
    fn read(document: &Document<'_>) -> Result<Self, ApiError> {
        let mut faults = Faults::new();
        let body = Field::new(document.text(), "");
        let read = body.object(&["name", "role"], &["id", "token", "created_at"], &mut faults).and_then(|body| {
            let name =
                body.require("name", &mut faults).and_then(|field| field.bounded_string(NAME_CHARS, &mut faults));
            let role = body.require("role", &mut faults).and_then(|field| role(field, &mut faults));
            Some(Self { name: name?, role: role? })
        });
        let faults = faults.into_inner();
        read.filter(|_| faults.is_empty()).ok_or_else(|| ApiError::fields(faults))
    }
}

fn role(field: &Field<'_>, faults: &mut Faults) -> Option<Role> {
    let known = Role::from_name(&field.string(faults)?);
    if known.is_none() {
        let names = Role::ALL.map(Role::as_str);
        faults.add(field.pointer(), "invalid", format!("must be one of {}", fields::list(&names)));
    }
    known
}
