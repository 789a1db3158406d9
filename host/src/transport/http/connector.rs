//! From a URI to a TCP connection: the address is judged before the connection is made.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tower_service::Service;
use url::Host;

use super::budget::BudgetedStream;
use super::head::ScannedStream;
use super::tunnel;
use crate::model::settings::ProxySettings;
use crate::transport::destination::{AddressError, BoxFuture, GuardedResolver};
use crate::transport::dial::connect;
use crate::transport::failure::{ConnectError, Failure, ProxyFault};
use crate::transport::phase::{Phase, Reached};

/// The limit for look-up, TCP and TLS together. An attempt has its own limit, of at most 30 s, which names the phase that
/// used up the time; this one is for a connection that hyper goes on making in the background after its request got
/// another one from the pool.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(40);

/// Why there is no connection. Travels inside hyper's error to where the failure is worked out.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ConnectFault {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("no TCP connection: {0:?}")]
    Tcp(ConnectError),
    #[error("no tunnel through the proxy: {0}")]
    Proxy(#[from] ProxyFault),
}

impl From<ConnectFault> for Failure {
    fn from(fault: ConnectFault) -> Self {
        match fault {
            ConnectFault::Address(error) => error.into(),
            ConnectFault::Tcp(error) => Self::NotConnected(error),
            ConnectFault::Proxy(fault) => Self::Proxy(fault),
        }
    }
}

/// Makes TCP connections to addresses that the guard accepted, directly or through the proxy.
#[derive(Clone)]
pub(super) struct Connector {
    destinations: Arc<GuardedResolver>,
    proxy: Option<Arc<ProxySettings>>,
    /// Number of open connections, idle ones included.
    open: Arc<AtomicUsize>,
}

impl Connector {
    pub(super) fn new(destinations: Arc<GuardedResolver>, proxy: Option<Arc<ProxySettings>>) -> Self {
        Self { destinations, proxy, open: Arc::default() }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<BudgetedStream>;
    type Error = ConnectFault;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectFault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { destinations, proxy, open } = self.clone();
        let phase = Phase::current();
        Box::pin(async move {
            let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
            let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
            // The text is the URL's serialisation, so parsing it again yields the address that was meant.
            let host = Host::parse(uri.host().unwrap_or_default())
                .map_err(|error| ConnectFault::Tcp(ConnectError::Other(error.to_string().into())))?;
            let host = match &host {
                Host::Domain(name) => Host::Domain(name.as_str()),
                Host::Ipv4(ip) => Host::Ipv4(*ip),
                Host::Ipv6(ip) => Host::Ipv6(*ip),
            };
            phase.set(Reached::LookingUp);
            let addresses = destinations.addresses(&host, port).await?;
            phase.set(Reached::Connecting);
            let stream = match proxy.filter(|proxy| tunnel::applies(proxy, &addresses)) {
                Some(proxy) => {
                    tunnel::open(&proxy, &*destinations.resolver, &addresses, &host.to_string(), port, &phase).await?
                }
                None => connect(addresses).await.map_err(|error| ConnectFault::Tcp((&error).into()))?,
            };
            phase.set(if is_tls { Reached::Handshaking } else { Reached::Connecting });
            // A request is one or two writes, and Nagle's algorithm would delay the second. An error makes it slower,
            // not wrong.
            let _ = stream.set_nodelay(true);
            Ok(TokioIo::new(BudgetedStream::new(stream, is_tls, open)))
        })
    }
}

/// [`Connector`] and TLS above it, within [`CONNECT_TIMEOUT`].
#[derive(Clone)]
pub(super) struct ConnectTimeout(pub(super) HttpsConnector<Connector>);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for ConnectTimeout {
    type Response = TokioIo<ScannedStream<MaybeHttpsStream<TokioIo<BudgetedStream>>>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            match timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(connected) => connected.map(|stream| TokioIo::new(ScannedStream::new(stream))),
                Err(_) => Err(ConnectFault::Tcp(ConnectError::TimedOut).into()),
            }
        })
    }
}
