//! Where a webhook sends to: a URL that was judged by its parts, never by its text.

use std::fmt;

use url::{Host, ParseError, Url};

/// The longest URL that is taken, in bytes, as given and as serialised.
pub const MAX_URL_BYTES: usize = 8192;

/// An absolute `http` or `https` URL without userinfo and fragment, as the WHATWG URL Standard serialises
/// it. Its path and query may be a credential, as with many chats' webhooks: `Debug` shows neither.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeliveryUrl(Url);

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
    #[error("deliveries go over https:// or http://")]
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
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme);
        }
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
        match url.host() {
            Some(Host::Domain(name)) if is_host_name(name) => {}
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => {}
            Some(Host::Domain(_)) | None => return Err(UrlError::Host),
        }
        // Percent-encoding may have made it longer.
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        Ok(Self(url))
    }

    /// The whole URL, for the request, the store and those who may read it.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// The host: an address where the text spelled one in any way, else a name in lower-case ASCII.
    pub fn host(&self) -> Host<&str> {
        // `parse` took no URL without a host.
        self.0.host().unwrap_or(Host::Domain(""))
    }

    /// The port, given or the scheme's own.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(0)
    }

    /// Whether it goes over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl fmt::Debug for DeliveryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/[redacted]", self.0.scheme(), self.host())
    }
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
