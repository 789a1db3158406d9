//! The outbound proxy, when the configuration names one. Webhooks cannot: it is not theirs to choose.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::connector::{ConnectFault, connect};
use super::outcome::{ConnectError, ProxyFault};
use super::resolve::Resolve;
use crate::model::settings::ProxySettings;

/// The most of a proxy's answer that is read.
const ANSWER_BYTES: usize = 8 * 1024;

impl ProxySettings {
    /// Whether a destination at these addresses goes through the proxy.
    pub(super) fn takes(&self, addresses: &[SocketAddr]) -> bool {
        let is_except = |address: &SocketAddr| {
            let ip = address.ip().to_canonical();
            self.except.iter().any(|net| net.contains(&ip))
        };
        !addresses.iter().all(is_except)
    }

    /// A connection through the proxy to one of these addresses, which were judged; `host` and `port` are what the
    /// request names.
    pub(super) async fn connect(
        &self,
        resolver: &dyn Resolve,
        addresses: &[SocketAddr],
        host: &str,
        port: u16,
    ) -> Result<TcpStream, ConnectFault> {
        let proxy = self.addresses(resolver).await?;
        let told: Vec<String> = if self.sends_names {
            vec![format!("{host}:{port}")]
        } else {
            addresses.iter().map(SocketAddr::to_string).collect()
        };
        let mut refused = ConnectFault::Tcp(ConnectError::NoRoute);
        for destination in told {
            match self.tunnel(&proxy, &destination).await {
                Ok(stream) => return Ok(stream),
                // Another address may be reached where this one was not.
                Err(fault @ ProxyFault::Refused(_)) => refused = fault.into(),
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(refused)
    }

    async fn tunnel(&self, proxy: &[SocketAddr], destination: &str) -> Result<TcpStream, ProxyFault> {
        let broken = |error: io::Error| ProxyFault::NotConnected((&error).into());
        let mut stream = connect(proxy.to_vec()).await.map_err(broken)?;
        let mut request = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str("Proxy-Authorization: ");
            request.push_str(authorization.expose());
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut answer = Vec::new();
        // A refusal may have a body, which is of no interest.
        let head = loop {
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let mut piece = [0; 512];
            let read = stream.read(&mut piece).await.map_err(broken)?;
            if read == 0 || answer.len() + read > ANSWER_BYTES {
                return Err(ProxyFault::NotHttp);
            }
            answer.extend_from_slice(&piece[..read]);
        };
        match status(&answer) {
            // No destination speaks before we do.
            Some(200..=299) if head < answer.len() => Err(ProxyFault::NotHttp),
            Some(200..=299) => Ok(stream),
            Some(status) => Err(ProxyFault::Refused(status)),
            None => Err(ProxyFault::NotHttp),
        }
    }

    /// The proxy is the server's own choice: its address is not judged.
    async fn addresses(&self, resolver: &dyn Resolve) -> Result<Vec<SocketAddr>, ProxyFault> {
        let found = match self.host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) => resolver.resolve(&self.host).await.map_err(ProxyFault::Unresolved)?,
        };
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect())
    }
}

/// The status of an answer's first line: `HTTP/1.1 200 Connection established`.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    // Three digits (RFC 9112, section 4); `parse` alone would also read `+200` and `0200`.
    let status = words.next().filter(|word| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit()))?;
    status.parse().ok().filter(|status| (100..600).contains(status))
}

/// What [`crate::fuzzing::proxy_response`] holds the reader to.
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
    fn an_answers_first_line_has_its_status() {
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
