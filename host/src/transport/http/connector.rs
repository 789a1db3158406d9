//! From a URI to a connection: judged before it is made.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;
use url::Host;

use crate::transport::destination::{Closed, GuardedResolver};
use crate::transport::http::budget::BudgetedStream;
use crate::transport::failure::{ConnectError, ProxyFault};
use crate::transport::destination::BoxFuture;
use crate::model::settings::ProxySettings;

/// How long one address is tried before the next joins in (RFC 8305, section 5). The earlier one goes on.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// No name gets more addresses tried than this; all are judged.
const MAX_TRIED: usize = 8;
/// The longest that look-up, TCP and TLS may take. An attempt has its own, shorter time; this one is for a
/// connection that goes on in the background when its request got another one.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::transport) enum ConnectFault {
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("no TCP connection: {0:?}")]
    Tcp(ConnectError),
    #[error("no way through the proxy: {0}")]
    Proxy(#[from] ProxyFault),
}

/// Makes TCP connections to addresses that the guard let pass.
#[derive(Clone)]
pub(in crate::transport) struct Connector {
    gate: Arc<GuardedResolver>,
    proxy: Option<Arc<ProxySettings>>,
    /// Connections open, idle ones among them.
    open: Arc<AtomicUsize>,
}

impl Connector {
    pub(in crate::transport) fn new(gate: Arc<GuardedResolver>, proxy: Option<Arc<ProxySettings>>) -> Self {
        Self { gate, proxy, open: Arc::default() }
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
        let Self { gate, proxy, open } = self.clone();
        Box::pin(async move {
            let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
            let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
            // The text is the URL's serialisation: parsed again, an address is an address again.
            let host = Host::parse(uri.host().unwrap_or_default())
                .map_err(|error| ConnectFault::Tcp(ConnectError::Other(error.to_string().into())))?;
            let host = match &host {
                Host::Domain(name) => Host::Domain(name.as_str()),
                Host::Ipv4(ip) => Host::Ipv4(*ip),
                Host::Ipv6(ip) => Host::Ipv6(*ip),
            };
            let addresses = gate.addresses(&host, port).await?;
            let stream = match proxy.filter(|proxy| proxy.takes(&addresses)) {
                Some(proxy) => proxy.connect(&*gate.resolver, &addresses, &host.to_string(), port).await?,
                None => connect(addresses).await.map_err(|error| ConnectFault::Tcp((&error).into()))?,
            };
            // A request is one write, perhaps two; waiting for more would only delay it. Where the system
            // refuses, it is slower, not wrong.
            let _ = stream.set_nodelay(true);
            Ok(TokioIo::new(BudgetedStream::new(stream, is_tls, open)))
        })
    }
}

/// The first connection that one of the addresses gives.
pub(in crate::transport) async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [address] = addresses.as_slice() {
        return TcpStream::connect(address).await;
    }
    let mut next = addresses.into_iter().take(MAX_TRIED);
    // Dropping it ends those that lost.
    let mut tries = JoinSet::new();
    let mut failed = None;
    loop {
        if let Some(address) = next.next() {
            tries.spawn(TcpStream::connect(address));
        }
        let ended = if next.len() > 0 {
            match timeout(NEXT_ADDRESS_AFTER, tries.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        } else {
            tries.join_next().await
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => failed = Some(error),
            Some(Err(error)) => failed = Some(io::Error::other(error)),
            None => return Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        }
    }
}

/// [`Connector`] and TLS above it, within [`CONNECT_WITHIN`].
#[derive(Clone)]
pub(in crate::transport) struct ConnectTimeout(pub(in crate::transport) HttpsConnector<Connector>);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for ConnectTimeout {
    type Response = MaybeHttpsStream<TokioIo<BudgetedStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            match timeout(CONNECT_WITHIN, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(ConnectFault::Tcp(ConnectError::TimedOut).into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_dead_address_gives_way_to_the_next() {
        let dead = TcpListener::bind("127.0.0.1:0").await.expect("bind").local_addr().expect("address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let alive = listener.local_addr().expect("address");
        let stream = connect(vec![dead, dead, alive]).await.expect("connection");
        assert_eq!(stream.peer_addr().expect("peer"), alive);
        let error = connect(vec![dead, dead]).await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
