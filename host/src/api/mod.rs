//! The HTTP API. Handlers parse, check, call another module and respond; one file for each resource.
//!
//! They call the store, the scheduler (test deliveries, deletion), the formatters (previews, options) and the transport
//! (the SSRF guard on a new URL). They know no storage engine and open no connection.
//!
//! Errors have the same precedence everywhere: 401, 403 (extractors in `auth`), 404 (look-ups), 415 or 413
//! (`body`), 400, 412, 422. That is why handlers get the body unread and read it themselves.
//!
//! The files build on each other in one direction: `problem`; `budget`, `ingest_limit` and `trial_limit`
//! (backpressure); `state`; the extractors `auth`, `body`, `path`; the resources; the routes here; `service`. `entrance` answers
//! while the host starts. `server` is the accept loop, with `connections` and `stall` as the limits on clients, `framing` as
//! the defence against request smuggling and
//! `authority` for `Host`.

mod audit;
mod auth;
mod authority;
mod body;
mod budget;
mod connections;
mod console_links;
mod deliveries;
mod docs;
mod entrance;
mod events;
mod export;
mod formatters;
mod framing;
mod health;
mod ingest_limit;
mod inside;
mod links;
mod media_type;
mod openapi;
mod page;
mod path;
mod precondition;
mod problem;
mod recovery;
mod secret_rotation;
mod server;
mod service;
mod stall;
mod state;
mod status;
mod tokens;
mod trial_limit;
mod webhooks;
mod workload;

#[cfg(test)]
mod tests;

#[cfg(fuzzing)]
pub(crate) use framing::fuzzing as fuzz_framing;

use axum::extract::State;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use http::header::ALLOW;
use http::{HeaderMap, Method, Uri};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use budget::{BODY_TIMEOUT, BodyBudget};
use problem::{ApiError, Code};
use service::ROOT;
use state::Shared;

pub use entrance::Entrance;
pub use inside::{Inside, Reply};
pub use server::{Peer, serve};
pub use service::Service;
pub use state::Api;

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
        .merge(console_links::router())
        .merge(status::router())
        .merge(export::router())
        .merge(health::router())
        .merge(docs::router())
}

/// The OpenAPI document of all routes.
pub fn document() -> OpenApi {
    openapi::complete(routes().to_openapi())
}

/// The API as a service.
pub fn router(api: Api) -> Service {
    router_with(api, BodyBudget::new(BODY_TIMEOUT))
}

fn router_with(api: Api, bodies: BodyBudget) -> Service {
    let shared = Shared::new(api, bodies, || serde_json::to_vec(&document()).unwrap_or_default().into());
    let (router, _) = routes().split_for_parts();
    let router = router
        .fallback(no_route)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(shared.clone(), service::observe))
        .with_state(shared.clone());
    let (inside, _) = routes().split_for_parts();
    let inside = Inside::new(inside.with_state(shared.clone()), shared.clone());
    Service { router, ingest: Some(shared), console: None, inside: Some(inside) }
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
