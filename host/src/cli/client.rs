//! The API as the client commands call it.

use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::failure::Failure;
use super::terminal::{cut, escape};
use crate::config::ClientArgs;
use crate::model::secret::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A whole call; a webhook's test may take 30 s, and a request that waits for another one longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// An answer that comes piece by piece.
const STREAM_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Of an answer that is no problem document, in characters.
const EXCERPT: usize = 300;

/// A host and the token to call it with.
pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
}

/// What the host answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: String,
}

/// A refusal by the API (RFC 9457), as far as it could be read.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct Problem {
    title: String,
    detail: String,
    /// The bad fields of a 422, or of a 413 that knows them.
    pub(crate) errors: Vec<FieldFault>,
}

/// One bad field.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct FieldFault {
    /// JSON pointer into the request's body.
    pub(crate) pointer: String,
    /// What is wrong, for people.
    pub(crate) detail: String,
}

impl Api {
    /// A client for the host that the arguments name.
    ///
    /// # Errors
    /// When the address is not an origin.
    pub(crate) fn new(args: &ClientArgs) -> Result<Self, Failure> {
        let base = origin(&args.server).map_err(|why| {
            let error = anyhow::anyhow!("--server (or HERALDRY_URL): `{}` {why}", args.server);
            Failure::usage(error, "give the origin alone, as in --server http://127.0.0.1:8080")
        })?;
        Self::at(base, args.token.clone())
    }

    /// A client for the host at an origin.
    ///
    /// # Errors
    /// When the machine's TLS roots cannot be used.
    pub(crate) fn at(base: Url, token: Option<Secret>) -> Result<Self, Failure> {
        // A second install is refused, which is fine: then there is one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .user_agent(concat!("heraldry/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Failure::failed(error, "are the system's CA certificates installed?"))?;
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
    /// When no whole answer came back.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: response.text().await? })
    }

    /// Sends a request once and takes nothing but success.
    ///
    /// # Errors
    /// When no answer came back, or a refusal.
    pub(crate) async fn call(&self, request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let answer = self.send(request).await.map_err(|error| self.unreachable(error))?;
        if answer.status.is_success() { Ok(answer) } else { Err(answer.refusal()) }
    }

    /// Sends a request whose answer may be long and take its time; nothing but success.
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
        Err(Answer { status, headers, body }.refusal())
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.call(self.request(Method::GET, path)).await
    }

    /// Sends JSON text.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub(crate) async fn send_json(&self, method: Method, path: &str, body: String) -> Result<Answer, Failure> {
        self.call(self.request(method, path).header(header::CONTENT_TYPE, "application/json").body(body)).await
    }

    /// The failure for a call that got no answer.
    pub(crate) fn unreachable(&self, error: reqwest::Error) -> Failure {
        let hint = if error.is_connect() {
            "is `heraldry serve` running there? --server or HERALDRY_URL says where to look"
        } else if error.is_timeout() {
            "the host is there but slow: look into its log"
        } else {
            "is --server (or HERALDRY_URL) the address of a Heraldry host?"
        };
        let host = self.base.as_str().trim_end_matches('/').to_owned();
        Failure::failed(anyhow::Error::new(error.without_url()).context(format!("no answer from {host}")), hint)
    }
}

impl Answer {
    /// The answer's body.
    ///
    /// # Errors
    /// When it is not the JSON that this version knows.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.body).map_err(unexpected)
    }

    /// The answer's body, with texts that stay in it.
    ///
    /// # Errors
    /// As [`Answer::parse`].
    pub(crate) fn parse_borrowed<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_str(&self.body).map_err(unexpected)
    }

    /// The refusal's detail.
    pub(crate) fn detail(&self) -> String {
        self.problem().detail
    }

    /// The refusal that the body tells of.
    pub(crate) fn problem(&self) -> Problem {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The failure for an answer that is not a success.
    pub(crate) fn refusal(&self) -> Failure {
        Failure::failed(anyhow::anyhow!(self.describe_refusal()), self.refusal_hint())
    }

    /// What the host refused, in words: title, detail and every field.
    pub(crate) fn describe_refusal(&self) -> String {
        let problem = self.problem();
        let mut text = format!("the host answered {}", self.status);
        let title_is_news =
            self.status.canonical_reason().is_none_or(|reason| !reason.eq_ignore_ascii_case(&problem.title));
        let title = Some(problem.title.as_str()).filter(|title| !title.is_empty() && title_is_news);
        for part in title.into_iter().chain(Some(problem.detail.as_str()).filter(|detail| !detail.is_empty())) {
            text.push_str(": ");
            text.push_str(&escape(part));
        }
        if problem.title.is_empty() && problem.detail.is_empty() && !self.body.is_empty() {
            text.push_str(": ");
            text.push_str(&escape(&cut(&self.body, EXCERPT)));
        }
        for fault in &problem.errors {
            let place = if fault.pointer.is_empty() { "(whole body)" } else { &fault.pointer };
            text.push_str(&format!("\n  {}: {}", escape(place), escape(&fault.detail)));
        }
        text
    }

    fn refusal_hint(&self) -> String {
        let retry_after = self.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        match (self.status.as_u16(), retry_after) {
            (401, _) => "set HERALDRY_TOKEN (or --token); `serve` prints an admin token at its first start".to_owned(),
            (403, _) => "use a token with another role; an admin makes one with `heraldry token create`".to_owned(),
            (404, _) => "`heraldry webhook list` and `heraldry token list` show the ids there are".to_owned(),
            (409 | 412, _) => "it was changed meanwhile: look again, then repeat".to_owned(),
            (413, _) => "send less at once; the limits are settings of `heraldry serve`".to_owned(),
            (400 | 422, _) => "correct what is named above and try again".to_owned(),
            (_, Some(seconds)) if seconds.bytes().all(|b| b.is_ascii_digit()) => format!("try again in {seconds} s"),
            (429 | 503 | 507, _) => "try again in a minute".to_owned(),
            (500..=599, _) => "look into the host's log".to_owned(),
            _ => "is --server (or HERALDRY_URL) a Heraldry host of this version?".to_owned(),
        }
    }
}

fn unexpected(error: serde_json::Error) -> Failure {
    let error = anyhow::Error::new(error).context("the host's answer is not what this version expects");
    Failure::failed(error, "is --server (or HERALDRY_URL) a Heraldry host of this version?")
}

fn origin(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is not an http or https URL");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("has more than an origin (the API's path is added by itself)");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name: tokens go into HERALDRY_TOKEN");
    }
    Ok(url)
}

/// A text as one segment of a path: whatever it holds, it cannot name another resource.
pub(crate) fn segment(text: &str) -> String {
    let mut url = Url::parse("http://h").expect("a URL");
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().push(text);
    }
    match url.path() {
        // `.` and `..` are dropped by the URL standard, in any spelling; an id is never one.
        "" | "/" => "/-".to_owned(),
        path => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: header::HeaderMap::new(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn only_an_origin_is_taken() {
        for (text, fits) in [
            ("http://127.0.0.1:8080", true),
            ("https://heraldry.example/", true),
            ("http://127.0.0.1:8080/api/v1", false),
            ("http://user@127.0.0.1:8080", false),
            ("127.0.0.1:8080", false),
            ("ftp://127.0.0.1", false),
        ] {
            assert_eq!(origin(text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn an_id_stays_one_segment() {
        for (text, path) in
            [("a-1", "/a-1"), ("../x", "/..%2Fx"), ("a/b?c#d", "/a%2Fb%3Fc%23d"), ("..", "/-"), ("", "/-")]
        {
            assert_eq!(segment(text), path);
        }
    }

    #[test]
    fn a_problem_reads_as_sentences() {
        let body = r#"{"title":"Unprocessable Entity","status":422,"detail":"2 fields are wrong",
            "errors":[{"pointer":"/url","code":"x","detail":"is private"},{"pointer":"/name\u001b","code":"x","detail":"is empty"}]}"#;
        assert_eq!(
            answer(422, body).describe_refusal(),
            "the host answered 422 Unprocessable Entity: 2 fields are wrong\n  /url: is private\n  /name\\u{1b}: is empty"
        );
        assert_eq!(answer(502, "<html>\n").describe_refusal(), "the host answered 502 Bad Gateway: <html>\\n");
        assert_eq!(answer(500, "").describe_refusal(), "the host answered 500 Internal Server Error");
    }
}
