//! How an attempt ended, and every word about it that a person reads.

use std::io;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use rustls::{AlertDescription, CertificateError};

use crate::transport::destination::Denied;
use crate::transport::destination::ResolveError;
use crate::model::delivery::ErrorClass;
use crate::model::time::Timestamp;

/// How an attempt ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The destination took it: 2xx.
    Delivered,
    /// It did not, or nobody knows.
    Failed(Failure),
}

impl Outcome {
    /// The failure's class; `None` when it was delivered.
    pub fn error_class(&self) -> Option<ErrorClass> {
        match self {
            Self::Delivered => None,
            Self::Failed(failure) => Some(failure.class()),
        }
    }

    /// What the history says: the class, a colon and a sentence without any secret, the URL's path and
    /// query among them. `None` when it was delivered.
    pub fn error_text(&self) -> Option<String> {
        match self {
            Self::Delivered => None,
            Self::Failed(failure) => Some(format!("{}: {failure}", failure.class().as_str())),
        }
    }
}

/// Why an attempt failed. Its `Display` is a sentence for people.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Failure {
    /// Refused by us: the address is outside policy.
    #[error("{0}")]
    Denied(Denied),
    /// The name has no addresses.
    #[error("{host}: {error}")]
    Unresolved {
        /// The name that was looked up.
        host: Box<str>,
        /// Why there are none.
        error: ResolveError,
    },
    /// No TCP connection.
    #[error("{}", connect_words(.0))]
    NotConnected(ConnectError),
    /// The connection closed before the request was written.
    #[error("the connection closed before the request was sent")]
    ClosedEarly,
    /// The connection broke after the request was written: nobody knows what became of it.
    #[error("the request was sent, but the connection closed before an answer")]
    NoAnswer,
    /// The connection broke in the middle of a 2xx answer.
    #[error("the destination answered {}, but the connection closed in the middle of its answer", status_words(*.0))]
    CutOff(u16),
    /// No TLS connection.
    #[error("{}", tls_words(.0))]
    Tls(TlsFault),
    /// The names that the webhook gives for TLS cannot be used.
    #[error("{0}")]
    TlsNames(Box<str>),
    /// No way through the server's proxy.
    #[error("{0}")]
    Proxy(ProxyFault),
    /// A message was written, and then the connection ended.
    #[error(
        "the message was sent, but the destination closed the connection right after it, so nobody knows whether it was taken"
    )]
    NotTaken,
    /// We gave a syslog connection up for another message, which was not taken in its time.
    #[error(
        "the destination did not take an earlier message in its time, so the connection was given up, and nobody knows whether this one was taken"
    )]
    GivenUp,
    /// The peer of a syslog connection, where nothing is ever answered, sends and sends.
    #[error("the destination sends data over a syslog connection, where nothing is ever answered")]
    Chatty,
    /// An answer other than 2xx.
    #[error("the destination answered {}{}", status_words(*.0), status_hint(*.0))]
    Status(u16),
    /// An answer that says in its own words that the delivery failed, whatever its status.
    #[error("the destination answered {}: {reason}", status_words(*.status))]
    Said {
        /// The answer's status.
        status: u16,
        /// What it means, in the formatter's words, fit to be shown.
        reason: Box<str>,
    },
    /// The attempt's time is over.
    #[error("{}", timeout_words(.reached, .after))]
    Timeout {
        /// How far it came.
        reached: Reached,
        /// The time that it had.
        after: Duration,
    },
    /// An answer without end before its body: a long head, or `1xx` again and again.
    #[error("the head of the destination's answer does not end within 64 KiB")]
    EndlessHead,
    /// Not HTTP.
    #[error("what the destination answered is not HTTP")]
    NotHttp,
    /// The head was HTTP, the body's framing is not.
    #[error("the destination answered {}, but its body is not framed as HTTP wants it", status_words(*.0))]
    BadBody(u16),
    /// The URL or a header cannot be put into a request; both were checked when they came in.
    #[error("the request cannot be written as HTTP")]
    Unsendable,
}

/// How far an attempt came before its time was over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reached {
    /// Name look-up, TCP or TLS.
    Connecting,
    /// The request was written, at least in part.
    Sent,
    /// A syslog message was written, at least in part, and not acknowledged.
    Writing,
    /// A head of this status was there.
    Answering(u16),
}

/// Why there was no TCP connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// Nothing listens there.
    Refused,
    /// No way to that network or host.
    NoRoute,
    /// No answer, as far as the system or the connector waited.
    TimedOut,
    /// Something else, in the operating system's words.
    Other(Box<str>),
}

impl ConnectError {
    fn short(&self) -> &str {
        match self {
            Self::Refused => "nothing listens there",
            Self::NoRoute => "there is no route to it",
            Self::TimedOut => "it does not answer",
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

/// Why the server's proxy gave no connection.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyFault {
    /// Its name has no addresses.
    #[error("the server's proxy: {0}")]
    Unresolved(ResolveError),
    /// There is no connection to it, or it broke.
    #[error("the server's proxy cannot be reached: {}", .0.short())]
    NotConnected(ConnectError),
    /// It did not connect us.
    #[error("the server's proxy did not connect to the destination: it answered {}{}", status_words(*.0), proxy_hint(*.0))]
    Refused(u16),
    /// It is no HTTP proxy.
    #[error("what the server's proxy answered is not HTTP")]
    NotHttp,
}

fn proxy_hint(status: u16) -> &'static str {
    if status == 407 { "; whoever runs the server puts a user and a password into --proxy" } else { "" }
}

/// Why there was no TLS connection.
#[derive(Clone, PartialEq, Debug)]
pub enum TlsFault {
    /// What rustls found.
    Rustls(rustls::Error),
    /// The connection closed during the handshake.
    Closed,
    /// Anything else.
    Other,
}

impl Failure {
    /// The class that the history shows.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::TlsNames(_) => ErrorClass::Tls,
            Self::Proxy(_) | Self::NotTaken => ErrorClass::Connect,
            Self::Chatty => ErrorClass::Protocol,
            Self::Denied(_) => ErrorClass::Policy,
            Self::Unresolved { .. } => ErrorClass::Dns,
            Self::GivenUp => ErrorClass::Timeout,
            Self::NotConnected(_) | Self::ClosedEarly | Self::NoAnswer | Self::CutOff(_) => ErrorClass::Connect,
            Self::Tls(_) => ErrorClass::Tls,
            Self::Status(_) | Self::Said { .. } => ErrorClass::Status,
            Self::Timeout { .. } => ErrorClass::Timeout,
            Self::EndlessHead | Self::NotHttp | Self::BadBody(_) | Self::Unsendable => ErrorClass::Protocol,
        }
    }
}

fn connect_words(error: &ConnectError) -> String {
    match error {
        ConnectError::Refused => "the destination refused the connection: nothing listens on this port".into(),
        ConnectError::NoRoute => "there is no route to the destination".into(),
        ConnectError::TimedOut => "the destination did not answer to the attempt to connect".into(),
        ConnectError::Other(words) => format!("no connection to the destination: {words}"),
    }
}

/// What stands in `DnsName("siem.example")` and `IpAddress(10.0.0.1)`, as rustls has a certificate's names.
fn bare_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or("something else", |inner| inner.trim_matches('"'))
}

fn timeout_words(reached: &Reached, after: &Duration) -> String {
    let ms = after.as_millis();
    match reached {
        Reached::Connecting => format!("no connection within {ms} ms"),
        Reached::Sent => format!("the request was sent, but no answer came within {ms} ms"),
        Reached::Writing => format!("the destination did not take the message within {ms} ms"),
        Reached::Answering(status) => {
            format!("the destination answered {}, but its answer did not end within {ms} ms", status_words(*status))
        }
    }
}

/// `404 Not Found`, or the bare number where HTTP has no words.
fn status_words(status: u16) -> String {
    let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    known.map_or_else(|| status.to_string(), |words| format!("{status} {words}"))
}

fn status_hint(status: u16) -> &'static str {
    match status {
        300..400 => "; redirects are not followed",
        _ => "",
    }
}

fn tls_words(fault: &TlsFault) -> String {
    let words = match fault {
        TlsFault::Closed => "the connection closed during the TLS handshake",
        TlsFault::Other => "the TLS handshake failed",
        TlsFault::Rustls(rustls::Error::InvalidCertificate(error)) => return certificate_words(error),
        TlsFault::Rustls(rustls::Error::InvalidMessage(_)) => "the destination does not speak TLS on this port",
        TlsFault::Rustls(rustls::Error::NoCertificatesPresented) => "the destination showed no certificate",
        TlsFault::Rustls(rustls::Error::PeerIncompatible(_)) => {
            "the destination and this host have no TLS version or cipher in common (TLS 1.2 is the oldest)"
        }
        TlsFault::Rustls(rustls::Error::AlertReceived(alert)) => match alert {
            AlertDescription::CertificateRequired => "the destination wants a client certificate",
            AlertDescription::ProtocolVersion => "the destination speaks no TLS version of ours (1.2 and 1.3)",
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
                "the destination refused the TLS handshake: no cipher in common, or it wants a client certificate"
            }
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => "the destination does not accept our client certificate",
            AlertDescription::UnrecognisedName => "the destination has no certificate for this name",
            alert => return format!("the destination ended the TLS handshake with the alert {alert:?}"),
        },
        TlsFault::Rustls(_) => "the destination does not keep to the TLS protocol",
    };
    words.into()
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
                "the destination's certificate is not valid yet: it is from {} on",
                day(not_before.as_secs())
            );
        }
        E::NotValidForNameContext { expected, presented } => {
            let name = expected.to_str();
            let presented: Vec<&str> = presented.iter().take(5).map(|name| bare_name(name)).collect();
            let others = if presented.is_empty() {
                "it names none (a subject's common name does not count)".to_owned()
            } else {
                format!("it is for {}", presented.join(", "))
            };
            return format!("the destination's certificate is for another name or address than {name}: {others}");
        }
        E::Expired => "the destination's certificate has expired",
        E::NotValidYet => "the destination's certificate is not valid yet",
        E::UnknownIssuer => {
            "the destination's certificate is signed by nobody that this host trusts (self-signed, or a chain without its intermediate)"
        }
        E::NotValidForName => "the destination's certificate is for another name or address",
        E::Revoked => "the destination's certificate was revoked",
        E::BadEncoding => "the destination's certificate cannot be read",
        E::BadSignature => "the destination's certificate has a wrong signature",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "the destination's certificate is not one for servers",
        E::UnsupportedSignatureAlgorithmContext { .. } | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the destination's certificate is signed with an algorithm that is not accepted any more (such as SHA-1)"
        }
        E::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the destination's certificate is a CA's own (CA:TRUE); a server needs one that is not, signed by the CA"
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

/// What a `Retry-After` asks for (RFC 9110, section 10.2.3): seconds, or a date seen from `now`, zero when
/// that is over. `None` when it is neither. Nothing is clamped here.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time still.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_begins_with_its_class() {
        let text = |failure| Outcome::Failed(failure).error_text().expect("text");
        assert_eq!(text(Failure::Status(404)), "status: the destination answered 404 Not Found");
        assert_eq!(text(Failure::Status(999)), "status: the destination answered 999");
        assert_eq!(
            text(Failure::Status(307)),
            "status: the destination answered 307 Temporary Redirect; redirects are not followed"
        );
        assert_eq!(
            text(Failure::Unresolved { host: "nowhere.example".into(), error: ResolveError::NotFound }),
            "dns: nowhere.example: there is no such name, or it has no address"
        );
        let late = |reached| text(Failure::Timeout { reached, after: Duration::from_millis(1500) });
        assert_eq!(late(Reached::Connecting), "timeout: no connection within 1500 ms");
        assert_eq!(
            late(Reached::Answering(200)),
            "timeout: the destination answered 200 OK, but its answer did not end within 1500 ms"
        );
        assert_eq!(Outcome::Delivered.error_text(), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        let seconds = |s| Some(Duration::from_secs(s));
        for (value, wait) in [
            ("5", seconds(5)),
            (" 0 ", seconds(0)),
            ("1000000000", seconds(1_000_000_000)),
            ("99999999999999999999999", seconds(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", seconds(10)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", seconds(10)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", seconds(0)),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), wait, "{value:?}");
        }
    }
}
