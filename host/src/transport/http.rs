//! A delivery over HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{DATE, HeaderMap, RETRY_AFTER, SET_COOKIE};
use http::{Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout};

use super::classify;
use super::connector::{Bounded, Connector};
use super::gate::{Closed, Gate};
use super::guard::{Denied, Guard};
use super::meter::ANSWER_BYTES;
use super::outcome::{Failure, Outcome, Reached, retry_after};
use super::request::{Exchange, Payload};
use super::resolve::Resolve;
use crate::model::delivery::Answer;
use crate::model::url::DeliveryUrl;

/// How much of an answer's body is kept for the history, in bytes of text.
const EXCERPT_BYTES: usize = 1024;
/// Idle connections kept to one destination: as many as attempts are made at a time, all webhooks together, by
/// default. Many webhooks may share a host (a chat service), and a connection that is not kept is made anew.
const IDLE_PER_HOST: usize = 256;
/// How long a connection stays idle.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// How much of a body an HTTP/2 destination may send unasked; more is never wanted.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all answers of one connection together.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// How long saving a webhook waits for its name; what does not resolve by then is judged at each attempt.
const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// A `POST` to make.
pub struct Request<'a> {
    /// Where to.
    pub url: &'a DeliveryUrl,
    /// Every header but `Host` and `Content-Length`.
    pub headers: HeaderMap,
    /// The body, as it was signed.
    pub body: Bytes,
    /// How long the whole attempt may take: name look-up, connect, TLS, write, answer.
    pub timeout: Duration,
    /// Whether somebody wants to read the answer.
    pub keep_answer: bool,
}

/// What came of an attempt.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The answer's status; `None` when there was none. A failure may have one, also of 2xx.
    pub status: Option<u16>,
    /// The first of the answer's body, at most 1 KiB of valid text, control characters and all; `None`
    /// without an answer.
    pub excerpt: Option<String>,
    /// What a 429 or 503 asked for, unclamped.
    pub retry_after: Option<Duration>,
    /// The answer, when it was to be kept and its status decides ([`Outcome::Delivered`], [`Failure::Status`]).
    pub answer: Option<Answer>,
    /// How long it took.
    pub duration: Duration,
}

/// The transport cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An extra root is not a certificate.
    #[error("certificate {index} of the extra roots cannot be used: {error}")]
    Root {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// rustls refuses the TLS versions or ciphers.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// Delivers over HTTP/1.1 and, where TLS agrees on it, HTTP/2.
///
/// Connections are kept and used again. That is sound: a connection goes to the address that was judged when
/// it was made, whatever the name resolves to by now, and the guard's networks do not change while the
/// process lives.
pub struct HttpTransport {
    gate: Arc<Gate>,
    pooled: Client<Bounded, Payload>,
    /// Makes a connection for each request: for the second try after a stale one.
    fresh: Client<Bounded, Payload>,
}

impl HttpTransport {
    /// A transport that trusts the system's roots and these certificates (DER).
    ///
    /// # Errors
    /// When an extra root is no certificate. A system without roots is none: plain HTTP goes on, and so
    /// does TLS to extra roots.
    pub fn new(guard: Arc<Guard>, resolver: Arc<dyn Resolve>, extra_roots: &[Vec<u8>]) -> Result<Self, SetupError> {
        let tls = tls_config(extra_roots)?;
        let gate = Arc::new(Gate { guard, resolver });
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(Connector::new(Arc::clone(&gate)));
        let connector = Bounded(https);
        let fresh = client(connector.clone(), 0);
        Ok(Self { gate, pooled: client(connector, IDLE_PER_HOST), fresh })
    }

    /// What judges addresses.
    pub fn guard(&self) -> &Guard {
        &self.gate.guard
    }

    /// Whether a webhook with this URL may be saved: its address, or every address of its name, is within
    /// policy. A name that does not resolve passes; it is judged at each attempt.
    ///
    /// # Errors
    /// Why not.
    pub async fn check_destination(&self, url: &DeliveryUrl) -> Result<(), Denied> {
        match timeout(CHECK_WITHIN, self.gate.addresses(&url.host(), url.port())).await {
            Ok(Err(Closed::Denied(denied))) => Err(denied),
            Ok(Ok(_) | Err(Closed::Unresolved { .. })) | Err(_) => Ok(()),
        }
    }

    /// Makes the request, once, and tells what came of it within the request's time. Call it on the
    /// deliveries' runtime: connections live where they were made.
    pub async fn deliver(&self, request: Request<'_>) -> Report {
        let started = Instant::now();
        let after = request.timeout;
        let mut progress = Progress { keep_answer: request.keep_answer, ..Progress::default() };
        let ended = timeout(after, self.attempt(request, &mut progress)).await;
        let outcome = match ended {
            Ok(Ok(())) => Outcome::Delivered,
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(_) => {
                // On HTTP/1.1 dropping the request closed it. On HTTP/2 it would stay in the pool, and if it
                // is dead, each attempt would time out on it.
                progress.exchange.give_up_connection();
                Outcome::Failed(Failure::Timeout { reached: progress.reached(), after })
            }
        };
        let by_status = matches!(outcome, Outcome::Delivered | Outcome::Failed(Failure::Status(_)));
        Report {
            outcome,
            answer: progress.answer(by_status),
            status: progress.status.map(|status| status.as_u16()),
            excerpt: progress.status.map(|_| excerpt(&progress.body)),
            retry_after: progress.retry_after,
            duration: started.elapsed(),
        }
    }

    async fn attempt(&self, request: Request<'_>, progress: &mut Progress) -> Result<(), Failure> {
        let mut outgoing = http::Request::new(());
        *outgoing.method_mut() = Method::POST;
        *outgoing.uri_mut() = Uri::try_from(request.url.expose()).map_err(|_| Failure::Unsendable)?;
        *outgoing.headers_mut() = request.headers;
        let answer = match self.send(&self.pooled, outgoing.clone(), request.body.clone(), progress).await {
            // The destination closed an idle connection while the request was on its way: that is nobody's
            // failure, so it goes out once more at once. It may have been taken up before the connection
            // closed; deliveries are made at least once, and the id is the same. hyper itself repeats only
            // what it had not begun to write.
            Err(Failure::NoAnswer) if progress.exchange.is_reused() => {
                self.send(&self.fresh, outgoing, request.body, progress).await?
            }
            answer => answer?,
        };
        progress.head(&answer);
        self.read(answer, progress).await
    }

    async fn send(
        &self,
        client: &Client<Bounded, Payload>,
        head: http::Request<()>,
        body: Bytes,
        progress: &mut Progress,
    ) -> Result<Response<Incoming>, Failure> {
        let exchange = Arc::new(Exchange::default());
        progress.exchange = Arc::clone(&exchange);
        let mut request = head.map(|()| Payload::new(body, Arc::clone(&exchange)));
        exchange.watch(capture_connection(&mut request));
        client.request(request).await.map_err(|error| classify::no_head(&error, &exchange))
    }

    /// Reads the body, as far as it is worth it, and judges the status.
    async fn read(&self, answer: Response<Incoming>, progress: &mut Progress) -> Result<(), Failure> {
        let status = answer.status();
        let verdict = if status.is_success() { Ok(()) } else { Err(Failure::Status(status.as_u16())) };
        let mut left = ANSWER_BYTES.saturating_sub(head_bytes(answer.headers()));
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                // A body that goes on and on is cut, and the status decides; so it does where it says that
                // the delivery failed anyway.
                Err(_) if verdict.is_err() || progress.exchange.is_spent() => break,
                Err(error) => return Err(classify::no_end(&error, status.as_u16())),
            };
            let Ok(data) = frame.into_data() else { continue };
            progress.keep(&data);
            let Some(rest) = left.checked_sub(u64::try_from(data.len()).unwrap_or(u64::MAX)) else { break };
            left = rest;
        }
        verdict
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("guard", &self.gate.guard).finish_non_exhaustive()
    }
}

/// How far an attempt came; outlives it when its time is over.
#[derive(Default)]
struct Progress {
    exchange: Arc<Exchange>,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    keep_answer: bool,
    /// The answer's headers, when they are to be kept.
    headers: Vec<(String, String)>,
    /// The body's first [`EXCERPT_BYTES`], or [`Answer::BODY_BYTES`] of an answer that is to be kept.
    body: Vec<u8>,
}

impl Progress {
    fn head(&mut self, answer: &Response<Incoming>) {
        let status = answer.status();
        self.status = Some(status);
        if self.keep_answer {
            let wanted = answer.headers().iter().filter(|(name, _)| **name != SET_COOKIE).take(Answer::HEADERS);
            self.headers = wanted
                .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
            // A date is one of the destination's clock; where it tells its time, ours need not agree with it.
            let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
            self.retry_after =
                text(RETRY_AFTER).and_then(|value| retry_after(value, now.unwrap_or_else(SystemTime::now)));
        }
    }

    fn keep(&mut self, data: &[u8]) {
        let most = if self.keep_answer { Answer::BODY_BYTES } else { EXCERPT_BYTES };
        let wanted = most.saturating_sub(self.body.len()).min(data.len());
        self.body.extend_from_slice(&data[..wanted]);
    }

    fn answer(&mut self, by_status: bool) -> Option<Answer> {
        let status = self.status.filter(|_| self.keep_answer && by_status)?;
        let headers = std::mem::take(&mut self.headers);
        Some(Answer { status: status.as_u16(), headers, body: self.body.clone() })
    }

    fn reached(&self) -> Reached {
        match self.status {
            Some(status) => Reached::Answering(status.as_u16()),
            None if self.exchange.is_begun() => Reached::Sent,
            None => Reached::Connecting,
        }
    }
}

/// Bytes as text of at most [`EXCERPT_BYTES`]; what is no UTF-8 becomes U+FFFD, which is longer.
fn excerpt(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let mut end = text.len().min(EXCERPT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// About what a head takes on the wire.
fn head_bytes(headers: &HeaderMap) -> u64 {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn client(connector: Bounded, idle_per_host: usize) -> Client<Bounded, Payload> {
    let budget = usize::try_from(ANSWER_BYTES).unwrap_or(usize::MAX);
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_FOR)
        .pool_max_idle_per_host(idle_per_host)
        .http1_max_buf_size(budget)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(STREAM_WINDOW_BYTES)
        .build(connector)
}

fn tls_config(extra_roots: &[Vec<u8>]) -> Result<ClientConfig, SetupError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, unusable) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!(errors = ?found.errors, "this system trusts no certificates: deliveries over https will fail");
    } else if unusable > 0 || !found.errors.is_empty() {
        tracing::debug!(usable, unusable, errors = ?found.errors, "some of the system's certificates cannot be read");
    }
    for (index, root) in extra_roots.iter().enumerate() {
        let root = CertificateDer::from_slice(root).into_owned();
        roots.add(root).map_err(|error| SetupError::Root { index, error })?;
    }
    // The provider by name: a default for the whole process would be some other library's choice.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth())
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
