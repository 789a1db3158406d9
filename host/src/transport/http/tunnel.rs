//! A tunnel through the operator's proxy (`CONNECT`, RFC 9110, section 9.3.6). Webhooks cannot choose a proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::model::settings::ProxySettings;
use crate::transport::destination::Resolve;
use crate::transport::dial::connect;
use crate::transport::failure::{ConnectError, ProxyFault};

/// The most of a proxy's response head that is read, in bytes.
const MAX_HEAD_BYTES: usize = 8 * 1024;

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
) -> Result<TcpStream, ProxyFault> {
    let proxy_addresses = proxy_addresses(proxy, resolver).await?;
    let targets: Vec<String> = if proxy.sends_names {
        vec![format!("{host}:{port}")]
    } else {
        addresses.iter().map(SocketAddr::to_string).collect()
    };
    let mut rejected = ProxyFault::NotConnected(ConnectError::NoRoute);
    for target in targets {
        match request(proxy, &proxy_addresses, &target).await {
            Ok(stream) => return Ok(stream),
            // The proxy may reach another address where it did not reach this one.
            Err(fault @ ProxyFault::Rejected(_)) => rejected = fault,
            Err(fault) => return Err(fault),
        }
    }
    Err(rejected)
}

async fn request(proxy: &ProxySettings, addresses: &[SocketAddr], target: &str) -> Result<TcpStream, ProxyFault> {
    let broken = |error: io::Error| ProxyFault::NotConnected((&error).into());
    let mut stream = connect(addresses.to_vec()).await.map_err(broken)?;
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.expose());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut response = Vec::new();
    // Only the head is read: the body of a rejection is not shown.
    let head = loop {
        if let Some(end) = response.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let mut chunk = [0; 512];
        let read = stream.read(&mut chunk).await.map_err(broken)?;
        if read == 0 || response.len() + read > MAX_HEAD_BYTES {
            return Err(ProxyFault::NotHttp);
        }
        response.extend_from_slice(&chunk[..read]);
    };
    match status(&response) {
        // Bytes behind the head would be the destination's, and neither TLS nor HTTP servers speak first.
        Some(200..=299) if head < response.len() => Err(ProxyFault::NotHttp),
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

/// The status in a response's first line: 200 of `HTTP/1.1 200 Connection established`.
fn status(response: &[u8]) -> Option<u16> {
    let line = response.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    // Three digits (RFC 9112, section 4); `parse` alone would also read `+200` and `0200`.
    let status = words.next().filter(|word| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit()))?;
    status.parse().ok().filter(|status| (100..600).contains(status))
}

/// Properties that [`crate::fuzzing::proxy_response`] checks.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    /// A status is read only where HTTP has it: three digits behind the version.
    pub(crate) fn check(response: &[u8]) {
        let Some(status) = super::status(response) else { return };
        assert!((100..600).contains(&status));
        let rest = response.strip_prefix(b"HTTP/1.").expect("a version of HTTP/1");
        let rest = rest.splitn(2, |byte| *byte == b' ').nth(1).expect("a status behind the version");
        assert!(rest.starts_with(status.to_string().as_bytes()), "{status} in {response:?}");
        assert!(rest.get(3).is_none_or(|byte| b" \r".contains(byte)), "{status} in {response:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_response_has_its_status() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n"), Some(407));
        assert_eq!(status(b"HTTP/1.1 403\r\n\r\n"), Some(403));
        for wrong in
            [&b"SSH-2.0-OpenSSH\r\n\r\n"[..], b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"\r\n\r\n"]
        {
            assert_eq!(status(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_status_is_three_digits() {
        for wrong in [&b"HTTP/1.1 +200 OK\r\n\r\n"[..], b"HTTP/1.1 0200 OK\r\n\r\n", b"HTTP/1.1 99 OK\r\n\r\n"] {
            assert_eq!(status(wrong), None, "{wrong:?}");
        }
    }
}
