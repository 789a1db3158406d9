//! Where a webhook sends to: a URL that was judged by its parts, never by its text.

use std::fmt;

use url::{Host, ParseError, Url};

/// The longest URL that is taken, in bytes, as given and as serialised.
pub const MAX_URL_BYTES: usize = 8192;

/// An absolute URL of one of the [`Scheme`]s without userinfo and fragment, as the WHATWG URL Standard serialises
/// it. Its path and query may be a credential, as with many chats' webhooks: `Debug` shows neither.
///
/// That standard leaves the host of a scheme that it does not know as it was written, so the host of a syslog URL is
/// parsed and written here as it would be for `https`: an address is an address, however it was spelled.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeliveryUrl {
    url: Url,
    scheme: Scheme,
    host: Host,
}

/// How deliveries travel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
    /// One message a datagram (RFC 5426).
    SyslogUdp,
    /// A stream of framed messages (RFC 6587).
    SyslogTcp(Framing),
    /// The same over TLS. RFC 5425 knows counts only; common collectors take lines there, some nothing else.
    SyslogTls(Framing),
}

/// How messages are told apart in a stream (RFC 6587, section 3.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Framing {
    /// The message's length in bytes and a space in front of it.
    OctetCounting,
    /// A line feed after it, for old collectors.
    LineFeed,
}

/// How a payload travels, as far as a formatter is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TransportKind {
    /// As the body of a request.
    #[default]
    Http,
    /// As one syslog message in a datagram.
    SyslogDatagram,
    /// As one syslog message of a stream.
    SyslogStream,
}

impl TransportKind {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Http, Self::SyslogDatagram, Self::SyslogStream];

    /// The name by which a preview asks for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::SyslogDatagram => "syslog+udp",
            Self::SyslogStream => "syslog+tcp",
        }
    }

    /// The one of this name; `syslog+tls` is a stream too.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name == "syslog+tls" { "syslog+tcp" } else { name };
        Self::ALL.into_iter().find(|transport_kind| transport_kind.name() == name)
    }

    /// What a formatter is told: `http` or `syslog`.
    pub fn transport(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::SyslogDatagram | Self::SyslogStream => "syslog",
        }
    }

    /// The most bytes that one message may have. Receivers should take 2048 in a datagram (RFC 5426, section 3.2); of a
    /// stream 8192 (RFC 5425, section 4.3.1), of which common ones read the rest of a longer one as a new message.
    pub fn max_bytes(self) -> Option<u32> {
        match self {
            Self::Http => None,
            Self::SyslogDatagram => Some(2048),
            Self::SyslogStream => Some(8000),
        }
    }
}

impl Scheme {
    /// What stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::SyslogUdp => "syslog+udp",
            Self::SyslogTcp(_) => "syslog+tcp",
            Self::SyslogTls(_) => "syslog+tls",
        }
    }

    /// The port where none is given: IANA's, for syslog over TCP that of RFC 3195, which collectors took over.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::SyslogUdp => 514,
            Self::SyslogTcp(_) => 601,
            Self::SyslogTls(_) => 6514,
        }
    }

    /// Whether it goes over TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::SyslogTls(_))
    }

    /// How messages are told apart, where there is a stream of them.
    pub fn framing(self) -> Option<Framing> {
        match self {
            Self::SyslogTcp(framing) | Self::SyslogTls(framing) => Some(framing),
            Self::Http | Self::Https | Self::SyslogUdp => None,
        }
    }

    /// Whether it is a syslog transport.
    pub fn is_syslog(self) -> bool {
        self.transport_kind() != TransportKind::Http
    }

    /// What a formatter is told of it.
    pub fn transport_kind(self) -> TransportKind {
        match self {
            Self::Http | Self::Https => TransportKind::Http,
            Self::SyslogUdp => TransportKind::SyslogDatagram,
            Self::SyslogTcp(_) | Self::SyslogTls(_) => TransportKind::SyslogStream,
        }
    }
}

/// Why a text is no destination.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    /// It is no absolute URL.
    #[error("this is not an absolute URL, as in https://example.com/hook")]
    Invalid,
    /// More than [`MAX_URL_BYTES`].
    #[error("a URL has at most {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Another scheme than those that deliveries go over.
    #[error("deliveries go over https://, http://, syslog+tls://, syslog+tcp:// or syslog+udp://")]
    Scheme,
    /// A name or password before the host.
    #[error("a user name or password in the URL is not sent: put it into the Authorization header")]
    Userinfo,
    /// Port 0, or one above 65535.
    #[error("a port is between 1 and 65535")]
    Port,
    /// An IPv6 zone, as in `[fe80::1%eth0]`.
    #[error("an IPv6 address with a zone (%) cannot be delivered to")]
    Zone,
    /// No host, or one that no name server knows.
    #[error("the host is neither a host name nor an IP address")]
    Host,
    /// Anything after `#`.
    #[error("a fragment (what follows #) is never sent: leave it out")]
    Fragment,
    /// A backslash before the query, which some read as a slash and others do not.
    #[error("a backslash is no part of a URL: write %5C or /")]
    Backslash,
    /// A syslog URL with more than a host and a port.
    #[error("a syslog URL has a host and a port and nothing more, as in syslog+tcp://siem.example.com:601")]
    SyslogPath,
    /// Something after `?` that no syslog transport knows.
    #[error(
        "after ? only framing=octet-counting or framing=lf may stand, and only with syslog+tcp:// and syslog+tls://"
    )]
    SyslogQuery,
}

impl UrlError {
    /// The stable word for programs.
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
    /// Takes any spelling that the URL Standard understands.
    ///
    /// # Errors
    /// The first thing about it that cannot be delivered to.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        let url = Url::parse(text).map_err(|error| refusal(text, error))?;
        // The scheme first: of another one, the host is not even parsed as an address.
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
        let url = if scheme.is_syslog() { collector(&url, scheme, &host)? } else { url };
        // Percent-encoding may have made it longer.
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        Ok(Self { url, scheme, host })
    }

    /// The whole URL, for the request, the store and those who may read it.
    pub fn expose(&self) -> &str {
        self.url.as_str()
    }

    /// How deliveries travel.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: an address where the text spelled one in any way, else a name in lower-case ASCII.
    pub fn host(&self) -> Host<&str> {
        match &self.host {
            Host::Domain(name) => Host::Domain(name),
            Host::Ipv4(ip) => Host::Ipv4(*ip),
            Host::Ipv6(ip) => Host::Ipv6(*ip),
        }
    }

    /// The port, given or the scheme's own.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(self.scheme.default_port())
    }
}

impl fmt::Debug for DeliveryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/[redacted]", self.scheme.as_str(), self.host)
    }
}

/// The framing that a stream's URL asks for.
fn framing(url: &Url) -> Result<Framing, UrlError> {
    match url.query() {
        None | Some("framing=octet-counting") => Ok(Framing::OctetCounting),
        Some("framing=lf") => Ok(Framing::LineFeed),
        Some(_) => Err(UrlError::SyslogQuery),
    }
}

/// A syslog URL in its one spelling.
fn collector(url: &Url, scheme: Scheme, host: &Host) -> Result<Url, UrlError> {
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

fn refusal(text: &str, error: ParseError) -> UrlError {
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

/// Labels of letters, digits, `-` and `_` (RFC 1123, section 2.1; the underscore is seen in the wild),
/// perhaps with the root's dot at the end.
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
    fn is_shown_as_the_url_standard_serialises_it() {
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
    fn what_cannot_be_delivered_to_is_refused_by_name() {
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
    fn the_longest_url_and_one_more() {
        let of = |bytes: usize| format!("https://example.com/{}", "a".repeat(bytes - "https://example.com/".len()));
        assert!(DeliveryUrl::parse(&of(MAX_URL_BYTES)).is_ok());
        assert_eq!(DeliveryUrl::parse(&of(MAX_URL_BYTES + 1)), Err(UrlError::TooLong));
        let grows = format!("https://example.com/{}", " x".repeat(3000));
        assert_eq!(DeliveryUrl::parse(&grows), Err(UrlError::TooLong));
    }

    #[test]
    fn path_and_query_do_not_show_in_debug() {
        let url = DeliveryUrl::parse("https://hooks.example:8443/services/T0/B0/canary?key=canary").expect("url");
        assert_eq!(format!("{url:?}"), "https://hooks.example/[redacted]");
    }
}
