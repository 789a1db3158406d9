//! Parsing of a finding's target.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Event;

/// The parts of a target, as far as it can be parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// The whole target, if it is an `http` or `https` URL without userinfo.
    pub url: Option<&'a str>,
    /// The host as written: a name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: Option<&'a str>,
    /// The port, if one is given.
    pub port: Option<u16>,
}

impl<'a> Target<'a> {
    /// Parses a URL, `host`, `host:port`, `host/path`, or an IPv6 address with or without brackets and port. Any other
    /// text has no parts.
    pub fn parse(text: &'a str) -> Self {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            Some(_) => return Self::default(),
            None => (None, text),
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (credentials, host_port) = match authority.rsplit_once('@') {
            Some((credentials, host_port)) => (Some(credentials), host_port),
            None => (None, authority),
        };
        if scheme.is_none() && credentials.is_some() {
            return Self::default();
        }
        let Some((host, port)) = host_and_port(host_port) else {
            return Self::default();
        };
        if scheme.is_none() && !path.is_empty() && host.parse::<IpAddr>().is_ok() && is_prefix(path) {
            // A network in CIDR notation is not a host.
            return Self::default();
        }
        // Wider than the rule for links ([`crate::link`]), because a tester's target is often unusual. But no two
        // parsers may see different hosts in it.
        let web = |scheme: &str| ["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
        let is_web = scheme.is_some_and(web)
            && credentials.is_none()
            && !path.starts_with('\\')
            && !text.chars().any(char::is_control);
        Self { url: is_web.then_some(text), host: Some(host), port }
    }
}

/// The event's IP addresses: the first of each family in its `ip`, else the target's `host` if it is an address.
pub fn addresses(event: &Event<'_>, host: Option<&str>) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let parse = |text: &str| text.trim().parse::<IpAddr>().ok();
    let mut found: Vec<IpAddr> =
        event.group().items("ip").into_iter().filter_map(|item| parse(&item.text()?)).collect();
    if found.is_empty() {
        found.extend(host.and_then(parse));
    }
    let v4 = found.iter().find_map(|address| if let IpAddr::V4(v4) = address { Some(*v4) } else { None });
    let v6 = found.iter().find_map(|address| if let IpAddr::V6(v6) = address { Some(*v6) } else { None });
    (v4, v6)
}

/// Returns true for a URL scheme (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Returns true for a network prefix, such as `/24`.
fn is_prefix(path: &str) -> bool {
    path.len() > 1 && path.len() <= 4 && path[1..].bytes().all(|b| b.is_ascii_digit())
}

fn host_and_port(host_port: &str) -> Option<(&str, Option<u16>)> {
    if let Some(inner) = host_port.strip_prefix('[') {
        let (host, rest) = inner.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, port_number(port)?)),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    if host_port.parse::<Ipv6Addr>().is_ok() {
        return Some((host_port, None));
    }
    let (host, port) = match host_port.split_once(':') {
        Some((host, port)) => (host, port_number(port)?),
        None => (host_port, None),
    };
    is_host_name(host).then_some((host, port))
}

/// The port of a URL: digits, or nothing after the colon. The outer `None` means that it is malformed.
fn port_number(text: &str) -> Option<Option<u16>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().map(Some)
}

/// Returns true for a DNS name, internationalized names included, or an IPv4 address.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || (!c.is_ascii() && c.is_alphanumeric());
    text.len() <= 253 && text.split('.').all(|label| !label.is_empty() && label.chars().all(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let rows: [(&str, bool, Option<&str>, Option<u16>); 32] = [
            ("https://dvwa.contoso.example/a?b=c", true, Some("dvwa.contoso.example"), None),
            ("HTTP://127.0.0.1:8080/WebGoat", true, Some("127.0.0.1"), Some(8080)),
            ("https://[2001:db8::1]:8443/", true, Some("2001:db8::1"), Some(8443)),
            ("https://example.com:", true, Some("example.com"), None),
            ("https://user:pw@example.com:81/x", false, Some("example.com"), Some(81)),
            ("https://a.example\\@b.example/", false, Some("a.example"), None),
            ("https://münchen.example/ß|<x>", true, Some("münchen.example"), None),
            ("https://a.example/\nb", false, Some("a.example"), None),
            ("https://", false, None, None),
            ("https://a b/", false, None, None),
            ("ssh://host.example:22", false, Some("host.example"), Some(22)),
            ("javascript:alert(1)", false, None, None),
            ("data:text/html,hi", false, None, None),
            ("java script://x", false, None, None),
            ("nuclei-example.com:22", false, Some("nuclei-example.com"), Some(22)),
            ("nuclei-example.com", false, Some("nuclei-example.com"), None),
            ("nuclei-example.com/setup", false, Some("nuclei-example.com"), None),
            ("münchen.example", false, Some("münchen.example"), None),
            ("host.", false, Some("host."), None),
            ("10.0.0.1", false, Some("10.0.0.1"), None),
            ("10.0.0.1/24", false, None, None),
            ("2001:db8::/32", false, None, None),
            ("2001:db8::1", false, Some("2001:db8::1"), None),
            ("[2001:db8::1]:443", false, Some("2001:db8::1"), Some(443)),
            ("[2001:db8::1]443", false, None, None),
            ("[nonsense]:443", false, None, None),
            ("host:65535", false, Some("host"), Some(65535)),
            ("host:65536", false, None, None),
            ("host:+1", false, None, None),
            ("me@example.com", false, None, None),
            ("the mobile app", false, None, None),
            ("", false, None, None),
        ];
        for (text, url, host, port) in rows {
            let expected = Target { url: url.then_some(text), host, port };
            assert_eq!(Target::parse(text), expected, "{text}");
        }
    }
}
