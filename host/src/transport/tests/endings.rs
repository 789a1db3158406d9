//! Connections that end in the middle of something: RFC 9112, sections 6.3, 8, 9.3, 9.6 and 9.8.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::http2::{END_STREAM, HEADERS, SETTINGS, frame, head, read_frame};
use super::peer::{Peer, read_request};
use super::tls::{Authority, server};
use super::{Table, deliver, deliver_bytes, sentence, transport, transport_with};

/// More than the system's buffers hold, so that a part stays unwritten as long as the peer does not read.
const LARGE: usize = 32 * 1024 * 1024;
/// Long enough for every machine; nothing is expected to take it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads the beginning of a request, at least its head.
async fn read_some(stream: &mut TcpStream) {
    let mut some = [0; 2048];
    let _ = stream.read(&mut some).await;
}

/// Section 9.3: a client watches for a response while it writes. The peer closes with most of the request unread, so
/// that its system sends a reset.
#[tokio::test]
async fn a_response_before_the_request_is_read_counts_although_the_connection_breaks() {
    for (head, outcome, status) in [
        ("413 X\r\nConnection: close", "status: the destination responded with 413 Payload Too Large", 413),
        ("401 X", "status: the destination responded with 401 Unauthorized", 401),
        ("200 OK", "delivered", 200),
    ] {
        for bytes in [100_000, LARGE] {
            let peer = Peer::playing(move |mut stream| async move {
                read_some(&mut stream).await;
                let response = format!("HTTP/1.1 {head}\r\nContent-Length: 2\r\n\r\nno");
                let _ = stream.write_all(response.as_bytes()).await;
            })
            .await;
            let report = deliver_bytes(&transport(), &peer.origin(), bytes, PATIENCE).await;
            assert_eq!((sentence(&report).as_str(), report.status), (outcome, Some(status)), "{head:?} {bytes}");
            assert_eq!(peer.connections(), 1, "{head:?} {bytes}");
        }
    }
}

/// Such a peer may also stay, without reading on. The response counts, and the connection ends with the attempt: it
/// would hold a socket, a task and the request for as long as the peer likes.
#[tokio::test]
async fn a_connection_with_an_unread_request_ends_with_the_attempt() {
    for connection in ["close", "keep-alive"] {
        let (sender, mut ended) = mpsc::unbounded_channel();
        let is_over = Arc::new(Notify::new());
        let over = Arc::clone(&is_over);
        let peer = Peer::playing(move |mut stream| {
            let (sender, over) = (sender.clone(), Arc::clone(&over));
            async move {
                read_some(&mut stream).await;
                let response = format!("HTTP/1.1 200 OK\r\nConnection: {connection}\r\nContent-Length: 2\r\n\r\nok");
                let _ = stream.write_all(response.as_bytes()).await;
                over.notified().await;
                // The end of the connection stands behind what the system had taken of the request.
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                let _ = sender.send(rest.len());
            }
        })
        .await;
        let transport = transport();
        let report = deliver_bytes(&transport, &peer.origin(), LARGE, PATIENCE).await;
        assert_eq!((sentence(&report).as_str(), report.status), ("delivered", Some(200)), "{connection}");
        is_over.notify_one();
        let read = timeout(PATIENCE, ended.recv()).await.expect("the connection ends").expect("a report");
        assert!(read < LARGE / 2, "{connection}: {read}");
    }
}

/// The same over HTTP/2, where the peer grants no more than the first window of 65,535 bytes (RFC 9113, section 6.9.2).
#[tokio::test]
async fn an_http2_connection_with_an_unread_request_ends_with_the_attempt() {
    let authority = Authority::new("ours");
    let mut config = server(authority.issue(&["127.0.0.1"], -1, 1), None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (sender, mut ended) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |stream| {
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = stream.read_exact(&mut [0; 24]).await;
            let _ = stream.write_all(&frame(SETTINGS, 0, 0, &[])).await;
            while let Some((kind, _, id)) = read_frame(&mut stream).await {
                if kind == HEADERS {
                    let _ = stream.write_all(&head(id, END_STREAM, &[(":status", "200")])).await;
                }
            }
            let _ = sender.send(());
        }
    })
    .await;
    let transport = transport_with(&["127.0.0.0/8"], Table::of(&[]), &[authority.root()]);
    let report = deliver_bytes(&transport, &format!("https://{}", peer.address), 1024 * 1024, PATIENCE).await;
    assert_eq!((sentence(&report).as_str(), report.status), ("delivered", Some(200)));
    timeout(PATIENCE, ended.recv()).await.expect("the connection ends").expect("a report");
}

/// A peer that responds early and reads on is no such peer.
#[tokio::test]
async fn a_large_request_is_written_whole() {
    let peer = Peer::responding("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let transport = transport();
    for bytes in [16 * 1024, 16 * 1024 + 1, 65_535, 65_536, 1024 * 1024] {
        assert_eq!(sentence(&deliver_bytes(&transport, &peer.origin(), bytes, PATIENCE).await), "delivered", "{bytes}");
    }
}

/// Sections 6.3 and 8: a reset behind a complete response changes nothing, and ends a body that only the connection ends.
#[tokio::test]
async fn a_reset_ends_what_the_connection_ends() {
    let cut = "connect: the destination responded with 200 OK, but the connection closed in the middle of its response";
    for (response, outcome) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "delivered"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "delivered"),
        ("HTTP/1.1 200 OK\r\n\r\nok", "delivered"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", cut),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", cut),
    ] {
        let peer = Peer::playing(move |mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(response.as_bytes()).await;
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
        })
        .await;
        let report = deliver(&transport(), &peer.origin()).await;
        assert_eq!((sentence(&report).as_str(), report.status), (outcome, Some(200)), "{response:?}");
    }
}

/// Section 9.8: without `close_notify` a connection over TLS ends incompletely. What has an end of its own is complete;
/// a body that only the connection ends is taken as it is, as without TLS.
#[tokio::test]
async fn a_tls_connection_that_just_closes_ends_what_the_connection_ends() {
    let authority = Authority::new("ours");
    let cut = "connect: the destination responded with 200 OK, but the connection closed in the middle of its response";
    for (response, outcome) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "delivered"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "delivered"),
        ("HTTP/1.1 200 OK\r\n\r\nok", "delivered"),
        ("HTTP/1.0 200 OK\r\n\r\nok", "delivered"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", "delivered"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", cut),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", cut),
    ] {
        let acceptor = TlsAcceptor::from(Arc::new(server(authority.issue(&["127.0.0.1"], -1, 1), None)));
        let peer = Peer::playing(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                read_request(&mut stream).await;
                let _ = stream.write_all(response.as_bytes()).await;
                let _ = stream.flush().await;
                // The connection below TLS is closed, and no alert is sent.
                let _ = stream.get_mut().0.shutdown().await;
            }
        })
        .await;
        let transport = transport_with(&["127.0.0.0/8"], Table::of(&[]), &[authority.root()]);
        let report = deliver(&transport, &format!("https://{}", peer.address)).await;
        let excerpt = report.excerpt.as_deref();
        assert_eq!(
            (sentence(&report).as_str(), report.status, excerpt),
            (outcome, Some(200), Some("ok")),
            "{response:?}"
        );
    }
}

/// Section 9.8: a client sends `close_notify` before it closes.
#[tokio::test]
async fn a_tls_connection_is_closed_with_an_alert() {
    let authority = Authority::new("ours");
    let acceptor = TlsAcceptor::from(Arc::new(server(authority.issue(&["127.0.0.1"], -1, 1), None)));
    let (sender, mut ended) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |stream| {
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            read_request(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
            let _ = stream.flush().await;
            // rustls reports an end without the alert as an error.
            let _ = sender.send(stream.read(&mut [0; 10]).await.map_err(|error| error.to_string()));
        }
    })
    .await;
    let transport = transport_with(&["127.0.0.0/8"], Table::of(&[]), &[authority.root()]);
    assert_eq!(sentence(&deliver(&transport, &format!("https://{}", peer.address)).await), "delivered");
    assert_eq!(timeout(PATIENCE, ended.recv()).await.expect("an end"), Some(Ok(0)));
}

/// RFC 9110, section 6.5.1: a trailer is not merged into the head. Section 5.6.7: a date has one of three formats.
#[tokio::test]
async fn a_wait_is_read_from_the_head_in_every_format_of_a_date() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (head, body, wait) in [
        ("Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n", "", Some(60)),
        ("Retry-After: Sunday, 06-Nov-94 08:50:37 GMT\r\n", "", Some(60)),
        ("Retry-After: Sun Nov  6 08:50:37 1994\r\n", "", Some(60)),
        ("", "Retry-After: 9\r\n", None),
    ] {
        let response =
            format!("HTTP/1.1 503 No\r\n{date}{head}Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n{body}\r\n");
        let peer = Peer::responding(response).await;
        let report = deliver(&transport(), &peer.origin()).await;
        assert_eq!(
            (report.status, report.retry_after),
            (Some(503), wait.map(Duration::from_secs)),
            "{head:?} {body:?}"
        );
    }
}

/// The fields that have a meaning are found behind any number of others.
#[tokio::test]
async fn a_wait_is_found_behind_many_fields() {
    let fields = "X: y\r\n".repeat(3000);
    let peer = Peer::responding(format!(
        "HTTP/1.1 503 No\r\n{fields}Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n{fields}retry-after : 7\r\nContent-Length: 0\r\n\r\n"
    ))
    .await;
    let report = deliver(&transport(), &peer.origin()).await;
    assert_eq!((report.status, report.retry_after), (Some(503), Some(Duration::from_secs(7))));
}
