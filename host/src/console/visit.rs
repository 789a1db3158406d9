//! One request of a browser that is logged in: who it is, what was sent, and the API in that one's name.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::frame::{self, Frame};
use super::place::Place;
use super::session::{Sealed, Session};
use super::{Answer, Console, Page, enter, show};
use crate::api::Reply;
use crate::model::time::Timestamp;
use crate::model::token::Role;

/// Most bytes of a form.
const FORM_BYTES: usize = 1024 * 1024;
/// The name of the field that shows that a form is of its session.
pub(super) const FIELD: &str = "form";

/// Why there is no page.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// The cause, and where there is one the remedy.
    pub(super) detail: String,
    /// The fields that cannot be used, where the API names them.
    pub(super) errors: Vec<FieldError>,
}

/// A field that the API rejected, in its words.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FieldError {
    /// JSON pointer into the body.
    pub(super) pointer: String,
    /// What was expected.
    pub(super) detail: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    detail: String,
    errors: Vec<FieldError>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new() }
    }

    fn of(reply: &Reply) -> Self {
        let Problem { detail, errors } = serde_json::from_slice(&reply.body).unwrap_or_default();
        Self { status: reply.status, detail: show::visible(&detail), errors }
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The host's response cannot be shown; its log may have the cause")
    }
}

/// The fields of a query or a form, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn parse(encoded: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The value of a field; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The values of a field that may be there several times.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Adds a field.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

/// A request of a session that may open the page.
pub(super) struct Visit {
    pub(super) console: Console,
    pub(super) session: Session,
    place: Place,
    params: HashMap<String, String>,
    /// The query.
    pub(super) query: Fields,
    /// The form, of a POST.
    pub(super) form: Fields,
}

impl Visit {
    /// Checks where a request comes from, its session, its role and, of a form, that a page of this session sent it.
    ///
    /// # Errors
    /// The response, if one of them does not hold.
    pub(super) async fn begin(
        page: &'static Page,
        console: Console,
        params: HashMap<String, String>,
        request: Request,
    ) -> Result<Self, Box<Response>> {
        let place = Place::of(&console, &request).map_err(|failure| Box::new(frame::bare_error(&failure)))?;
        let (parts, body) = request.into_parts();
        let is_form = parts.method == Method::POST;
        let Some(session) = session(&console, &place, &parts.headers) else {
            return Err(Box::new(enter::to_login(
                is_form,
                parts.uri.path_and_query().map_or("", |path| path.as_str()),
            )));
        };
        let query = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let mut visit = Self { console, session, place, params, query, form: Fields::default() };
        let refuse = |visit: &Self, failure: &Failure| Box::new(frame::error_page(visit.frame("Error", ""), failure));
        if !page.roles.contains(&visit.role()) {
            let names: Vec<_> = page.roles.iter().map(|role| role.as_str()).collect();
            let detail = format!(
                "This page is for tokens with the role {}; yours has the role {}",
                names.join(" or "),
                visit.role().as_str()
            );
            return Err(refuse(&visit, &Failure::new(StatusCode::FORBIDDEN, detail)));
        }
        if is_form {
            let checked = visit.read_form(&parts.headers, body).await;
            checked.map_err(|failure| refuse(&visit, &failure))?;
        }
        Ok(visit)
    }

    async fn read_form(&mut self, headers: &HeaderMap, body: Body) -> Result<(), Failure> {
        self.place.check_sender(headers)?;
        self.form = read_form(headers, body).await?;
        if !self.console.0.sessions.is_field(&self.session.sealed, self.form.get(FIELD)) {
            let detail = "This form belongs to another session. Open the page again, and send it from there";
            return Err(Failure::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }

    pub(super) fn role(&self) -> Role {
        self.session.token.role
    }

    pub(super) fn is_admin(&self) -> bool {
        self.role() == Role::Admin
    }

    /// A variable part of the path, as a part of a path of the API.
    pub(super) fn segment(&self, name: &str) -> String {
        show::segment(self.params.get(name).map_or("", String::as_str))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.console.0.api.now()
    }

    /// Calls the API; the path begins after `/api/v1`. What it rejects is a failure.
    ///
    /// # Errors
    /// The API's status and words.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Failure> {
        let mut headers = HeaderMap::new();
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.call_with(method, path, headers, body.map(|body| body.to_string().into()).unwrap_or_default()).await
    }

    /// The same with headers and bytes.
    ///
    /// # Errors
    /// The API's status and words.
    pub(super) async fn call_with(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, Failure> {
        let path = format!("/api/v1{path}");
        let reply = self.console.0.api.call(&self.session.token, method, &path, headers, body).await;
        let reply = reply.ok_or_else(Failure::internal)?;
        if reply.status.is_client_error() || reply.status.is_server_error() {
            return Err(Failure::of(&reply));
        }
        Ok(reply)
    }

    /// Reads from the API. Characters that deceive the eye are replaced by visible marks in every text.
    ///
    /// # Errors
    /// The API's status and words.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(&self.call(Method::GET, path, None).await?)
    }

    /// The frame of a page: its title, and the part of the navigation that it belongs to.
    pub(super) fn frame(&self, title: &str, part: &'static str) -> Frame {
        let field = self.console.0.sessions.field(&self.session.sealed);
        Frame::new(title, part, &self.session.token, field, &self.query)
    }

    /// A page.
    pub(super) fn page(&self, template: &impl askama::Template) -> Answer {
        Ok(frame::html(StatusCode::OK, template))
    }

    /// Sends the browser to another page, which says what was done: a word of [`frame::notice`].
    pub(super) fn see(&self, path: &str, done: &str) -> Answer {
        let separator = if path.contains('?') { '&' } else { '?' };
        Ok(frame::see_other(&format!("{path}{separator}done={done}")))
    }

    /// A cookie that continues the session, when it is time for one.
    pub(super) fn renewed_cookie(&self) -> Option<HeaderValue> {
        let renewed = self.console.0.sessions.renew(&self.session.sealed, self.console.0.api.steady_ms())?;
        enter::cookie(&self.place, &renewed)
    }
}

/// A response of the API, made fit to be seen.
///
/// # Errors
/// If it is not of this type.
pub(super) fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, Failure> {
    let mut value: Value = serde_json::from_slice(&reply.body).map_err(|_| Failure::internal())?;
    show::make_visible(&mut value);
    serde_json::from_value(value).map_err(|error| {
        tracing::warn!(%error, "a response of the API is not what the console expects");
        Failure::internal()
    })
}

/// The fields of a form's body.
///
/// # Errors
/// If it is no form or too large.
pub(super) async fn read_form(headers: &HeaderMap, body: Body) -> Result<Fields, Failure> {
    let is_form =
        headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if !is_form {
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "A form is expected here"));
    }
    let bytes = axum::body::to_bytes(body, FORM_BYTES).await;
    let bytes = bytes.map_err(|_| Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large"))?;
    Ok(Fields::parse(&bytes))
}

/// The session of a request, if its token still exists.
pub(super) fn session(console: &Console, place: &Place, headers: &HeaderMap) -> Option<Session> {
    let sealed = sealed(console, place, headers)?;
    let token = console.0.api.token(sealed.token)?;
    Some(Session { token, sealed })
}

fn sealed(console: &Console, place: &Place, headers: &HeaderMap) -> Option<Sealed> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == place.cookie)?;
    console.0.sessions.open(value, console.0.api.steady_ms())
}
