//! Deliveries over HTTP, by hyper's connections: the attempt, its response, and what of the response is kept.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, SET_COOKIE, TRANSFER_ENCODING};
use http::{Method, StatusCode, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::budget::RESPONSE_BYTES;
use super::connection::{Connection, Elapsed, Http1};
use super::connector::{Authority, Connector};
use super::errors;
use super::link::Link;
use super::pool::{Pool, Taken};
use super::request::{CurrentExchange, RequestBody};
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
/// URLs of which the parsed parts are kept. Beyond that all are forgotten, and parsed again when they are next used.
const MAX_TARGETS: usize = 1024;

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
    /// Number of open connections, idle ones included.
    open: Arc<AtomicUsize>,
    default: Arc<Client>,
    /// The clients of webhooks that name a CA bundle or client certificate; made at first use.
    named: Mutex<HashMap<TlsNames, Arc<Client>>>,
    targets: Mutex<HashMap<DeliveryUrl, Arc<Target>>>,
}

/// The parts of a URL, as requests need them.
struct Target {
    authority: Authority,
    /// For HTTP/2.
    absolute: Uri,
    /// For HTTP/1.1 (RFC 9112, section 3.2.1).
    origin_form: Uri,
    /// Host and port, as in the URL.
    host: HeaderValue,
}

impl Target {
    fn new(url: &DeliveryUrl) -> Result<Self, Failure> {
        let absolute = Uri::try_from(url.expose()).map_err(|_| Failure::Unsendable)?;
        let origin_form = absolute.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        let host = absolute.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(host).map_err(|_| Failure::Unsendable)?;
        let authority = Authority { is_tls: url.scheme().is_tls(), host: url.host().to_owned(), port: url.port() };
        Ok(Self { authority, absolute, origin_form, host })
    }
}

impl HttpClient {
    pub(in crate::transport) fn new(
        destinations: Arc<GuardedResolver>,
        tls: Arc<Tls>,
        proxy: Option<Arc<ProxySettings>>,
    ) -> Result<Self, String> {
        let (config, open) = (tls.config(&TlsNames::default())?, Arc::default());
        let connector = Connector::new(Arc::clone(&destinations), proxy.clone(), &config, Arc::clone(&open));
        let default = Arc::new(Client { connector, pool: Arc::default() });
        let (named, targets) = (Mutex::default(), Mutex::default());
        Ok(Self { destinations, tls, proxy, open, default, named, targets })
    }

    fn client(&self, names: &TlsNames) -> Result<Arc<Client>, Failure> {
        if names.is_empty() {
            return Ok(Arc::clone(&self.default));
        }
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = named.get(names) {
            return Ok(Arc::clone(client));
        }
        let config = self.tls.config(names).map_err(|why| Failure::TlsNames(why.into()))?;
        let (destinations, open) = (Arc::clone(&self.destinations), Arc::clone(&self.open));
        let connector = Connector::new(destinations, self.proxy.clone(), &config, open);
        let client = Arc::new(Client { connector, pool: Arc::default() });
        named.insert(names.clone(), Arc::clone(&client));
        Ok(client)
    }

    fn target(&self, url: &DeliveryUrl) -> Result<Arc<Target>, Failure> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = targets.get(url) {
            return Ok(Arc::clone(target));
        }
        let target = Arc::new(Target::new(url)?);
        if targets.len() == MAX_TARGETS {
            targets.clear();
        }
        targets.insert(url.clone(), Arc::clone(&target));
        Ok(target)
    }

    /// Makes one attempt within the request's time limit; see
    /// [`Transport::deliver`](crate::transport::Transport::deliver).
    pub(in crate::transport) async fn deliver(&self, request: Post<'_>) -> Report {
        let started = Instant::now();
        let (url, after, mask) = (request.url, request.timeout, request.mask);
        let mut progress = Progress { keep_response: request.keep_response, ..Progress::default() };
        let prepared = self.client(request.tls).and_then(|client| Ok((client, self.target(url)?)));
        let outcome = match prepared {
            Ok((client, target)) => match client.attempt(&target, request, started + after, &mut progress).await {
                Ok(outcome) => outcome,
                Err(Elapsed) => Err(progress.timed_out(url, after)),
            },
            Err(failure) => Err(failure),
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
}

/// Makes the requests of one set of TLS names.
struct Client {
    connector: Connector,
    pool: Arc<Pool>,
}

/// Which connections a request may go over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Any,
    /// A connection of its own.
    New,
}

/// How a request ended.
enum Ended {
    /// With a response, or by a failure that counts.
    Here(Result<(), Failure>),
    /// The connection, an idle one, had ended before the request was begun.
    Unsent,
}

impl Client {
    async fn attempt(
        self: &Arc<Self>,
        target: &Arc<Target>,
        request: Post<'_>,
        deadline: Instant,
        progress: &mut Progress,
    ) -> Result<Result<(), Failure>, Elapsed> {
        let Post { mut headers, body, .. } = request;
        // Here and not in the copies, which have no room for more.
        headers.insert(HOST, target.host.clone());
        loop {
            match self.send(target, headers.clone(), body.clone(), Over::Any, deadline, progress).await? {
                Ended::Unsent => {}
                // The destination closed an idle connection while the request was in flight. That is no failed attempt,
                // so the request is repeated at once on a new connection. The destination may have processed the first
                // one; deliveries are made at least once, and the id is the same.
                Ended::Here(Err(Failure::NoResponse | Failure::StreamReset)) if progress.is_stale() => break,
                Ended::Here(outcome) => return Ok(outcome),
            }
        }
        match self.send(target, headers, body, Over::New, deadline, progress).await? {
            Ended::Here(outcome) => Ok(outcome),
            Ended::Unsent => Ok(Err(Failure::ClosedBeforeSend)),
        }
    }

    /// Sends the request over one connection, and reads the response.
    async fn send(
        self: &Arc<Self>,
        target: &Arc<Target>,
        mut headers: HeaderMap,
        body: Bytes,
        over: Over,
        deadline: Instant,
        progress: &mut Progress,
    ) -> Result<Ended, Elapsed> {
        let (connection, is_idle) = match self.connection(target, over, deadline, progress).await? {
            Ok(found) => found,
            Err(failure) => return Ok(Ended::Here(Err(failure))),
        };
        let exchange = progress.begin(connection.link());
        let mut outgoing = http::Request::new(exchange.body(body));
        *outgoing.method_mut() = Method::POST;
        match connection {
            Connection::Http1(mut http1) => {
                *outgoing.uri_mut() = target.origin_form.clone();
                *outgoing.headers_mut() = headers;
                let Http1 { sender, driver, .. } = &mut *http1;
                let response = sender.try_send_request(outgoing);
                let ended = driver.run(deadline, respond(response, is_idle, progress)).await?;
                progress.end();
                if http1.is_reusable() {
                    self.pool.give(&target.authority, http1);
                }
                Ok(ended)
            }
            Connection::Http2(mut http2) => {
                *outgoing.uri_mut() = target.absolute.clone();
                // `:authority` says the same (RFC 9113, section 8.3.1).
                headers.remove(HOST);
                *outgoing.headers_mut() = headers;
                let response = http2.sender.try_send_request(outgoing);
                timeout_at(deadline, respond(response, is_idle, progress)).await.map_err(|_| Elapsed)
            }
        }
    }

    /// A connection, and true if it was used before.
    async fn connection(
        self: &Arc<Self>,
        target: &Arc<Target>,
        over: Over,
        deadline: Instant,
        progress: &mut Progress,
    ) -> Result<Result<(Connection, bool), Failure>, Elapsed> {
        let given = match over {
            Over::New => None,
            Over::Any => match self.pool.take(&target.authority) {
                Taken::Idle(connection) => return Ok(Ok((connection, true))),
                Taken::Later(given) => Some(given),
            },
        };
        let phase = Arc::new(Phase::default());
        progress.connecting(&phase);
        // On the heap, so that attempts are small, of which few get here.
        let made = Box::pin(timeout_at(deadline, Arc::clone(self).make(Arc::clone(target), over, given, phase)));
        made.await.map_err(|_| Elapsed)
    }

    /// Makes a connection, or takes one that is given back in the meantime.
    async fn make(
        self: Arc<Self>,
        target: Arc<Target>,
        over: Over,
        given: Option<oneshot::Receiver<Connection>>,
        phase: Arc<Phase>,
    ) -> Result<(Connection, bool), Failure> {
        let (client, to) = (Arc::clone(&self), Arc::clone(&target));
        let mut made = Box::pin(async move { client.connect(&to.authority, &phase, over).await });
        let Some(given) = given else { return made.await };
        let given = tokio::select! {
            biased;
            Ok(given) = given => given,
            made = made.as_mut() => return made,
        };
        tokio::spawn(async move {
            if let Ok((Connection::Http1(made), false)) = made.await {
                self.pool.give(&target.authority, made);
            }
        });
        Ok((given, true))
    }

    /// A new connection; or, with true, one over HTTP/2 that was made in the meantime.
    async fn connect(&self, to: &Authority, phase: &Phase, over: Over) -> Result<(Connection, bool), Failure> {
        let stream = self.connector.connect(to, phase).await?;
        match Connection::over(stream).await {
            Ok(Connection::Http2(http2)) if over == Over::Any => Ok(self.pool.share(to, http2)),
            Ok(connection) => Ok((connection, false)),
            Err(error) => Err(errors::no_connection(&error)),
        }
    }
}

/// Waits for the response to a request and reads it.
async fn respond(
    response: impl Future<Output = Result<http::Response<Incoming>, TrySendError<http::Request<RequestBody>>>>,
    is_idle: bool,
    progress: &mut Progress,
) -> Ended {
    match response.await {
        Ok(response) => {
            progress.head(&response);
            Ended::Here(read(response, progress).await)
        }
        Err(mut error) => match error.take_message() {
            // Nothing of it was written.
            Some(_) if is_idle => Ended::Unsent,
            _ => Ended::Here(Err(progress.no_head(&error.into_error()))),
        },
    }
}

/// Reads the body up to the byte budget; the outcome follows from the status, or from a 2xx body that breaks off.
async fn read(response: http::Response<Incoming>, progress: &mut Progress) -> Result<(), Failure> {
    let status = response.status();
    let outcome = if status.is_success() { Ok(()) } else { Err(Failure::Status(status.as_u16())) };
    let mut left = RESPONSE_BYTES.saturating_sub(head_bytes(response.headers()));
    let framing = Framing::of(&response);
    if framing.is_ambiguous || progress.is_shortened() {
        progress.discard_connection();
    }
    let mut body = response.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            // A body that exceeds the budget is cut and the status decides. It also decides if it is a failure
            // already, even if the body breaks off.
            Err(_) if outcome.is_err() || progress.is_over_budget() => return outcome,
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

/// The progress of an attempt. It is borrowed by the attempt's future, so that it outlives a timeout.
#[derive(Default)]
struct Progress {
    /// How far the connection is, if one is or was made.
    phase: Option<Arc<Phase>>,
    /// The request over the connection that was found last.
    exchange: Option<CurrentExchange>,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    keep_response: bool,
    /// The response's headers, if `keep_response`.
    headers: Vec<(String, String)>,
    /// The body as far as it is read, so that a secret is recognised wherever what is kept of it ends.
    body: Vec<u8>,
}

impl Progress {
    /// A connection is made for the attempt.
    fn connecting(&mut self, phase: &Arc<Phase>) {
        self.exchange = None;
        self.phase = Some(Arc::clone(phase));
    }

    /// A request is sent over this connection.
    fn begin(&mut self, link: &Arc<Link>) -> &CurrentExchange {
        self.exchange.insert(CurrentExchange::over(link))
    }

    /// The request has its response, or wants none any more.
    fn end(&self) {
        if let Some(exchange) = &self.exchange {
            exchange.end();
        }
    }

    fn discard_connection(&self) {
        if let Some(exchange) = &self.exchange {
            exchange.discard_connection();
        }
    }

    /// True if the connection was used before and no byte of a response came over it.
    fn is_stale(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.is_reused() && !exchange.is_responding())
    }

    fn is_shortened(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.is_shortened())
    }

    fn is_over_budget(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.is_over_budget())
    }

    /// The failure of the request, which got no response head.
    fn no_head(&self, error: &hyper::Error) -> Failure {
        match &self.exchange {
            Some(exchange) => errors::no_head(error, exchange),
            None => errors::no_connection(error),
        }
    }

    /// The failure of the attempt, whose time is over.
    fn timed_out(&self, url: &DeliveryUrl, after: Duration) -> Failure {
        // An HTTP/1.1 connection has ended with the request. On HTTP/2 it would stay in the pool, and if the peer is
        // dead, every attempt on it would time out.
        self.discard_connection();
        Failure::timed_out(self.reached(), &url.host(), after)
    }

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

    fn reached(&self) -> Reached {
        let responding = self.status.map(|status| Reached::Responding(status.as_u16()));
        responding
            .or_else(|| self.exchange.as_ref().and_then(|exchange| exchange.reached()))
            .or_else(|| self.phase.as_ref().map(|phase| phase.get()))
            .unwrap_or_default()
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
