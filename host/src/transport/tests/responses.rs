//! Responses, and the outcome of each.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

use super::peer::{Peer, read_request};
use super::{deliver, deliver_within, sentence, transport};

/// Enough for loopback, short enough to wait for.
const SHORT: Duration = Duration::from_millis(400);
/// Tolerance for a slow machine.
const SLACK: Duration = Duration::from_secs(5);

fn with_body(head: &str, bytes: usize) -> Vec<u8> {
    let mut response = head.as_bytes().to_vec();
    response.resize(head.len() + bytes, b'x');
    response
}

#[tokio::test]
async fn each_response_has_its_outcome() {
    let huge = format!("HTTP/1.1 200 OK\r\nX-Huge: {}", "a".repeat(70 * 1024));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(11_000));
    let cookies = format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}\r\nContent-Length: 2\r\n\r\nok", "c".repeat(9000));
    for (response, outcome, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "delivered", Some(200)),
        ("HTTP/1.1 204 No Content\r\n\r\n", "delivered", Some(204)),
        ("HTTP/1.1 299 Whatever\r\n\r\n", "delivered", Some(299)),
        ("HTTP/1.0 202 Accepted\r\n\r\nuntil the end", "delivered", Some(202)),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "delivered", Some(200)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "delivered", Some(200)),
        (&cookies, "delivered", Some(200)),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "status: the destination responded with 101 Switching Protocols",
            Some(101),
        ),
        ("HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", "status: the destination responded with 999", Some(999)),
        (
            "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
            "status: the destination responded with 410 Gone",
            Some(410),
        ),
        (
            "HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf",
            "status: the destination responded with 500 Internal Server Error",
            Some(500),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
            "connect: the destination responded with 200 OK, but the connection closed in the middle of its response",
            Some(200),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "protocol: the destination responded with 200 OK, but the framing of its body is not valid HTTP",
            Some(200),
        ),
        ("", "connect: the request was sent, but the connection closed before a response", None),
        ("HTTP/1.1 200 OK\r\nX-Ha", "connect: the request was sent, but the connection closed before a response", None),
        ("HTTP/1.1 099 Low\r\n\r\n", "protocol: the head of the destination's response is not valid HTTP", None),
        (
            "SSH-2.0-OpenSSH_9.9\r\n",
            "protocol: the destination's response is not HTTP; check the URL's scheme and port",
            None,
        ),
        (
            "<html>hello</html>\r\n\r\n",
            "protocol: the destination's response is not HTTP; check the URL's scheme and port",
            None,
        ),
        (
            "\x15\x03\x01\x00\x02\x02\x0a",
            "protocol: the destination's response is not HTTP; check the URL's scheme and port",
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "protocol: the head of the destination's response is not valid HTTP",
            None,
        ),
        (&huge, "protocol: the head of the destination's response does not end within 64 KiB", None),
        (&many, "protocol: the head of the destination's response does not end within 64 KiB", None),
    ] {
        let peer = Peer::closing_after(response).await;
        let report = deliver(&transport(), &peer.origin()).await;
        let shown = &response[..response.len().min(80)];
        assert_eq!((sentence(&report).as_str(), report.status), (outcome, status), "{shown:?}");
        assert_eq!(report.excerpt.is_some(), status.is_some(), "{shown:?}");
        assert_eq!(peer.connections(), 1, "{shown:?}");
    }
}

#[tokio::test]
async fn a_peer_that_speaks_first_is_not_http() {
    let peer = Peer::playing(|mut stream| async move {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        read_request(&mut stream).await;
    })
    .await;
    assert_eq!(
        sentence(&deliver(&transport(), &peer.origin()).await),
        "protocol: the destination's response is not HTTP; check the URL's scheme and port"
    );
}

#[tokio::test]
async fn a_reset_is_no_response() {
    let peer = Peer::playing(|mut stream| async move {
        // Closing with unread data makes the system send a reset.
        let mut one = [0];
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut one).await;
    })
    .await;
    let report = deliver(&transport(), &peer.origin()).await;
    assert_eq!(sentence(&report), "connect: the request was sent, but the connection closed before a response");
}

#[tokio::test]
async fn a_closed_port_is_named_as_such() {
    let peer = Peer::responding("").await;
    let origin = peer.origin();
    drop(peer);
    sleep(Duration::from_millis(50)).await;
    let words = "connect: the destination refused the connection: nothing listens on this port";
    assert_eq!(sentence(&deliver(&transport(), &origin).await), words);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = Peer::responding("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    for (status, words) in [
        (301, "301 Moved Permanently"),
        (302, "302 Found"),
        (307, "307 Temporary Redirect"),
        (308, "308 Permanent Redirect"),
    ] {
        let response = format!("HTTP/1.1 {status} x\r\nLocation: {}/\r\nContent-Length: 0\r\n\r\n", target.origin());
        let peer = Peer::responding(response).await;
        let report = deliver(&transport(), &peer.origin()).await;
        assert_eq!(
            sentence(&report),
            format!(
                "status: the destination responded with {words}; redirects are not followed, so set the webhook's URL to the final address"
            )
        );
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn an_attempt_times_out_in_every_phase() {
    let silent = Peer::playing(|mut stream| async move { while read_request(&mut stream).await {} }).await;
    let dripping = |head: &'static str| {
        Peer::playing(move |mut stream| async move {
            read_request(&mut stream).await;
            for byte in head.bytes().chain(std::iter::repeat(b'x')) {
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                if byte == b'x' {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        })
    };
    let head = dripping("HTTP/1.1 200 OK\r\nx").await;
    let body = dripping("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nx").await;
    let failing = dripping("HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\nx").await;
    let sent = "timeout: the request was sent, but no response came within 400 ms";
    let begun = "timeout: the request was sent and a response began, but its head did not end within 400 ms";
    let unfinished = "timeout: the destination responded with 200 OK, but its response did not end within 400 ms";
    let failed =
        "timeout: the destination responded with 500 Internal Server Error, but its response did not end within 400 ms";
    for (peer, words, status) in
        [(silent, sent, None), (head, begun, None), (body, unfinished, Some(200)), (failing, failed, Some(500))]
    {
        let started = Instant::now();
        let report = deliver_within(&transport(), &peer.origin(), SHORT).await;
        let took = started.elapsed();
        assert_eq!((sentence(&report).as_str(), report.status), (words, status));
        assert!(took >= SHORT && took < SHORT + SLACK, "{took:?}");
        assert!(report.duration >= SHORT && report.duration <= took);
        assert_eq!(report.excerpt.is_some_and(|text| text.starts_with('x')), status.is_some());
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_and_the_status_decides() {
    for (head, outcome) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "delivered"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "delivered"),
        ("HTTP/1.1 503 No\r\n\r\n", "status: the destination responded with 503 Service Unavailable"),
    ] {
        let peer = Peer::playing(move |mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        })
        .await;
        let report = deliver(&transport(), &peer.origin()).await;
        assert_eq!(sentence(&report), outcome, "{head:?}");
        assert_eq!(report.excerpt, Some("x".repeat(1024)));
    }
}

#[tokio::test]
async fn sixty_four_kibibytes_are_read_and_not_one_more() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n";
    for (bytes, outcome) in [
        (
            64 * 1024,
            "connect: the destination responded with 200 OK, but the connection closed in the middle of its response",
        ),
        (64 * 1024 + 1, "delivered"),
    ] {
        let peer = Peer::closing_after(with_body(head, bytes - head.len())).await;
        assert_eq!(sentence(&deliver(&transport(), &peer.origin()).await), outcome, "{bytes}");
    }
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 * 1024 - 42);
    let peer = Peer::responding(with_body(&whole, 64 * 1024 - 42)).await;
    assert_eq!(whole.len(), 42);
    assert_eq!(sentence(&deliver(&transport(), &peer.origin()).await), "delivered");
}

#[tokio::test]
async fn retry_after_is_reported_for_every_response_and_the_longest_line_counts() {
    for (head, wait) in [
        ("429 Slow\r\nRetry-After: 5", Some(5)),
        ("503 No\r\nRetry-After: 1000000000", Some(1_000_000_000)),
        ("503 No\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("503 No\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT", Some(0)),
        ("429 Slow\r\nRetry-After: -1", None),
        ("429 Slow\r\nRetry-After: abc", None),
        ("500 No\r\nRetry-After: 5", Some(5)),
        ("408 Late\r\nRetry-After: 5", Some(5)),
        ("413 Large\r\nRetry-After: 5", Some(5)),
        ("529 Busy\r\nRetry-After: 5", Some(5)),
        ("302 Found\r\nRetry-After: 5", Some(5)),
        ("200 OK\r\nRetry-After: 5", Some(5)),
        ("500 No\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
        ("500 No\r\nDate: Sun Nov  6 08:49:37 1994\r\nRetry-After: Sun Nov  6 08:50:37 1994", Some(60)),
        ("502 No\r\nRetry-After: 5\r\nRetry-After: 120\r\nretry-after: 60", Some(120)),
        ("502 No\r\nRetry-After: soon\r\nRetry-After: 7", Some(7)),
        ("502 No\r\nRetry-After: 5, 120", Some(120)),
        ("502 No\r\nX: y", None),
    ] {
        let peer = Peer::responding(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n")).await;
        let report = deliver(&transport(), &peer.origin()).await;
        assert_eq!(report.retry_after, wait.map(Duration::from_secs), "{head:?}");
    }
}

/// Two peers that send `100 Continue` without end, on two workers: each is cut off, and a timer beside them stays
/// punctual. The bound lies far above the measured delay (milliseconds) and far below that without yields and budget
/// (seconds).
#[test]
fn floods_of_interim_responses_end_and_stall_no_other_task() {
    let flood = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let origin = format!("http://{}", listener.local_addr().expect("address"));
        std::thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.read(&mut [0; 4096]);
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
            while stream.write_all(&interim).is_ok() {}
        });
        origin
    };
    let origins = [flood(), flood()];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let floods = origins.map(|origin| {
            tokio::spawn(async move { sentence(&deliver_within(&transport(), &origin, Duration::from_secs(3)).await) })
        });
        let ticking = tokio::spawn(async {
            let mut latest = Duration::ZERO;
            for _ in 0..100 {
                let due = Instant::now() + Duration::from_millis(5);
                tokio::time::sleep_until(due).await;
                latest = latest.max(due.elapsed());
            }
            latest
        });
        for flood in floods {
            let words = "protocol: the head of the destination's response does not end within 64 KiB";
            assert_eq!(flood.await.expect("attempt"), words);
        }
        assert!(ticking.await.expect("ticks") < Duration::from_secs(1));
    });
}
