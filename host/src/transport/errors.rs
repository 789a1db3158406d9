//! From the errors of rustls and the operating system to ours, for HTTP and syslog alike.
//!
//! Errors are told apart by their types. Two things rustls has only as text; both texts stand in this file, and
//! its test compares them with those of the locked version.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use super::failure::{Failure, TlsFault};

/// The text of webpki's error for a server that presents the certificate of a CA; rustls passes it on as
/// [`CertificateError::Other`].
const CA_USED_AS_END_ENTITY: &str = "CaUsedAsEndEntity";
/// A certificate's DNS name, as rustls writes it: `DnsName("siem.example")`.
const DNS_NAME: [&str; 2] = ["DnsName(\"", "\")"];
/// A certificate's address, as rustls writes it: `IpAddress(10.0.0.1)`.
const IP_ADDRESS: [&str; 2] = ["IpAddress(", ")"];
/// Names of a certificate that an error message lists; there may be hundreds.
const MAX_NAMES_SHOWN: usize = 5;

/// A failed TLS handshake, or a TLS connection that ended.
pub(super) fn handshake(error: &io::Error) -> Failure {
    tls(error).unwrap_or_else(|| Failure::Tls(if is_closed(error) { TlsFault::Closed } else { TlsFault::Other }))
}

/// rustls's error in this chain of causes, if there is one: an alert of the peer, or what rustls rejected.
pub(super) fn tls(error: &(dyn Error + 'static)) -> Option<Failure> {
    find::<rustls::Error>(error).map(|error| Failure::Tls(tls_fault(error)))
}

/// True if the connection was closed or reset.
pub(super) fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    let closed = matches!(error.kind(), K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof);
    // An `io::Error::other` that wraps another `io::Error` does not take over its kind.
    closed || error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()).is_some_and(is_closed)
}

/// The first error of this type in the chain of causes.
pub(super) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|error| error.downcast_ref::<E>())
}

/// The error and its causes.
pub(super) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

/// The cause of an error. Looks into `io::Error`s too: their `source` skips the error that they wrap.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            TlsFault::WrongName {
                expected: expected.to_str().into(),
                presented: presented.iter().take(MAX_NAMES_SHOWN).map(|name| bare_name(name)).collect(),
            }
        }
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains(CA_USED_AS_END_ENTITY) =>
        {
            TlsFault::CaCertificate
        }
        error => TlsFault::Rustls(error.clone()),
    }
}

/// The name in `DnsName("siem.example")`, the address in `IpAddress(10.0.0.1)`; `None` for other kinds of names.
fn bare_name(name: &str) -> Option<Box<str>> {
    let inner = |[before, after]: [&str; 2]| name.strip_prefix(before)?.strip_suffix(after);
    inner(DNS_NAME).or_else(|| inner(IP_ADDRESS)).map(Into::into)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    /// The verifier's error for a certificate that is presented as `good.example`'s.
    fn rejected(roots: &Arc<RootCertStore>, certificate: &CertificateDer<'_>) -> rustls::Error {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider).build();
        let name = ServerName::try_from("good.example").expect("a name");
        let verified = verifier.expect("a verifier").verify_server_cert(certificate, &[], &name, &[], UnixTime::now());
        verified.expect_err("the certificate is rejected")
    }

    /// A new version of rustls or webpki with other texts fails here.
    #[test]
    fn the_texts_are_those_of_the_locked_versions() {
        let params = |names: &[&str]| {
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("params")
        };
        let as_ca = |mut params: CertificateParams| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = || KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(as_ca(params(&[])), key()).expect("an authority");
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("a root");
        let roots = Arc::new(roots);

        let ca = as_ca(params(&["good.example"])).signed_by(&key(), &authority).expect("a certificate");
        let error = rejected(&roots, ca.der());
        let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = &error else { panic!("{error:?}") };
        assert_eq!(other.to_string(), CA_USED_AS_END_ENTITY);
        assert_eq!(tls_fault(&error), TlsFault::CaCertificate);

        let names = params(&["other.example", "10.0.0.1"]).signed_by(&key(), &authority).expect("a certificate");
        let error = rejected(&roots, names.der());
        let rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(presented.as_slice(), ["DnsName(\"other.example\")", "IpAddress(10.0.0.1)"]);
        let presented = ["other.example", "10.0.0.1"].map(|name| Some(name.into())).into();
        assert_eq!(tls_fault(&error), TlsFault::WrongName { expected: "good.example".into(), presented });
    }
}
