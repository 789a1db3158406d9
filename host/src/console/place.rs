//! Where the console may be used: through the origin that an operator named, or on loopback.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, StatusCode};

use super::Console;
use super::visit::Failure;
use crate::api::Peer;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How a browser reaches the console.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// The origin of its pages.
    origin: String,
    /// The name of the session's cookie.
    pub(super) cookie: String,
    /// True if the cookie is only for HTTPS.
    pub(super) secure: bool,
}

impl Place {
    /// The place of a request.
    ///
    /// # Errors
    /// Without `--console-origin`, if the peer or the name in the request is not this machine: a page from elsewhere could
    /// otherwise reach the console by a name of its own (DNS rebinding), and a password would cross a network in the clear.
    pub(super) fn of(console: &Console, request: &Request) -> Result<Self, Failure> {
        if let Some(origin) = &console.0.settings.origin {
            return Ok(Self { origin: origin.clone(), cookie: "__Host-heraldry".to_owned(), secure: true });
        }
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let peer = request.extensions().get::<Peer>().map(|Peer(ip)| *ip);
        if !peer.is_some_and(is_loopback) || !names_loopback(host) {
            let detail = "Without --console-origin the console is open on this machine's own address only, as in \
                          http://127.0.0.1:8080/console. Behind a proxy with TLS, start the host with --console-origin \
                          https://NAME";
            return Err(Failure::new(StatusCode::FORBIDDEN, detail));
        }
        // Cookies know no ports, and there may be another host on this machine.
        let port: String =
            host.rsplit_once(':').map_or("80", |(_, port)| port).chars().filter(char::is_ascii_digit).collect();
        Ok(Self { origin: format!("http://{host}"), cookie: format!("heraldry-{port}"), secure: false })
    }

    /// Checks that a form was sent by a page of the console.
    ///
    /// # Errors
    /// 403 if the browser says that another site sent it, or says nothing.
    pub(super) fn check_sender(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let only = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none())
        };
        let own = match headers.contains_key(SEC_FETCH_SITE) {
            true => only(&SEC_FETCH_SITE).is_some_and(|site| site == "same-origin"),
            false => only(&ORIGIN).is_some_and(|origin| origin.as_bytes() == self.origin.as_bytes()),
        };
        if own {
            return Ok(());
        }
        let detail = "This form was not sent by a page of this console. Open the page again, and send it from there";
        Err(Failure::new(StatusCode::FORBIDDEN, detail))
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// True if the authority in `Host` is a name of this machine.
fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.9.9.9", "[::1]:8080", "[::1]"] {
            assert!(names_loopback(host), "{host}");
        }
        for host in
            ["", "example.com", "localhost.example:80", "10.0.0.1:8080", "[fe80::1]:80", "127.0.0.1.example", "::1"]
        {
            assert!(!names_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_form_comes_from_a_page_of_the_console() {
        let place = Place { origin: "http://127.0.0.1:8080".to_owned(), cookie: String::new(), secure: false };
        let check = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().expect("a value"));
            }
            place.check_sender(&map).is_ok()
        };
        assert!(check(&[("sec-fetch-site", "same-origin")]));
        assert!(check(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(check(&[("origin", "http://127.0.0.1:8080")]));
        assert!(!check(&[]));
        assert!(!check(&[("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:8080")]));
        assert!(!check(&[("sec-fetch-site", "same-site")]));
        assert!(!check(&[("sec-fetch-site", "none")]));
        assert!(!check(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")]));
        assert!(!check(&[("origin", "http://127.0.0.1:8081")]));
        assert!(!check(&[("origin", "null")]));
    }
}
