//! HTTP client of the API, shared by the client commands.

use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::failure::Failure;
use super::terminal::{WARN, cut, escape, note};
use crate::config::ClientArgs;
use crate::model::secret::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit of a whole call. A webhook test takes up to 30 s, and a request queued behind another one longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an idle connection is used again. The host closes it after 10 s, and a request must not meet that moment.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit of a streamed response, such as an export.
const STREAM_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters shown of an error response that is not a problem document.
const EXCERPT: usize = 300;

/// A host and the token to call it with.
pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
}

/// A whole response of the host.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: String,
    /// True if the request carried a token.
    pub(crate) had_token: bool,
}

/// A problem document (RFC 9457); members that are missing or unreadable are empty.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct Problem {
    title: String,
    detail: String,
    /// Field errors of a 422, or of a 413 that can name them.
    pub(crate) errors: Vec<FieldError>,
}

/// One field error of a problem document.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct FieldError {
    /// JSON pointer into the request body.
    pub(crate) pointer: String,
    /// Code for programs.
    pub(crate) code: String,
    /// Explanation for people.
    pub(crate) detail: String,
}

impl Api {
    /// A client for the host named by `--server`.
    ///
    /// # Errors
    /// When the address is not an origin (scheme, host and port).
    pub(crate) fn new(args: &ClientArgs) -> Result<Self, Failure> {
        let base = origin(&args.server).map_err(|why| {
            let error = anyhow::anyhow!("--server (or HERALDRY_URL): `{}` {why}", args.server);
            Failure::usage(error, "set it to scheme, host and port only, as in --server http://127.0.0.1:8080")
        })?;
        Self::at(base, args.token.clone())
    }

    /// A client for the host at an origin.
    ///
    /// # Errors
    /// When the system's CA certificates cannot be loaded.
    pub(crate) fn at(base: Url, token: Option<Secret>) -> Result<Self, Failure> {
        // Fails when a provider is installed already, which is just as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let token = token.filter(|token| !token.expose().is_empty());
        if token.as_ref().is_some_and(|token| !token.expose().bytes().all(|b| b.is_ascii_graphic())) {
            let error = anyhow::anyhow!("HERALDRY_TOKEN (or --token) has characters that no token has");
            return Err(Failure::usage(error, "a token is one word of printable ASCII characters: copy it again"));
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("heraldry/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| {
                Failure::failed(error, "install the system's CA certificates (package ca-certificates)")
            })?;
        Ok(Self { http, base, token })
    }

    /// A request to a path below `/api/v1`.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("/api/v1{path}"));
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// When no complete response arrived.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Response { status, headers, body: response.text().await?, had_token: self.token.is_some() })
    }

    /// Sends a request once and expects a 2xx status.
    ///
    /// # Errors
    /// When no complete response arrived, or its status is not 2xx.
    pub(crate) async fn call(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let response = self.send(request).await.map_err(|error| self.unreachable(error))?;
        if response.status.is_success() { Ok(response) } else { Err(response.rejection()) }
    }

    /// Sends a request whose response is streamed, and expects a 2xx status.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub(crate) async fn stream(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Failure> {
        let response = request.timeout(STREAM_TIMEOUT).send().await.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.map_err(|error| self.unreachable(error))?;
        Err(Response { status, headers, body, had_token: self.token.is_some() }.rejection())
    }

    /// GETs a resource.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub(crate) async fn get(&self, path: &str) -> Result<Response, Failure> {
        self.call(self.request(Method::GET, path)).await
    }

    /// Sends a JSON body.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub(crate) async fn send_json(&self, method: Method, path: &str, body: String) -> Result<Response, Failure> {
        self.call(self.request(method, path).header(header::CONTENT_TYPE, "application/json").body(body)).await
    }

    /// The failure for a call that got no response.
    pub(crate) fn unreachable(&self, error: reqwest::Error) -> Failure {
        let hint = if error.is_connect() {
            "start `heraldry serve`, or set --server (or HERALDRY_URL) to the address of a running host"
        } else if error.is_timeout() {
            "the host accepted the connection but is slow: check its log"
        } else {
            "check that --server (or HERALDRY_URL) is the address of a Heraldry host"
        };
        let host = self.base.as_str().trim_end_matches('/').to_owned();
        Failure::failed(anyhow::Error::new(error.without_url()).context(format!("no response from {host}")), hint)
    }
}

impl Response {
    /// Parses the body.
    ///
    /// # Errors
    /// When it is not the JSON that this version expects.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.body).map_err(unexpected)
    }

    /// Parses the body into a value that borrows from it.
    ///
    /// # Errors
    /// As [`Response::parse`].
    pub(crate) fn parse_borrowed<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_str(&self.body).map_err(unexpected)
    }

    /// True if a page is not the last (`Link` with `rel="next"`).
    pub(crate) fn has_next_page(&self) -> bool {
        let link = self.headers.get(header::LINK).and_then(|link| link.to_str().ok());
        link.is_some_and(|link| link.contains("next"))
    }

    /// Says from when on a search is complete, while the host is still making its index.
    pub(crate) fn note_indexing(&self) {
        let since = self.headers.get("heraldry-indexed-since").and_then(|since| since.to_str().ok());
        if let Some(since) = since {
            note(format_args!(
                "{WARN}warning:{WARN:#} the host is still indexing what it stored before its upgrade; complete since {}",
                escape(since)
            ));
        }
    }

    /// The problem document's `detail`.
    pub(crate) fn detail(&self) -> String {
        self.problem().detail
    }

    /// The problem document in the body; empty when there is none.
    pub(crate) fn problem(&self) -> Problem {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The failure for a response whose status is not 2xx.
    pub(crate) fn rejection(&self) -> Failure {
        Failure::failed(anyhow::anyhow!(self.describe_rejection()), self.rejection_hint())
    }

    /// The rejection as text: status, title, detail and every field error.
    pub(crate) fn describe_rejection(&self) -> String {
        let problem = self.problem();
        let mut text = match (self.status, self.had_token) {
            (StatusCode::UNAUTHORIZED, true) => "the token is refused: the host responded with ".to_owned(),
            (StatusCode::UNAUTHORIZED, false) => "no token was given: the host responded with ".to_owned(),
            _ => "the host responded with ".to_owned(),
        };
        text.push_str(&self.status.to_string());
        let title_adds_something =
            self.status.canonical_reason().is_none_or(|reason| !reason.eq_ignore_ascii_case(&problem.title));
        let title = Some(problem.title.as_str()).filter(|title| !title.is_empty() && title_adds_something);
        for part in title.into_iter().chain(Some(problem.detail.as_str()).filter(|detail| !detail.is_empty())) {
            text.push_str(": ");
            text.push_str(&escape(part));
        }
        if problem.title.is_empty() && problem.detail.is_empty() && !self.body.is_empty() {
            text.push_str(": ");
            text.push_str(&escape(&cut(&self.body, EXCERPT)));
        }
        for fault in &problem.errors {
            let pointer = if fault.pointer.is_empty() { "(whole body)" } else { &fault.pointer };
            text.push_str(&format!("\n  {}: {}", escape(pointer), escape(&fault.detail)));
        }
        text
    }

    /// What to do about a rejection.
    pub(crate) fn rejection_hint(&self) -> String {
        let retry_after = self.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        match (self.status.as_u16(), retry_after) {
            (401, _) if self.had_token => "HERALDRY_TOKEN (or --token) is not a token of this host: it was deleted, belongs to another host, or was not copied whole; `heraldry token reset-admin` makes a new one on a stopped host".to_owned(),
            (401, _) => "set HERALDRY_TOKEN (or --token); `heraldry serve` prints an admin token on its first start".to_owned(),
            (403, _) => "use a token with a role that allows this; an admin creates one with `heraldry token create`".to_owned(),
            (404, _) => "check the id: `heraldry webhook list` and `heraldry token list` show the existing ones".to_owned(),
            (409 | 412, _) => "the resource changed in the meantime: read it again, then repeat the command".to_owned(),
            (413, _) => "send less at once, or raise the limit in the settings of `heraldry serve`".to_owned(),
            (400 | 422, _) => "correct the fields named above and try again".to_owned(),
            (_, Some(seconds)) if seconds.bytes().all(|b| b.is_ascii_digit()) => format!("try again in {seconds} s"),
            (429 | 503 | 507, _) => "try again in a minute".to_owned(),
            (500..=599, _) => "check the host's log".to_owned(),
            _ => "check that --server (or HERALDRY_URL) is a Heraldry host of this version".to_owned(),
        }
    }
}

/// The failure for a response that is not what this version expects.
pub(crate) fn unexpected(error: serde_json::Error) -> Failure {
    let error = anyhow::Error::new(error).context("the host's response is not in the form that this version expects");
    Failure::failed(error, "check that --server (or HERALDRY_URL) is a Heraldry host of this version")
}

fn origin(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is not an http or https URL");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("has more than scheme, host and port (the path of the API is added automatically)");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains credentials, which belong in HERALDRY_TOKEN");
    }
    Ok(url)
}

/// Encodes a text as one path segment, so that an id with slashes or dots cannot address another resource.
pub(crate) fn segment(text: &str) -> String {
    let mut url = Url::parse("http://h").expect("a URL");
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().push(text);
    }
    match url.path() {
        // The URL standard drops `.` and `..` in any spelling; no id is one of them.
        "" | "/" => "/-".to_owned(),
        path => path.to_owned(),
    }
}

/// The API's path of a webhook.
pub(crate) fn webhook_path(id: &str) -> String {
    format!("/webhooks{}", segment(id))
}

/// The API's path of an event.
pub(crate) fn event_path(id: &str) -> String {
    format!("/events{}", segment(id))
}

/// The API's path of a webhook's history.
pub(crate) fn deliveries_path(webhook: &str) -> String {
    format!("{}/deliveries", webhook_path(webhook))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        Response {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: header::HeaderMap::new(),
            body: body.to_owned(),
            had_token: true,
        }
    }

    #[test]
    fn a_refused_token_is_told_from_a_missing_one() {
        let refused = response(401, "");
        assert!(refused.describe_rejection().starts_with("the token is refused: "));
        let missing = Response { had_token: false, ..refused };
        assert!(missing.describe_rejection().starts_with("no token was given: "));
        assert!(missing.rejection_hint().starts_with("set HERALDRY_TOKEN"));
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_named() {
        let at = |token: &str| Api::at(Url::parse("http://127.0.0.1:9").expect("a URL"), Some(Secret::new(token)));
        assert!(at("hrld_abc").is_ok() && at("").is_ok_and(|api| api.token.is_none()));
        for token in ["two words", "line\nfeed", "umläut", "\u{7f}"] {
            let (message, _) = at(token)
                .err()
                .map(|failure| failure.message().map(|m| (m.0, m.1.to_owned())).expect("a message"))
                .expect("refused");
            assert!(message.contains("HERALDRY_TOKEN") && !message.contains(token), "{message}");
        }
    }

    #[test]
    fn only_an_origin_is_accepted() {
        for (text, valid) in [
            ("http://127.0.0.1:8080", true),
            ("https://heraldry.example/", true),
            ("http://127.0.0.1:8080/api/v1", false),
            ("http://user@127.0.0.1:8080", false),
            ("127.0.0.1:8080", false),
            ("ftp://127.0.0.1", false),
        ] {
            assert_eq!(origin(text).is_ok(), valid, "{text}");
        }
    }

    #[test]
    fn an_id_stays_one_path_segment() {
        for (text, path) in
            [("a-1", "/a-1"), ("../x", "/..%2Fx"), ("a/b?c#d", "/a%2Fb%3Fc%23d"), ("..", "/-"), ("", "/-")]
        {
            assert_eq!(segment(text), path);
        }
    }

    #[test]
    fn a_problem_document_reads_as_sentences() {
        let body = r#"{"title":"Unprocessable Entity","status":422,"detail":"2 fields are wrong",
            "errors":[{"pointer":"/url","code":"x","detail":"is private"},{"pointer":"/name\u001b","code":"x","detail":"is empty"}]}"#;
        assert_eq!(
            response(422, body).describe_rejection(),
            "the host responded with 422 Unprocessable Entity: 2 fields are wrong\n  /url: is private\n  /name\\u{1b}: is empty"
        );
        assert_eq!(
            response(502, "<html>\n").describe_rejection(),
            "the host responded with 502 Bad Gateway: <html>\\n"
        );
        assert_eq!(response(500, "").describe_rejection(), "the host responded with 500 Internal Server Error");
    }
}
