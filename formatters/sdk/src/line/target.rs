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

/// The longest beginning of a target that is parsed, in bytes: far beyond any host, and all that a URL needs.
const PARSED: usize = 8192;

/// The most addresses of an event that are parsed.
const ADDRESSES: usize = 100;

/// Schemes whose authority is a name of something else than a host.
const NO_HOST: [&str; 11] = [
    "s3",
    "gs",
    "arn",
    "app",
    "android-app",
    "ios-app",
    "chrome-extension",
    "moz-extension",
    "docker",
    "package",
    "bundle",
];

/// The endings of file names that are not top-level domains.
const FILE_ENDINGS: [&str; 36] = [
    "php", "html", "htm", "js", "ts", "jsx", "tsx", "css", "xml", "json", "yml", "yaml", "toml", "txt", "exe", "dll",
    "apk", "ipa", "aab", "jar", "war", "aspx", "asp", "jsp", "cgi", "conf", "config", "ini", "log", "pdf", "docx",
    "sql", "bak", "java", "go", "env",
];

/// The beginnings of identifiers in reverse domain notation, such as those of mobile apps.
const REVERSE_BEGINNINGS: [&str; 6] = ["com", "org", "net", "edu", "gov", "io"];

/// The endings by which a name that begins like an identifier is a host after all.
const HOST_ENDINGS: [&str; 22] = [
    "com",
    "org",
    "net",
    "edu",
    "gov",
    "mil",
    "int",
    "info",
    "biz",
    "cloud",
    "online",
    "site",
    "example",
    "test",
    "localhost",
    "invalid",
    "local",
    "internal",
    "lan",
    "corp",
    "home",
    "arpa",
];

impl<'a> Target<'a> {
    /// Parses a URL, `host`, `host:port`, `host/path`, or an IPv6 address with or without brackets and port. Any other
    /// text has no parts: a network, a path or file name, an e-mail address, an app's identifier, a sentence.
    pub fn parse(text: &'a str) -> Self {
        let text = text.trim();
        let parsed = &text[..text.floor_char_boundary(PARSED)];
        let (scheme, rest) = match parsed.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            Some(_) => return Self::default(),
            None => (None, parsed),
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (credentials, host_port) = match authority.rsplit_once('@') {
            Some((credentials, host_port)) => (Some(credentials), host_port),
            None => (None, authority),
        };
        let Some((host, port)) = host_and_port(host_port) else {
            return Self::default();
        };
        let names_host = match scheme {
            Some(scheme) => !NO_HOST.iter().any(|known| known.eq_ignore_ascii_case(scheme)),
            None => credentials.is_none() && is_bare_host(host_port, host, path),
        };
        if !names_host {
            return Self::default();
        }
        // Wider than the rule for links ([`crate::link`]), because a tester's target is often unusual. But no two
        // parsers may see different hosts in it.
        let web = |scheme: &str| ["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
        let is_web = scheme.is_some_and(web)
            && credentials.is_none()
            && !path.starts_with('\\')
            && !parsed.chars().any(char::is_control);
        Self { url: is_web.then_some(text), host: Some(host), port }
    }
}

/// The event's IP addresses: the first of each family in its `ip`, else the target's `host` if it is an address.
pub fn addresses(event: &Event<'_>, host: Option<&str>) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let parse = |text: &str| text.trim().parse::<IpAddr>().ok();
    let mut found: Vec<IpAddr> =
        event.group().items("ip").take(ADDRESSES).filter_map(|item| parse(&item.text()?)).collect();
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

/// Returns true if a target without a scheme is a host: `host`, `host:port` and `host/path` look like drives, files,
/// networks and identifiers.
fn is_bare_host(host_port: &str, host: &str, path: &str) -> bool {
    let is_drive =
        host_port.len() == 2 && host_port.starts_with(|c: char| c.is_ascii_alphabetic()) && host_port.ends_with(':');
    if is_drive || path.starts_with('\\') {
        return false;
    }
    if host.parse::<IpAddr>().is_ok() {
        return !is_prefix(path);
    }
    let has_port = host_port.len() > host.len();
    let name = host.strip_suffix('.').unwrap_or(host);
    let Some((labels, last)) = name.rsplit_once('.') else {
        // `src/main` is a path, `intranet` and `localhost/login` are hosts.
        return path.is_empty() || has_port || name.eq_ignore_ascii_case("localhost");
    };
    let is_one_of = |known: &[&str], label: &str| known.iter().any(|known| known.eq_ignore_ascii_case(label));
    let first = labels.split('.').next().unwrap_or_default();
    let is_identifier = is_one_of(&REVERSE_BEGINNINGS, first) && last.len() != 2 && !is_one_of(&HOST_ENDINGS, last);
    has_port || !is_identifier && !is_one_of(&FILE_ENDINGS, last)
}

/// Returns true for a network prefix, such as `/24`, or a network mask.
fn is_prefix(path: &str) -> bool {
    let Some(prefix) = path.strip_prefix('/').filter(|prefix| !prefix.is_empty()) else { return false };
    prefix.len() <= 3 && prefix.bytes().all(|b| b.is_ascii_digit()) || prefix.parse::<Ipv4Addr>().is_ok()
}

fn host_and_port(host_port: &str) -> Option<(&str, Option<u16>)> {
    if let Some(inner) = host_port.strip_prefix('[') {
        let (host, rest) = inner.split_once(']')?;
        let host = ipv6(host)?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, port_number(port)?)),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    if let Some(host) = ipv6(host_port) {
        return Some((host, None));
    }
    let (host, port) = match host_port.split_once(':') {
        Some((host, port)) => (host, port_number(port)?),
        None => (host_port, None),
    };
    is_host_name(host).then_some((host, port))
}

/// An IPv6 address without its zone (RFC 4007, section 11; in a URL RFC 6874).
fn ipv6(text: &str) -> Option<&str> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok().then_some(address)
}

/// The port of a URL: digits, or nothing after the colon. The outer `None` means that it is malformed.
fn port_number(text: &str) -> Option<Option<u16>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().map(Some)
}

/// Returns true for a DNS name, internationalized names included, or an IPv4 address. A name whose last label is a
/// number is no host (URL standard, "ends in a number").
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || (!c.is_ascii() && c.is_alphanumeric());
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 253
        && text.split('.').all(is_label)
        && (!text.rsplit('.').next().is_some_and(is_number) || text.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let rows: [(&str, bool, Option<&str>, Option<u16>); 73] = [
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
            ("C:", false, None, None),
            ("C:\\inetpub\\web.config", false, None, None),
            ("c:/inetpub/wwwroot", false, None, None),
            ("c:8080", false, Some("c"), Some(8080)),
            ("\\\\fileserver\\share", false, None, None),
            ("CONTOSO\\j.doe", false, None, None),
            ("/etc/passwd", false, None, None),
            ("./run.sh", false, None, None),
            ("../x", false, None, None),
            ("src/main.rs", false, None, None),
            ("app/models/user.rb:42", false, None, None),
            ("file:///etc/passwd", false, None, None),
            ("index.php", false, None, None),
            ("app-release.apk", false, None, None),
            ("example.php:80", false, Some("example.php"), Some(80)),
            ("com.contoso.wallet", false, None, None),
            ("org.example.Wallet", false, None, None),
            ("android-app://com.contoso.wallet", false, None, None),
            ("https://com.contoso.wallet/", true, Some("com.contoso.wallet"), None),
            ("com.contoso.example", false, Some("com.contoso.example"), None),
            ("io.adafruit.com", false, Some("io.adafruit.com"), None),
            ("s3://bucket/key", false, None, None),
            ("arn:aws:s3:::bucket", false, None, None),
            ("00:1b:44:11:3a:b7", false, None, None),
            ("a b", false, None, None),
            ("10.0.0.1:8443/x", false, Some("10.0.0.1"), Some(8443)),
            ("10.0.0.1/login", false, Some("10.0.0.1"), None),
            ("10.0.0.0/255.255.255.0", false, None, None),
            ("10.0.0.1-10.0.0.20", false, None, None),
            ("10.0.0.*", false, None, None),
            ("10.0.0.256", false, None, None),
            ("v1.2.3", false, None, None),
            ("4711", false, None, None),
            ("localhost/login", false, Some("localhost"), None),
            ("intranet", false, Some("intranet"), None),
            ("intranet:8080/x", false, Some("intranet"), Some(8080)),
            ("git@example.com:org/repo", false, None, None),
            ("mailto:me@example.com", false, None, None),
            ("fe80::1%eth0", false, Some("fe80::1"), None),
            ("https://[fe80::1%25eth0]:8443/", true, Some("fe80::1"), Some(8443)),
            ("-x.example", false, None, None),
            ("", false, None, None),
        ];
        for (text, url, host, port) in rows {
            let expected = Target { url: url.then_some(text), host, port };
            assert_eq!(Target::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_long_target_has_the_parts_of_its_beginning() {
        let long = format!("https://a.example:81/{}", "é".repeat(PARSED));
        assert_eq!(Target::parse(&long), Target { url: Some(&long), host: Some("a.example"), port: Some(81) });
        assert_eq!(Target::parse(&"x".repeat(PARSED + 1)), Target::default());
        for length in [63, 64] {
            let label = "x".repeat(length);
            assert_eq!(Target::parse(&format!("{label}.example")).host.is_some(), length == 63);
        }
    }
}
