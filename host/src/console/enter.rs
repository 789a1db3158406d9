//! Logging in and out: by a token, or by a one-time link.

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};

use super::place::Place;
use super::visit::{self, Failure, Fields};
use super::{Console, ROOT, files, frame, show};
use crate::model::token::Token;

/// Where a link leads that is outside of the console, or that nobody named.
const HOME: &str = ROOT;

#[derive(Template)]
#[template(path = "console/login.html")]
struct LoginPage<'a> {
    css: String,
    icon: String,
    next: &'a str,
    error: &'a str,
}

#[derive(Template)]
#[template(path = "console/link.html")]
struct LinkPage<'a> {
    css: String,
    icon: String,
    name: String,
    role: &'a str,
}

/// The form of the login.
pub(super) async fn login_page(State(console): State<Console>, request: Request) -> Response {
    let place = match Place::of(&console, &request) {
        Ok(place) => place,
        Err(failure) => return frame::bare_error(&failure),
    };
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    let next = next(query.get("next"));
    if visit::session(&console, &place, request.headers()).is_some() {
        return frame::see_other(next);
    }
    frame::html(StatusCode::OK, &LoginPage { css: files::css_path(), icon: files::icon_path(), next, error: "" })
}

/// Begins a session for a token.
pub(super) async fn login(State(console): State<Console>, request: Request) -> Response {
    let (place, form) = match form(&console, request).await {
        Ok(read) => read,
        Err(failure) => return frame::bare_error(&failure),
    };
    let (now_ms, next) = (console.0.api.steady_ms(), next(form.get("next")));
    let reject = |status, error| {
        frame::html(status, &LoginPage { css: files::css_path(), icon: files::icon_path(), next, error })
    };
    if !console.0.sessions.may_try(now_ms) {
        return reject(StatusCode::TOO_MANY_REQUESTS, "There were many logins with wrong tokens. Wait some seconds");
    }
    match console.0.api.token_with_text(form.get("token").trim()) {
        Some(token) => enter(&console, &place, &token, next),
        None => {
            console.0.sessions.count_failed();
            tracing::info!("login to the console with a wrong token");
            reject(StatusCode::UNAUTHORIZED, "No token is this one. Copy it again, or ask an admin for another")
        }
    }
}

/// Ends the session.
pub(super) async fn logout(State(console): State<Console>, request: Request) -> Response {
    let place = match Place::of(&console, &request) {
        Ok(place) => place,
        Err(failure) => return frame::bare_error(&failure),
    };
    if let Err(failure) = place.check_sender(request.headers()) {
        return frame::bare_error(&failure);
    }
    let (parts, body) = request.into_parts();
    if let Some(session) = visit::session(&console, &place, &parts.headers) {
        let form = visit::read_form(&parts.headers, body).await.unwrap_or_default();
        if !console.0.sessions.is_field(&session.sealed, form.get(visit::FIELD)) {
            return frame::bare_error(&Failure::new(StatusCode::FORBIDDEN, "This form belongs to another session"));
        }
        console.0.sessions.end(&session.sealed);
    }
    let mut response = frame::see_other("/console/login");
    if let Some(cookie) = cookie_with(&place, "", "; Max-Age=0") {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// The page of a one-time link. It does not use the link up, so no preview of links does.
pub(super) async fn link_page(State(console): State<Console>, Path(link): Path<String>, request: Request) -> Response {
    if let Err(failure) = Place::of(&console, &request) {
        return frame::bare_error(&failure);
    }
    let Some(token) = console.0.api.linked(&link) else { return frame::bare_error(&used_up()) };
    let page = LinkPage {
        css: files::css_path(),
        icon: files::icon_path(),
        name: show::visible(&token.name),
        role: token.role.as_str(),
    };
    frame::html(StatusCode::OK, &page)
}

/// Begins a session by a one-time link.
pub(super) async fn use_link(State(console): State<Console>, Path(link): Path<String>, request: Request) -> Response {
    let place = match form(&console, request).await {
        Ok((place, _)) => place,
        Err(failure) => return frame::bare_error(&failure),
    };
    match console.0.api.take_link(&link) {
        Some(token) => enter(&console, &place, &token, HOME),
        None => frame::bare_error(&used_up()),
    }
}

fn used_up() -> Failure {
    let detail = "This link was used, or is older than a minute. `heraldry console` makes another";
    Failure::new(StatusCode::NOT_FOUND, detail)
}

/// Sends a browser without a session to the login, and afterwards to where it was going.
pub(super) fn to_login(is_form: bool, path: &str) -> Response {
    if is_form {
        let detail = "The session has ended, and nothing was changed. Log in again at /console/login";
        return frame::bare_error(&Failure::new(StatusCode::UNAUTHORIZED, detail));
    }
    frame::see_other(&format!("/console/login{}", show::query([("next", if path == HOME { "" } else { path })])))
}

/// The form of a browser without a session, which a page of the console has sent.
async fn form(console: &Console, request: Request) -> Result<(Place, Fields), Failure> {
    let place = Place::of(console, &request)?;
    place.check_sender(request.headers())?;
    let (parts, body) = request.into_parts();
    Ok((place, visit::read_form(&parts.headers, body).await?))
}

fn enter(console: &Console, place: &Place, token: &Token, next: &str) -> Response {
    tracing::info!(by = %token.id, "login to the console");
    let mut response = frame::see_other(next);
    let value = console.0.sessions.begin(token.id, console.0.api.steady_ms());
    if let Some(cookie) = cookie(place, &value) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// The header that sets the session's cookie.
pub(super) fn cookie(place: &Place, value: &str) -> Option<HeaderValue> {
    cookie_with(place, value, "")
}

fn cookie_with(place: &Place, value: &str, more: &str) -> Option<HeaderValue> {
    let secure = if place.secure { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}", place.cookie)).ok()
}

/// A path of the console to go to, and no other.
fn next(path: &str) -> &str {
    let inside = path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if inside && plain && !path.contains("//") && !path.contains("/..") { path } else { HOME }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_a_page_of_the_console() {
        for path in ["/console", "/console/webhooks?a=1&b=%2F", "/console?done=saved"] {
            assert_eq!(next(path), path);
        }
        for path in
            ["", "/", "//evil.example", "https://evil.example/console", "/consoles", "/console\\evil", "/console//x"]
        {
            assert_eq!(next(path), HOME, "{path}");
        }
        assert_eq!((next("/console/../api/v1"), next("/console/\r\nSet-Cookie: a")), (HOME, HOME));
    }
}
