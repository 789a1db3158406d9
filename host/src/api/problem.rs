//! Every refusal of the API: one error type, one conversion to `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::json::SyntaxError;
use crate::json::fault::Fault;
use crate::store::StoreError;

/// Faults that one answer lists; who has more learns how many.
const MAX_LISTED: usize = 100;
/// When to come back after the store was busy.
const BUSY: Duration = Duration::from_secs(1);
/// When to come back after the store failed or the disk was full.
const DOWN: Duration = Duration::from_secs(10);

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal, $code:literal, $title:literal;)*) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The answer's status.
            pub fn status(self) -> StatusCode {
                let status = match self { $(Self::$variant => $status),* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The stable word for programs.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The problem in a few words, the same each time.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

codes! {
    /// Not the JSON that we take.
    InvalidJson = 400, "invalid_json", "The body is not valid JSON";
    /// The body broke off or was framed wrongly.
    InvalidBody = 400, "invalid_body", "The body could not be read";
    /// A query parameter.
    InvalidQuery = 400, "invalid_query", "The query cannot be used";
    /// A request header.
    InvalidHeader = 400, "invalid_header", "A header cannot be used";
    /// No token, or a wrong one.
    Unauthorized = 401, "unauthorized", "A valid token is required";
    /// The token's role.
    Forbidden = 403, "forbidden", "The token's role may not do this";
    /// Nothing there, or nothing for this token.
    NotFound = 404, "not_found", "There is nothing at this place";
    /// The path has other methods.
    MethodNotAllowed = 405, "method_not_allowed", "The method is not allowed here";
    /// The body took too long.
    RequestTimeout = 408, "request_timeout", "The request took too long to arrive";
    /// Something that exists is in the way.
    Conflict = 409, "conflict", "This is in conflict with what exists";
    /// `If-Match` names another version.
    PreconditionFailed = 412, "precondition_failed", "It has changed in the meantime";
    /// The body's size.
    BodyTooLarge = 413, "body_too_large", "The body is too large";
    /// One event's size.
    EventTooLarge = 413, "event_too_large", "An event is too large";
    /// The number of events.
    TooManyEvents = 413, "too_many_events", "There are too many events in one request";
    /// Content type or encoding.
    UnsupportedMediaType = 415, "unsupported_media_type", "The body's type is not taken here";
    /// Fields; `errors` names each.
    InvalidFields = 422, "invalid_fields", "Some fields cannot be used";
    /// An event id that another event has.
    EventIdTaken = 422, "event_id_taken", "An event's id belongs to another event";
    /// An idempotency key with another body.
    KeyReused = 422, "idempotency_key_reused", "The idempotency key was used with another body";
    /// The formatter made nothing of a preview.
    NotFormatted = 422, "not_formatted", "The formatter gave no payload";
    /// A component that is no formatter for this host; `code` and `reason` say why.
    ComponentRejected = 422, "component_rejected", "The component does not fit";
    /// A limit on the rate.
    TooManyRequests = 429, "too_many_requests", "There were too many requests";
    /// Our own fault.
    Internal = 500, "internal", "Something went wrong in the host";
    /// Too much is under way.
    Busy = 503, "busy", "The host has too much to do";
    /// The store cannot write, or the host is stopping.
    Unavailable = 503, "unavailable", "The host is not ready";
    /// No space left.
    DiskFull = 507, "disk_full", "The host's disk is full";
}

/// A refused request.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct ApiError {
    code: Code,
    detail: String,
    faults: Vec<Fault>,
    retry_after: Option<Duration>,
    /// A closer word than the code's own.
    closer: Option<&'static str>,
}

impl ApiError {
    /// A refusal with a sentence for people.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), faults: Vec::new(), retry_after: None, closer: None }
    }

    /// Fields that were understood and refused.
    pub fn fields(faults: Vec<Fault>) -> Self {
        Self::with_faults(Code::InvalidFields, faults)
    }

    /// A 422 that is about more than single fields.
    pub fn with_faults(code: Code, faults: Vec<Fault>) -> Self {
        let detail = match faults.len() {
            1 => "1 field cannot be used; see errors".to_owned(),
            count if count <= MAX_LISTED => format!("{count} fields cannot be used; see errors"),
            count => format!("{count} fields cannot be used; errors lists the first {MAX_LISTED}"),
        };
        Self { code, detail, faults, retry_after: None, closer: None }
    }

    /// A component that does not fit, with the finding's code and everything that is wrong.
    pub fn component_rejected(code: &'static str, reason: String) -> Self {
        let faults = vec![Fault { pointer: String::new(), code, detail: reason.clone() }];
        Self { detail: reason, closer: Some(code), ..Self::with_faults(Code::ComponentRejected, faults) }
    }

    /// The same, said in other words.
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same, with the time after which trying again makes sense.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// No token, or a wrong one: always in the same words.
    pub fn unauthorized() -> Self {
        Self::new(Code::Unauthorized, "send a valid token as `Authorization: Bearer TOKEN`")
    }

    /// Nothing here.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// Why.
    #[cfg(test)]
    pub fn code(&self) -> Code {
        self.code
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::new(Code::DiskFull, "nothing was changed; free some space").retry_after(DOWN),
            StoreError::Busy => Self::new(Code::Busy, "nothing was changed; try again").retry_after(BUSY),
            StoreError::Engine => {
                let detail = "nothing was changed; the store is being opened again";
                Self::new(Code::Unavailable, detail).retry_after(BUSY)
            }
            StoreError::NoFiles => {
                Self::new(Code::Unavailable, "nothing was changed; the host has no file descriptors left")
                    .retry_after(BUSY)
            }
            StoreError::Unavailable => {
                Self::new(Code::Unavailable, "nothing was changed; the store cannot be written now").retry_after(DOWN)
            }
        }
    }
}

impl From<SyntaxError> for ApiError {
    fn from(error: SyntaxError) -> Self {
        Self::new(Code::InvalidJson, error.to_string())
    }
}

/// A refusal, as `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Where this kind of problem is described, relative to the host.
    #[schema(example = "/docs#errors-not_found", format = "uri-reference")]
    r#type: String,
    /// The kind of problem in a few words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// The kind of problem, for programs; of a component that does not fit, what is wrong with it.
    code: &'static str,
    /// Of a component that does not fit: everything that is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// With 422: each field that cannot be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

/// One field that cannot be used.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// JSON pointer (RFC 6901) into the body; empty for the whole of it.
    #[schema(example = "/retry_count")]
    pointer: String,
    /// What is wrong, for programs.
    #[schema(example = "out_of_range")]
    code: &'static str,
    /// What is wrong, for people.
    #[schema(example = "must be from 0 to 10")]
    detail: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.code.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(detail = %self.detail, "a request failed");
        }
        let shown = |fault: Fault| FieldProblem { pointer: fault.pointer, code: fault.code, detail: fault.detail };
        let problem = Problem {
            r#type: format!("/docs#errors-{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            reason: self.closer.map(|_| self.detail.clone()),
            // What went wrong inside is for the log.
            detail: if self.code == Code::Internal { "it was logged".into() } else { self.detail },
            code: self.closer.unwrap_or(self.code.as_str()),
            errors: self.faults.into_iter().take(MAX_LISTED).map(shown).collect(),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
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
        response
    }
}

/// What an undeclared method is answered; the router adds `Allow`.
pub async fn method_not_allowed() -> ApiError {
    ApiError::new(Code::MethodNotAllowed, format!("the header {ALLOW} names the methods of this path"))
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
    fn what_is_worth_trying_again_says_when() {
        for (error, status, retry) in
            [(StoreError::Full, 507, "10"), (StoreError::Busy, 503, "1"), (StoreError::Unavailable, 503, "10")]
        {
            assert_eq!(status_and_retry(error.into()), (status, Some(retry.to_owned())));
        }
        let limited = ApiError::new(Code::TooManyRequests, "").retry_after(Duration::from_millis(1001));
        assert_eq!(status_and_retry(limited), (429, Some("2".to_owned())));
    }

    #[tokio::test]
    async fn what_went_wrong_inside_stays_inside() {
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
