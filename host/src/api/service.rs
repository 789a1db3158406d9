//! The API as a service: the router, and beside it a shorter way for the one request that comes thousands of times a
//! second.
//!
//! Each of axum's layers puts its future into a box of its own. A `POST /api/v1/events` goes to the same extractors and the
//! same handler, and is counted and logged by the same [`Observation`], without them.

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Uri};
use tokio::time::Instant;
use tower_service::Service as _;

use super::events;
use super::inside::Inside;
use super::state::Shared;
use crate::model::header::printable;

/// Prefix of everything that requires a token.
pub(super) const ROOT: &str = "/api/v1";
/// Prefix of the console's pages.
const CONSOLE: &str = "/console";
/// A log line shows at most this much of a path, in bytes.
const LOGGED_PATH_BYTES: usize = 200;

/// The API; cheap to clone.
#[derive(Clone)]
pub struct Service {
    /// Every route.
    pub(super) router: Router,
    /// What the shorter way needs; without it every request goes through the router.
    pub(super) ingest: Option<Shared>,
    /// The console, which serves what is below [`CONSOLE`].
    pub(super) console: Option<Router>,
    /// What the console is made of.
    pub(super) inside: Option<Inside>,
}

impl Service {
    /// The response to a request.
    pub(super) async fn call(&self, request: Request<Body>) -> Response {
        if request.method() == Method::POST
            && request.uri().path() == events::PATH
            && let Some(api) = &self.ingest
        {
            // In a box, so that connections that wait do not keep its place free.
            return Box::pin(ingest(api, request)).await;
        }
        match &self.console {
            Some(console) if is_console(request.uri().path()) => routed(console.clone(), request).await,
            _ => routed(self.router.clone(), request).await,
        }
    }

    /// The same with a console beside the API.
    pub fn with_console(self, console: Router) -> Self {
        Self { console: Some(console), ..self }
    }

    /// The API for callers in this process.
    pub fn inside(&self) -> Option<Inside> {
        self.inside.clone()
    }
}

/// True if a path belongs to the console.
pub(super) fn is_console(path: &str) -> bool {
    path.strip_prefix(CONSOLE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The response of a router.
pub(super) async fn routed(mut router: Router, request: Request<Body>) -> Response {
    let Ok(response) = router.call(request).await;
    response
}

async fn ingest(api: &Shared, request: Request<Body>) -> Response {
    let observation = Observation::begin(&request);
    let mut response = events::ingest(api, request).await.into_response();
    observation.end(api, events::PATH, &mut response);
    response
}

/// Observes a request that the router serves.
pub(super) async fn observe(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let observation = Observation::begin(&request);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    observation.end(&api, route.as_ref().map_or("none", MatchedPath::as_str), &mut response);
    response
}

/// A request that is to be counted and logged. The query, the headers and the body are never logged: they may hold
/// secrets.
struct Observation {
    started: Instant,
    method: Method,
    uri: Uri,
}

impl Observation {
    fn begin(request: &Request) -> Self {
        Self { started: Instant::now(), method: request.method().clone(), uri: request.uri().clone() }
    }

    fn end(self, api: &Shared, route: &str, response: &mut Response) {
        let Self { started, method, uri } = self;
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if uri.path().starts_with(ROOT) {
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        let status = response.status().as_u16();
        api.telemetry.request(&method, route, status);
        // Evaluated only where the line is written.
        let path = || printable(uri.path(), LOGGED_PATH_BYTES);
        let shown = || printable(method.as_str(), 16);
        let took_us = || u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        // Reads and ingest are too frequent for the default log level; changes and failures are not.
        if status >= 500 && uri.path() != "/readyz" {
            tracing::warn!(method = shown(), path = path(), status, took_us = took_us(), "request");
        } else if method == Method::GET || route.ends_with("/events") {
            tracing::debug!(method = shown(), path = path(), status, took_us = took_us(), "request");
        } else {
            tracing::info!(method = shown(), path = path(), status, took_us = took_us(), "request");
        }
    }
}
