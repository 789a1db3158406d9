//! Connections to destinations: the only room that opens outbound sockets.
//!
//! ```text
//! Transport ─ HTTP:   http/client ─ hyper ─ rustls ─ http/connector ─┐
//!           │                       (http/tunnel through a proxy) ───┼─ destination (resolver + SSRF guard) ─ dial
//!           └ syslog: syslog/stream, syslog/datagram ────────────────┘
//! ```
//!
//! The [`Guard`] judges every address of a name at each new connection, and the connection goes to an address that was
//! judged, so DNS rebinding gains nothing. Redirects are not followed, cookies are not kept, and proxy variables of the
//! environment have no effect. The result of an attempt is a [`Report`]; `failure.rs` holds all sentences about it.
//!
//! Modules depend on each other in one direction: `destination`, `failure`, `phase`, `errors`, `report`, `dial` and
//! `tls` are below, `http` and `syslog` use them and not each other, and this file uses all.

mod destination;
mod dial;
mod errors;
mod expiry;
mod failure;
mod http;
mod phase;
mod report;
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

use self::destination::{AddressError, GuardedResolver};
pub use self::destination::{BoxFuture, Denied, Guard, Resolve, ResolveError, ResolverSetupError, system_resolver};
pub use self::failure::{ConnectError, Failure, ProxyFault, TlsFault};
use self::phase::Phase;
pub use self::phase::Reached;
pub use self::report::Report;
pub use self::syslog::fits;
pub use self::tls::{SetupError, Tls};
#[cfg(fuzzing)]
pub(crate) use self::{http::fuzz_proxy, syslog::fuzzing as fuzz_syslog};
use crate::model::mask::Mask;
use crate::model::settings::ProxySettings;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::TlsNames;

/// The longest that saving a webhook waits for name resolution. A slower name is judged at the attempts only.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// One attempt to make.
pub struct Request<'a> {
    /// The destination.
    pub url: &'a DeliveryUrl,
    /// The CA bundle to trust and the client certificate to present, by their configured names.
    pub tls: &'a TlsNames,
    /// The payload: [`Content::Body`] for HTTP URLs, [`Content::Messages`] for syslog URLs.
    pub content: Content,
    /// The time limit of the whole attempt: name look-up, connect, TLS, write and response.
    pub timeout: Duration,
    /// True if a formatter will interpret the response, so that [`Report::response`] is filled.
    pub keep_response: bool,
    /// Masks the webhook's secrets in everything that the [`Report`] has of the response's text.
    pub mask: &'a Mask<'a>,
}

/// The payload of an attempt.
pub enum Content {
    /// An HTTP `POST`.
    Body {
        /// Every header but `Host` and `Content-Length`.
        headers: HeaderMap,
        /// The exact bytes that were signed.
        body: Bytes,
    },
    /// Syslog messages.
    Messages {
        /// The messages, each of which [`fits`].
        messages: Vec<Bytes>,
        /// True if they need a connection of their own, so that no other message can be the reason that it closes.
        alone: bool,
    },
}

/// The clients for every URL scheme.
///
/// Connections are reused. That is sound even if the name resolves to another address later: a connection goes to the
/// address that was judged when it was made, and the guard's networks do not change while the process lives.
pub struct Transport {
    destinations: Arc<GuardedResolver>,
    tls: Arc<Tls>,
    http: http::HttpClient,
    syslog: syslog::Syslog,
}

impl Transport {
    /// Creates the clients; `proxy` applies to HTTP only.
    ///
    /// # Errors
    /// If rustls rejects the configuration that [`Tls`] accepted.
    pub fn new(
        guard: Arc<Guard>,
        resolver: Arc<dyn Resolve>,
        tls: Tls,
        proxy: Option<ProxySettings>,
    ) -> Result<Self, SetupError> {
        let (tls, destinations) = (Arc::new(tls), Arc::new(GuardedResolver { guard, resolver }));
        let http = http::HttpClient::new(Arc::clone(&destinations), Arc::clone(&tls), proxy.map(Arc::new));
        let http = http.map_err(|why| SetupError::Tls(rustls::Error::General(why)))?;
        let syslog = syslog::Syslog::new(Arc::clone(&destinations), Arc::clone(&tls));
        Ok(Self { destinations, tls, http, syslog })
    }

    /// The SSRF guard.
    pub fn guard(&self) -> &Guard {
        &self.destinations.guard
    }

    /// The configured CA bundles and client certificates.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Judges the URL of a webhook that is to be saved: its address, or every address of its name. This is for early
    /// feedback; each attempt judges again. A name that does not resolve passes.
    ///
    /// # Errors
    /// If an address is denied.
    pub async fn check_destination(&self, url: &DeliveryUrl) -> Result<(), Denied> {
        match timeout(CHECK_TIMEOUT, self.destinations.addresses(&url.host(), url.port())).await {
            Ok(Err(AddressError::Denied(denied))) => Err(denied),
            Ok(Ok(_) | Err(AddressError::Unresolved { .. })) | Err(_) => Ok(()),
        }
    }

    /// Makes one attempt within the request's time limit. Must run on the deliveries' runtime, since pooled connections
    /// belong to the runtime that made them.
    pub async fn deliver(&self, request: Request<'_>) -> Report {
        let Request { url, tls, content, timeout, keep_response, mask } = request;
        match content {
            Content::Body { headers, body } => {
                self.http.deliver(http::Post { url, tls, headers, body, timeout, keep_response, mask }).await
            }
            Content::Messages { messages, alone } => self.deliver_syslog(url, tls, &messages, alone, timeout).await,
        }
    }

    async fn deliver_syslog(
        &self,
        url: &DeliveryUrl,
        tls: &TlsNames,
        messages: &[Bytes],
        alone: bool,
        after: Duration,
    ) -> Report {
        let started = Instant::now();
        let phase = Phase::default();
        let delivered = timeout(after, self.syslog.deliver(url, tls, messages, alone, &phase)).await;
        let outcome = delivered.unwrap_or_else(|_| Err(Failure::timed_out(phase.get(), &url.host(), after)));
        Report { outcome, status: None, excerpt: None, retry_after: None, response: None, duration: started.elapsed() }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("guard", &self.destinations.guard).finish_non_exhaustive()
    }
}
