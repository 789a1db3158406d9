//! An HTTP client for the host's API.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::eventually;

/// The path prefix of everything that requires a token.
const ROOT: &str = "/api/v1";

/// Below the host's own limit (10 s), after which it closes an idle connection: a test that was busy as long would send its
/// next request on a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client with or without a token. Paths are relative to `/api/v1`, as in `/webhooks`, unless it was made by
/// [`Client::outside`].
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    origin: String,
    root: &'static str,
    token: Option<String>,
}

impl Client {
    /// A client without a token for an origin, as in `http://127.0.0.1:8080`.
    pub(crate) fn new(origin: &str) -> Self {
        // A second installation returns an error, which is fine: the first one stays.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()
            .expect("an HTTP client");
        Self { http, origin: origin.to_owned(), root: ROOT, token: None }
    }

    /// The same client with this token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// A client of the same host without a token; paths are relative to its root, as in `/healthz`.
    pub(crate) fn outside(&self) -> Self {
        Self { token: None, root: "", ..self.clone() }
    }

    /// The host's origin, as in `http://127.0.0.1:40123`.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The text of the token.
    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().expect("a client with a token")
    }

    /// A request without headers and body.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let what = format!("{method} {}{path}", self.root);
        let mut builder = self.http.request(method, format!("{}{}{path}", self.origin, self.root));
        if let Some(token) = &self.token {
            builder = builder.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        Request { what, builder }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send().await
    }

    /// Uploads a component under a name.
    pub(crate) async fn install(&self, name: &str, component: &[u8]) -> Answer {
        let request = self.request("PUT", &format!("/formatters/{name}"));
        request.body("application/wasm", component.to_vec()).send().await
    }

    /// The current representation of a formatter.
    pub(crate) async fn formatter(&self, name: &str) -> Value {
        self.get(&format!("/formatters/{name}")).await.expect(200).json()
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path).json(body).send().await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.request("PUT", path).json(body).send().await
    }

    /// Posts JSON text verbatim.
    pub(crate) async fn post_text(&self, path: &str, text: impl Into<String>) -> Answer {
        self.request("POST", path).body("application/json", text.into()).send().await
    }

    /// Posts NDJSON: one value per line.
    pub(crate) async fn post_lines(&self, path: &str, text: impl Into<String>) -> Answer {
        self.request("POST", path).body("application/x-ndjson", text.into()).send().await
    }

    /// Creates a token with this role; returns a client with it.
    pub(crate) async fn new_token(&self, role: &str) -> Self {
        let answer = self.post("/tokens", &json!({"name": role, "role": role})).await;
        self.with_token(answer.expect(201).json()["token"].as_str().expect("a token's text"))
    }

    /// Creates a webhook to `url` with these further fields; returns its id. It subscribes to every event type unless
    /// `fields` says otherwise.
    pub(crate) async fn webhook(&self, url: &str, fields: Value) -> String {
        let mut body = json!({"name": "a webhook", "url": url, "event_types": ["*"]});
        for (name, value) in fields.as_object().expect("fields are an object") {
            body[name] = value.clone();
        }
        let answer = self.post("/webhooks", &body).await.expect(201);
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Posts one event that must be accepted; returns its id.
    pub(crate) async fn event(&self, event: &Value) -> String {
        self.post("/events", event).await.expect(202).json()["id"].as_str().expect("an id").to_owned()
    }

    /// The attempts in a webhook's history, newest first, at most 200.
    pub(crate) async fn history(&self, webhook: &str) -> Vec<Value> {
        self.get(&format!("/webhooks/{webhook}/deliveries?limit=200")).await.expect(200).list()
    }

    /// A webhook's history once it has at least this many attempts.
    pub(crate) async fn history_of(&self, webhook: &str, attempts: usize) -> Vec<Value> {
        let what = format!("{attempts} attempts in the history of {webhook}");
        eventually(&what, async || Some(self.history(webhook).await).filter(|history| history.len() >= attempts)).await
    }

    /// The deliveries of an event, once none of them is pending.
    pub(crate) async fn settled(&self, event: &str) -> Vec<Value> {
        eventually(&format!("the deliveries of {event} to settle"), async || {
            let deliveries = self.get(&format!("/events/{event}")).await.expect(200).json()["deliveries"].clone();
            let deliveries = deliveries.as_array().expect("a list").clone();
            deliveries.iter().all(|delivery| delivery["status"] != "pending").then_some(deliveries)
        })
        .await
    }
}

/// A request under construction.
pub(crate) struct Request {
    what: String,
    builder: reqwest::RequestBuilder,
}

impl Request {
    /// Adds a header, without replacing an earlier one of that name.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sets the body, and its content type unless that is empty.
    pub(crate) fn body(mut self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        if !content_type.is_empty() {
            self.builder = self.builder.header(CONTENT_TYPE, content_type);
        }
        self.builder = self.builder.body(body);
        self
    }

    /// Sets a JSON body.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sends the request.
    ///
    /// # Panics
    /// If the response is incomplete or missing.
    pub(crate) async fn send(self) -> Answer {
        let Self { what, builder } = self;
        let response = builder.send().await.unwrap_or_else(|error| panic!("{what}: no answer: {error:?}"));
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap_or_else(|error| panic!("{what}: half an answer: {error:?}"));
        Answer { what, status, headers, body: body.to_vec() }
    }

    /// Sends the request to a host that may be killed meanwhile; `None` if the response is incomplete or missing.
    pub(crate) async fn try_send(self) -> Option<Answer> {
        let Self { what, builder } = self;
        let response = builder.send().await.ok()?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.ok()?.to_vec();
        Some(Answer { what, status, headers, body })
    }
}

/// A response of the host.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Method and path, for failure messages.
    what: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Asserts the status; returns the response.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status(), status, "{self}");
        self
    }

    /// The header's value; empty when it is absent.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header is text"))
    }

    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body is text")
    }

    /// The body as bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.body
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    /// The elements of the JSON array in the body.
    #[track_caller]
    pub(crate) fn list(&self) -> Vec<Value> {
        match self.json() {
            Value::Array(elements) => elements,
            _ => panic!("not a list: {self}"),
        }
    }

    /// Asserts that the response is a problem document (RFC 9457) with this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status(), status, "{self}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self}");
        let body = self.json();
        assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{self}");
        for member in ["type", "title", "detail"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} is missing: {self}");
        }
        let bearer = self.header("www-authenticate").starts_with("Bearer");
        assert_eq!(bearer, status == 401, "WWW-Authenticate comes with 401 and with nothing else: {self}");
        self
    }

    /// Asserts that the response is a 422 that names exactly this field.
    #[track_caller]
    pub(crate) fn fault(&self, pointer: &str, code: &str) -> &Self {
        self.faults(&[(pointer, code)])
    }

    /// Asserts that the response is a 422 that names exactly these fields, in any order.
    #[track_caller]
    pub(crate) fn faults(&self, expected: &[(&str, &str)]) -> &Self {
        self.problem(422, "invalid_fields").errors(expected)
    }

    /// Asserts that the `errors` of a problem document are exactly these, in any order.
    #[track_caller]
    pub(crate) fn errors(&self, expected: &[(&str, &str)]) -> &Self {
        let body = self.json();
        let mut found = Vec::new();
        for error in body["errors"].as_array().unwrap_or_else(|| panic!("no errors: {self}")) {
            assert!(error["detail"].as_str().is_some_and(|text| !text.is_empty()), "no detail: {self}");
            found.push((error["pointer"].as_str().expect("a pointer"), error["code"].as_str().expect("a code")));
        }
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{self}");
        self
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        let shown: String = body.chars().take(2000).collect();
        write!(f, "{} was answered {}: {shown}", self.what, self.status)
    }
}
