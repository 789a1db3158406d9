//! One-time links to the console, so that nobody has to paste a token into a browser.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use data_encoding::BASE64URL_NOPAD;
use http::header::HOST;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Anyone;
use super::path;
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::model::id::TokenId;
use crate::model::time::Timestamp;

/// How long a link can be used.
const VALID_MS: i64 = 60_000;
/// Links that can be used at a time; a further one makes the oldest unusable.
const MOST_LINKS: usize = 1024;
/// Random bytes of a link.
const RANDOM_BYTES: usize = 32;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Links that were not used yet, the oldest first. Only their hashes are kept, and a restart forgets them.
#[derive(Default)]
pub(super) struct Links(Mutex<VecDeque<Link>>);

struct Link {
    hash: [u8; 32],
    token: TokenId,
    expires_ms: i64,
}

impl Links {
    fn add(&self, text: &str, token: TokenId, now_ms: i64) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.expires_ms > now_ms);
        if links.len() == MOST_LINKS {
            links.pop_front();
        }
        links.push_back(Link { hash: hash(text), token, expires_ms: now_ms + VALID_MS });
    }

    /// The token that a link is for.
    pub(super) fn peek(&self, text: &str, now_ms: i64) -> Option<TokenId> {
        let (links, hash) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), hash(text));
        links.iter().find(|link| link.hash == hash && link.expires_ms > now_ms).map(|link| link.token)
    }

    /// The same, and uses the link up.
    pub(super) fn take(&self, text: &str, now_ms: i64) -> Option<TokenId> {
        let token = self.peek(text, now_ms)?;
        let (mut links, hash) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), hash(text));
        let before = links.len();
        links.retain(|link| link.hash != hash);
        // Of two at a time one has used it up.
        (links.len() < before).then_some(token)
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
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
        (status = 404, description = "The console is switched off"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TokenId {
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id")
    }

    #[test]
    fn a_link_is_used_once_and_for_a_minute() {
        let links = Links::default();
        links.add("a", id(), 0);
        assert_eq!((links.peek("a", 1), links.peek("a", VALID_MS)), (Some(id()), None));
        assert_eq!((links.take("b", 1), links.take("a", VALID_MS)), (None, None));
        assert_eq!((links.take("a", 1), links.take("a", 1), links.peek("a", 1)), (Some(id()), None, None));
    }

    #[test]
    fn unused_links_are_bounded() {
        let links = Links::default();
        for number in 0..=MOST_LINKS {
            links.add(&number.to_string(), id(), 0);
        }
        assert_eq!((links.peek("0", 1), links.peek("1", 1)), (None, Some(id())));
    }
}
