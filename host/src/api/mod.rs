//! The API: parse, check, call, answer. It calls the store, the scheduler (test, forget), the formatters
//! (preview, options) and the transport (may this destination be saved); it knows no engine and opens no
//! connection.
//!
//! Refusals come in one order everywhere: 401, 403 (extractors in [`auth`]), 404 (look-ups), 415 or 413
//! ([`body`]), 400, 412, 422. That is why handlers get the body unread and read it themselves.

mod audit;
mod auth;
mod body;
mod deliveries;
mod docs;
mod events;
mod export;
mod formatters;
mod framing;
mod health;
mod ingest_limit;
mod openapi;
mod page;
mod path;
mod precondition;
mod problem;
mod recovery;
mod server;
mod tokens;
mod webhooks;

#[cfg(test)]
mod tests;

#[cfg(fuzzing)]
pub(crate) use framing::fuzzing as fuzz_framing;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Uri};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::formatter::Registry;
use crate::model::header::printable;
use crate::model::settings::Limits;
use crate::model::time::Clock;
use crate::scheduler::Scheduler;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::transport::Transport;
use problem::{ApiError, Code};

pub use openapi::document;
pub use server::serve;

/// How much of a path a log line shows, in bytes.
const LOGGED_PATH_BYTES: usize = 200;
/// Where everything that needs a token stands.
const ROOT: &str = "/api/v1";

/// What the API works with.
pub struct Api {
    /// Where everything is kept.
    pub store: Arc<Store>,
    /// What sends tests, and forgets deleted webhooks.
    pub scheduler: Arc<Scheduler>,
    /// What renders previews and judges options.
    pub registry: Arc<Registry>,
    /// What judges destinations before they are saved.
    pub transport: Arc<Transport>,
    /// What one request may carry.
    pub limits: Limits,
    /// What counts requests.
    pub telemetry: Arc<Telemetry>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Cancelled when the host stops taking work: it is not ready any more.
    pub draining: CancellationToken,
}

/// The API with what its requests share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Parts>);

struct Parts {
    api: Api,
    room: body::Room,
    /// One export at a time.
    exports: Arc<Semaphore>,
    ingest_limit: ingest_limit::IngestLimit,
}

impl Deref for Shared {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.0.api
    }
}

impl Shared {
    fn room(&self) -> &body::Room {
        &self.0.room
    }

    fn ingest_limit(&self) -> &ingest_limit::IngestLimit {
        &self.0.ingest_limit
    }

    fn exports(&self) -> &Arc<Semaphore> {
        &self.0.exports
    }
}

/// Every route, with the OpenAPI document that describes them.
fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(openapi::head())
        .merge(webhooks::router())
        .merge(events::router())
        .merge(formatters::router())
        .merge(tokens::router())
        .merge(audit::router())
        .merge(export::router())
        .merge(health::router())
        .merge(docs::router())
}

/// The API as a service.
pub fn router(api: Api) -> Router {
    router_with(api, body::Room::new(body::BODY_TIMEOUT))
}

fn router_with(api: Api, room: body::Room) -> Router {
    let ingest_limit = ingest_limit::IngestLimit::new(api.limits.token_rate);
    let shared = Shared(Arc::new(Parts { api, room, exports: Arc::new(Semaphore::new(1)), ingest_limit }));
    let (router, _) = routes().split_for_parts();
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(shared.clone(), observe))
        .with_state(shared)
}

/// What a path that nobody declared is answered; below [`ROOT`] only to those with a token.
async fn nothing_here(State(api): State<Shared>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method == Method::CONNECT {
        // It names another server, not a path of ours; this one is no proxy, whatever the name.
        return ([(ALLOW, "")], problem::method_not_allowed().await).into_response();
    }
    if uri.path().starts_with(ROOT)
        && let Err(unauthorized) = auth::authenticate(&api, &headers)
    {
        return unauthorized.into_response();
    }
    ApiError::new(Code::NotFound, "there is nothing at this path").into_response()
}

/// Counts and logs each request. Neither query nor headers nor bodies are written anywhere: they may hold
/// secrets.
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
    // Reading and posting events is the daily work; what changes or fails is what somebody looks for.
    if status >= 500 && path != "/readyz" {
        tracing::warn!(method, path, status, took_us, "request");
    } else if method == Method::GET.as_str() || route.ends_with("/events") {
        tracing::debug!(method, path, status, took_us, "request");
    } else {
        tracing::info!(method, path, status, took_us, "request");
    }
    response
}
