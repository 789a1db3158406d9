//! From a URL's host to a connection: the address is judged before the connection is made, and TLS is spoken over it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::budget::BudgetedStream;
use super::tunnel;
use crate::model::settings::ProxySettings;
use crate::transport::destination::GuardedResolver;
use crate::transport::dial::connect;
use crate::transport::errors;
use crate::transport::failure::{ConnectError, Failure, TlsFault};
use crate::transport::phase::{Phase, Reached};

/// The limit for look-up, TCP and TLS together. An attempt has its own limit, of at most 30 s, which names the phase that
/// used up the time; this one is for a connection that is made in the background, after its attempt was given another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(40);
/// What we speak over TLS, the preferred first (RFC 7301).
const ALPN: [&[u8]; 2] = [HTTP2, b"http/1.1"];
const HTTP2: &[u8] = b"h2";

/// What a connection is made to, and what may share it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Authority {
    pub(super) is_tls: bool,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Authority {
    fn host(&self) -> Host<&str> {
        match &self.host {
            Host::Domain(name) => Host::Domain(name),
            Host::Ipv4(ip) => Host::Ipv4(*ip),
            Host::Ipv6(ip) => Host::Ipv6(*ip),
        }
    }

    fn server_name(&self) -> Result<ServerName<'static>, Failure> {
        Ok(match &self.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| Failure::Tls(TlsFault::Other))?,
            Host::Ipv4(ip) => ServerName::IpAddress(std::net::IpAddr::V4(*ip).into()),
            Host::Ipv6(ip) => ServerName::IpAddress(std::net::IpAddr::V6(*ip).into()),
        })
    }
}

/// Makes connections to addresses that the guard accepted, directly or through the proxy.
pub(super) struct Connector {
    destinations: Arc<GuardedResolver>,
    proxy: Option<Arc<ProxySettings>>,
    tls: TlsConnector,
    /// Number of open connections, idle ones included.
    open: Arc<AtomicUsize>,
}

impl Connector {
    pub(super) fn new(
        destinations: Arc<GuardedResolver>,
        proxy: Option<Arc<ProxySettings>>,
        tls: &ClientConfig,
        open: Arc<AtomicUsize>,
    ) -> Self {
        let mut tls = tls.clone();
        tls.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        Self { destinations, proxy, tls: TlsConnector::from(Arc::new(tls)), open }
    }

    /// A new connection, within [`CONNECT_TIMEOUT`].
    pub(super) async fn connect(&self, authority: &Authority, phase: &Phase) -> Result<Stream, Failure> {
        let connecting = timeout(CONNECT_TIMEOUT, self.connect_in_time(authority, phase));
        connecting.await.unwrap_or(Err(Failure::NotConnected(ConnectError::TimedOut)))
    }

    async fn connect_in_time(&self, authority: &Authority, phase: &Phase) -> Result<Stream, Failure> {
        if !authority.is_tls {
            return Ok(Stream::Plain(self.dial(authority, phase).await?));
        }
        let name = authority.server_name()?;
        let stream = self.dial(authority, phase).await?;
        phase.set(Reached::Handshaking);
        let stream = self.tls.connect(name, stream).await.map_err(|error| errors::handshake(&error))?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    async fn dial(&self, authority: &Authority, phase: &Phase) -> Result<BudgetedStream, Failure> {
        let Authority { is_tls, port, .. } = *authority;
        let host = authority.host();
        phase.set(Reached::LookingUp);
        let addresses = self.destinations.addresses(&host, port).await?;
        phase.set(Reached::Connecting);
        let stream = match self.proxy.as_ref().filter(|proxy| tunnel::applies(proxy, &addresses)) {
            Some(proxy) => {
                let resolver = &*self.destinations.resolver;
                let opened = tunnel::open(proxy, resolver, &addresses, &host.to_string(), port, phase).await;
                opened.map_err(Failure::Proxy)?
            }
            None => connect(addresses).await.map_err(|error| Failure::NotConnected((&error).into()))?,
        };
        // Behind the tunnel it is the destination again.
        phase.set(Reached::Connecting);
        // A request is one or two writes, and Nagle's algorithm would delay the second. An error makes it slower,
        // not wrong.
        let _ = stream.set_nodelay(true);
        Ok(BudgetedStream::new(stream, is_tls, Arc::clone(&self.open)))
    }
}

/// A connection with or without TLS, below which its bytes are counted.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(BudgetedStream),
    Tls(Box<TlsStream<BudgetedStream>>),
}

impl Stream {
    /// The connection below TLS.
    pub(super) fn budgeted(&self) -> &BudgetedStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// True if the peer chose HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(HTTP2),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
