//! An attempt that runs out of time names the phase that used it up.
//!
//! The peers never do what they should, so the limits are short, and nothing here depends on how long a thing takes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::{BoxFuture, Content, Guard, Report, Resolve, ResolveError, Tls, Transport};
use super::peer::{Peer, read_request};
use super::{deliver_bytes, deliver_content, nets, sentence, transport};
use crate::model::settings::{ProxySettings, TlsFiles};
use crate::model::url::DeliveryUrl;

const SHORT: Duration = Duration::from_millis(400);

/// A name server that never answers, except for `good.example`.
struct Silent;

impl Resolve for Silent {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            match host {
                "good.example" => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
                _ => std::future::pending().await,
            }
        })
    }
}

fn silent_names(proxy: Option<ProxySettings>) -> Transport {
    let guard = Arc::new(Guard::new(nets(&["127.0.0.0/8"])));
    let tls = Tls::new(&TlsFiles::default(), &[]).expect("TLS");
    Transport::new(guard, Arc::new(Silent), tls, proxy).expect("a transport")
}

fn proxy(host: &str, port: u16) -> Option<ProxySettings> {
    Some(ProxySettings { host: host.into(), port, authorization: None, except: Vec::new(), sends_names: false })
}

async fn send(transport: &Transport, url: &str) -> Report {
    let url = DeliveryUrl::parse(url).expect("a URL");
    let content = Content::Messages { messages: vec![Bytes::from_static(b"<134>1 x")], alone: false };
    deliver_content(transport, &url, content, SHORT).await
}

/// A port whose queue of connections is full, so that the system drops further attempts; and what keeps it so.
async fn full_port() -> (u16, Vec<Box<dyn std::any::Any>>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bound");
    socket.listen(0).expect("listening");
    let address = socket.local_addr().expect("an address").as_socket().expect("of IPv4");
    let mut kept: Vec<Box<dyn std::any::Any>> = vec![Box::new(socket)];
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        kept.push(Box::new(stream));
    }
    (address.port(), kept)
}

/// Accepts, reads what comes, and says nothing.
async fn mute() -> Peer {
    Peer::playing(|mut stream| async move {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_does_not_finish_is_a_failure_of_the_name() {
    let words = "dns: slow.example: the look-up of this name did not finish within 400 ms";
    let transport = silent_names(None);
    for origin in ["http://slow.example", "https://slow.example:8443"] {
        assert_eq!(sentence(&deliver_bytes(&transport, origin, 10, SHORT).await), words);
    }
    for url in ["syslog+udp://slow.example:514", "syslog+tcp://slow.example:514", "syslog+tls://slow.example:6514"] {
        assert_eq!(sentence(&send(&transport, url).await), words, "{url}");
    }
    // Deliveries behind the first one wait for the same look-up.
    let url = "syslog+tcp://slow.example:515";
    let (first, second) = tokio::join!(send(&transport, url), send(&transport, url));
    assert_eq!((sentence(&first).as_str(), sentence(&second).as_str()), (words, words));
}

#[tokio::test]
async fn a_connection_attempt_without_reply_is_a_failure_to_connect() {
    let words = "connect: the destination did not respond to the connection attempt within 400 ms";
    let (port, _kept) = full_port().await;
    assert_eq!(sentence(&deliver_bytes(&transport(), &format!("http://127.0.0.1:{port}"), 10, SHORT).await), words);
    assert_eq!(sentence(&deliver_bytes(&transport(), &format!("https://127.0.0.1:{port}"), 10, SHORT).await), words);
    assert_eq!(sentence(&send(&transport(), &format!("syslog+tcp://127.0.0.1:{port}")).await), words);
}

#[tokio::test]
async fn a_handshake_that_does_not_finish_is_a_failure_of_tls() {
    let words = "tls: the TLS handshake with the destination did not finish within 400 ms";
    let peer = mute().await;
    assert_eq!(sentence(&deliver_bytes(&transport(), &format!("https://{}", peer.address), 10, SHORT).await), words);
    assert_eq!(sentence(&send(&transport(), &format!("syslog+tls://{}", peer.address)).await), words);
}

#[tokio::test]
async fn each_phase_of_the_proxy_is_named() {
    let origin = "http://good.example:9";
    let (port, _kept) = full_port().await;
    let peer = mute().await;
    let interim = Peer::responding("HTTP/1.1 100 Continue\r\n\r\n").await;
    for (proxy, words) in [
        (proxy("slow.example", 3128), "the look-up of the name of the server's proxy did not finish"),
        (proxy("127.0.0.1", port), "the server's proxy did not respond to the connection attempt"),
        (proxy("127.0.0.1", peer.address.port()), "the server's proxy did not connect to the destination"),
        (proxy("127.0.0.1", interim.address.port()), "the server's proxy did not connect to the destination"),
    ] {
        let report = deliver_bytes(&silent_names(proxy), origin, 10, SHORT).await;
        assert_eq!(sentence(&report), format!("connect: {words} within 400 ms"));
    }
}

#[tokio::test]
async fn behind_the_proxy_the_handshake_is_named() {
    let peer = Peer::playing(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let transport = silent_names(proxy("127.0.0.1", peer.address.port()));
    let words = "tls: the TLS handshake with the destination did not finish within 400 ms";
    assert_eq!(sentence(&deliver_bytes(&transport, "https://good.example", 10, SHORT).await), words);
}

#[tokio::test]
async fn a_request_that_is_not_read_is_told_from_one_without_a_response() {
    let (unread, sent) =
        ("the destination did not read the whole request", "the request was sent, but no response came");
    // More than the system's buffers hold, and little.
    for (bytes, words) in [(32 * 1024 * 1024, unread), (10, sent)] {
        let peer = Peer::playing(|stream| async move {
            // Holds the connection without reading from it.
            let _stream = stream;
            std::future::pending::<()>().await;
        })
        .await;
        let report = deliver_bytes(&transport(), &peer.origin(), bytes, SHORT).await;
        assert_eq!(sentence(&report), format!("timeout: {words} within 400 ms"), "{bytes}");
    }
}

#[tokio::test]
async fn a_response_is_told_from_its_beginning_and_from_interim_ones() {
    let begun = "the request was sent and a response began, but its head did not end";
    for (response, words) in [
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\n\r\n", "the request was sent, but no response came"),
        ("H", begun),
        ("HTTP/1.1 200 OK\r\nA: b\r\n", begun),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", begun),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            "the destination responded with 200 OK, but its response did not end",
        ),
    ] {
        let peer = Peer::responding(response).await;
        let report = deliver_bytes(&transport(), &peer.origin(), 10, SHORT).await;
        assert_eq!(sentence(&report), format!("timeout: {words} within 400 ms"), "{response:?}");
    }
}
