//! Why an attempt failed, and the sentences about it that people read in the history.

use std::io;
use std::time::Duration;

use http::StatusCode;
use rustls::{AlertDescription, CertificateError};
use url::Host;

use super::destination::{AddressError, Denied, ResolveError};
use super::phase::Reached;
use crate::model::delivery::ErrorClass;
use crate::model::time::Timestamp;

/// Why an attempt failed. Its `Display` is for people: a cause and, where there is one, a remedy. No sentence contains
/// a secret; the URL's path and query count as secrets.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Failure {
    /// The guard rejected the address.
    #[error("{0}")]
    Denied(Denied),
    /// The name has no addresses.
    #[error("{host}: {error}")]
    Unresolved {
        /// The name that was looked up.
        host: Box<str>,
        /// The resolver's error.
        error: ResolveError,
    },
    /// The attempt's time ran out while its name was looked up.
    #[error("{host}: the look-up of this name did not finish within {} ms", .after.as_millis())]
    LookUpTimedOut {
        /// The name that was looked up.
        host: Box<str>,
        /// The time that the attempt had.
        after: Duration,
    },
    /// No TCP connection could be made, or the operating system reported an error on one.
    #[error("{}", connect_words(.0))]
    NotConnected(ConnectError),
    /// The connection closed before the request was written.
    #[error("the connection closed before the request was sent")]
    ClosedBeforeSend,
    /// The connection broke after the request was written: the destination may have accepted it or not.
    #[error("the request was sent, but the connection closed before a response")]
    NoResponse,
    /// The destination ended the request's HTTP/2 stream, and the connection stays open.
    #[error("the request was sent, but the destination reset its HTTP/2 stream before a response")]
    StreamReset,
    /// The connection broke in the middle of a 2xx response, which has this status.
    #[error("the destination responded with {}, but the connection closed in the middle of its response", status_words(*.0))]
    Truncated(u16),
    /// The TLS handshake failed, or TLS ended the connection.
    #[error("{}", tls_words(.0))]
    Tls(TlsFault),
    /// The webhook names a CA bundle or client certificate that the configuration does not have or cannot use.
    #[error("{0}")]
    TlsNames(Box<str>),
    /// The operator's proxy made no tunnel to the destination.
    #[error("{0}")]
    Proxy(ProxyFault),
    /// A syslog message was written, and then the peer ended the connection.
    #[error(
        "the message was sent, but the destination closed the connection right after it, so it is unknown whether the message was accepted"
    )]
    ClosedAfterSend,
    /// We closed a shared syslog connection, because an earlier message on it was not acknowledged in its time.
    #[error(
        "an earlier message on this connection was not acknowledged in time and the connection was closed, so it is unknown whether this one was accepted"
    )]
    Abandoned,
    /// The peer of a syslog connection sends data, and goes on beyond what a TLS handshake may need.
    #[error("the destination sends data over a syslog connection, where no response is expected")]
    UnexpectedData,
    /// A status other than 2xx.
    #[error("the destination responded with {}{}", status_words(*.0), status_hint(*.0))]
    Status(u16),
    /// The formatter read in the response's text that the delivery failed, also with a 2xx status.
    #[error("the destination responded with {}: {reason}", status_words(*.status))]
    Interpreted {
        /// The response's status.
        status: u16,
        /// The reason in the formatter's words, already cleaned for display.
        reason: Box<str>,
    },
    /// The attempt's time ran out, in another phase than the look-up of the destination's name.
    #[error("{} within {} ms", timeout_words(*.reached), .after.as_millis())]
    Timeout {
        /// The phase in which the time ran out.
        reached: Reached,
        /// The time that the attempt had.
        after: Duration,
    },
    /// The byte budget ran out before the body: a long head, or `1xx` responses without end.
    #[error("the head of the destination's response does not end within 64 KiB")]
    HeadTooLarge,
    /// The bytes that came back are not HTTP.
    #[error("the destination's response is not HTTP; check the URL's scheme and port")]
    NotHttp,
    /// A response of HTTP, but its head breaks the rules: an invalid status or field, or contradicting lengths.
    #[error("the head of the destination's response is not valid HTTP")]
    MalformedHead,
    /// The response breaks the rules of HTTP/2. A head above the limit is not told apart from that.
    #[error("the destination's response is not valid HTTP/2, or its head is longer than 64 KiB")]
    NotHttp2,
    /// The head of this status was HTTP, but the framing of the body is not.
    #[error("the destination responded with {}, but the framing of its body is not valid HTTP", status_words(*.0))]
    MalformedBody(u16),
    /// The URL or a header cannot be put into a request. Both were checked when they were saved.
    #[error("the request cannot be written as HTTP")]
    Unsendable,
}

impl Failure {
    /// The class that the history shows.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Denied(_) => ErrorClass::Policy,
            Self::Unresolved { .. } | Self::LookUpTimedOut { .. } => ErrorClass::Dns,
            Self::NotConnected(_)
            | Self::ClosedBeforeSend
            | Self::NoResponse
            | Self::StreamReset
            | Self::Truncated(_)
            | Self::Proxy(_)
            | Self::ClosedAfterSend => ErrorClass::Connect,
            Self::Tls(_) | Self::TlsNames(_) => ErrorClass::Tls,
            Self::Status(_) | Self::Interpreted { .. } => ErrorClass::Status,
            Self::Timeout { reached, .. } => timeout_class(*reached),
            Self::Abandoned => ErrorClass::Timeout,
            Self::UnexpectedData
            | Self::HeadTooLarge
            | Self::NotHttp
            | Self::MalformedHead
            | Self::NotHttp2
            | Self::MalformedBody(_)
            | Self::Unsendable => ErrorClass::Protocol,
        }
    }

    /// The failure of an attempt whose time ran out in this phase.
    pub(super) fn timed_out(reached: Reached, host: &Host<&str>, after: Duration) -> Self {
        match reached {
            Reached::LookingUp => Self::LookUpTimedOut { host: host.to_string().into(), after },
            reached => Self::Timeout { reached, after },
        }
    }

    /// The history's text: the class, a colon and the words, as in `status: the destination responded with 404 Not
    /// Found`.
    pub fn sentence(&self) -> String {
        format!("{}: {self}", self.class().as_str())
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::Denied(denied) => Self::Denied(denied),
            AddressError::Unresolved { host, error } => Self::Unresolved { host, error },
        }
    }
}

/// Why there was no TCP connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// `ECONNREFUSED`: nothing listens on the port.
    Refused,
    /// No route to the network or host.
    NoRoute,
    /// No reply within the time limit of the operating system or the connector.
    TimedOut,
    /// Any other error, in the operating system's words.
    Other(Box<str>),
}

impl ConnectError {
    /// A few words about the proxy, to stand after "cannot be reached: ".
    fn short(&self) -> &str {
        match self {
            Self::Refused => "nothing listens there",
            Self::NoRoute => "there is no route to it",
            Self::TimedOut => "it does not respond",
            Self::Other(words) => words,
        }
    }
}

impl From<&io::Error> for ConnectError {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown => {
                Self::NoRoute
            }
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other(error.to_string().into()),
        }
    }
}

/// Why the operator's proxy gave no connection.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyFault {
    /// The proxy's name has no addresses.
    #[error("the name of the server's proxy cannot be resolved: {0}")]
    Unresolved(ResolveError),
    /// No connection to the proxy, or it broke.
    #[error("the server's proxy cannot be reached: {}", .0.short())]
    NotConnected(ConnectError),
    /// The proxy responded to `CONNECT` with a status other than 2xx.
    #[error("the server's proxy did not connect to the destination: it responded with {}{}", status_words(*.0), proxy_hint(*.0))]
    Rejected(u16),
    /// The head of the proxy's response to `CONNECT` is too long.
    #[error("the head of the response of the server's proxy does not end within 64 KiB")]
    HeadTooLarge,
    /// The proxy's response to `CONNECT` is not HTTP.
    #[error("the response of the server's proxy is not HTTP")]
    NotHttp,
}

fn proxy_hint(status: u16) -> &'static str {
    if status == 407 { "; an operator sets a user and a password in --proxy" } else { "" }
}

/// Why there was no TLS connection.
#[derive(Clone, PartialEq, Debug)]
pub enum TlsFault {
    /// The certificate is for other names.
    WrongName {
        /// The name or address in the URL.
        expected: Box<str>,
        /// The first names and addresses in the certificate; `None` for one that is neither.
        presented: Vec<Option<Box<str>>>,
    },
    /// The server's certificate is that of a CA.
    CaCertificate,
    /// Any other error of rustls.
    Rustls(rustls::Error),
    /// The connection closed during the handshake.
    Closed,
    /// An error that is neither rustls's nor a closed connection.
    Other,
}

fn connect_words(error: &ConnectError) -> String {
    match error {
        ConnectError::Refused => "the destination refused the connection: nothing listens on this port".into(),
        ConnectError::NoRoute => "there is no route to the destination".into(),
        ConnectError::TimedOut => "the destination did not respond to the connection attempt".into(),
        ConnectError::Other(words) => format!("no connection to the destination: {words}"),
    }
}

/// The class of an attempt whose time ran out in this phase.
fn timeout_class(reached: Reached) -> ErrorClass {
    match reached {
        Reached::LookingUp => ErrorClass::Dns,
        Reached::Connecting | Reached::LookingUpProxy | Reached::ConnectingProxy | Reached::Tunnelling => {
            ErrorClass::Connect
        }
        Reached::Handshaking => ErrorClass::Tls,
        Reached::Requesting | Reached::Sent | Reached::Heading | Reached::Responding(_) | Reached::Writing => {
            ErrorClass::Timeout
        }
    }
}

/// What did not happen, to stand before "within 5000 ms".
fn timeout_words(reached: Reached) -> String {
    let words = match reached {
        Reached::LookingUp => "the look-up of the destination's name did not finish",
        Reached::Connecting => "the destination did not respond to the connection attempt",
        Reached::LookingUpProxy => "the look-up of the name of the server's proxy did not finish",
        Reached::ConnectingProxy => "the server's proxy did not respond to the connection attempt",
        Reached::Tunnelling => "the server's proxy did not connect to the destination",
        Reached::Handshaking => "the TLS handshake with the destination did not finish",
        Reached::Requesting => "the destination did not read the whole request",
        Reached::Sent => "the request was sent, but no response came",
        Reached::Heading => "the request was sent and a response began, but its head did not end",
        Reached::Responding(status) => {
            return format!("the destination responded with {}, but its response did not end", status_words(status));
        }
        Reached::Writing => "the destination did not acknowledge the message",
    };
    words.into()
}

/// `404 Not Found`, or the bare number where HTTP has no reason phrase.
pub(super) fn status_words(status: u16) -> String {
    let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    known.map_or_else(|| status.to_string(), |words| format!("{status} {words}"))
}

fn status_hint(status: u16) -> &'static str {
    match status {
        300..400 => "; redirects are not followed, so set the webhook's URL to the final address",
        _ => "",
    }
}

fn tls_words(fault: &TlsFault) -> String {
    let words = match fault {
        TlsFault::WrongName { expected, presented } => return wrong_name_words(expected, presented),
        TlsFault::CaCertificate => {
            "the destination's certificate is that of a CA (CA:TRUE); the server needs one of its own, signed by the CA"
        }
        TlsFault::Closed => "the connection closed during the TLS handshake",
        TlsFault::Other => "the TLS handshake failed",
        TlsFault::Rustls(rustls::Error::InvalidCertificate(error)) => return certificate_words(error),
        TlsFault::Rustls(rustls::Error::InvalidMessage(_)) => "the destination does not speak TLS on this port",
        TlsFault::Rustls(rustls::Error::NoCertificatesPresented) => "the destination presented no certificate",
        TlsFault::Rustls(rustls::Error::PeerIncompatible(_)) => {
            "the destination and this host have no TLS version or cipher suite in common (TLS 1.2 is the oldest supported)"
        }
        TlsFault::Rustls(rustls::Error::AlertReceived(alert)) => match alert {
            AlertDescription::CertificateRequired => {
                "the destination requires a client certificate; set the webhook's tls.client_cert"
            }
            AlertDescription::ProtocolVersion => "the destination supports neither TLS 1.2 nor TLS 1.3",
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
                "the destination rejected the TLS handshake: no cipher suite in common, or it requires a client certificate"
            }
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => "the destination rejected our client certificate",
            AlertDescription::UnrecognisedName => "the destination has no certificate for this name",
            alert => return format!("the destination ended the TLS handshake with the alert {alert:?}"),
        },
        TlsFault::Rustls(_) => "the destination violates the TLS protocol",
    };
    words.into()
}

fn wrong_name_words(expected: &str, presented: &[Option<Box<str>>]) -> String {
    let names: Vec<&str> = presented.iter().map(|name| name.as_deref().unwrap_or("something else")).collect();
    let names = if names.is_empty() {
        "it names none (a subject's common name does not count)".to_owned()
    } else {
        format!("it is for {}", names.join(", "))
    };
    format!("the destination's certificate is for another name or address than {expected}: {names}")
}

fn certificate_words(error: &CertificateError) -> String {
    use CertificateError as E;
    let words = match error {
        E::ExpiredContext { not_after, .. } => {
            return format!(
                "the destination's certificate has expired: it was valid until {}",
                day(not_after.as_secs())
            );
        }
        E::NotValidYetContext { not_before, .. } => {
            return format!(
                "the destination's certificate is not valid yet: it is valid from {}",
                day(not_before.as_secs())
            );
        }
        E::Expired => "the destination's certificate has expired",
        E::NotValidYet => "the destination's certificate is not valid yet",
        E::UnknownIssuer => {
            "the destination's certificate is not signed by a CA that this host trusts (it is self-signed, or its chain lacks an intermediate); for a private CA set the webhook's tls.ca"
        }
        E::NotValidForName => "the destination's certificate is for another name or address",
        E::Revoked => "the destination's certificate was revoked",
        E::BadEncoding => "the destination's certificate cannot be parsed",
        E::BadSignature => "the destination's certificate has an invalid signature",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "the destination's certificate is not one for servers",
        E::UnsupportedSignatureAlgorithmContext { .. } | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the destination's certificate is signed with an algorithm that is no longer accepted (such as SHA-1)"
        }
        _ => "the destination's certificate cannot be accepted; `openssl verify` may say why",
    };
    words.into()
}

/// The day of a time in seconds since 1970, as in `2026-11-17`.
fn day(seconds: u64) -> String {
    let ms = i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000);
    let mut text = Timestamp::from_unix_ms(ms).to_string();
    text.truncate("2026-11-17".len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_with_its_class() {
        let text = |failure: Failure| failure.sentence();
        assert_eq!(text(Failure::Status(404)), "status: the destination responded with 404 Not Found");
        assert_eq!(text(Failure::Status(999)), "status: the destination responded with 999");
        assert_eq!(
            text(Failure::Status(307)),
            "status: the destination responded with 307 Temporary Redirect; redirects are not followed, so set the \
             webhook's URL to the final address"
        );
        assert_eq!(
            text(Failure::Unresolved { host: "nowhere.example".into(), error: ResolveError::NotFound }),
            "dns: nowhere.example: there is no such name, or it has no address"
        );
        let host = Host::Domain("hooks.example");
        let late = |reached| text(Failure::timed_out(reached, &host, Duration::from_millis(1500)));
        assert_eq!(
            late(Reached::LookingUp),
            "dns: hooks.example: the look-up of this name did not finish within 1500 ms"
        );
        assert_eq!(
            late(Reached::Connecting),
            "connect: the destination did not respond to the connection attempt within 1500 ms"
        );
        assert_eq!(
            late(Reached::Responding(200)),
            "timeout: the destination responded with 200 OK, but its response did not end within 1500 ms"
        );
    }
}
