//! One-time links to the console, so that nobody has to paste a token into a browser.

use axum::Json;
use axum::extract::State;
use data_encoding::BASE64URL_NOPAD;
use http::header::HOST;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Anyone;
use super::links::VALID_MS;
use super::path;
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::model::time::Timestamp;

/// Random bytes of a link.
const RANDOM_BYTES: usize = 32;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(create))
}

/// A link to the console.
#[derive(Serialize, utoipa::ToSchema)]
struct ConsoleLink {
    /// Where a browser enters the console; usable once.
    #[schema(format = "uri")]
    url: String,
    /// When it can no longer be used.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Creates a one-time link to the console with the token's own role. It can be used for 60 s and once: its page shows a
/// button, and only that button uses it up.
#[utoipa::path(post, operation_id = "create_console_link", path = "/api/v1/console-links", tag = "host", security(("bearer" = [])),
    responses(
        (status = 201, description = "The link", body = ConsoleLink),
        (status = 503, description = "The system has no random numbers")))]
async fn create(
    Anyone(token): Anyone,
    State(api): State<Shared>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<ConsoleLink>), ApiError> {
    let Some(console) = &api.console else { return Err(ApiError::new(Code::NotFound, path::NOT_FOUND)) };
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random)
        .map_err(|_| ApiError::new(Code::Unavailable, "the system's random number generator failed; try again"))?;
    let text = BASE64URL_NOPAD.encode(&random);
    api.links().add(&text, token.id, api.clock.steady_ms());
    let origin = console.origin.clone().unwrap_or_else(|| {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        format!("http://{host}")
    });
    tracing::info!(by = %token.id, "link to the console created");
    let expires_at = Timestamp::from_unix_ms(api.clock.now().unix_ms() + VALID_MS);
    Ok((StatusCode::CREATED, Json(ConsoleLink { url: format!("{origin}/console/enter/{text}"), expires_at })))
}
