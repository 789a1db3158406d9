//! The API for callers in this process: the console. They get what a client with the same token gets, from the same
//! handlers, so validation, roles and the audit log stand once.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, LINK};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tower_service::Service as _;

use super::auth;
use super::auth::Identity;
use super::state::Shared;
use crate::model::id::TokenId;
use crate::model::settings::Limits;
use crate::model::time::Timestamp;
use crate::model::token::Token;

/// Most bytes of a response that are read.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// The routes of the API, called without a connection. Cheap to clone.
#[derive(Clone)]
pub struct Inside {
    router: Router,
    api: Shared,
}

/// A whole response of the API.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The body; JSON unless the operation says otherwise.
    pub body: Bytes,
    headers: HeaderMap,
}

impl Reply {
    /// The header `Link`, with the next page.
    pub fn link(&self) -> Option<&str> {
        self.headers.get(LINK)?.to_str().ok()
    }

    /// The header `ETag`.
    pub fn etag(&self) -> Option<&str> {
        self.headers.get(ETAG)?.to_str().ok()
    }

    /// The header `Content-Type`.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE)?.to_str().ok()
    }
}

impl Inside {
    pub(super) fn new(router: Router, api: Shared) -> Self {
        Self { router, api }
    }

    /// Calls an operation as the holder of a token. The path begins with `/api/v1`.
    pub async fn call(
        &self,
        token: &Token,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Option<Reply> {
        let mut request = Request::builder().method(method).uri(path).body(Body::from(body)).ok()?;
        *request.headers_mut() = headers;
        request.extensions_mut().insert(Identity(token.clone()));
        let Ok(response) = self.router.clone().call(request).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, MOST_BYTES).await.ok()?;
        Some(Reply { status: parts.status, body, headers: parts.headers })
    }

    /// The token with this text. A wrong one takes as long as a right one.
    pub fn token_with_text(&self, text: &str) -> Option<Token> {
        let value = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
        auth::authenticate(&self.api, &HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])).ok()
    }

    /// The token with this id, if it still exists.
    pub fn token(&self, id: TokenId) -> Option<Token> {
        self.api.store.tokens().into_iter().find(|token| token.id == id)
    }

    /// The token that a one-time link is for; the link stays usable.
    pub fn linked(&self, text: &str) -> Option<Token> {
        self.token(self.api.links().peek(text, self.api.clock.steady_ms())?)
    }

    /// The token that a one-time link is for, and uses the link up.
    pub fn take_link(&self, text: &str) -> Option<Token> {
        self.token(self.api.links().take(text, self.api.clock.steady_ms())?)
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.api.clock.now()
    }

    /// The steady clock, in milliseconds.
    pub fn steady_ms(&self) -> i64 {
        self.api.clock.steady_ms()
    }

    /// The limits on one request.
    pub fn limits(&self) -> Limits {
        self.api.limits
    }
}
