//! Syslog, against collectors that work and collectors that fail.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::super::{Content, Guard, Request, Tls, Transport};
use super::peer::Peer;
use super::tls::{Authority, server};
use super::{Table, nets, sentence, transport};
use crate::model::mask::Mask;
use crate::model::settings::TlsFiles;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::TlsNames;

async fn send_as(transport: &Transport, url: &str, names: &TlsNames, messages: &[&str], ms: u64) -> String {
    let url = DeliveryUrl::parse(url).expect("a URL");
    let messages = messages.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
    let content = Content::Messages { messages, alone: false };
    let timeout = Duration::from_millis(ms);
    sentence(
        &transport
            .deliver(Request { url: &url, tls: names, content, timeout, keep_response: false, mask: &Mask::default() })
            .await,
    )
}

async fn send(transport: &Transport, url: &str, message: &str) -> String {
    send_as(transport, url, &TlsNames::default(), &[message], 20_000).await
}

/// A collector that reports the first `count` bytes of each connection, and keeps reading.
async fn reading(count: usize) -> (Peer, mpsc::UnboundedReceiver<String>) {
    let (report, received) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |mut stream| {
        let report = report.clone();
        async move {
            let mut all = vec![0; count];
            if stream.read_exact(&mut all).await.is_ok() {
                let _ = report.send(String::from_utf8(all).expect("text"));
            }
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    })
    .await;
    (peer, received)
}

#[tokio::test]
async fn messages_are_framed_and_share_a_connection() {
    for (query, expected) in [("", "10 <134>1 one10 <134>1 two"), ("?framing=lf", "<134>1 one\n<134>1 two\n")] {
        let (peer, mut received) = reading(expected.len()).await;
        let (transport, url) = (transport(), format!("syslog+tcp://{}{query}", peer.address));
        assert_eq!(send(&transport, &url, "<134>1 one").await, "delivered");
        assert_eq!(send(&transport, &url, "<134>1 two").await, "delivered");
        assert_eq!(received.recv().await.as_deref(), Some(expected));
        assert_eq!(peer.connections(), 1);
    }
}

#[tokio::test]
async fn many_at_once_go_over_one_connection_whole() {
    let messages: Vec<String> = (0..200).map(|number| format!("<134>1 {number:03} {}", "x".repeat(500))).collect();
    let frame = |message: &String| format!("{} {message}", message.len());
    let (peer, mut received) = reading(messages.iter().map(|message| frame(message).len()).sum()).await;
    let (transport, url) = (Arc::new(transport()), format!("syslog+tcp://{}", peer.address));
    let mut tasks = tokio::task::JoinSet::new();
    for message in messages.clone() {
        let (transport, url) = (Arc::clone(&transport), url.clone());
        tasks.spawn(async move { send(&transport, &url, &message).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        assert_eq!(outcome.expect("a task"), "delivered");
    }
    let read = received.recv().await.expect("everything");
    for message in &messages {
        assert!(read.contains(&frame(message)), "{message}");
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_collector_that_closes_on_a_message_has_not_accepted_it() {
    let peer = Peer::playing(|mut stream| async move {
        let _ = stream.read(&mut [0; 100]).await;
    })
    .await;
    let (transport, url) = (transport(), format!("syslog+tcp://{}", peer.address));
    for connections in [1, 2] {
        let outcome = send(&transport, &url, "<134>1 x").await;
        assert!(
            outcome.starts_with("connect: the message was sent, but the destination closed the connection"),
            "{outcome}"
        );
        assert_eq!(peer.connections(), connections);
    }
}

#[tokio::test]
async fn a_half_closed_connection_is_not_written_to() {
    let (report, mut half_closed) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |mut stream| {
        let report = report.clone();
        async move {
            let _ = stream.read(&mut [0; 100]).await;
            // Accepts the message, and closes its side well after the settle time.
            tokio::time::sleep(Duration::from_millis(400)).await;
            let _ = stream.shutdown().await;
            let _ = report.send(());
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "{rest:?}");
        }
    })
    .await;
    let (transport, url) = (transport(), format!("syslog+tcp://{}", peer.address));
    assert_eq!(send(&transport, &url, "<134>1 x").await, "delivered");
    half_closed.recv().await.expect("half closed");
    // The end of the connection may be noticed a little later than it was sent.
    let mut outcome = send(&transport, &url, "<134>1 x").await;
    while peer.connections() < 2 {
        outcome = send(&transport, &url, "<134>1 x").await;
    }
    assert_eq!(outcome, "delivered");
}

/// The collector reads nothing. Messages count that its machine acknowledged into the receive buffer; no others do.
#[tokio::test]
async fn attempts_to_a_collector_that_stops_reading_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (transport, url) = (transport(), format!("syslog+tcp://{address}"));
    let message = format!("<134>1 {}", "x".repeat(7000));
    let frame = message.len() + 5;
    let messages = vec![message.as_str(); 4];
    let mut delivered = 0;
    let failed = loop {
        match send_as(&transport, &url, &TlsNames::default(), &messages, 1000).await.as_str() {
            "delivered" => delivered += 4,
            failed => break failed.to_owned(),
        }
        assert!(delivered < 100_000, "no receive buffer is that large");
    };
    assert!(delivered > 0);
    assert_eq!(failed, "timeout: the destination did not acknowledge the message within 1000 ms");
    let (mut stream, _) = listener.accept().await.expect("the connection");
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    assert!(read.len() >= delivered * frame, "{} bytes read, {delivered} messages delivered", read.len());
}

#[tokio::test]
async fn a_collector_that_is_killed_with_messages_unread_has_not_accepted_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let killed = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.readable().await.expect("a message");
        // Closing with unread data makes the system send a reset, as for a process that was killed.
        drop(stream);
        listener
    });
    let (transport, url) = (transport(), format!("syslog+tcp://{address}"));
    let outcome = send(&transport, &url, "<134>1 x").await;
    assert!(outcome.starts_with("connect: the message was sent, but"), "{outcome}");
    drop(killed.await);
    let outcome = send(&transport, &url, "<134>1 x").await;
    assert_eq!(outcome, "connect: the destination refused the connection: nothing listens on this port");
}

#[tokio::test]
async fn a_peer_that_sends_data_is_disconnected() {
    let peer = Peer::playing(|mut stream| async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} }).await;
    let outcome = send(&transport(), &format!("syslog+tcp://{}", peer.address), "<134>1 x").await;
    assert_eq!(outcome, "protocol: the destination sends data over a syslog connection, where no response is expected");
}

#[tokio::test]
async fn a_datagram_is_the_message_and_a_closed_port_is_noticed() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let address = socket.local_addr().expect("address");
    let (transport, url) = (transport(), format!("syslog+udp://{address}"));
    assert_eq!(send(&transport, &url, "<134>1 one").await, "delivered");
    let mut datagram = [0; 100];
    let read = socket.recv(&mut datagram).await.expect("a datagram");
    assert_eq!(&datagram[..read], b"<134>1 one");
    drop(socket);
    let outcome = send(&transport, &url, "<134>1 two").await;
    assert_eq!(outcome, "connect: the destination refused the connection: nothing listens on this port");
}

#[tokio::test]
async fn the_guard_judges_syslog_addresses_too() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let port = socket.local_addr().expect("address").port();
    let names = Table::of(&[("siem.example", &["127.0.0.1", "93.184.215.14"])]);
    let tls = Tls::new(&TlsFiles::default(), &[]).expect("TLS");
    let closed = Transport::new(Arc::new(Guard::new(Vec::new())), names, tls, None).expect("transport");
    for scheme in ["syslog+udp", "syslog+tcp", "syslog+tls"] {
        for host in ["127.0.0.1", "0x7f.1", "siem.example"] {
            let url = format!("{scheme}://{host}:{port}");
            let outcome = send(&closed, &url, "<134>1 x").await;
            assert!(outcome.starts_with("policy: ") && outcome.contains("127.0.0.1"), "{url}: {outcome}");
            let url = DeliveryUrl::parse(&url).expect("a URL");
            assert!(closed.check_destination(&url).await.is_err(), "{url:?}");
        }
    }
    assert!(socket.try_recv(&mut [0; 10]).is_err(), "something was sent");
}

/// A collector over TLS that keeps reading, and accepts only clients of the authority `clients` if that is given.
async fn over_tls(authority: &Authority, clients: Option<&Authority>) -> (Peer, mpsc::UnboundedReceiver<Vec<u8>>) {
    let acceptor = TlsAcceptor::from(Arc::new(server(authority.issue(&["127.0.0.1"], -1, 1), clients)));
    let (report, received) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |stream: TcpStream| {
        let (acceptor, report) = (acceptor.clone(), report.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut chunk = [0; 1000];
            while let Ok(read @ 1..) = stream.read(&mut chunk).await {
                let _ = report.send(chunk[..read].to_vec());
            }
        }
    })
    .await;
    (peer, received)
}

#[tokio::test]
async fn over_tls_both_sides_are_verified() {
    let (authority, folder) = (Authority::new("corp"), tempfile::tempdir().expect("a folder"));
    let tls = Tls::new(&authority.files(folder.path()), &[]).expect("TLS");
    let guard = Arc::new(Guard::new(nets(&["127.0.0.0/8"])));
    let transport = Transport::new(guard, Table::of(&[]), tls, None).expect("transport");
    let corp = TlsNames { ca: Some("corp".into()), client_cert: None };
    let both = TlsNames { client_cert: Some("siem".into()), ..corp.clone() };
    let send = async |url: &str, names: &TlsNames| send_as(&transport, url, names, &["<134>1 x"], 20_000).await;

    let (peer, mut received) = over_tls(&authority, None).await;
    let url = format!("syslog+tls://{}", peer.address);
    assert_eq!(send(&url, &corp).await, "delivered");
    assert_eq!(received.recv().await.as_deref(), Some(&b"8 <134>1 x"[..]));
    assert_eq!(send(&url, &corp).await, "delivered");
    assert_eq!(peer.connections(), 1);
    let outcome = send(&url, &TlsNames::default()).await;
    assert!(outcome.starts_with("tls: the destination's certificate is not signed by a CA"), "{outcome}");

    let (peer, mut received) = over_tls(&authority, Some(&authority)).await;
    let url = format!("syslog+tls://{}", peer.address);
    // With TLS 1.3 the rejection arrives after the handshake is complete on our side.
    assert_eq!(
        send(&url, &corp).await,
        "tls: the destination requires a client certificate; set the webhook's tls.client_cert"
    );
    assert!(received.try_recv().is_err());
    assert_eq!(send(&url, &both).await, "delivered");
    assert_eq!(received.recv().await.as_deref(), Some(&b"8 <134>1 x"[..]));

    let clear = Peer::playing(|mut stream| async move {
        let _ = stream.write_all(b"220 ready\r\n").await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let outcome = send(&format!("syslog+tls://{}", clear.address), &corp).await;
    assert_eq!(outcome, "tls: the destination does not speak TLS on this port");
}
