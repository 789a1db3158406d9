//! The one room that opens connections to destinations.
//!
//! Over HTTP a request goes through hyper's client over rustls over a connector of our own, which looks the name up
//! ([`Resolve`]), has the [`Guard`] judge every address, connects only to what was judged, and counts what comes back.
//! Over syslog a message goes to an address that was judged the same way. Nothing here obeys proxy variables, follows a
//! redirect or keeps a cookie. What came of it, and every word about it, is an [`Outcome`].

mod classify;
mod connector;
mod gate;
mod guard;
mod http;
mod meter;
mod outcome;
mod proxy;
mod request;
mod resolve;
mod syslog;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use self::gate::{Closed, Gate};
pub use self::guard::{Denied, Guard};
pub use self::outcome::{ConnectError, Failure, Outcome, ProxyFault, Reached, TlsFault, retry_after};
pub use self::resolve::{BoxFuture, Resolve, ResolveError, ResolverSetupError, system_resolver};
pub use self::syslog::fits;
pub use self::tls::{SetupError, Tls};
#[cfg(fuzzing)]
pub(crate) use self::{proxy::fuzzing as fuzz_proxy, syslog::fuzzing as fuzz_syslog};
use crate::model::delivery::Answer;
use crate::model::settings::ProxySettings;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::TlsNames;

/// How long saving a webhook waits for its name; what does not resolve by then is judged at each attempt.
const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// An attempt to make.
pub struct Request<'a> {
    /// Where to.
    pub url: &'a DeliveryUrl,
    /// Whom to trust and who to be, over TLS.
    pub tls: &'a TlsNames,
    /// What to send; it fits the URL's scheme.
    pub content: Content,
    /// How long the whole attempt may take: name look-up, connect, TLS, write, answer.
    pub timeout: Duration,
    /// Whether somebody wants to read the answer.
    pub keep_answer: bool,
}

/// What an attempt sends.
pub enum Content {
    /// The body of a `POST`.
    Body {
        /// Every header but `Host` and `Content-Length`.
        headers: HeaderMap,
        /// The body, as it was signed.
        body: Bytes,
    },
    /// Syslog messages.
    Messages {
        /// Each of which [`fits`].
        messages: Vec<Bytes>,
        /// Whether nothing else may go over their connection: what becomes of it is then their doing.
        alone: bool,
    },
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

/// Every way to a destination, by its URL's scheme.
///
/// Connections are kept and used again. That is sound: a connection goes to the address that was judged when
/// it was made, whatever the name resolves to by now, and the guard's networks do not change while the
/// process lives.
pub struct Transport {
    gate: Arc<Gate>,
    tls: Arc<Tls>,
    http: http::Http,
    syslog: syslog::Syslog,
}

impl Transport {
    /// A transport; `proxy` is for HTTP only.
    ///
    /// # Errors
    /// When rustls refuses what [`Tls`] took.
    pub fn new(
        guard: Arc<Guard>,
        resolver: Arc<dyn Resolve>,
        tls: Tls,
        proxy: Option<ProxySettings>,
    ) -> Result<Self, SetupError> {
        let (tls, gate) = (Arc::new(tls), Arc::new(Gate { guard, resolver }));
        let http = http::Http::new(Arc::clone(&gate), Arc::clone(&tls), proxy.map(Arc::new));
        let http = http.map_err(|why| SetupError::Tls(rustls::Error::General(why)))?;
        Ok(Self { http, syslog: syslog::Syslog::new(Arc::clone(&gate), Arc::clone(&tls)), gate, tls })
    }

    /// What judges addresses.
    pub fn guard(&self) -> &Guard {
        &self.gate.guard
    }

    /// The names that webhooks may give for TLS.
    pub fn tls(&self) -> &Tls {
        &self.tls
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

    /// Makes the attempt, once, and tells what came of it within the request's time. Call it on the
    /// deliveries' runtime: connections live where they were made.
    pub async fn deliver(&self, request: Request<'_>) -> Report {
        let Request { url, tls, content, timeout, keep_answer } = request;
        match content {
            Content::Body { headers, body } => {
                self.http.deliver(http::Post { url, tls, headers, body, timeout, keep_answer }).await
            }
            Content::Messages { messages, alone } => self.say(url, tls, &messages, alone, timeout).await,
        }
    }

    async fn say(&self, url: &DeliveryUrl, tls: &TlsNames, messages: &[Bytes], alone: bool, after: Duration) -> Report {
        let started = Instant::now();
        let mut reached = Reached::Connecting;
        let outcome = match timeout(after, self.syslog.deliver(url, tls, messages, alone, &mut reached)).await {
            Ok(Ok(())) => Outcome::Delivered,
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(_) => Outcome::Failed(Failure::Timeout { reached, after }),
        };
        Report { outcome, status: None, excerpt: None, retry_after: None, answer: None, duration: started.elapsed() }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("guard", &self.gate.guard).finish_non_exhaustive()
    }
}
