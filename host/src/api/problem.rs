//! Errors of the API: one type, and one conversion to `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use crate::json::SyntaxError;
use crate::json::fault::Fault;
use crate::store::StoreError;

/// Faults listed in one response; beyond it only their number is given.
const MAX_LISTED: usize = 100;
/// `Retry-After` if the store is busy or being reopened.
const BUSY: Duration = Duration::from_secs(1);
/// `Retry-After` if the disk is full or the store is closed: an operator has to act.
const DOWN: Duration = Duration::from_secs(10);

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal, $code:literal, $title:literal;)*) => {
        /// The kind of an error: decides status, `code` and title.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                let status = match self { $(Self::$variant => $status),* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The stable `code` for programs.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// A short title, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    /// Not strict JSON: malformed, duplicate members, nested too deeply.
    InvalidJson = 400, "invalid_json", "The body is not valid JSON";
    /// The body ended early or its framing is invalid.
    InvalidBody = 400, "invalid_body", "The body could not be read";
    /// An unknown, repeated or invalid query parameter.
    InvalidQuery = 400, "invalid_query", "The query cannot be used";
    /// A malformed or ambiguous request head.
    InvalidRequest = 400, "invalid_request", "The request is not valid HTTP";
    /// An invalid request header, as `If-Match` or `Host`.
    InvalidHeader = 400, "invalid_header", "A header cannot be used";
    /// No token, or an unknown one.
    Unauthorized = 401, "unauthorized", "A valid token is required";
    /// The token's role does not permit the operation.
    Forbidden = 403, "forbidden", "The token's role may not do this";
    /// No such resource, or none that this token may see.
    NotFound = 404, "not_found", "There is nothing at this place";
    /// The path exists, but not with this method.
    MethodNotAllowed = 405, "method_not_allowed", "The method is not allowed here";
    /// The body did not arrive within its time limit.
    RequestTimeout = 408, "request_timeout", "The request took too long to arrive";
    /// The operation contradicts the current state.
    Conflict = 409, "conflict", "This is in conflict with what exists";
    /// The webhook has another version than `If-Match` names.
    PreconditionFailed = 412, "precondition_failed", "It has changed in the meantime";
    /// The body exceeds the limit on its size.
    BodyTooLarge = 413, "body_too_large", "The body is too large";
    /// One event exceeds the limit on its size.
    EventTooLarge = 413, "event_too_large", "An event is too large";
    /// The request exceeds the limit on the number of events.
    TooManyEvents = 413, "too_many_events", "There are too many events in one request";
    /// The request target does not fit into a head.
    TargetTooLong = 414, "target_too_long", "The request target is too long";
    /// Another content type, or any content encoding.
    UnsupportedMediaType = 415, "unsupported_media_type", "The body's type is not accepted here";
    /// The request target belongs to another server.
    Misdirected = 421, "misdirected", "The request is for another server";
    /// Invalid fields; `errors` lists each.
    InvalidFields = 422, "invalid_fields", "Some fields cannot be used";
    /// An event id that belongs to another event.
    EventIdTaken = 422, "event_id_taken", "An event's id belongs to another event";
    /// An idempotency key that was used with another body.
    KeyReused = 422, "idempotency_key_reused", "The idempotency key was used with another body";
    /// The formatter failed on the event of a preview.
    NotFormatted = 422, "not_formatted", "The formatter gave no payload";
    /// A component that this host does not accept; `code` and `reason` say why.
    ComponentRejected = 422, "component_rejected", "The component does not fit";
    /// A rate limit; `Retry-After` says when to try again.
    TooManyRequests = 429, "too_many_requests", "There were too many requests";
    /// The request's head exceeds a limit.
    HeadTooLarge = 431, "head_too_large", "The request's head is too large";
    /// A bug or a failure inside the host; the detail is logged, not sent.
    Internal = 500, "internal", "Something went wrong in the host";
    /// Too many requests in flight (backpressure); `Retry-After` says when to try again.
    Busy = 503, "busy", "The host has too much to do";
    /// The store is not writable, or the host is stopping.
    Unavailable = 503, "unavailable", "The host is not ready";
    /// No space left on the disk of the data folder.
    DiskFull = 507, "disk_full", "The host's disk is full";
}

/// The error of a request.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct ApiError {
    code: Code,
    detail: String,
    faults: Vec<Fault>,
    retry_after: Option<Duration>,
    /// Replaces the code's own word, for a component's finding.
    finding: Option<&'static str>,
}

impl ApiError {
    /// An error with a detail: the cause, and where there is one the remedy.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), faults: Vec::new(), retry_after: None, finding: None }
    }

    /// 422 for invalid fields.
    pub fn fields(faults: Vec<Fault>) -> Self {
        Self::with_faults(Code::InvalidFields, faults)
    }

    /// 422 with another code than that of invalid fields.
    pub fn with_faults(code: Code, faults: Vec<Fault>) -> Self {
        let detail = match faults.len() {
            1 => "1 field cannot be used; see errors".to_owned(),
            count if count <= MAX_LISTED => format!("{count} fields cannot be used; see errors"),
            count => format!("{count} fields cannot be used; errors lists the first {MAX_LISTED}"),
        };
        Self { code, detail, faults, retry_after: None, finding: None }
    }

    /// 422 for a rejected component: the code of the first finding, and the text of all findings.
    pub fn component_rejected(code: &'static str, reason: String) -> Self {
        let faults = vec![Fault { pointer: String::new(), code, detail: reason.clone() }];
        Self { detail: reason, finding: Some(code), ..Self::with_faults(Code::ComponentRejected, faults) }
    }

    /// Replaces the detail.
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds `Retry-After`.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// 401, with the same text for a missing and a wrong token.
    pub fn unauthorized() -> Self {
        Self::new(Code::Unauthorized, "send a valid token as `Authorization: Bearer TOKEN`")
    }

    /// 404 for a resource that was looked up.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// The kind of the error.
    #[cfg(test)]
    pub fn code(&self) -> Code {
        self.code
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => {
                Self::new(Code::DiskFull, "the disk is full and nothing was changed; free some space").retry_after(DOWN)
            }
            StoreError::Busy => {
                Self::new(Code::Busy, "the store is busy and nothing was changed; try again").retry_after(BUSY)
            }
            StoreError::Engine => {
                let detail = "the store is being reopened and nothing was changed; try again";
                Self::new(Code::Unavailable, detail).retry_after(BUSY)
            }
            StoreError::NoFiles => Self::new(
                Code::Unavailable,
                "the host has no file descriptors left and nothing was changed; raise its limit of open files",
            )
            .retry_after(BUSY),
            StoreError::Unavailable => Self::new(
                Code::Unavailable,
                "the store is not writable and nothing was changed; the host's log has the cause",
            )
            .retry_after(DOWN),
        }
    }
}

impl From<SyntaxError> for ApiError {
    fn from(error: SyntaxError) -> Self {
        Self::new(Code::InvalidJson, error.to_string())
    }
}

/// An error, as `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Documentation of this kind of error, relative to the host.
    #[schema(example = "/docs#errors-not_found", format = "uri-reference")]
    r#type: String,
    /// The kind of error in a few words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The cause for this request, for people.
    detail: String,
    /// The kind of error, for programs; for a rejected component its first finding.
    code: &'static str,
    /// For a rejected component: all findings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// With 422: each invalid field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

/// One invalid field.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// JSON pointer (RFC 6901) into the body; empty for the whole of it.
    #[schema(example = "/retry_count")]
    pointer: String,
    /// The fault, for programs.
    #[schema(example = "out_of_range")]
    code: &'static str,
    /// The fault, for people.
    #[schema(example = "must be from 0 to 10")]
    detail: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, headers, body) = self.render();
        (status, headers, body).into_response()
    }
}

impl ApiError {
    /// Status, headers and body of the response.
    fn render(self) -> (StatusCode, HeaderMap, Vec<u8>) {
        let status = self.code.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(detail = %self.detail, "a request failed");
        }
        let shown = |fault: Fault| FieldProblem { pointer: fault.pointer, code: fault.code, detail: fault.detail };
        let problem = Problem {
            r#type: format!("/docs#errors-{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            reason: self.finding.map(|_| self.detail.clone()),
            // Internal details are logged only: they may hold paths or secrets.
            detail: if self.code == Code::Internal {
                "an internal error, which was logged".into()
            } else {
                self.detail
            },
            code: self.finding.unwrap_or(self.code.as_str()),
            errors: self.faults.into_iter().take(MAX_LISTED).map(shown).collect(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"heraldry\""));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                headers.insert(RETRY_AFTER, value);
            }
        }
        (status, headers, serde_json::to_vec(&problem).unwrap_or_default())
    }

    /// The whole response as the last one of an HTTP/1.1 connection, for a client whose request is not read.
    pub fn last_words(self) -> Vec<u8> {
        let (status, headers, body) = self.render();
        let mut response = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in &headers {
            response.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let rest = format!("connection: close\r\ncontent-length: {}\r\ndate: {date}\r\n\r\n", body.len());
        response.extend_from_slice(rest.as_bytes());
        response.extend(body);
        response
    }
}

/// The response to an undeclared method; the router adds `Allow`.
pub async fn method_not_allowed() -> ApiError {
    ApiError::new(
        Code::MethodNotAllowed,
        format!("this path does not have this method; the header {ALLOW} lists those that it has"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_and_retry(error: ApiError) -> (u16, Option<String>) {
        let response = error.into_response();
        let retry = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        (response.status().as_u16(), retry)
    }

    #[test]
    fn temporary_errors_have_retry_after() {
        for (error, status, retry) in
            [(StoreError::Full, 507, "10"), (StoreError::Busy, 503, "1"), (StoreError::Unavailable, 503, "10")]
        {
            assert_eq!(status_and_retry(error.into()), (status, Some(retry.to_owned())));
        }
        let limited = ApiError::new(Code::TooManyRequests, "").retry_after(Duration::from_millis(1001));
        assert_eq!(status_and_retry(limited), (429, Some("2".to_owned())));
    }

    #[tokio::test]
    async fn internal_details_are_not_sent() {
        let response = ApiError::new(Code::Internal, "the secret path /x").into_response();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.expect("a body");
        assert!(!String::from_utf8_lossy(&body).contains("/x"));
    }

    #[test]
    fn codes_are_unique() {
        let mut words: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
    }
}
