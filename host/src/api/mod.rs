//! The HTTP API. Handlers parse, check, call another module and respond; one file for each resource.
//!
//! They call the store, the scheduler (test deliveries, deletion), the formatters (previews, options) and the transport
//! (the SSRF guard on a new URL). They know no storage engine and open no connection.
//!
//! Errors have the same precedence everywhere: 401, 403 (extractors in `auth`), 404 (look-ups), 415 or 413
//! (`body`), 400, 412, 422. That is why handlers get the body unread and read it themselves.
//!
//! The files build on each other in one direction: `problem`; `budget`, `ingest_limit` and `trial_limit`
//! (backpressure); `state`; the extractors `auth`, `body`, `path`; the resources; the routes here. `entrance` answers while
//! the host starts. `server` is the accept loop, with `connections` and `stall` as the limits on clients, `framing` as the defence against request smuggling and
//! `authority` for `Host`.

mod audit;
mod auth;
mod authority;
mod body;
mod budget;
mod connections;
mod deliveries;
mod docs;
mod entrance;
mod events;
mod export;
mod formatters;
mod framing;
mod health;
mod ingest_limit;
mod media_type;
mod openapi;
mod page;
mod path;
mod precondition;
mod problem;
mod recovery;
mod secret_rotation;
mod server;
mod stall;
mod state;
mod tokens;
mod trial_limit;
mod webhooks;

#[cfg(test)]
mod tests;

#[cfg(fuzzing)]
pub(crate) use framing::fuzzing as fuzz_framing;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Uri};
use tokio::time::Instant;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::model::header::printable;
use budget::{BODY_TIMEOUT, BodyBudget};
use problem::{ApiError, Code};
use state::Shared;

pub use entrance::Entrance;
pub use server::serve;
pub use state::Api;

/// A log line shows at most this much of a path, in bytes.
const LOGGED_PATH_BYTES: usize = 200;
/// Prefix of everything that requires a token.
const ROOT: &str = "/api/v1";

/// Every route, with the OpenAPI document that describes them.
fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(openapi::head())
        .merge(webhooks::router())
        .merge(deliveries::router())
        .merge(recovery::router())
        .merge(secret_rotation::router())
        .merge(events::router())
        .merge(formatters::router())
        .merge(tokens::router())
        .merge(audit::router())
        .merge(export::router())
        .merge(health::router())
        .merge(docs::router())
}

/// The OpenAPI document of all routes.
pub fn document() -> OpenApi {
    openapi::complete(routes().to_openapi())
}

/// The API as a service.
pub fn router(api: Api) -> Router {
    router_with(api, BodyBudget::new(BODY_TIMEOUT))
}

fn router_with(api: Api, bodies: BodyBudget) -> Router {
    let shared = Shared::new(api, bodies, || serde_json::to_vec(&document()).unwrap_or_default().into());
    let (router, _) = routes().split_for_parts();
    router
        .fallback(no_route)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(shared.clone(), observe))
        .with_state(shared)
}

/// Responds to paths without a route: 404, but below [`ROOT`] 401 first, so that callers without a token cannot probe
/// it.
async fn no_route(State(api): State<Shared>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method == Method::CONNECT {
        // CONNECT asks for a tunnel to another server (RFC 9110, section 9.3.6); this host is not a proxy.
        return ([(ALLOW, "")], problem::method_not_allowed().await).into_response();
    }
    if uri.path() == "*" {
        // OPTIONS for the server as a whole (RFC 9110, section 9.3.7).
        return ([(ALLOW, "GET, HEAD, POST, PUT, DELETE")], problem::method_not_allowed().await).into_response();
    }
    if uri.path().starts_with(ROOT)
        && let Err(unauthorized) = auth::authenticate(&api, &headers)
    {
        return unauthorized.into_response();
    }
    ApiError::new(Code::NotFound, path::NOT_FOUND).into_response()
}

/// Counts and logs each request. The query, the headers and the body are never logged: they may hold secrets.
async fn observe(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = printable(request.uri().path(), LOGGED_PATH_BYTES);
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let mut response = next.run(request).await.into_response();
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if path.starts_with(ROOT) {
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    let status = response.status().as_u16();
    let route = route.as_deref().unwrap_or("none");
    api.telemetry.request(&method, route, status);
    let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let method = printable(method.as_str(), 16);
    // Reads and ingest are too frequent for the default log level; changes and failures are not.
    if status >= 500 && path != "/readyz" {
        tracing::warn!(method, path, status, took_us, "request");
    } else if method == Method::GET.as_str() || route.ends_with("/events") {
        tracing::debug!(method, path, status, took_us, "request");
    } else {
        tracing::info!(method, path, status, took_us, "request");
    }
    response
}
