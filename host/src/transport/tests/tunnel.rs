//! Deliveries through a proxy that reports the requests it receives.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::super::{Content, Guard, Request, Tls, Transport};
use super::peer::Peer;
use super::{Table, nets, sentence, url};
use crate::model::mask::Mask;
use crate::model::secret::Secret;
use crate::model::settings::{ProxySettings, TlsFiles};
use crate::model::webhook::TlsNames;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A proxy that responds to `CONNECT` with this line, and connects to `to` if that is a 200. If `line` has a body, the
/// connection stays open after it, as with real proxies.
async fn proxy(line: &'static str, to: std::net::SocketAddr) -> (Peer, mpsc::UnboundedReceiver<String>) {
    let (report, requests) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |mut stream| {
        let report = report.clone();
        async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                request.push(byte);
            }
            let _ = report.send(String::from_utf8(request).expect("text"));
            if line.contains("\r\n\r\n") {
                let _ = stream.write_all(line.as_bytes()).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
                return;
            }
            let _ = stream.write_all(format!("{line}\r\n\r\n").as_bytes()).await;
            if line.contains("200") {
                let mut onward = TcpStream::connect(to).await.expect("the destination");
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            }
        }
    })
    .await;
    (peer, requests)
}

/// A proxy that sends this head and connects to `to`.
async fn proxy_with(head: String, to: std::net::SocketAddr) -> (Peer, mpsc::UnboundedReceiver<String>) {
    let (report, requests) = mpsc::unbounded_channel();
    let head: Arc<str> = head.into();
    let peer = Peer::playing(move |mut stream| {
        let (report, head) = (report.clone(), Arc::clone(&head));
        async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                request.push(byte);
            }
            let _ = report.send(String::from_utf8(request).expect("text"));
            if stream.write_all(head.as_bytes()).await.is_ok() {
                let mut onward = TcpStream::connect(to).await.expect("the destination");
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            }
        }
    })
    .await;
    (peer, requests)
}

fn settings(proxy: &Peer) -> ProxySettings {
    ProxySettings {
        host: proxy.address.ip().to_string(),
        port: proxy.address.port(),
        authorization: None,
        except: Vec::new(),
        sends_names: false,
    }
}

async fn through(settings: ProxySettings, origin: &str, allow: &[&str]) -> String {
    let names = Table::of(&[("hooks.example", &["127.0.0.1"]), ("inner.example", &["10.9.9.9"])]);
    let tls = Tls::new(&TlsFiles::default(), &[]).expect("TLS");
    let transport = Transport::new(Arc::new(Guard::new(nets(allow))), names, tls, Some(settings)).expect("transport");
    let url = url(origin);
    let content = Content::Body { headers: HeaderMap::new(), body: Bytes::from_static(b"x") };
    let (tls, timeout) = (&TlsNames::default(), Duration::from_secs(20));
    sentence(
        &transport
            .deliver(Request { url: &url, tls, content, timeout, keep_response: false, mask: &Mask::default() })
            .await,
    )
}

#[tokio::test]
async fn the_proxy_is_told_the_address_that_was_judged() {
    let destination = Peer::responding(OK).await;
    let (peer, mut requests) = proxy("HTTP/1.1 200 Connection established", destination.address).await;
    let origin = format!("http://hooks.example:{}", destination.address.port());
    assert_eq!(through(settings(&peer), &origin, &["127.0.0.0/8"]).await, "delivered");
    let request = requests.recv().await.expect("a request");
    assert!(request.starts_with(&format!("CONNECT {} HTTP/1.1\r\nHost: {0}\r\n", destination.address)), "{request}");
    assert!(!request.contains("Authorization"), "{request}");

    let named = ProxySettings { sends_names: true, authorization: Some(Secret::new("Basic dTpw")), ..settings(&peer) };
    assert_eq!(through(named, &origin, &["127.0.0.0/8"]).await, "delivered");
    let request = requests.recv().await.expect("a request");
    assert!(
        request.starts_with(&format!("CONNECT hooks.example:{} HTTP/1.1\r\n", destination.address.port())),
        "{request}"
    );
    assert!(request.contains("\r\nProxy-Authorization: Basic dTpw\r\n"), "{request}");
}

#[tokio::test]
async fn the_guard_decides_before_the_proxy_is_asked() {
    let destination = Peer::responding(OK).await;
    let (peer, mut requests) = proxy("HTTP/1.1 200 OK", destination.address).await;
    for sends_names in [false, true] {
        let settings = ProxySettings { sends_names, ..settings(&peer) };
        let outcome = through(settings, "http://inner.example", &["127.0.0.0/8"]).await;
        assert!(outcome.starts_with("policy: inner.example resolves to 10.9.9.9"), "{outcome}");
    }
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn excepted_networks_are_reached_directly() {
    let destination = Peer::responding(OK).await;
    let (peer, mut requests) = proxy("HTTP/1.1 200 OK", destination.address).await;
    let except = ProxySettings { except: nets(&["127.0.0.0/8"]), ..settings(&peer) };
    assert_eq!(through(except, &destination.origin(), &["127.0.0.0/8"]).await, "delivered");
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_rejection_by_the_proxy_is_reported() {
    let destination = Peer::responding(OK).await;
    for (line, expected) in [
        (
            "HTTP/1.1 403 Forbidden",
            "connect: the server's proxy did not connect to the destination: it responded with 403 Forbidden",
        ),
        (
            "HTTP/1.1 407 Who are you",
            "connect: the server's proxy did not connect to the destination: it responded with 407 Proxy Authentication \
             Required; an operator sets a user and a password in --proxy",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n<p>No</p>",
            "connect: the server's proxy did not connect to the destination: it responded with 403 Forbidden",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nhello", "connect: the response of the server's proxy is not HTTP"),
        ("SSH-2.0-x", "connect: the response of the server's proxy is not HTTP"),
        ("HTTP/2.0 200 OK", "connect: the response of the server's proxy is not HTTP"),
        ("HTTP/1.1 600 No", "connect: the server's proxy did not connect to the destination: it responded with 600"),
    ] {
        let (peer, _requests) = proxy(line, destination.address).await;
        assert_eq!(through(settings(&peer), &destination.origin(), &["127.0.0.0/8"]).await, expected);
    }
    let unreachable = ProxySettings { port: 1, ..settings(&destination) };
    let outcome = through(unreachable, &destination.origin(), &["127.0.0.0/8"]).await;
    assert_eq!(outcome, "connect: the server's proxy cannot be reached: nothing listens there");
}

/// RFC 9110, sections 9.3.6 and 15.2, and RFC 9112, section 2.2, for the response to `CONNECT`.
#[tokio::test]
async fn every_2xx_of_the_proxy_opens_a_tunnel() {
    let destination = Peer::responding(OK).await;
    for line in [
        "HTTP/1.1 200",
        "HTTP/1.0 200 Connection established\nVia: a",
        "HTTP/1.2 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 299 Whatever",
        "HTTP/1.1 200 OK\r\nA: b\r\n c",
    ] {
        let (peer, _requests) = proxy_with(format!("{line}\r\n\r\n"), destination.address).await;
        assert_eq!(through(settings(&peer), &destination.origin(), &["127.0.0.0/8"]).await, "delivered", "{line}");
    }
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\nA: b\n\nHTTP/1.1 200 OK\r\n\r\n";
    let (peer, _requests) = proxy_with(interim.to_owned(), destination.address).await;
    assert_eq!(through(settings(&peer), &destination.origin(), &["127.0.0.0/8"]).await, "delivered");
}

/// The limit is the one of destinations, and counts bytes, not fields.
#[tokio::test]
async fn the_head_of_the_proxys_response_has_64_kib() {
    let destination = Peer::responding(OK).await;
    let start = "HTTP/1.1 200 OK\r\n";
    let lines = (64 * 1024 - start.len() - 2) / 4;
    let words = "connect: the head of the response of the server's proxy does not end within 64 KiB";
    for (more, outcome) in [(0, "delivered"), (1, words), (1000, words)] {
        let head = format!("{start}{}\r\n", "a:\r\n".repeat(lines + more));
        let (peer, _requests) = proxy_with(head, destination.address).await;
        assert_eq!(through(settings(&peer), &destination.origin(), &["127.0.0.0/8"]).await, outcome, "{more}");
    }
}
