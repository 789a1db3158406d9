//! Connection reuse, and which requests are repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::super::Content;
use super::super::Request;
use super::peer::{Peer, read_request};
use super::{Table, deliver, deliver_within, sentence, transport, transport_with, url};
use crate::model::mask::Mask;
use crate::model::webhook::TlsNames;

#[tokio::test]
async fn one_connection_serves_many_responses_each_with_its_own_budget() {
    let mut response = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n".to_vec();
    response.resize(response.len() + 60_000, b'x');
    let peer = Peer::responding(response).await;
    let transport = transport();
    for _ in 0..20 {
        assert_eq!(sentence(&deliver(&transport, &peer.origin()).await), "delivered");
        // The connection goes back to the pool once its task has run.
        sleep(Duration::from_millis(2)).await;
    }
    assert!(peer.connections() < 5, "{}", peer.connections());
}

#[tokio::test]
async fn an_idle_connection_that_died_costs_no_attempt() {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let peer = Peer::playing(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_request(&mut stream).await;
            seen.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            // Reads one more request and closes without a response.
            if read_request(&mut stream).await {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let transport = transport();
    for _ in 0..2 {
        assert_eq!(sentence(&deliver(&transport, &peer.origin()).await), "delivered");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((peer.connections(), requests.load(Ordering::SeqCst)), (2, 3));
}

/// An idle connection that ends in the middle of a head was not closed before the request arrived.
#[tokio::test]
async fn a_request_is_not_repeated_once_a_response_began() {
    let peer = Peer::playing(|mut stream| async move {
        for response in [&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..], b"H"] {
            read_request(&mut stream).await;
            let _ = stream.write_all(response).await;
        }
    })
    .await;
    let transport = transport();
    assert_eq!(sentence(&deliver(&transport, &peer.origin()).await), "delivered");
    let failure = "connect: the request was sent, but the connection closed before a response";
    assert_eq!(sentence(&deliver(&transport, &peer.origin()).await), failure);
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_new_connection_that_closes_is_not_repeated() {
    let peer = Peer::closing_after("").await;
    assert!(sentence(&deliver(&transport(), &peer.origin()).await).starts_with("connect: "));
    assert_eq!(peer.connections(), 1);
}

/// A timed-out attempt must not leave a socket and a task behind.
#[tokio::test]
async fn an_attempt_that_ends_early_leaves_no_connection() {
    for (head, outcome) in [
        ("", "timeout: the request was sent, but no response came within 300 ms"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            "timeout: the destination responded with 200 OK, but its response did not end within 300 ms",
        ),
    ] {
        let (sender, mut closed) = mpsc::unbounded_channel();
        let peer = Peer::playing(move |mut stream| {
            let sender = sender.clone();
            async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = sender.send(!read_request(&mut stream).await);
            }
        })
        .await;
        let transport = transport();
        assert_eq!(sentence(&deliver_within(&transport, &peer.origin(), Duration::from_millis(300)).await), outcome);
        let closed = timeout(Duration::from_secs(10), closed.recv()).await.expect("closed in time");
        assert_eq!(closed, Some(true), "{head:?}");
    }
}

#[tokio::test]
async fn a_literal_ipv6_address_is_reached() {
    // Without IPv6 on this machine there is nothing to test.
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let origin = format!("http://{}", listener.local_addr().expect("address"));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("connection");
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("response");
    });
    assert_eq!(sentence(&deliver(&transport(), &origin).await), "delivered");
}

#[tokio::test]
async fn bytes_after_a_response_do_not_reach_the_next_delivery() {
    let response =
        "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nHTTP/1.1 500 Injected\r\nContent-Length: 0\r\n\r\n";
    let peer = Peer::responding(response).await;
    let transport = transport();
    for _ in 0..5 {
        let report = deliver(&transport, &peer.origin()).await;
        assert_eq!(
            (sentence(&report).as_str(), report.status, report.excerpt.as_deref()),
            ("delivered", Some(204), Some(""))
        );
    }
    assert_eq!(peer.connections(), 5);
}

#[tokio::test]
async fn the_request_is_what_was_given_and_no_cookie_comes_back() {
    let (sender, mut heads) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |mut stream| {
        let sender = sender.clone();
        async move {
            let mut request = vec![0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut request).await {
                let _ = sender.send(String::from_utf8_lossy(&request[..read]).into_owned());
                let response = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.write_all(response).await;
            }
        }
    })
    .await;
    let transport = transport();
    let url = url(&peer.origin());
    for body in [&b"{}"[..], b"", b"{}"] {
        let mut headers = HeaderMap::new();
        headers.insert("x-one", HeaderValue::from_static("1"));
        let body = Bytes::from_static(body);
        let length = body.len();
        let timeout = Duration::from_secs(20);
        let report = transport
            .deliver(Request {
                url: &url,
                tls: &TlsNames::default(),
                content: Content::Body { headers, body },
                timeout,
                keep_response: false,
                mask: &Mask::default(),
            })
            .await;
        assert_eq!(sentence(&report), "delivered");
        let mut lines: Vec<_> = heads.recv().await.expect("request").split("\r\n").map(str::to_lowercase).collect();
        let sent_body = lines.pop();
        lines.sort();
        let path = url.expose().split_once(&peer.address.to_string()).expect("path").1;
        let mut expected = vec![
            String::new(),
            format!("content-length: {length}"),
            format!("host: {}", peer.address),
            format!("post {path} http/1.1"),
            "x-one: 1".into(),
        ];
        expected.sort();
        assert_eq!(lines, expected);
        assert_eq!(sent_body.map(|text| text.len()), Some(length));
    }
}

#[tokio::test]
async fn a_name_with_a_dead_address_reaches_the_other() {
    let peer = Peer::responding("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let names = Table::of(&[("two.example", &["127.0.0.2", "127.0.0.1"]), ("v6.example", &["::1", "127.0.0.1"])]);
    let transport = transport_with(&["127.0.0.0/8", "::1/128"], names, &[]);
    for name in ["two.example", "v6.example"] {
        let origin = format!("http://{name}:{}", peer.address.port());
        assert_eq!(sentence(&deliver(&transport, &origin).await), "delivered", "{name}");
    }
}
