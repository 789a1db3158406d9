//! Reads request bodies. Every limit is enforced before anything is buffered: type, declared length, then the byte
//! budget ([`super::budget`]), then time.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::OwnedSemaphorePermit;

use super::media_type;
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::json::{self, Document};

/// Initial capacity of the buffer at most, in bytes: a large declared length alone must not allocate memory.
const FIRST_BYTES: usize = 16 * 1024;

/// The media types that the API accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MediaType {
    /// `application/json`, in UTF-8.
    Json,
    /// `application/x-ndjson`: one JSON value a line.
    NdJson,
    /// `application/wasm`: a WebAssembly component.
    Wasm,
}

/// A body that is not read yet: handlers read it themselves, after the look-ups that end in 404.
pub struct Unread {
    headers: HeaderMap,
    body: Body,
}

impl FromRequest<Shared> for Unread {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Infallible> {
        let (parts, body) = request.into_parts();
        Ok(Self::new(parts.headers, body))
    }
}

/// A body that was read; it holds its part of the byte budget until it is dropped.
pub struct Payload {
    /// The declared media type; one of those that the handler allowed.
    pub media_type: MediaType,
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl Payload {
    /// The body as text.
    ///
    /// # Errors
    /// 400 if it is not UTF-8 or begins with a byte order mark.
    pub fn text(&self) -> Result<&str, ApiError> {
        Ok(json::decode(&self.bytes)?)
    }

    /// The body as one JSON value.
    ///
    /// # Errors
    /// 400 if it is not strict JSON: malformed, duplicate members, nested too deeply.
    pub fn json(&self) -> Result<Document<'_>, ApiError> {
        Ok(json::check(self.text()?)?)
    }
}

impl Unread {
    /// The body of a request with these headers.
    pub fn new(headers: HeaderMap, body: Body) -> Self {
        Self { headers, body }
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Reads a JSON body.
    ///
    /// # Errors
    /// 415 for another type or any content encoding, 413 over the limit, 503 if the byte budget is used up, 408 if it
    /// does not arrive in time, 400 if it ends early.
    pub async fn read_json(self, api: &Shared) -> Result<Payload, ApiError> {
        self.read(api, &[MediaType::Json]).await
    }

    /// Reads a JSON body; `None` if there is none, whatever the headers say.
    ///
    /// # Errors
    /// As [`Unread::read_json`].
    pub async fn read_optional_json(mut self, api: &Shared) -> Result<Option<Payload>, ApiError> {
        if self.body.is_end_stream() {
            return Ok(None);
        }
        if let Err(rejected) = media_type(&self.headers, &[MediaType::Json]) {
            // In chunks, only reading tells that a body is empty; then it needs no type.
            let read = tokio::time::timeout(api.bodies().timeout(), is_empty(&mut self.body)).await;
            return if read == Ok(true) { Ok(None) } else { Err(rejected) };
        }
        Ok(Some(self.read_json(api).await?).filter(|payload| !payload.bytes.is_empty()))
    }

    /// Reads a body of one of these types.
    ///
    /// # Errors
    /// As [`Unread::read_json`].
    pub async fn read(self, api: &Shared, allowed: &[MediaType]) -> Result<Payload, ApiError> {
        self.read_within(api, allowed, api.limits.max_body_bytes).await
    }

    /// Reads a component's bytes, up to the limit on components.
    ///
    /// # Errors
    /// As [`Unread::read_json`].
    pub async fn read_component(self, api: &Shared) -> Result<Vec<u8>, ApiError> {
        let limit = api.catalog.component_bytes();
        Ok(self.read_within(api, &[MediaType::Wasm], limit).await?.bytes)
    }

    async fn read_within(self, api: &Shared, allowed: &[MediaType], limit: usize) -> Result<Payload, ApiError> {
        let media_type = media_type(&self.headers, allowed)?;
        if self.headers.contains_key(CONTENT_RANGE) {
            // RFC 9110, section 14.5: a part must not be taken for the whole.
            return Err(ApiError::new(Code::InvalidHeader, "a body must be whole; send it without Content-Range"));
        }
        let hint = self.body.size_hint();
        let over = || ApiError::new(Code::BodyTooLarge, format!("a body may have at most {limit} bytes"));
        if hint.lower() > limit as u64 {
            return Err(over());
        }
        let most = hint.upper().and_then(|upper| usize::try_from(upper).ok()).unwrap_or(limit).min(limit);
        let permit = api.bodies().acquire(most)?;
        let reading = collect(self.body, limit, most.min(FIRST_BYTES));
        let read = tokio::time::timeout(api.bodies().timeout(), reading).await.map_err(|_| {
            let detail = format!("the body did not arrive within {:?}", api.bodies().timeout());
            ApiError::new(Code::RequestTimeout, detail)
        })?;
        let bytes = read?.ok_or_else(over)?;
        Ok(Payload { media_type, bytes, _permit: permit })
    }
}

/// Reads up to the first byte; true if there is none.
async fn is_empty(body: &mut Body) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() || frame.is_ok_and(|frame| frame.data_ref().is_some_and(|data| !data.is_empty())) {
            return false;
        }
    }
    true
}

/// Collects the whole body; `None` if it is longer than the limit.
async fn collect(mut body: Body, limit: usize, first: usize) -> Result<Option<Vec<u8>>, ApiError> {
    let mut bytes = Vec::with_capacity(first);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| ApiError::new(Code::InvalidBody, "the body ended early or its framing is invalid"))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(data);
    }
    Ok(Some(bytes))
}

fn media_type(headers: &HeaderMap, allowed: &[MediaType]) -> Result<MediaType, ApiError> {
    let rejected = |detail: &str| Err(ApiError::new(Code::UnsupportedMediaType, detail));
    if headers.contains_key(CONTENT_ENCODING) {
        return rejected("a body must not have a Content-Encoding; send it uncompressed");
    }
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let given = match (values.next(), values.next()) {
        (Some(value), None) => parse_media_type(&String::from_utf8_lossy(value.as_bytes())),
        _ => None,
    };
    match given.filter(|given| allowed.contains(given)) {
        Some(given) => Ok(given),
        None if allowed.contains(&MediaType::NdJson) => {
            rejected("Content-Type must be application/json or application/x-ndjson, in UTF-8")
        }
        None if allowed == [MediaType::Wasm] => rejected("Content-Type must be application/wasm"),
        None => rejected("Content-Type must be application/json, in UTF-8"),
    }
}

fn parse_media_type(value: &str) -> Option<MediaType> {
    // As nearly every client writes it.
    if value == "application/json" {
        return Some(MediaType::Json);
    }
    let given = media_type::parse(value)?;
    if given.params().any(|(name, value)| name == mime::CHARSET && value != mime::UTF_8) {
        return None;
    }
    match given.essence_str() {
        "application/json" => Some(MediaType::Json),
        "application/x-ndjson" => Some(MediaType::NdJson),
        "application/wasm" => Some(MediaType::Wasm),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf_8_is_accepted() {
        for (value, expected) in [
            ("application/json", Some(MediaType::Json)),
            ("Application/JSON; charset=UTF-8", Some(MediaType::Json)),
            ("application/json;charset=\"utf-8\"", Some(MediaType::Json)),
            ("application/x-ndjson", Some(MediaType::NdJson)),
            ("application/wasm", Some(MediaType::Wasm)),
            ("application/json;", Some(MediaType::Json)),
            ("application/json; charset=utf-8;", Some(MediaType::Json)),
            ("application/json;;", Some(MediaType::Json)),
            ("application/json ; profile=\"a;charset=latin1\"", Some(MediaType::Json)),
            ("application/x-ndjson;", Some(MediaType::NdJson)),
            ("application/wasm;", Some(MediaType::Wasm)),
            ("application/json; charset=latin1", None),
            ("application/json; charset=utf-8; charset=latin1", None),
            ("application/json; charset=", None),
            ("application/json; x", None),
            ("application/json, application/json", None),
            ("application/problem+json", None),
            ("application/vnd.api+json", None),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(parse_media_type(value), expected, "{value}");
        }
    }
}
