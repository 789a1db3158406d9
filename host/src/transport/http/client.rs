//! A delivery over HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
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
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

use crate::transport::Report;
use crate::transport::http::errors;
use crate::transport::http::connector::{ConnectTimeout, Connector};
use crate::transport::destination::GuardedResolver;
use crate::transport::http::budget::ANSWER_BYTES;
use crate::transport::failure::{Failure, Outcome, Reached, retry_after};
use crate::transport::http::request::{Exchange, RequestBody};
use crate::transport::tls::Tls;
use crate::model::delivery::Answer;
use crate::model::settings::ProxySettings;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::TlsNames;

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
/// A `POST` to make.
pub(in crate::transport) struct Post<'a> {
    pub(in crate::transport) url: &'a DeliveryUrl,
    pub(in crate::transport) tls: &'a TlsNames,
    pub(in crate::transport) headers: HeaderMap,
    pub(in crate::transport) body: Bytes,
    pub(in crate::transport) timeout: Duration,
    pub(in crate::transport) keep_answer: bool,
}

/// Delivers over HTTP/1.1 and, where TLS agrees on it, HTTP/2.
///
/// Connections are kept and used again. That is sound: a connection goes to the address that was judged when
/// it was made, whatever the name resolves to by now, and the guard's networks do not change while the
/// process lives.
pub(in crate::transport) struct HttpClient {
    gate: Arc<GuardedResolver>,
    tls: Arc<Tls>,
    proxy: Option<Arc<ProxySettings>>,
    default: Clients,
    /// Those of webhooks that name something: an idle connection is for those who show and trust the same.
    named: Mutex<HashMap<TlsNames, Clients>>,
}

#[derive(Clone)]
struct Clients {
    pooled: Client<ConnectTimeout, RequestBody>,
    /// Makes a connection for each request: for the second try after a stale one.
    fresh: Client<ConnectTimeout, RequestBody>,
}

impl HttpClient {
    pub(in crate::transport) fn new(gate: Arc<GuardedResolver>, tls: Arc<Tls>, proxy: Option<Arc<ProxySettings>>) -> Result<Self, String> {
        let config = tls.config(&TlsNames::default())?;
        let default = Clients::new(Connector::new(Arc::clone(&gate), proxy.clone()), &config);
        Ok(Self { gate, tls, proxy, default, named: Mutex::default() })
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
        let clients = Clients::new(Connector::new(Arc::clone(&self.gate), self.proxy.clone()), &config);
        named.insert(names.clone(), clients.clone());
        Ok(clients)
    }

    /// Makes the request, once, and tells what came of it within the request's time. Call it on the
    /// deliveries' runtime: connections live where they were made.
    pub(in crate::transport) async fn deliver(&self, request: Post<'_>) -> Report {
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

    async fn attempt(&self, request: Post<'_>, progress: &mut Progress) -> Result<(), Failure> {
        let clients = self.clients(request.tls)?;
        let mut outgoing = http::Request::new(());
        *outgoing.method_mut() = Method::POST;
        *outgoing.uri_mut() = Uri::try_from(request.url.expose()).map_err(|_| Failure::Unsendable)?;
        *outgoing.headers_mut() = request.headers;
        let answer = match self.send(&clients.pooled, outgoing.clone(), request.body.clone(), progress).await {
            // The destination closed an idle connection while the request was on its way: that is nobody's
            // failure, so it goes out once more at once. It may have been taken up before the connection
            // closed; deliveries are made at least once, and the id is the same. hyper itself repeats only
            // what it had not begun to write.
            Err(Failure::NoAnswer) if progress.exchange.is_reused() => {
                self.send(&clients.fresh, outgoing, request.body, progress).await?
            }
            answer => answer?,
        };
        progress.head(&answer);
        self.read(answer, progress).await
    }

    async fn send(
        &self,
        client: &Client<ConnectTimeout, RequestBody>,
        head: http::Request<()>,
        body: Bytes,
        progress: &mut Progress,
    ) -> Result<Response<Incoming>, Failure> {
        let exchange = Arc::new(Exchange::default());
        progress.exchange = Arc::clone(&exchange);
        let mut request = head.map(|()| RequestBody::new(body, Arc::clone(&exchange)));
        exchange.watch(capture_connection(&mut request));
        client.request(request).await.map_err(|error| errors::no_head(&error, &exchange))
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
                Err(error) => return Err(errors::no_end(&error, status.as_u16())),
            };
            let Ok(data) = frame.into_data() else { continue };
            progress.keep(&data);
            let Some(rest) = left.checked_sub(u64::try_from(data.len()).unwrap_or(u64::MAX)) else { break };
            left = rest;
        }
        verdict
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

fn client(connector: ConnectTimeout, idle_per_host: usize) -> Client<ConnectTimeout, RequestBody> {
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
