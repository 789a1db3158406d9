//! The connection pool: which connections are kept, for how long, and who gets them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Barrier, Notify, mpsc};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{advance, pause, resume, timeout};
use tokio_rustls::TlsAcceptor;

use super::http2::{END_STREAM, HEADERS, SETTINGS, frame, head, read_frame};
use super::peer::{Peer, read_request};
use super::tls::{Authority, server};
use super::{Table, deliver, sentence, transport, transport_with};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// Connections that are kept per host.
const KEPT: usize = 256;
/// Long enough for every machine; nothing is expected to take it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A peer that responds to every request and tells when a connection ends.
async fn telling() -> (Peer, mpsc::UnboundedReceiver<()>) {
    let (sender, ended) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |mut stream| {
        let sender = sender.clone();
        async move {
            while read_request(&mut stream).await && stream.write_all(OK).await.is_ok() {}
            let _ = sender.send(());
        }
    })
    .await;
    (peer, ended)
}

#[tokio::test]
async fn a_connection_is_kept_for_half_a_minute() {
    for (idle, kept) in [(29, true), (31, false)] {
        let (peer, mut ended) = telling().await;
        let transport = transport();
        assert_eq!(sentence(&deliver(&transport, &peer.origin()).await), "delivered");
        pause();
        advance(Duration::from_secs(idle)).await;
        resume();
        if !kept {
            timeout(PATIENCE, ended.recv()).await.expect("it is closed").expect("a report");
        }
        assert_eq!(sentence(&deliver(&transport, &peer.origin()).await), "delivered");
        assert_eq!((peer.connections(), ended.is_empty()), (if kept { 1 } else { 2 }, true), "{idle}");
    }
}

#[tokio::test]
async fn a_connection_that_the_peer_ends_holds_no_descriptor() {
    let (sender, mut ended) = mpsc::unbounded_channel();
    let peer = Peer::playing(move |mut stream| {
        let sender = sender.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(OK).await;
            let _ = stream.shutdown().await;
            let _ = sender.send(stream.read(&mut [0; 10]).await.map_err(|error| error.kind()));
        }
    })
    .await;
    let transport = transport();
    assert_eq!(sentence(&deliver(&transport, &peer.origin()).await), "delivered");
    assert_eq!(timeout(PATIENCE, ended.recv()).await.expect("it is closed"), Some(Ok(0)));
}

#[tokio::test]
async fn a_host_has_so_many_idle_connections_and_no_more() {
    let (sender, mut ended) = mpsc::unbounded_channel();
    // Nobody is responded to before the others are there.
    let barriers = Arc::new([Barrier::new(KEPT + 1), Barrier::new(KEPT)]);
    let peer = Peer::playing(move |mut stream| {
        let (sender, barriers) = (sender.clone(), Arc::clone(&barriers));
        async move {
            for barrier in barriers.iter() {
                if !read_request(&mut stream).await {
                    break;
                }
                barrier.wait().await;
                let _ = stream.write_all(OK).await;
            }
            read_request(&mut stream).await;
            let _ = sender.send(());
        }
    })
    .await;
    let transport = Arc::new(transport());
    for attempts in [KEPT + 1, KEPT] {
        let mut all = JoinSet::new();
        for _ in 0..attempts {
            let (transport, origin) = (Arc::clone(&transport), peer.origin());
            all.spawn(async move { sentence(&deliver(&transport, &origin).await) });
        }
        assert!(all.join_all().await.iter().all(|sentence| sentence == "delivered"));
    }
    assert_eq!(peer.connections(), KEPT + 1);
    timeout(PATIENCE, ended.recv()).await.expect("one is closed").expect("a report");
    assert!(ended.is_empty());
}

/// An attempt whose connection is not made yet takes one that another attempt gives back.
#[tokio::test]
async fn who_waits_for_a_connection_takes_the_first_there_is() {
    let authority = Authority::new("ours");
    let acceptor = TlsAcceptor::from(Arc::new(server(authority.issue(&["127.0.0.1"], -1, 1), None)));
    let (responds, responded) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (accepted, seen, go) = (AtomicUsize::new(0), Arc::clone(&responded), Arc::clone(&responds));
    let peer = Peer::playing(move |stream| {
        let is_first = accepted.fetch_add(1, Ordering::SeqCst) == 0;
        let (acceptor, seen, go) = (acceptor.clone(), Arc::clone(&seen), Arc::clone(&go));
        async move {
            if !is_first {
                // Never shakes hands.
                return std::future::pending().await;
            }
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while read_request(&mut stream).await {
                if seen.fetch_add(1, Ordering::SeqCst) == 0 {
                    go.notified().await;
                }
                let _ = stream.write_all(OK).await;
            }
        }
    })
    .await;
    let transport = transport_with(&["127.0.0.0/8"], Table::of(&[]), &[authority.root()]);
    let origin = format!("https://{}", peer.address);
    let (first, second, ()) = tokio::join!(deliver(&transport, &origin), deliver(&transport, &origin), async {
        while peer.connections() < 2 || responded.load(Ordering::SeqCst) < 1 {
            yield_now().await;
        }
        responds.notify_one();
    });
    assert_eq!((sentence(&first).as_str(), sentence(&second).as_str()), ("delivered", "delivered"));
    assert_eq!((peer.connections(), responded.load(Ordering::SeqCst)), (2, 2));
}

/// RFC 9113, section 5.1.2: no more streams than the peer allows. The requests beyond wait, on the same connection.
#[tokio::test]
async fn an_http2_connection_is_shared_by_as_many_requests_as_the_peer_allows() {
    for (allowed, most) in [(1, 1), (3, 3), (100, 8)] {
        let authority = Authority::new("ours");
        let mut config = server(authority.issue(&["127.0.0.1"], -1, 1), None);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let together = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&together);
        let peer = Peer::playing(move |stream| {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read_exact(&mut [0; 24]).await;
                // SETTINGS_MAX_CONCURRENT_STREAMS
                let setting = [&[0, 3][..], &u32::to_be_bytes(allowed)].concat();
                let _ = stream.write_all(&frame(SETTINGS, 0, 0, &setting)).await;
                let (mut open, mut whole, mut is_first) = (0, Vec::new(), true);
                while let Some((kind, flags, id)) = read_frame(&mut stream).await {
                    open += usize::from(kind == HEADERS);
                    seen.fetch_max(open, Ordering::SeqCst);
                    if kind > HEADERS || flags & END_STREAM == 0 {
                        continue;
                    }
                    whole.push(id);
                    // The first is responded to at once; of the others as many as there may be wait for each other.
                    if is_first || whole.len() == most {
                        is_first = false;
                        for id in whole.drain(..) {
                            let _ = stream.write_all(&head(id, END_STREAM, &[(":status", "200")])).await;
                            open -= 1;
                        }
                    }
                }
            }
        })
        .await;
        let transport = Arc::new(transport_with(&["127.0.0.0/8"], Table::of(&[]), &[authority.root()]));
        let origin = format!("https://{}", peer.address);
        assert_eq!(sentence(&deliver(&transport, &origin).await), "delivered");
        let mut all = JoinSet::new();
        for _ in 0..most * (8 / most) {
            let (transport, origin) = (Arc::clone(&transport), origin.clone());
            all.spawn(async move { sentence(&deliver(&transport, &origin).await) });
        }
        assert!(all.join_all().await.iter().all(|sentence| sentence == "delivered"));
        assert_eq!((peer.connections(), together.load(Ordering::SeqCst)), (1, most), "{allowed}");
    }
}
