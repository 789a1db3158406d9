//! A tunnel through the operator's proxy (`CONNECT`, RFC 9110, section 9.3.6). Webhooks cannot choose a proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::budget::RESPONSE_BYTES;
use super::scanner::HeadScanner;
use crate::model::settings::ProxySettings;
use crate::transport::destination::Resolve;
use crate::transport::dial::connect;
use crate::transport::failure::{ConnectError, ProxyFault};
use crate::transport::phase::{Phase, Reached};

/// True if a destination with these addresses is reached through the proxy, not directly.
pub(super) fn applies(proxy: &ProxySettings, addresses: &[SocketAddr]) -> bool {
    let is_excepted = |address: &SocketAddr| {
        let ip = address.ip().to_canonical();
        proxy.except.iter().any(|net| net.contains(&ip))
    };
    !addresses.iter().all(is_excepted)
}

/// A connection through the proxy to one of these addresses, which the guard has judged.
///
/// The proxy is told an address. If it is configured to receive names, it is told `host` and looks it up again, so the
/// defence against DNS rebinding is then the proxy's task.
pub(super) async fn open(
    proxy: &ProxySettings,
    resolver: &dyn Resolve,
    addresses: &[SocketAddr],
    host: &str,
    port: u16,
    phase: &Phase,
) -> Result<TcpStream, ProxyFault> {
    phase.set(Reached::LookingUpProxy);
    let proxy_addresses = proxy_addresses(proxy, resolver).await?;
    let targets: Vec<String> = if proxy.sends_names {
        vec![format!("{host}:{port}")]
    } else {
        addresses.iter().map(SocketAddr::to_string).collect()
    };
    let mut rejected = ProxyFault::NotConnected(ConnectError::NoRoute);
    for target in targets {
        match request(proxy, &proxy_addresses, &target, phase).await {
            Ok(stream) => return Ok(stream),
            // The proxy may reach another address where it did not reach this one.
            Err(fault @ ProxyFault::Rejected(_)) => rejected = fault,
            Err(fault) => return Err(fault),
        }
    }
    Err(rejected)
}

async fn request(
    proxy: &ProxySettings,
    addresses: &[SocketAddr],
    target: &str,
    phase: &Phase,
) -> Result<TcpStream, ProxyFault> {
    let broken = |error: io::Error| ProxyFault::NotConnected((&error).into());
    phase.set(Reached::ConnectingProxy);
    let mut stream = connect(addresses.to_vec()).await.map_err(broken)?;
    phase.set(Reached::Tunnelling);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.expose());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut scanner = HeadScanner::default();
    let mut left = RESPONSE_BYTES;
    // Only the head is read: a 2xx has no body whatever its fields say (RFC 9110, section 9.3.6), and that of a rejection
    // is not shown.
    let is_silent_after = loop {
        let mut chunk = [0; 512];
        let read = stream.read(&mut chunk).await.map_err(broken)?;
        if read == 0 {
            return Err(ProxyFault::NotHttp);
        }
        let end = scanner.scan(&mut chunk[..read]);
        if !scanner.may_be_http1() {
            return Err(ProxyFault::NotHttp);
        }
        let length = u64::try_from(end.unwrap_or(read)).unwrap_or(u64::MAX);
        left = left.checked_sub(length).ok_or(ProxyFault::HeadTooLarge)?;
        if let Some(end) = end {
            break end == read;
        }
    };
    match scanner.status() {
        // Bytes behind the head would be the destination's, and neither TLS nor HTTP servers speak first.
        Some(200..=299) if !is_silent_after => Err(ProxyFault::NotHttp),
        Some(200..=299) => Ok(stream),
        Some(status) => Err(ProxyFault::Rejected(status)),
        None => Err(ProxyFault::NotHttp),
    }
}

/// The proxy's addresses. The guard does not judge them: the operator chose the proxy.
async fn proxy_addresses(proxy: &ProxySettings, resolver: &dyn Resolve) -> Result<Vec<SocketAddr>, ProxyFault> {
    let found = match proxy.host.parse::<IpAddr>() {
        Ok(ip) => vec![ip],
        Err(_) => resolver.resolve(&proxy.host).await.map_err(ProxyFault::Unresolved)?,
    };
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, proxy.port)).collect())
}
