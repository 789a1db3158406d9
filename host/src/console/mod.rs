//! The console: pages for browsers under `/console`. Plain HTML that works without JavaScript.
//!
//! It is a client of the API in the same process ([`Inside`]): a page shows what the API's handlers return for the session's
//! token, and a form sends them what a client would. So roles, validation and the audit log stand once.
//!
//! [`PAGES`] has every page with the roles that may open it; the router, its checks and the tests are made from it.

mod audit;
mod deliveries;
mod enter;
mod events;
mod files;
mod formatters;
mod frame;
mod home;
mod place;
mod session;
mod show;
mod tokens;
mod visit;
mod webhooks;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, get, on, post};
use http::{Method, StatusCode};

use crate::api::Inside;
use crate::model::settings::ConsoleSettings;
use crate::model::token::Role;

use session::Sessions;
use visit::{Failure, Visit};

/// Prefix of every page.
const ROOT: &str = "/console";

/// The response of a page, or what the browser is told instead.
type Answer = Result<Response, Failure>;

/// A page's handler.
type Handler = fn(Visit) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A page or a form's target.
struct Page {
    method: Method,
    path: &'static str,
    roles: &'static [Role],
    handler: Handler,
}

const ALL: &[Role] = &Role::ALL;
const ADMIN: &[Role] = &[Role::Admin];
const READERS: &[Role] = &[Role::Admin, Role::Operator];
const VIEWERS: &[Role] = &[Role::Admin, Role::Operator, Role::Pentester];

/// One row of [`PAGES`].
macro_rules! page {
    ($method:ident $path:literal $roles:ident $($handler:ident)::+) => {
        Page { method: Method::$method, path: $path, roles: $roles, handler: |visit| Box::pin($($handler)::+(visit)) }
    };
}

/// Every page that a session is needed for.
const PAGES: &[Page] = &[
    page!(GET "/console" ALL home::page),
    page!(GET "/console/webhooks" VIEWERS webhooks::list),
    page!(GET "/console/webhooks/new" ADMIN webhooks::new_page),
    page!(POST "/console/webhooks/new" ADMIN webhooks::create),
    page!(GET "/console/webhooks/{id}" VIEWERS webhooks::one),
    page!(GET "/console/webhooks/{id}/edit" ADMIN webhooks::edit_page),
    page!(POST "/console/webhooks/{id}/edit" ADMIN webhooks::update),
    page!(POST "/console/webhooks/{id}/test" ADMIN webhooks::test),
    page!(POST "/console/webhooks/{id}/recover" ADMIN webhooks::recover),
    page!(POST "/console/webhooks/{id}/rotate" ADMIN webhooks::rotate),
    page!(POST "/console/webhooks/{id}/switch" ADMIN webhooks::switch),
    page!(POST "/console/webhooks/{id}/delete" ADMIN webhooks::delete),
    page!(GET "/console/deliveries" READERS deliveries::list),
    page!(GET "/console/events" READERS events::list),
    page!(GET "/console/events/{id}" READERS events::one),
    page!(GET "/console/formatters" ALL formatters::list),
    page!(GET "/console/formatters/{name}" ALL formatters::one),
    page!(GET "/console/formatters/{name}/message" ALL formatters::message),
    page!(GET "/console/tokens" READERS tokens::list),
    page!(POST "/console/tokens" ADMIN tokens::create),
    page!(POST "/console/tokens/{id}/delete" ADMIN tokens::delete),
    page!(GET "/console/audit" READERS audit::list),
];

/// The console's state; cheap to clone.
#[derive(Clone)]
struct Console(Arc<Inner>);

struct Inner {
    api: Inside,
    sessions: Sessions,
    settings: ConsoleSettings,
}

/// The console as a router.
pub fn router(api: Inside, settings: ConsoleSettings) -> Router {
    let console = Console(Arc::new(Inner { sessions: Sessions::new(), api, settings }));
    let mut router = Router::new()
        .route("/console/login", get(enter::login_page).post(enter::login))
        .route("/console/logout", post(enter::logout))
        .route("/console/enter/{link}", get(enter::link_page).post(enter::use_link))
        .route("/console/files/{name}", get(files::file));
    for page in PAGES {
        router = router.route(page.path, method_router(page));
    }
    router.fallback(nothing_here).with_state(console)
}

fn method_router(page: &'static Page) -> MethodRouter<Console> {
    let filter = if page.method == Method::POST { MethodFilter::POST } else { MethodFilter::GET };
    on(filter, move |State(console): State<Console>, Path(params): Path<HashMap<String, String>>, request: Request| {
        serve(page, console, params, request)
    })
}

async fn serve(page: &'static Page, console: Console, params: HashMap<String, String>, request: Request) -> Response {
    let visit = match Visit::begin(page, console.clone(), params, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let (frame, renewed) = (visit.frame("Error", ""), visit.renewed_cookie());
    let answer = (page.handler)(visit).await;
    let mut response = answer.unwrap_or_else(|failure| frame::error_page(frame, &failure));
    if let Some(cookie) = renewed {
        response.headers_mut().append(http::header::SET_COOKIE, cookie);
    }
    response
}

async fn nothing_here(State(console): State<Console>, request: Request) -> Response {
    match Visit::begin(&NOTHING, console, HashMap::new(), request).await {
        Ok(visit) => {
            let failure = Failure::new(StatusCode::NOT_FOUND, "There is nothing at this address");
            frame::error_page(visit.frame("Not found", ""), &failure)
        }
        Err(response) => *response,
    }
}

/// What a path without a page asks of a session.
static NOTHING: Page = page!(GET "" ALL home::page);
