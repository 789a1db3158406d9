//! The authority of a request: `Host` and the request target (RFC 9110, sections 4.2 and 7.2; RFC 9112, section 3.2).
//!
//! Any name leads to this host, so the authority decides nothing; but a request that two servers could read as being for
//! different names is rejected. The grammar is by hand, because [`http::uri::Authority`] accepts a user and rejects
//! percent-encoded names.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::{Method, Request, Version};

use super::problem::{ApiError, Code};

/// Checks `Host` and the request target.
///
/// # Errors
/// 400 if an HTTP/1.1 request has no `Host` (HTTP/1.0 has none by right), if there are several or an invalid one, or if
/// the target has no valid authority; 421 for a target that is not `http://`.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), ApiError> {
    let invalid = |detail: &str| Err(ApiError::new(Code::InvalidHeader, detail));
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() >= Version::HTTP_11 => {
            return invalid("send the header Host with the name and port of this server");
        }
        (None, _) => {}
        (Some(_), Some(_)) => return invalid("send the header Host once"),
        // An empty one is valid: it belongs to a target without an authority.
        (Some(host), None) if host.is_empty() => {}
        (Some(host), None) if std::str::from_utf8(host.as_bytes()).is_ok_and(is_authority) => {}
        (Some(_), None) => {
            return invalid("Host must be a name or an address with an optional port, as in heraldry.example:8080");
        }
    }
    // With the absolute form the target counts, whatever Host says (RFC 9112, section 3.2.2).
    match (request.uri().scheme_str(), request.uri().authority()) {
        (None, Some(_)) if *request.method() != Method::CONNECT => {
            Err(ApiError::new(Code::InvalidRequest, "a request target that is a host and a port is for CONNECT only"))
        }
        (None, _) if request.uri().path() == "*" && *request.method() != Method::OPTIONS => {
            Err(ApiError::new(Code::InvalidRequest, "the request target * is for OPTIONS only"))
        }
        (None, _) => Ok(()),
        // RFC 9110, section 7.4: what was asked for over https must not be served in the clear. The proxy that
        // terminates TLS sends the path alone.
        (Some(scheme), _) if scheme != "http" => {
            let detail = "this server speaks plain HTTP; send the path alone, or a target that begins with http://";
            Err(ApiError::new(Code::Misdirected, detail))
        }
        (Some(_), Some(authority)) if !authority.host().is_empty() && is_authority(authority.as_str()) => Ok(()),
        (Some(_), _) => Err(ApiError::new(
            Code::InvalidRequest,
            "an absolute request target must name a host without user or password, as in http://heraldry.example/docs",
        )),
    }
}

/// Checks `uri-host [ ":" port ]` (RFC 9110, section 7.2), with a host as RFC 3986, section 3.2.2 has it, and not empty.
fn is_authority(text: &str) -> bool {
    let (is_host, rest) = match text.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((address, rest)) => (is_ip_literal(address), rest),
            None => return false,
        },
        None => {
            let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            (!name.is_empty() && is_name(name), rest)
        }
    };
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    is_host && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

/// An address in brackets: IPv6 without a zone, or of a later version.
fn is_ip_literal(address: &str) -> bool {
    let Some(future) = address.strip_prefix(['v', 'V']) else { return address.parse::<Ipv6Addr>().is_ok() };
    future.split_once('.').is_some_and(|(version, rest)| {
        let is_hex = !version.is_empty() && version.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex && !rest.is_empty() && rest.bytes().all(|byte| is_plain(byte) || byte == b':')
    })
}

/// A registered name, which IPv4 addresses are too: unreserved characters, sub-delimiters and percent-encoded bytes.
fn is_name(name: &str) -> bool {
    let mut rest = name.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (byte, after) if is_plain(*byte) => after,
            _ => return false,
        };
    }
    true
}

/// `unreserved` or `sub-delims` of RFC 3986.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_ports_are_authorities() {
        for text in [
            "a",
            "a.example",
            "A.EXAMPLE:80",
            "a:",
            "a_b.internal:8080",
            "%41.example",
            "caf%c3%a9",
            "127.0.0.1:1",
            "1",
            "[::1]",
            "[::1]:8080",
            "[2001:db8::1]:",
            "[::ffff:1.2.3.4]",
            "[v1.fe80::a]",
            "a-.b~!$&'()*+,;=c",
            "a.:80",
        ] {
            assert!(is_authority(text), "{text}");
        }
        for text in [
            "a b",
            "a/c",
            "a b/c",
            "user@a",
            "user:word@a",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:x",
            "[]",
            "[a]",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "[v.a]",
            "[v1.]",
            "[vg.a]",
            "a:b",
            "a:80:80",
            "a:-1",
            "a:+1",
            "a:8 0",
            "a%",
            "a%4",
            "a%zz",
            "a?",
            "a#b",
            "a\\b",
            "a\"",
            "<a>",
            "caf\u{e9}",
            "a,b c",
            ":80",
            ":",
            "a]",
            "a\t",
        ] {
            assert!(!is_authority(text), "{text}");
        }
    }

    fn checked(version: Version, method: &str, target: &str, hosts: &[&str]) -> Result<(), Code> {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        check(&request.body(()).expect("a request")).map_err(|error| error.code())
    }

    #[test]
    fn a_request_has_one_valid_host() {
        use Version as V;

        for (version, target, hosts, expected) in [
            (V::HTTP_11, "/", &["a"][..], Ok(())),
            (V::HTTP_11, "/", &[""], Ok(())),
            (V::HTTP_11, "/", &[], Err(Code::InvalidHeader)),
            (V::HTTP_11, "/", &["a", "a"], Err(Code::InvalidHeader)),
            (V::HTTP_11, "/", &["a b"], Err(Code::InvalidHeader)),
            (V::HTTP_10, "/", &[], Ok(())),
            (V::HTTP_10, "/", &["a"], Ok(())),
            (V::HTTP_10, "/", &["a", "b"], Err(Code::InvalidHeader)),
            (V::HTTP_10, "/", &["user@a"], Err(Code::InvalidHeader)),
            (V::HTTP_11, "http://a/", &["a"], Ok(())),
            (V::HTTP_11, "http://a/", &["b"], Ok(())),
            (V::HTTP_11, "http://a/", &[""], Ok(())),
            (V::HTTP_11, "http://a/", &[], Err(Code::InvalidHeader)),
            (V::HTTP_11, "http://user@a/", &["a"], Err(Code::InvalidRequest)),
            (V::HTTP_11, "https://a/", &["a"], Err(Code::Misdirected)),
            (V::HTTP_11, "*", &["a"], Err(Code::InvalidRequest)),
            (V::HTTP_11, "a:80", &["a"], Err(Code::InvalidRequest)),
        ] {
            assert_eq!(checked(version, "GET", target, hosts), expected, "{version:?} {target} {hosts:?}");
        }
        assert_eq!(checked(V::HTTP_11, "OPTIONS", "*", &["a"]), Ok(()));
        assert_eq!(checked(V::HTTP_11, "CONNECT", "a:80", &["a:80"]), Ok(()));
    }
}
