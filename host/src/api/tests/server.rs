//! The server on a real socket, as raw bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A host on a port of its own.
struct Served {
    host: Host,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// A timeout much shorter than the real ones, so that a test need not wait.
const SHORT: Duration = Duration::from_millis(300);

async fn serve() -> Served {
    serve_with(BODY_TIMEOUT, Duration::from_secs(10)).await
}

async fn serve_with(body_timeout: Duration, head_timeout: Duration) -> Served {
    let host = Host::with_body_timeout(Limits::default(), body_timeout).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let router = host.router.clone().route("/panic", axum::routing::get(async || -> &'static str { panic!("a bug") }));
    let task = tokio::spawn(crate::api::server::serve_with(listener, router, shutdown.clone(), head_timeout));
    Served { host, address, shutdown, task }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Writes raw bytes and reads until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(bytes).await;
        read_to_end(&mut stream).await
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut reply = Vec::new();
    let _ =
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut reply)).await.expect("the server closes");
    String::from_utf8_lossy(&reply).into_owned()
}

/// Reads until the reply contains `needle`.
async fn read_until(stream: &mut TcpStream, needle: &str) -> String {
    let mut reply = String::new();
    let mut buffer = [0; 4096];
    while !reply.contains(needle) {
        let read = stream.read(&mut buffer).await.expect("bytes");
        assert!(read > 0, "closed after {reply:?}");
        reply.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    reply
}

#[tokio::test]
async fn ambiguous_framing_is_400_and_the_connection_is_closed() {
    let served = serve().await;
    for request in [
        "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
        "GET /healthz HTTP/1.1\nHost: a\n\n",
        "GET /healthz HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let reply = served.raw(request.as_bytes()).await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{request:?}: {reply:?}");
        assert!(!reply.contains("HTTP/1.1 200") && reply.matches("HTTP/1.1").count() == 1, "{request:?}: {reply:?}");
    }
    let head = format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    assert!(served.raw(head.as_bytes()).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn the_host_is_no_proxy() {
    let served = serve().await;
    let reply = served.raw(b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\nConnection: close\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 405 "), "{reply}");
}

#[tokio::test]
async fn a_persistent_connection_serves_one_request_after_another() {
    let served = serve().await;
    let mut stream = served.connect().await;
    let admin = &served.host.admin;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("written");
    read_until(&mut stream, "{\"status\":\"ok\"}").await;
    let post = format!(
        "POST /api/v1/tokens HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {admin}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n"
    );
    stream.write_all(post.as_bytes()).await.expect("written");
    assert!(read_until(&mut stream, "/role").await.starts_with("HTTP/1.1 422 "));
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("written");
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_body_over_the_limit_gets_its_response_while_it_is_still_being_sent() {
    let served = serve().await;
    let head = |length: &str| {
        format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n{length}\r\n\r\n",
            served.host.ingest
        )
    };
    let limit = Limits::default().max_body_bytes;
    // One byte over, all of it sent before anything is read.
    let mut declared = head(&format!("Content-Length: {}", limit + 1)).into_bytes();
    declared.extend(std::iter::repeat_n(b' ', limit + 1));
    let mut stream = served.connect().await;
    stream.write_all(&declared).await.expect("the rest is read and thrown away");
    assert!(read_until(&mut stream, "body_too_large").await.starts_with("HTTP/1.1 413 "));
    // Ten gigabytes that never come.
    let mut stream = served.connect().await;
    stream.write_all(head("Content-Length: 10737418240").as_bytes()).await.expect("written");
    assert!(read_until(&mut stream, "body_too_large").await.starts_with("HTTP/1.1 413 "));
    // Chunks without a declared length.
    let mut stream = served.connect().await;
    stream.write_all(head("Transfer-Encoding: chunked").as_bytes()).await.expect("written");
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend(std::iter::repeat_n(b' ', 0x10000));
    chunk.extend(b"\r\n");
    for _ in 0..=limit / 0x10000 {
        stream.write_all(&chunk).await.expect("written");
    }
    assert!(read_until(&mut stream, "body_too_large").await.starts_with("HTTP/1.1 413 "));
    // A client that expects 100-continue is told not to send the body.
    let mut stream = served.connect().await;
    let ask = head(&format!("Content-Length: {}\r\nExpect: 100-continue", limit + 1));
    stream.write_all(ask.as_bytes()).await.expect("written");
    let reply = read_to_end(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 413 ") && !reply.contains("100 Continue"), "{reply}");
}

#[tokio::test]
async fn a_body_that_ends_early_or_is_framed_wrongly_is_400() {
    let served = serve().await;
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        served.host.ingest
    );
    assert!(served.raw(head.as_bytes()).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn half_a_head_is_closed_in_time() {
    let served = serve_with(BODY_TIMEOUT, SHORT).await;
    let reply = served.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\n").await;
    assert!(!reply.contains(" 200 "), "{reply}");
    assert_eq!(served.raw(b"").await, "", "nothing at all is closed too");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408_and_the_connection_is_closed() {
    let served = serve_with(SHORT, Duration::from_secs(10)).await;
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 10\r\n\r\n{{",
        served.host.ingest
    );
    let reply = served.raw(head.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 408 ") && reply.contains("request_timeout"), "{reply}");
}

#[tokio::test]
async fn a_panic_fails_one_request_only() {
    let served = serve().await;
    let reply = served.raw(b"GET /panic HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 500 ") && !reply.contains("a bug"), "{reply}");
    let reply = served.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

#[tokio::test]
async fn a_shutdown_finishes_requests_in_flight_and_accepts_no_more() {
    let served = serve().await;
    let mut idle = served.connect().await;
    let mut busy = served.connect().await;
    let head = format!(
        "POST /api/v1/tokens HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\n\r\n{{",
        served.host.admin
    );
    busy.write_all(head.as_bytes()).await.expect("written");
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.shutdown.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(!served.task.is_finished(), "one request is still under way");
    busy.write_all(b"}").await.expect("written");
    assert!(read_to_end(&mut busy).await.starts_with("HTTP/1.1 422 "));
    served.task.await.expect("the server ends").expect("in order");
    assert!(TcpStream::connect(served.address).await.is_err());
}
