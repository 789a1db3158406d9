//! What all pages have in common: the layout, the headers, the notice of what was done, and pages of errors.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};

use super::files;
use super::show;
use super::visit::{Failure, FieldError, Fields};
use crate::model::token::{Role, Token};

/// No script at all, and nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// The parts of the navigation: key, path, words, roles.
const PARTS: &[(&str, &str, &str, &[Role])] = &[
    ("home", "/console", "Overview", super::ALL),
    ("webhooks", "/console/webhooks", "Webhooks", super::VIEWERS),
    ("deliveries", "/console/deliveries", "Deliveries", super::READERS),
    ("events", "/console/events", "Events", super::READERS),
    ("formatters", "/console/formatters", "Formats", super::ALL),
    ("tokens", "/console/tokens", "Tokens", super::READERS),
    ("audit", "/console/audit", "Audit", super::READERS),
];

/// The layout's variables.
pub(super) struct Frame {
    /// The page's title and its one heading.
    pub(super) title: String,
    part: &'static str,
    /// The name of the session's token.
    pub(super) name: String,
    /// Its role.
    pub(super) role: Role,
    /// The hidden field of each form.
    pub(super) field: String,
    /// What was just done.
    pub(super) notice: Option<String>,
}

/// One link of the navigation.
pub(super) struct Link {
    pub(super) path: &'static str,
    pub(super) words: &'static str,
    pub(super) is_here: bool,
}

impl Frame {
    pub(super) fn new(title: &str, part: &'static str, token: &Token, field: String, query: &Fields) -> Self {
        Self {
            title: show::visible(title),
            part,
            name: show::visible(&token.name),
            role: token.role,
            field,
            notice: notice(query),
        }
    }

    pub(super) fn links(&self) -> Vec<Link> {
        let open = PARTS.iter().filter(|(.., roles)| roles.contains(&self.role));
        open.map(|&(key, path, words, _)| Link { path, words, is_here: key == self.part }).collect()
    }

    pub(super) fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    pub(super) fn css(&self) -> String {
        files::css_path()
    }

    pub(super) fn icon(&self) -> String {
        files::icon_path()
    }
}

/// The words for what a form has done, by the word in the query: nothing of the query itself is shown.
pub(super) fn notice(query: &Fields) -> Option<String> {
    let number = query.get("count").parse().unwrap_or(0);
    let words = match query.get("done") {
        "created" => "Created.".to_owned(),
        "saved" => "Saved.".to_owned(),
        "deleted" => "Deleted.".to_owned(),
        "switched-on" => "Switched on.".to_owned(),
        "switched-off" => "Switched off.".to_owned(),
        "recovered" => format!("{} queued again.", show::count(number, "delivery", "deliveries")),
        "sent-again" => "Queued again, as a new delivery.".to_owned(),
        "published" => "Published.".to_owned(),
        "activated" => "Activated.".to_owned(),
        "rolled-back" => "Rolled back.".to_owned(),
        _ => return None,
    };
    Some(words)
}

#[derive(Template)]
#[template(path = "console/error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    detail: &'a str,
    errors: &'a [FieldError],
}

#[derive(Template)]
#[template(path = "console/bare_error.html")]
struct BareError<'a> {
    css: String,
    icon: String,
    title: &'a str,
    detail: &'a str,
}

/// The page of a failure, in the layout.
pub(super) fn error_page(mut frame: Frame, failure: &Failure) -> Response {
    frame.title = title(failure.status).to_owned();
    frame.notice = None;
    let page = ErrorPage { frame, detail: &failure.detail, errors: &failure.errors };
    html(failure.status, &page)
}

/// The page of a failure, for a browser that is not logged in.
pub(super) fn bare_error(failure: &Failure) -> Response {
    html(
        failure.status,
        &BareError {
            css: files::css_path(),
            icon: files::icon_path(),
            title: title(failure.status),
            detail: &failure.detail,
        },
    )
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => "This is not allowed",
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::UNPROCESSABLE_ENTITY => "Some fields cannot be used",
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "It has changed in the meantime",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        _ => "This did not work",
    }
}

/// A page's response.
pub(super) fn html(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => document(status, text, POLICY),
        Err(_) => document(StatusCode::INTERNAL_SERVER_ERROR, "The page cannot be shown.".to_owned(), POLICY),
    }
}

/// A document with a policy of its own, such as a message in an `<iframe sandbox>`.
pub(super) fn document(status: StatusCode, text: String, policy: &'static str) -> Response {
    let mut response = secured(status, Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

/// Sends the browser elsewhere with a GET.
pub(super) fn see_other(path: &str) -> Response {
    let mut response = secured(StatusCode::SEE_OTHER, Body::empty());
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static(super::ROOT));
    response.headers_mut().insert(LOCATION, location);
    response
}

/// A response with the headers that all of them have.
fn secured(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let same_origin = HeaderValue::from_static("same-origin");
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), same_origin.clone());
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), same_origin);
    response
}
