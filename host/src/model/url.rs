//! Delivery URLs, checked by their parsed parts and never by their text, since one address has many spellings. This is
//! the first defence against SSRF.

use std::fmt;

use url::{Host, ParseError, Url};

/// The longest URL that is accepted, in bytes, both as given and as serialised.
pub const MAX_URL_BYTES: usize = 8192;

/// An absolute URL of one of the [`Scheme`]s, without userinfo and fragment, as the WHATWG URL Standard serialises it.
/// Path and query may be a credential, as with the webhooks of many chat services, so `Debug` shows neither.
///
/// The standard leaves the host of a scheme that it does not know as it was written. The host of a syslog URL is
/// therefore parsed and serialised here as it would be for `https`, so that every spelling of an IP address is
/// recognised as one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeliveryUrl {
    url: Url,
    scheme: Scheme,
    host: Host,
}

/// The scheme of a delivery URL, and with it the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
    /// Syslog over UDP: one message per datagram (RFC 5426).
    SyslogUdp,
    /// Syslog over TCP: a stream of framed messages (RFC 6587).
    SyslogTcp(Framing),
    /// Syslog over TLS. RFC 5425 defines octet counting only, but common collectors accept line feeds too, some only
    /// these.
    SyslogTls(Framing),
}

/// The framing of messages in a stream (RFC 6587, section 3.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Framing {
    /// Each message is preceded by its length in bytes and a space.
    OctetCounting,
    /// Each message is followed by a line feed, for old collectors.
    LineFeed,
}

/// The kind of transport, as a formatter sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TransportKind {
    /// The payload is the body of an HTTP request.
    #[default]
    Http,
    /// The payload is a syslog message, sent in a datagram.
    SyslogDatagram,
    /// The payload is a syslog message, sent in a stream.
    SyslogStream,
}

impl TransportKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Http, Self::SyslogDatagram, Self::SyslogStream];

    /// The name in the API's previews: `http`, `syslog+udp` or `syslog+tcp`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::SyslogDatagram => "syslog+udp",
            Self::SyslogStream => "syslog+tcp",
        }
    }

    /// The kind with this [`name`](Self::name). `syslog+tls` is accepted too, as a stream.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name == "syslog+tls" { "syslog+tcp" } else { name };
        Self::ALL.into_iter().find(|transport_kind| transport_kind.name() == name)
    }

    /// The `transport` of the formatter's context: `http` or `syslog`.
    pub fn transport(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::SyslogDatagram | Self::SyslogStream => "syslog",
        }
    }

    /// The most bytes that one message may have; `None` without a limit. Receivers should accept 2048 bytes in a
    /// datagram (RFC 5426, section 3.2) and 8192 in a stream (RFC 5425, section 4.3.1). Common receivers read the rest
    /// of a longer message as a new one, so a stream's limit stays below theirs.
    pub fn max_bytes(self) -> Option<u32> {
        match self {
            Self::Http => None,
            Self::SyslogDatagram => Some(2048),
            Self::SyslogStream => Some(8000),
        }
    }
}

impl Scheme {
    /// The text before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::SyslogUdp => "syslog+udp",
            Self::SyslogTcp(_) => "syslog+tcp",
            Self::SyslogTls(_) => "syslog+tls",
        }
    }

    /// The port of a URL without one: IANA's assignment. For syslog over TCP it is that of RFC 3195, which collectors
    /// adopted.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::SyslogUdp => 514,
            Self::SyslogTcp(_) => 601,
            Self::SyslogTls(_) => 6514,
        }
    }

    /// True for the schemes with TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::SyslogTls(_))
    }

    /// The framing; `None` for schemes that are not a stream of messages.
    pub fn framing(self) -> Option<Framing> {
        match self {
            Self::SyslogTcp(framing) | Self::SyslogTls(framing) => Some(framing),
            Self::Http | Self::Https | Self::SyslogUdp => None,
        }
    }

    /// True for the syslog schemes.
    pub fn is_syslog(self) -> bool {
        self.transport_kind() != TransportKind::Http
    }

    /// The kind of transport, as a formatter sees it.
    pub fn transport_kind(self) -> TransportKind {
        match self {
            Self::Http | Self::Https => TransportKind::Http,
            Self::SyslogUdp => TransportKind::SyslogDatagram,
            Self::SyslogTcp(_) | Self::SyslogTls(_) => TransportKind::SyslogStream,
        }
    }
}

/// Why a text is not a delivery URL. `Display` is for API clients: the cause, and where there is one, the remedy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    /// Not an absolute URL.
    #[error("this is not an absolute URL, as in https://example.com/hook")]
    Invalid,
    /// Longer than [`MAX_URL_BYTES`].
    #[error("a URL has at most {MAX_URL_BYTES} bytes")]
    TooLong,
    /// A scheme that deliveries do not use.
    #[error("deliveries go over https://, http://, syslog+tls://, syslog+tcp:// or syslog+udp://")]
    Scheme,
    /// A user name or password before the host.
    #[error("a user name or password in the URL is not sent: put it into the Authorization header")]
    Userinfo,
    /// Port 0, or one above 65535.
    #[error("a port is between 1 and 65535")]
    Port,
    /// An IPv6 zone, as in `[fe80::1%eth0]`.
    #[error("an IPv6 address with a zone (%) cannot be delivered to")]
    Zone,
    /// No host, or one that is neither a host name nor an IP address.
    #[error("the host is neither a host name nor an IP address")]
    Host,
    /// A fragment, the part after `#`.
    #[error("a fragment (what follows #) is never sent: leave it out")]
    Fragment,
    /// A backslash before the query. Parsers disagree whether it is a slash, which SSRF attacks exploit.
    #[error("a backslash is no part of a URL: write %5C or /")]
    Backslash,
    /// A syslog URL with a path.
    #[error("a syslog URL has a host and a port and nothing more, as in syslog+tcp://siem.example.com:601")]
    SyslogPath,
    /// A syslog URL with an unknown query.
    #[error(
        "after ? only framing=octet-counting or framing=lf may stand, and only with syslog+tcp:// and syslog+tls://"
    )]
    SyslogQuery,
}

impl UrlError {
    /// The API's error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid | Self::Backslash => "invalid_url",
            Self::TooLong => "too_long",
            Self::Scheme => "unsupported_scheme",
            Self::Userinfo => "userinfo",
            Self::Port => "port",
            Self::Zone => "ipv6_zone",
            Self::Host => "host",
            Self::Fragment => "fragment",
            Self::SyslogPath => "syslog_path",
            Self::SyslogQuery => "syslog_query",
        }
    }
}

impl DeliveryUrl {
    /// Parses any spelling that the URL Standard accepts.
    ///
    /// # Errors
    /// The first reason why the text is not a delivery URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        let url = Url::parse(text).map_err(|error| parse_error(text, error))?;
        // The scheme is checked first, since the host of an unknown scheme would not be parsed as an address.
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "syslog+udp" => Scheme::SyslogUdp,
            "syslog+tcp" => Scheme::SyslogTcp(framing(&url)?),
            "syslog+tls" => Scheme::SyslogTls(framing(&url)?),
            _ => return Err(UrlError::Scheme),
        };
        let before_query = text.split('?').next().unwrap_or(text);
        if before_query.contains('\\') {
            return Err(UrlError::Backslash);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Userinfo);
        }
        if url.port() == Some(0) {
            return Err(UrlError::Port);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        let host = match scheme.is_syslog() {
            true => Host::parse(url.host_str().unwrap_or_default()).map_err(|_| UrlError::Host)?,
            false => url.host().map(|host| host.to_owned()).ok_or(UrlError::Host)?,
        };
        if matches!(&host, Host::Domain(name) if !is_host_name(name)) {
            return Err(UrlError::Host);
        }
        let url = if scheme.is_syslog() { syslog_url(&url, scheme, &host)? } else { url };
        // Percent-encoding may have made the URL longer.
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        Ok(Self { url, scheme, host })
    }

    /// The whole URL, secrets in path and query included: for the request, the store and authorised readers only.
    pub fn expose(&self) -> &str {
        self.url.as_str()
    }

    /// The segments of the path, as written; a syslog URL has none.
    pub fn path_segments(&self) -> impl Iterator<Item = &str> {
        self.url.path_segments().into_iter().flatten()
    }

    /// The query, as written.
    pub fn query(&self) -> Option<&str> {
        self.url.query()
    }

    /// The scheme, and for syslog streams the framing.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: an address if the text spelled one in any way, otherwise a name in lower-case ASCII.
    pub fn host(&self) -> Host<&str> {
        match &self.host {
            Host::Domain(name) => Host::Domain(name),
            Host::Ipv4(ip) => Host::Ipv4(*ip),
            Host::Ipv6(ip) => Host::Ipv6(*ip),
        }
    }

    /// The URL's port, or the scheme's default port.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(self.scheme.default_port())
    }
}

impl fmt::Debug for DeliveryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/[redacted]", self.scheme.as_str(), self.host)
    }
}

/// The framing in the query of a syslog stream's URL; octet counting by default.
fn framing(url: &Url) -> Result<Framing, UrlError> {
    match url.query() {
        None | Some("framing=octet-counting") => Ok(Framing::OctetCounting),
        Some("framing=lf") => Ok(Framing::LineFeed),
        Some(_) => Err(UrlError::SyslogQuery),
    }
}

/// The canonical form of a syslog URL, with the port always written out.
fn syslog_url(url: &Url, scheme: Scheme, host: &Host) -> Result<Url, UrlError> {
    if !matches!(url.path(), "" | "/") || url.cannot_be_a_base() {
        return Err(UrlError::SyslogPath);
    }
    if url.query().is_some() && scheme.framing().is_none() {
        return Err(UrlError::SyslogQuery);
    }
    let query = if scheme.framing() == Some(Framing::LineFeed) { "?framing=lf" } else { "" };
    let port = url.port().unwrap_or(scheme.default_port());
    Url::parse(&format!("{}://{host}:{port}{query}", scheme.as_str())).map_err(|_| UrlError::Invalid)
}

fn parse_error(text: &str, error: ParseError) -> UrlError {
    match error {
        ParseError::InvalidPort => UrlError::Port,
        ParseError::InvalidIpv6Address if text.contains('%') => UrlError::Zone,
        ParseError::EmptyHost
        | ParseError::IdnaError
        | ParseError::InvalidIpv4Address
        | ParseError::InvalidIpv6Address
        | ParseError::InvalidDomainCharacter => UrlError::Host,
        _ => UrlError::Invalid,
    }
}

/// True for labels of letters, digits, `-` and `_`, with an optional dot at the end (RFC 1123, section 2.1; underscores
/// occur in practice).
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_serialised_as_the_url_standard_says() {
        for (given, shown) in [
            ("https://Example.COM", "https://example.com/"),
            ("HTTP://example.com:80/a b?c=d e", "http://example.com/a%20b?c=d%20e"),
            (" https://example.com/\n", "https://example.com/"),
            ("https://example.com:8443/@you/x#".trim_end_matches('#'), "https://example.com:8443/@you/x"),
            ("syslog+udp://SIEM.Example.com", "syslog+udp://siem.example.com:514"),
            ("Syslog+TCP://siem.example.com/", "syslog+tcp://siem.example.com:601"),
            ("syslog+tcp://siem.example.com:514?framing=lf", "syslog+tcp://siem.example.com:514?framing=lf"),
            ("syslog+tcp://siem.example.com:601/?framing=octet-counting", "syslog+tcp://siem.example.com:601"),
            ("syslog+tls://b\u{fc}cher.example", "syslog+tls://xn--bcher-kva.example:6514"),
            ("syslog+tls://[0:0::1]:7000", "syslog+tls://[::1]:7000"),
            ("syslog+tls://siem.example.com/?framing=lf", "syslog+tls://siem.example.com:6514?framing=lf"),
            ("https://b\u{fc}cher.example/", "https://xn--bcher-kva.example/"),
            ("https://\u{430}pple.example/", "https://xn--pple-43d.example/"),
            ("http://localhost./x", "http://localhost./x"),
            ("http://a_b.example/", "http://a_b.example/"),
            ("http://[0:0::1]:9000/", "http://[::1]:9000/"),
        ] {
            assert_eq!(DeliveryUrl::parse(given).expect(given).expose(), shown, "{given}");
        }
    }

    #[test]
    fn every_spelling_of_an_address_is_the_address() {
        for spelling in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "127.1",
            "127.0.1",
            "127.0.0.1.",
            "\u{ff11}\u{ff12}\u{ff17}.\u{ff10}.\u{ff10}.\u{ff11}",
            "127\u{3002}0\u{3002}0\u{3002}1",
            "%31%32%37.0.0.1",
        ] {
            let url = DeliveryUrl::parse(&format!("http://{spelling}:81/x")).expect(spelling);
            assert_eq!(url.host(), Host::<&str>::Ipv4([127, 0, 0, 1].into()), "{spelling}");
            assert_eq!((url.port(), url.expose()), (81, "http://127.0.0.1:81/x"), "{spelling}");
            let url = DeliveryUrl::parse(&format!("syslog+udp://{spelling}:81")).expect(spelling);
            assert_eq!(url.host(), Host::<&str>::Ipv4([127, 0, 0, 1].into()), "{spelling}");
            assert_eq!((url.port(), url.expose()), (81, "syslog+udp://127.0.0.1:81"), "{spelling}");
        }
        let mapped = DeliveryUrl::parse("http://[::ffff:127.0.0.1]/").expect("mapped");
        assert_eq!(mapped.host(), Host::<&str>::Ipv6("::ffff:7f00:1".parse().expect("address")));
    }

    #[test]
    fn what_is_not_a_delivery_url_is_rejected_with_its_reason() {
        for (text, error) in [
            ("", UrlError::Invalid),
            ("example.com/hook", UrlError::Invalid),
            ("//example.com/", UrlError::Invalid),
            ("file:///etc/passwd", UrlError::Scheme),
            ("gopher://127.0.0.1/", UrlError::Scheme),
            ("ftp://example.com/", UrlError::Scheme),
            ("unix:/run/x.sock", UrlError::Scheme),
            ("data:text/plain,x", UrlError::Scheme),
            ("example.com:80", UrlError::Scheme),
            ("https://user@example.com/", UrlError::Userinfo),
            ("https://user:word@example.com/", UrlError::Userinfo),
            ("https://:word@example.com/", UrlError::Userinfo),
            ("https://example.com:0/", UrlError::Port),
            ("https://example.com:65536/", UrlError::Port),
            ("https://example.com:http/", UrlError::Port),
            ("http://[fe80::1%25eth0]/", UrlError::Zone),
            ("http://[fe80::1%eth0]/", UrlError::Zone),
            ("http://", UrlError::Host),
            ("http://?x", UrlError::Host),
            ("http://256.0.0.1/", UrlError::Host),
            ("http://1.2.3.4.5/", UrlError::Host),
            ("http://[::g]/", UrlError::Host),
            ("http://a..b/", UrlError::Host),
            ("http://a\"b/", UrlError::Host),
            ("http://*.example/", UrlError::Host),
            ("syslog://siem.example:514", UrlError::Scheme),
            ("syslog+tcp:siem.example:601", UrlError::Host),
            ("syslog+tcp://", UrlError::Host),
            ("syslog+tcp://:601", UrlError::Host),
            ("syslog+tcp://a..b:601", UrlError::Host),
            ("syslog+tcp://256.0.0.1:601", UrlError::Host),
            ("syslog+tcp://siem.example:0", UrlError::Port),
            ("syslog+udp://siem.example:65536", UrlError::Port),
            ("syslog+udp://me@siem.example:514", UrlError::Userinfo),
            ("syslog+udp://siem.example:514#x", UrlError::Fragment),
            ("syslog+udp://siem.example:514/dev/log", UrlError::SyslogPath),
            ("syslog+udp://siem.example:514?framing=lf", UrlError::SyslogQuery),
            ("syslog+tcp://siem.example?framing=crlf", UrlError::SyslogQuery),
            ("syslog+tls://siem.example?verify=off", UrlError::SyslogQuery),
            ("syslog+tls://[fe80::1%25eth0]:6514", UrlError::Zone),
            ("http://good.example#@evil.example/", UrlError::Fragment),
            ("http://good.example/#", UrlError::Fragment),
            ("http://good.example\\@evil.example/", UrlError::Backslash),
            ("http:\\\\good.example/", UrlError::Backslash),
        ] {
            assert_eq!(DeliveryUrl::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_longest_url_is_accepted_and_a_longer_one_rejected() {
        let of = |bytes: usize| format!("https://example.com/{}", "a".repeat(bytes - "https://example.com/".len()));
        assert!(DeliveryUrl::parse(&of(MAX_URL_BYTES)).is_ok());
        assert_eq!(DeliveryUrl::parse(&of(MAX_URL_BYTES + 1)), Err(UrlError::TooLong));
        let grows = format!("https://example.com/{}", " x".repeat(3000));
        assert_eq!(DeliveryUrl::parse(&grows), Err(UrlError::TooLong));
    }

    #[test]
    fn debug_shows_neither_path_nor_query() {
        let url = DeliveryUrl::parse("https://hooks.example:8443/services/T0/B0/canary?key=canary").expect("url");
        assert_eq!(format!("{url:?}"), "https://hooks.example/[redacted]");
    }
}
