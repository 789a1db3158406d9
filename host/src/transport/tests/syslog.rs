//! Syslog against collectors that behave and that do not.

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
use super::{Table, end, nets, transport};
use crate::model::settings::TlsFiles;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::TlsNames;

async fn say_as(transport: &Transport, url: &str, names: &TlsNames, messages: &[&str], ms: u64) -> String {
    let url = DeliveryUrl::parse(url).expect("a URL");
    let messages = messages.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
    let content = Content::Messages { messages, alone: false };
    let timeout = Duration::from_millis(ms);
    end(&transport.deliver(Request { url: &url, tls: names, content, timeout, keep_answer: false }).await)
}

async fn say(transport: &Transport, url: &str, message: &str) -> String {
    say_as(transport, url, &TlsNames::default(), &[message], 20_000).await
}

/// A collector that tells what it read from each connection when that ends, and meanwhile keeps reading.
async fn reading(count: usize) -> (Peer, mpsc::UnboundedReceiver<String>) {
    let (tell, heard) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |mut stream| {
        let tell = tell.clone();
        async move {
            let mut all = vec![0; count];
            if stream.read_exact(&mut all).await.is_ok() {
                let _ = tell.send(String::from_utf8(all).expect("text"));
            }
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    })
    .await;
    (peer, heard)
}

#[tokio::test]
async fn messages_are_framed_and_share_a_connection() {
    for (query, expected) in [("", "10 <134>1 one10 <134>1 two"), ("?framing=lf", "<134>1 one\n<134>1 two\n")] {
        let (peer, mut heard) = reading(expected.len()).await;
        let (transport, url) = (transport(), format!("syslog+tcp://{}{query}", peer.address));
        assert_eq!(say(&transport, &url, "<134>1 one").await, "delivered");
        assert_eq!(say(&transport, &url, "<134>1 two").await, "delivered");
        assert_eq!(heard.recv().await.as_deref(), Some(expected));
        assert_eq!(peer.connections(), 1);
    }
}

#[tokio::test]
async fn many_at_once_go_over_one_connection_whole() {
    let messages: Vec<String> = (0..200).map(|number| format!("<134>1 {number:03} {}", "x".repeat(500))).collect();
    let frame = |message: &String| format!("{} {message}", message.len());
    let (peer, mut heard) = reading(messages.iter().map(|message| frame(message).len()).sum()).await;
    let (transport, url) = (Arc::new(transport()), format!("syslog+tcp://{}", peer.address));
    let mut tasks = tokio::task::JoinSet::new();
    for message in messages.clone() {
        let (transport, url) = (Arc::clone(&transport), url.clone());
        tasks.spawn(async move { say(&transport, &url, &message).await });
    }
    while let Some(ended) = tasks.join_next().await {
        assert_eq!(ended.expect("a task"), "delivered");
    }
    let read = heard.recv().await.expect("everything");
    for message in &messages {
        assert!(read.contains(&frame(message)), "{message}");
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_collector_that_closes_on_a_message_has_not_taken_it() {
    let peer = Peer::playing(|mut stream| async move {
        let _ = stream.read(&mut [0; 100]).await;
    })
    .await;
    let (transport, url) = (transport(), format!("syslog+tcp://{}", peer.address));
    for connections in [1, 2] {
        let ended = say(&transport, &url, "<134>1 x").await;
        assert!(
            ended.starts_with("connect: the message was sent, but the destination closed the connection"),
            "{ended}"
        );
        assert_eq!(peer.connections(), connections);
    }
}

#[tokio::test]
async fn a_half_closed_connection_is_not_written_to() {
    let (tell, mut half_closed) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |mut stream| {
        let tell = tell.clone();
        async move {
            let _ = stream.read(&mut [0; 100]).await;
            // Taken, and a while later: no more.
            tokio::time::sleep(Duration::from_millis(400)).await;
            let _ = stream.shutdown().await;
            let _ = tell.send(());
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "{rest:?}");
        }
    })
    .await;
    let (transport, url) = (transport(), format!("syslog+tcp://{}", peer.address));
    assert_eq!(say(&transport, &url, "<134>1 x").await, "delivered");
    half_closed.recv().await.expect("half closed");
    // What was sent is seen a moment later.
    let mut ended = say(&transport, &url, "<134>1 x").await;
    while peer.connections() < 2 {
        ended = say(&transport, &url, "<134>1 x").await;
    }
    assert_eq!(ended, "delivered");
}

/// It reads nothing: what its machine takes for it counts, what it does not take never does.
#[tokio::test]
async fn a_collector_that_stops_reading_fails_attempts_in_their_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (transport, url) = (transport(), format!("syslog+tcp://{address}"));
    let message = format!("<134>1 {}", "x".repeat(7000));
    let frame = message.len() + 5;
    let messages = vec![message.as_str(); 4];
    let mut delivered = 0;
    let failed = loop {
        match say_as(&transport, &url, &TlsNames::default(), &messages, 1000).await.as_str() {
            "delivered" => delivered += 4,
            failed => break failed.to_owned(),
        }
        assert!(delivered < 100_000, "no machine takes so much unread");
    };
    assert!(delivered > 0);
    assert_eq!(failed, "timeout: the destination did not take the message within 1000 ms");
    let (mut stream, _) = listener.accept().await.expect("the connection");
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    assert!(read.len() >= delivered * frame, "{} bytes read, {delivered} messages delivered", read.len());
}

#[tokio::test]
async fn a_collector_that_is_killed_with_messages_unread_has_not_taken_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let killed = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.readable().await.expect("a message");
        // Closed with something unread: the system resets the connection, as for a process that was killed.
        drop(stream);
        listener
    });
    let (transport, url) = (transport(), format!("syslog+tcp://{address}"));
    let ended = say(&transport, &url, "<134>1 x").await;
    assert!(ended.starts_with("connect: the message was sent, but"), "{ended}");
    drop(killed.await);
    let ended = say(&transport, &url, "<134>1 x").await;
    assert_eq!(ended, "connect: the destination refused the connection: nothing listens on this port");
}

#[tokio::test]
async fn a_peer_that_speaks_where_nobody_asks_is_left() {
    let peer = Peer::playing(|mut stream| async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} }).await;
    let ended = say(&transport(), &format!("syslog+tcp://{}", peer.address), "<134>1 x").await;
    assert_eq!(ended, "protocol: the destination sends data over a syslog connection, where nothing is ever answered");
}

#[tokio::test]
async fn a_datagram_is_the_message_and_a_closed_port_says_so() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let address = socket.local_addr().expect("address");
    let (transport, url) = (transport(), format!("syslog+udp://{address}"));
    assert_eq!(say(&transport, &url, "<134>1 one").await, "delivered");
    let mut datagram = [0; 100];
    let read = socket.recv(&mut datagram).await.expect("a datagram");
    assert_eq!(&datagram[..read], b"<134>1 one");
    drop(socket);
    let ended = say(&transport, &url, "<134>1 two").await;
    assert_eq!(ended, "connect: the destination refused the connection: nothing listens on this port");
}

#[tokio::test]
async fn the_guard_judges_these_addresses_too() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let port = socket.local_addr().expect("address").port();
    let names = Table::of(&[("siem.example", &["127.0.0.1", "93.184.215.14"])]);
    let tls = Tls::new(&TlsFiles::default(), &[]).expect("TLS");
    let closed = Transport::new(Arc::new(Guard::new(Vec::new())), names, tls, None).expect("transport");
    for scheme in ["syslog+udp", "syslog+tcp", "syslog+tls"] {
        for host in ["127.0.0.1", "0x7f.1", "siem.example"] {
            let url = format!("{scheme}://{host}:{port}");
            let ended = say(&closed, &url, "<134>1 x").await;
            assert!(ended.starts_with("policy: ") && ended.contains("127.0.0.1"), "{url}: {ended}");
            let url = DeliveryUrl::parse(&url).expect("a URL");
            assert!(closed.check_destination(&url).await.is_err(), "{url:?}");
        }
    }
    assert!(socket.try_recv(&mut [0; 10]).is_err(), "something was sent");
}

/// A collector over TLS that keeps reading, and takes only clients of the authority when that is given.
async fn over_tls(authority: &Authority, clients: Option<&Authority>) -> (Peer, mpsc::UnboundedReceiver<Vec<u8>>) {
    let acceptor = TlsAcceptor::from(Arc::new(server(authority.issue(&["127.0.0.1"], -1, 1), clients)));
    let (tell, heard) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |stream: TcpStream| {
        let (acceptor, tell) = (acceptor.clone(), tell.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut piece = [0; 1000];
            while let Ok(read @ 1..) = stream.read(&mut piece).await {
                let _ = tell.send(piece[..read].to_vec());
            }
        }
    })
    .await;
    (peer, heard)
}

#[tokio::test]
async fn over_tls_the_collector_is_verified_and_so_are_we() {
    let (authority, folder) = (Authority::new("corp"), tempfile::tempdir().expect("a folder"));
    let tls = Tls::new(&authority.files(folder.path()), &[]).expect("TLS");
    let guard = Arc::new(Guard::new(nets(&["127.0.0.0/8"])));
    let transport = Transport::new(guard, Table::of(&[]), tls, None).expect("transport");
    let corp = TlsNames { ca: Some("corp".into()), client_cert: None };
    let both = TlsNames { client_cert: Some("siem".into()), ..corp.clone() };
    let say = async |url: &str, names: &TlsNames| say_as(&transport, url, names, &["<134>1 x"], 20_000).await;

    let (peer, mut heard) = over_tls(&authority, None).await;
    let url = format!("syslog+tls://{}", peer.address);
    assert_eq!(say(&url, &corp).await, "delivered");
    assert_eq!(heard.recv().await.as_deref(), Some(&b"8 <134>1 x"[..]));
    assert_eq!(say(&url, &corp).await, "delivered");
    assert_eq!(peer.connections(), 1);
    let ended = say(&url, &TlsNames::default()).await;
    assert!(ended.starts_with("tls: the destination's certificate is signed by nobody"), "{ended}");

    let (peer, mut heard) = over_tls(&authority, Some(&authority)).await;
    let url = format!("syslog+tls://{}", peer.address);
    // With TLS 1.3 the refusal comes when we think that we are through.
    assert_eq!(say(&url, &corp).await, "tls: the destination wants a client certificate");
    assert!(heard.try_recv().is_err());
    assert_eq!(say(&url, &both).await, "delivered");
    assert_eq!(heard.recv().await.as_deref(), Some(&b"8 <134>1 x"[..]));

    let clear = Peer::playing(|mut stream| async move {
        let _ = stream.write_all(b"220 ready\r\n").await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let ended = say(&format!("syslog+tls://{}", clear.address), &corp).await;
    assert_eq!(ended, "tls: the destination does not speak TLS on this port");
}
