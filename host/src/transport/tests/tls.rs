//! TLS: valid and invalid certificates, client certificates, and HTTP/2.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use time::{Duration as Days, OffsetDateTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::super::{Content, Guard, Request, SetupError, Tls, Transport};
use super::peer::{Peer, read_request};
use super::{Table, deliver, deliver_within, nets, sentence, transport_with, url};
use crate::model::mask::Mask;
use crate::model::settings::TlsFiles;
use crate::model::webhook::TlsNames;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A test's own certificate authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("authority"))
    }

    /// A server certificate with CA:TRUE, which verifiers reject.
    fn issue_ca(&self, names: &[&str]) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.0).expect("certificate");
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    /// An intermediate authority, signed by this one.
    fn intermediate(&self, name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::signed_by(params, KeyPair::generate().expect("key"), &self.0).expect("authority")
    }

    pub(super) fn root(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// A certificate for these names, valid from `from` to `to`, in days from now.
    pub(super) fn issue(
        &self,
        names: &[&str],
        from: i64,
        to: i64,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("params");
        params.not_before = OffsetDateTime::now_utc() + Days::days(from);
        params.not_after = OffsetDateTime::now_utc() + Days::days(to);
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.0).expect("certificate");
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    /// Writes the authority as `ca.pem`, and a client's certificate and key as `client.pem` and `client.key`.
    pub(super) fn files(&self, folder: &Path) -> TlsFiles {
        let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(|name| folder.join(name));
        std::fs::write(&ca, self.0.pem()).expect("a file");
        let pair = KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec!["heraldry.example".into()]).expect("params");
        std::fs::write(&cert, params.signed_by(&pair, &self.0).expect("certificate").pem()).expect("a file");
        std::fs::write(&key, pair.serialize_pem()).expect("a file");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("mode");
        TlsFiles { cas: vec![("corp".into(), ca)], client_certs: vec![("siem".into(), cert, key)] }
    }
}

fn self_signed() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec!["good.example".into()]).expect("params");
    let certificate = params.self_signed(&key).expect("certificate");
    (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

pub(super) fn server(
    (certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
    clients: Option<&Authority>,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).expect("root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("verifier"))
        }
    };
    builder.with_single_cert(vec![certificate], key).expect("certificate")
}

/// The TLS counterpart of [`Peer::responding`].
async fn tls_peer(config: ServerConfig) -> Peer {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Peer::playing(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while read_request(&mut stream).await && stream.write_all(OK).await.is_ok() {}
        }
    })
    .await
}

async fn over_tls(config: ServerConfig, host: &str, roots: &[Vec<u8>]) -> String {
    let peer = tls_peer(config).await;
    let names = Table::of(&[("good.example", &["127.0.0.1"]), ("other.example", &["127.0.0.1"])]);
    let transport = transport_with(&["127.0.0.0/8"], names, roots);
    sentence(&deliver(&transport, &format!("https://{host}:{}", peer.address.port())).await)
}

/// The date this many days from now.
fn day(days: i64) -> String {
    (OffsetDateTime::now_utc() + Days::days(days)).date().to_string()
}

#[tokio::test]
async fn an_invalid_certificate_is_rejected_with_its_reason() {
    let authority = Authority::new("ours");
    let roots = [authority.root()];
    let good = || authority.issue(&["good.example"], -1, 1);
    let words = |words: &str| format!("tls: the destination's certificate {words}");
    let untrusted = words(
        "is not signed by a CA that this host trusts (it is self-signed, or its chain lacks an intermediate); for a private CA set the webhook's tls.ca",
    );
    for (certificate, host, expected) in [
        (good(), "good.example", "delivered".to_owned()),
        (authority.issue(&["127.0.0.1"], -1, 1), "127.0.0.1", "delivered".to_owned()),
        (good(), "other.example", words("is for another name or address than other.example: it is for good.example")),
        (good(), "127.0.0.1", words("is for another name or address than 127.0.0.1: it is for good.example")),
        (
            authority.issue(&["good.example"], -2, -1),
            "good.example",
            words(&format!("has expired: it was valid until {}", day(-1))),
        ),
        (
            authority.issue(&["good.example"], 1, 2),
            "good.example",
            words(&format!("is not valid yet: it is valid from {}", day(1))),
        ),
        (self_signed(), "good.example", untrusted.clone()),
        (
            authority.issue_ca(&["good.example"]),
            "good.example",
            words("is that of a CA (CA:TRUE); the server needs one of its own, signed by the CA"),
        ),
        (Authority::new("another").issue(&["good.example"], -1, 1), "good.example", untrusted.clone()),
    ] {
        assert_eq!(over_tls(server(certificate, None), host, &roots).await, expected, "{host}");
    }
    assert_eq!(over_tls(server(good(), None), "good.example", &[]).await, untrusted);
}

/// Servers send chains in any order, depending on how they were configured. A chain without its intermediate is
/// invalid.
#[tokio::test]
async fn a_chain_is_valid_in_any_order_and_invalid_with_a_gap() {
    let authority = Authority::new("ours");
    let intermediate = authority.intermediate("between");
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec!["good.example".into()]).expect("params");
    let leaf = params.signed_by(&key, &intermediate).expect("certificate").der().clone();
    let (between, root) = (intermediate.der().clone(), authority.0.der().clone());
    let untrusted = "tls: the destination's certificate is not signed by a CA that this host trusts (it is self-signed, or its chain lacks an intermediate); for a private CA set the webhook's tls.ca";
    for (chain, expected) in [
        (vec![leaf.clone(), between.clone()], "delivered"),
        (vec![leaf.clone(), root.clone(), between], "delivered"),
        (vec![leaf.clone(), root], untrusted),
        (vec![leaf], untrusted),
    ] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = builder.expect("versions").with_no_client_auth().with_single_cert(chain, key);
        let outcome = over_tls(config.expect("a certificate"), "good.example", &[authority.root()]).await;
        assert_eq!(outcome, expected);
    }
}

/// TLS 1.0: a server that selects it, and one that rejects newer versions with an alert (RFC 5246, section 7.2).
#[tokio::test]
async fn a_destination_with_an_old_tls_version_is_named_as_such() {
    let server_hello = [&[22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1][..], &[7; 32], &[0, 0, 47, 0]].concat();
    let alert = vec![21, 3, 1, 0, 2, 2, 70];
    for (bytes, expected) in [
        (
            server_hello,
            "the destination and this host have no TLS version or cipher suite in common (TLS 1.2 is the oldest supported)",
        ),
        (alert, "the destination supports neither TLS 1.2 nor TLS 1.3"),
    ] {
        let peer = Peer::playing(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                let _ = stream.write_all(&bytes).await;
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
        })
        .await;
        let transport = transport_with(&["127.0.0.0/8"], Table::of(&[]), &[]);
        let outcome = sentence(&deliver(&transport, &format!("https://{}", peer.address)).await);
        assert_eq!(outcome, format!("tls: {expected}"));
    }
}

#[tokio::test]
async fn a_missing_client_certificate_is_reported() {
    let authority = Authority::new("ours");
    let config = server(authority.issue(&["good.example"], -1, 1), Some(&authority));
    let outcome = over_tls(config, "good.example", &[authority.root()]).await;
    assert_eq!(outcome, "tls: the destination requires a client certificate; set the webhook's tls.client_cert");
}

#[tokio::test]
async fn a_port_without_tls_is_named_as_such() {
    let peer = Peer::playing(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        read_request(&mut stream).await;
    })
    .await;
    let transport = transport_with(&["127.0.0.0/8"], Table::of(&[]), &[]);
    let outcome = sentence(&deliver(&transport, &format!("https://{}", peer.address)).await);
    assert_eq!(outcome, "tls: the destination does not speak TLS on this port");

    let peer = Peer::playing(|stream| async move { drop(stream) }).await;
    let outcome = sentence(&deliver(&transport, &format!("https://{}", peer.address)).await);
    assert_eq!(outcome, "tls: the connection closed during the TLS handshake");

    let authority = Authority::new("ours");
    let peer = tls_peer(server(authority.issue(&["127.0.0.1"], -1, 1), None)).await;
    let outcome = sentence(&deliver(&transport, &peer.origin()).await);
    assert_eq!(outcome, "protocol: the destination's response is not HTTP; check the URL's scheme and port");
}

#[tokio::test]
async fn a_handshake_without_end_times_out() {
    let peer = Peer::playing(|mut stream| async move { while read_request(&mut stream).await {} }).await;
    let transport = transport_with(&["127.0.0.0/8"], Table::of(&[]), &[]);
    let report = deliver_within(&transport, &format!("https://{}", peer.address), Duration::from_millis(300)).await;
    assert_eq!(sentence(&report), "tls: the TLS handshake with the destination did not finish within 300 ms");
}

/// Serves HTTP/2. `response` gives status and body length for request number `n`, from 0; `None` leaves it pending.
async fn http2_peer(authority: &Authority, response: fn(usize) -> Option<(u16, usize)>) -> Peer {
    let mut config = server(authority.issue(&["good.example"], -1, 1), None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let requests = Arc::new(AtomicUsize::new(0));
    Peer::playing(move |stream| {
        let (acceptor, requests) = (acceptor.clone(), Arc::clone(&requests));
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request: http::Request<Incoming>| {
                let number = requests.fetch_add(1, Ordering::SeqCst);
                async move {
                    assert_eq!(request.version(), http::Version::HTTP_2);
                    let Some((status, bytes)) = response(number) else { return std::future::pending().await };
                    let mut response = http::Response::new(Full::new(Bytes::from(vec![b'x'; bytes])));
                    *response.status_mut() = http::StatusCode::from_u16(status).expect("status");
                    Ok::<_, Infallible>(response)
                }
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

#[tokio::test]
async fn http2_shares_a_connection_and_each_response_has_its_budget() {
    let authority = Authority::new("ours");
    let peer = http2_peer(&authority, |_| Some((200, 60_000))).await;
    let names = Table::of(&[("good.example", &["127.0.0.1"])]);
    let transport = Arc::new(transport_with(&["127.0.0.0/8"], names, &[authority.root()]));
    let origin = format!("https://good.example:{}", peer.address.port());
    for _ in 0..3 {
        let together: Vec<_> = (0..8)
            .map(|_| {
                let (transport, origin) = (Arc::clone(&transport), origin.clone());
                tokio::spawn(async move { sentence(&deliver(&transport, &origin).await) })
            })
            .collect();
        for one in together {
            assert_eq!(one.await.expect("attempt"), "delivered");
        }
    }
    assert!(peer.connections() < 10, "{}", peer.connections());
    assert_eq!(sentence(&deliver(&transport, &origin).await), "delivered");
}

#[tokio::test]
async fn an_http2_body_without_end_is_cut() {
    let authority = Authority::new("ours");
    let peer = http2_peer(&authority, |n| Some((if n == 0 { 200 } else { 500 }, 4_000_000))).await;
    let names = Table::of(&[("good.example", &["127.0.0.1"])]);
    let transport = transport_with(&["127.0.0.0/8"], names, &[authority.root()]);
    let origin = format!("https://good.example:{}", peer.address.port());
    let report = deliver(&transport, &origin).await;
    assert_eq!((sentence(&report).as_str(), report.excerpt.map(|text| text.len())), ("delivered", Some(1024)));
    let words = "status: the destination responded with 500 Internal Server Error";
    assert_eq!(sentence(&deliver(&transport, &origin).await), words);
}

#[tokio::test]
async fn an_http2_connection_that_timed_out_is_not_used_again() {
    let authority = Authority::new("ours");
    let peer = http2_peer(&authority, |n| (n != 0).then_some((200, 2))).await;
    let names = Table::of(&[("good.example", &["127.0.0.1"])]);
    let transport = transport_with(&["127.0.0.0/8"], names, &[authority.root()]);
    let origin = format!("https://good.example:{}", peer.address.port());
    let report = deliver_within(&transport, &origin, Duration::from_millis(500)).await;
    assert_eq!(sentence(&report), "timeout: the request was sent, but no response came within 500 ms");
    assert_eq!(sentence(&deliver(&transport, &origin).await), "delivered");
    assert_eq!(peer.connections(), 2);
}

/// Delivers with these TLS names to a destination whose certificate the authority signed, and which accepts only
/// clients of the same authority.
async fn named(authority: &Authority, files: &TlsFiles, names: &TlsNames) -> String {
    let peer = tls_peer(server(authority.issue(&["good.example"], -1, 1), Some(authority))).await;
    let table = Table::of(&[("good.example", &["127.0.0.1"])]);
    let tls = Tls::new(files, &[]).expect("TLS");
    let transport = Transport::new(Arc::new(Guard::new(nets(&["127.0.0.0/8"]))), table, tls, None).expect("transport");
    let url = url(&format!("https://good.example:{}", peer.address.port()));
    let content = Content::Body { headers: http::HeaderMap::new(), body: Bytes::from_static(b"x") };
    let timeout = Duration::from_secs(20);
    sentence(
        &transport
            .deliver(Request { url: &url, tls: names, content, timeout, keep_response: false, mask: &Mask::default() })
            .await,
    )
}

#[tokio::test]
async fn a_webhook_names_its_ca_and_its_client_certificate() {
    let authority = Authority::new("corp");
    let folder = tempfile::tempdir().expect("a folder");
    let files = authority.files(folder.path());
    let names = |ca: Option<&str>, cert: Option<&str>| TlsNames {
        ca: ca.map(str::to_owned),
        client_cert: cert.map(str::to_owned),
    };
    for (names, expected) in [
        (names(Some("corp"), Some("siem")), "delivered"),
        (
            names(Some("corp"), None),
            "tls: the destination requires a client certificate; set the webhook's tls.client_cert",
        ),
        (names(None, Some("siem")), "tls: the destination's certificate is not signed by a CA"),
        (
            names(Some("other"), None),
            "tls: the server's configuration has no CA bundle named \"other\": there are corp",
        ),
        (names(Some("corp"), Some("x")), "tls: the server's configuration has no client certificate named \"x\""),
    ] {
        let outcome = named(&authority, &files, &names).await;
        assert!(outcome.starts_with(expected), "{names:?}: {outcome}");
    }
}

#[test]
fn files_that_cannot_be_used_are_rejected_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Authority::new("corp").files(folder.path());
    let fails = |files: &TlsFiles, words: &str| {
        let error = Tls::new(files, &[]).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    };
    let (name, cert, key) = files.client_certs[0].clone();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("mode");
    fails(&files, "client certificate siem: ");
    fails(&files, "make its mode 0600");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("mode");
    fails(
        &TlsFiles { client_certs: vec![(name.clone(), key.clone(), key.clone())], ..files.clone() },
        "no certificate in PEM",
    );
    std::fs::set_permissions(&cert, std::fs::Permissions::from_mode(0o600)).expect("mode");
    fails(&TlsFiles { client_certs: vec![(name.clone(), cert.clone(), cert)], ..files.clone() }, "there is none in it");
    fails(
        &TlsFiles { cas: vec![("corp".into(), folder.path().join("absent.pem"))], ..files.clone() },
        "CA bundle corp: ",
    );
    let another = tempfile::tempdir().expect("a folder");
    let foreign = Authority::new("corp").files(another.path()).client_certs.remove(0).2;
    let mixed = TlsFiles { client_certs: vec![(name, files.client_certs[0].1.clone(), foreign)], ..files };
    assert!(matches!(Tls::new(&mixed, &[]), Err(SetupError::File { .. })), "the key of another certificate");
}
