//! Deliveries over HTTP, by hyper's client: the attempt, its response, and what of the response is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, HeaderMap, RETRY_AFTER, SET_COOKIE, TRANSFER_ENCODING};
use http::{Method, StatusCode, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

use super::budget::RESPONSE_BYTES;
use super::connector::{ConnectTimeout, Connector};
use super::errors;
use super::request::{CurrentExchange, Exchange, RequestBody};
use crate::model::delivery::Response;
use crate::model::mask::Mask;
use crate::model::retry::retry_after;
use crate::model::settings::ProxySettings;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::TlsNames;
use crate::transport::destination::GuardedResolver;
use crate::transport::failure::Failure;
use crate::transport::phase::{Phase, Reached};
use crate::transport::report::Report;
use crate::transport::tls::Tls;

/// The most of a response's body that is kept for the history, in bytes of UTF-8.
const EXCERPT_BYTES: usize = 1024;
/// Idle connections that are pooled per destination: as many as there are concurrent attempts by default, over all
/// webhooks. Many webhooks may share a host (a chat service), and each connection that is not pooled must be made
/// again.
const IDLE_PER_HOST: usize = 256;
/// The longest that a connection stays in the pool unused.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most of a head over HTTP/2: [`RESPONSE_BYTES`] of names and values, and the 32 bytes that each field counts in
/// addition (RFC 9113, section 6.5.2), for as many fields as fit into a head of HTTP/1.1 with its usual line ends.
const HEADER_LIST_BYTES: u32 = (RESPONSE_BYTES + 32 * RESPONSE_BYTES / 4) as u32;
/// HTTP/2 flow control: the bytes of one response that the peer may send ahead of our reading.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all responses of one connection together.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// A `POST` to make; the fields are those of [`Request`](crate::transport::Request).
pub(in crate::transport) struct Post<'a> {
    pub(in crate::transport) url: &'a DeliveryUrl,
    pub(in crate::transport) tls: &'a TlsNames,
    pub(in crate::transport) headers: HeaderMap,
    pub(in crate::transport) body: Bytes,
    pub(in crate::transport) timeout: Duration,
    pub(in crate::transport) keep_response: bool,
    pub(in crate::transport) mask: &'a Mask<'a>,
}

/// Delivers over HTTP/1.1 and, where TLS agrees on it, HTTP/2.
///
/// Each set of TLS names has its own connection pool, since a pooled connection was verified with one CA bundle and
/// authenticated with one client certificate.
pub(in crate::transport) struct HttpClient {
    destinations: Arc<GuardedResolver>,
    tls: Arc<Tls>,
    proxy: Option<Arc<ProxySettings>>,
    default: Clients,
    /// The clients of webhooks that name a CA bundle or client certificate; made at first use.
    named: Mutex<HashMap<TlsNames, Clients>>,
}

#[derive(Clone)]
struct Clients {
    pooled: Client<ConnectTimeout, RequestBody>,
    /// Makes a new connection for each request. Used to repeat a request that met a stale pooled connection.
    fresh: Client<ConnectTimeout, RequestBody>,
}

impl HttpClient {
    pub(in crate::transport) fn new(
        destinations: Arc<GuardedResolver>,
        tls: Arc<Tls>,
        proxy: Option<Arc<ProxySettings>>,
    ) -> Result<Self, String> {
        let config = tls.config(&TlsNames::default())?;
        let default = Clients::new(Connector::new(Arc::clone(&destinations), proxy.clone()), &config);
        Ok(Self { destinations, tls, proxy, default, named: Mutex::default() })
    }

    fn clients(&self, names: &TlsNames) -> Result<Clients, Failure> {
        if names.is_empty() {
            return Ok(self.default.clone());
        }
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = named.get(names) {
            return Ok(clients.clone());
        }
        let config = self.tls.config(names).map_err(|why| Failure::TlsNames(why.into()))?;
        let clients = Clients::new(Connector::new(Arc::clone(&self.destinations), self.proxy.clone()), &config);
        named.insert(names.clone(), clients.clone());
        Ok(clients)
    }

    /// Makes one attempt within the request's time limit; see
    /// [`Transport::deliver`](crate::transport::Transport::deliver).
    pub(in crate::transport) async fn deliver(&self, request: Post<'_>) -> Report {
        let started = Instant::now();
        let (after, host, mask) = (request.timeout, request.url.host(), request.mask);
        let mut progress = Progress { keep_response: request.keep_response, ..Progress::default() };
        let phase = Phase::default();
        let outcome = match timeout(after, phase.scope(self.attempt(request, &mut progress))).await {
            Ok(outcome) => outcome,
            Err(_) => {
                // On HTTP/1.1 dropping the request closes the connection. On HTTP/2 it would stay in the pool, and if
                // the peer is dead, every attempt on it would time out.
                progress.exchange.discard_connection();
                Err(Failure::timed_out(progress.reached().unwrap_or_else(|| phase.get()), &host, after))
            }
        };
        let by_status = matches!(outcome, Ok(()) | Err(Failure::Status(_)));
        let body =
            mask.bytes(&progress.body, if progress.keep_response { Response::BODY_BYTES } else { EXCERPT_BYTES });
        Report {
            outcome,
            status: progress.status.map(|status| status.as_u16()),
            excerpt: progress.status.map(|_| excerpt(&body)),
            response: progress.response(by_status, body, mask),
            retry_after: progress.retry_after,
            duration: started.elapsed(),
        }
    }

    async fn attempt(&self, request: Post<'_>, progress: &mut Progress) -> Result<(), Failure> {
        let clients = self.clients(request.tls)?;
        let mut outgoing = http::Request::new(());
        *outgoing.method_mut() = Method::POST;
        *outgoing.uri_mut() = Uri::try_from(request.url.expose()).map_err(|_| Failure::Unsendable)?;
        *outgoing.headers_mut() = request.headers;
        let response = match self.send(&clients.pooled, outgoing.clone(), request.body.clone(), progress).await {
            // The destination closed an idle connection while the request was in flight. That is no failed attempt, so
            // the request is repeated at once on a new connection. The destination may have processed the first one;
            // deliveries are made at least once, and the id is the same. hyper itself repeats only requests that it had
            // not begun to write.
            Err(Failure::NoResponse | Failure::StreamReset) if progress.exchange.is_reused() => {
                self.send(&clients.fresh, outgoing, request.body, progress).await?
            }
            response => response?,
        };
        progress.head(&response);
        self.read(response, progress).await
    }

    async fn send(
        &self,
        client: &Client<ConnectTimeout, RequestBody>,
        head: http::Request<()>,
        body: Bytes,
        progress: &mut Progress,
    ) -> Result<http::Response<Incoming>, Failure> {
        let exchange = Arc::new(Exchange::default());
        progress.exchange = CurrentExchange::new(&exchange);
        let mut request = head.map(|()| RequestBody::new(body, Arc::clone(&exchange)));
        exchange.watch(capture_connection(&mut request));
        client.request(request).await.map_err(|error| errors::no_head(&error, &exchange))
    }

    /// Reads the body up to the byte budget; the outcome follows from the status, or from a 2xx body that breaks off.
    async fn read(&self, response: http::Response<Incoming>, progress: &mut Progress) -> Result<(), Failure> {
        let status = response.status();
        let outcome = if status.is_success() { Ok(()) } else { Err(Failure::Status(status.as_u16())) };
        let mut left = RESPONSE_BYTES.saturating_sub(head_bytes(response.headers()));
        let framing = Framing::of(&response);
        if framing.is_ambiguous || progress.exchange.is_shortened() {
            progress.exchange.discard_connection();
        }
        let mut body = response.into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                // A body that exceeds the budget is cut and the status decides. It also decides if it is a failure
                // already, even if the body breaks off.
                Err(_) if outcome.is_err() || progress.exchange.is_over_budget() => return outcome,
                Err(error) => {
                    return match errors::no_end(&error, status.as_u16(), framing.is_close_delimited) {
                        Some(failure) => Err(failure),
                        None => outcome,
                    };
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            progress.keep(&data);
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            received += length;
            let Some(rest) = left.checked_sub(length) else { return outcome };
            left = rest;
        }
        // hyper ends a body when the stream was reset without an error, and RFC 9113, section 8.1, allows that only
        // after a complete response.
        if outcome.is_ok() && framing.http2_length.is_some_and(|length| received < length) {
            return Err(Failure::Truncated(status.as_u16()));
        }
        outcome
    }
}

/// How the end of a response's body is found.
struct Framing {
    /// The body ends where the connection does (RFC 9112, section 6.3).
    is_close_delimited: bool,
    /// Two ends are named. `Transfer-Encoding` overrides, and the connection is not used again: such a message may be an
    /// attempt at response splitting (RFC 9112, section 6.1).
    is_ambiguous: bool,
    /// The length that an HTTP/2 response announced.
    http2_length: Option<u64>,
}

impl Framing {
    fn of(response: &http::Response<Incoming>) -> Self {
        let (headers, body) = (response.headers(), response.body());
        let is_http2 = response.version() == Version::HTTP_2;
        let has_encoding = headers.contains_key(TRANSFER_ENCODING);
        let is_chunked = headers.get_all(TRANSFER_ENCODING).iter().next_back().is_some_and(|value| {
            let last = value.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
            last.trim_ascii().eq_ignore_ascii_case(b"chunked")
        });
        Self {
            is_close_delimited: !is_http2 && !is_chunked && body.size_hint().exact().is_none(),
            is_ambiguous: has_encoding && headers.contains_key(CONTENT_LENGTH),
            http2_length: body.size_hint().exact().filter(|_| is_http2 && !body.is_end_stream()),
        }
    }
}

impl Clients {
    fn new(connector: Connector, tls: &ClientConfig) -> Self {
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector);
        let connector = ConnectTimeout(https);
        Self { fresh: client(connector.clone(), 0), pooled: client(connector, IDLE_PER_HOST) }
    }
}

/// The progress of an attempt. It is borrowed by the attempt's future, so that it outlives a timeout.
#[derive(Default)]
struct Progress {
    exchange: CurrentExchange,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    keep_response: bool,
    /// The response's headers, if `keep_response`.
    headers: Vec<(String, String)>,
    /// The body as far as it is read, so that a secret is recognised wherever what is kept of it ends.
    body: Vec<u8>,
}

impl Progress {
    fn head(&mut self, response: &http::Response<Incoming>) {
        let status = response.status();
        self.status = Some(status);
        if self.keep_response {
            let wanted = response.headers().iter().filter(|(name, _)| **name != SET_COOKIE).take(Response::HEADERS);
            self.headers = wanted
                .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
        }
        let lines = response.headers().get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
        self.retry_after = lines
            .filter_map(|value| {
                // A date is by the destination's clock, so it is compared with the response's Date where there is one.
                let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
                let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
                retry_after(value, date.unwrap_or_else(SystemTime::now))
            })
            .max();
    }

    fn keep(&mut self, data: &[u8]) {
        let most = usize::try_from(RESPONSE_BYTES).unwrap_or(usize::MAX);
        let wanted = most.saturating_sub(self.body.len()).min(data.len());
        self.body.extend_from_slice(&data[..wanted]);
    }

    fn response(&mut self, by_status: bool, body: Vec<u8>, mask: &Mask<'_>) -> Option<Response> {
        let status = self.status.filter(|_| self.keep_response && by_status)?;
        let headers = std::mem::take(&mut self.headers).into_iter();
        let headers = headers.map(|(name, value)| (mask.text(&name), mask.text(&value))).collect();
        Some(Response { status: status.as_u16(), headers, body })
    }

    /// The phase, once the request was begun.
    fn reached(&self) -> Option<Reached> {
        self.status.map(|status| Reached::Responding(status.as_u16())).or_else(|| self.exchange.reached())
    }
}

/// Bytes as text of at most [`EXCERPT_BYTES`]. Invalid UTF-8 becomes U+FFFD, which is longer, so the text is cut again.
fn excerpt(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let mut end = text.len().min(EXCERPT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The approximate size of a head's fields on the wire, with separators.
fn head_bytes(headers: &HeaderMap) -> u64 {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn client(connector: ConnectTimeout, idle_per_host: usize) -> Client<ConnectTimeout, RequestBody> {
    let budget = usize::try_from(RESPONSE_BYTES).unwrap_or(usize::MAX);
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(idle_per_host)
        .http1_max_buf_size(budget)
        // A user agent must accept folded lines (RFC 9112, section 5.2), and whitespace before a colon is what a proxy
        // would remove (section 5.1).
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .build(connector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_valid_text_of_at_most_a_kibibyte() {
        assert_eq!(excerpt(b"ok"), "ok");
        assert_eq!(excerpt(&[b'a'; 1024]).len(), 1024);
        assert_eq!(excerpt(&[0xff; 1024]).len(), 1023);
        let split = "é".repeat(512) + "é";
        assert_eq!(excerpt(&split.as_bytes()[..1023]).chars().filter(|c| *c == 'é').count(), 511);
        assert_eq!(excerpt(b"\x1b[31m\0"), "\u{1b}[31m\0");
    }
}
