//! The server on a real socket, as raw bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::api::connections::Connections;
use crate::api::entrance::Entrance;
use crate::api::server::Timeouts;

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
    serve_with(BODY_TIMEOUT, Timeouts::default(), Connections::new(100, 0)).await
}

/// A host whose clients have less time for the head of a request, or to read a response.
async fn impatient(head: Duration, stall: Duration) -> Served {
    serve_with(BODY_TIMEOUT, Timeouts { head, stall }, Connections::new(100, 0)).await
}

async fn serve_with(body_timeout: Duration, timeouts: Timeouts, connections: Connections) -> Served {
    let host = Host::with_body_timeout(Limits::default(), body_timeout).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let wait = axum::routing::get(async |body: axum::body::Bytes| {
        assert_eq!(body.len(), 1);
        std::future::pending::<&'static str>().await
    });
    let mut api = host.api.clone();
    api.router = api
        .router
        .route("/wait", wait)
        .route("/panic", axum::routing::get(async || -> &'static str { panic!("a bug") }));
    let entrance = Entrance::new();
    entrance.open(api);
    let task =
        tokio::spawn(crate::api::server::serve_with(listener, entrance, connections, timeouts, shutdown.clone()));
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
    let served = impatient(SHORT, Duration::from_secs(30)).await;
    let reply = served.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\n").await;
    assert!(!reply.contains(" 200 "), "{reply}");
    assert_eq!(served.raw(b"").await, "", "nothing at all is closed too");
}

/// Sends bytes for as long as the server takes them; its response.
async fn drip(served: &Served, head: &str, bytes: &[u8]) -> String {
    let stream = served.connect().await;
    let (mut reading, mut writing) = stream.into_split();
    let (head, bytes) = (head.to_owned(), bytes.to_owned());
    let drops = tokio::spawn(async move {
        let _ = writing.write_all(head.as_bytes()).await;
        while writing.write_all(&bytes).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut reply = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), reading.read_to_end(&mut reply)).await;
    let _ = read.expect("the server closes");
    drops.abort();
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test]
async fn a_head_or_a_body_that_comes_drop_by_drop_ends_in_time() {
    let served = impatient(SHORT, Duration::from_secs(30)).await;
    assert_eq!(drip(&served, "GET /healthz HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n").await, "");
    let served = serve_with(SHORT, Timeouts::default(), Connections::new(100, 0)).await;
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100000\r\n\r\n",
        served.host.ingest
    );
    assert!(drip(&served, &head, b" ").await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408_and_the_connection_is_closed() {
    let served = serve_with(SHORT, Timeouts::default(), Connections::new(100, 0)).await;
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

/// Waits until it is so.
async fn until(so: impl AsyncFn() -> bool) {
    let wait = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time");
}

/// A client that reads nothing by itself, with a small receive buffer.
async fn connect_small(served: &Served) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a buffer");
    socket.connect(served.address).await.expect("a connection")
}

#[tokio::test]
async fn a_response_that_is_not_read_is_given_up() {
    let connections = Connections::new(100, 0);
    let timeouts = Timeouts { stall: SHORT, ..Timeouts::default() };
    let served = serve_with(BODY_TIMEOUT, timeouts, connections.clone()).await;
    let mut stream = connect_small(&served).await;
    stream.write_all(&b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100)).await.expect("written");
    stream.peek(&mut [0]).await.expect("the first byte");
    until(async || connections.open() == 0).await;
    let reply = read_to_end(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.matches("HTTP/1.1 200 ").count() < 100);
}

#[tokio::test]
async fn an_export_that_is_not_read_makes_room_for_the_next() {
    let served = impatient(Duration::from_secs(10), Duration::from_secs(2)).await;
    let host = &served.host;
    let event = format!(r#"{{"type":"report_ready","data":{{"report":{{"title":"{}"}}}}}}"#, "x".repeat(200_000));
    for _ in 0..20 {
        assert_eq!(host.post("/api/v1/events", &event).await.status, 202);
    }
    let mut stream = connect_small(&served).await;
    let head = format!("GET /api/v1/export HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", host.admin);
    stream.write_all(head.as_bytes()).await.expect("written");
    read_until(&mut stream, "HTTP/1.1 200 ").await;
    assert_eq!(host.get("/api/v1/export").await.problem(), ["503 busy"]);
    until(async || host.get("/api/v1/export").await.status == 200).await;
    let reply = read_to_end(&mut stream).await;
    assert!(!reply.ends_with("0\r\n\r\n"), "it is incomplete");
}

/// Asserts that a new connection gets a 503 before it has sent anything, and is closed.
async fn turned_away(served: &Served) -> String {
    let reply = served.raw(b"").await;
    assert!(reply.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{reply}");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    for line in ["content-type: application/problem+json", "retry-after: 2", "connection: close", "date: "] {
        assert!(head.contains(&format!("\r\n{line}")), "{line} is missing: {head}");
    }
    assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{reply}");
    let problem: Value = serde_json::from_str(body).expect("a problem");
    assert_eq!((&problem["status"], &problem["code"]), (&Value::from(503), &Value::from("busy")));
    problem["detail"].as_str().expect("a detail").to_owned()
}

/// A connection whose request waits for its handler.
async fn occupied(served: &Served) -> TcpStream {
    let mut stream = served.connect().await;
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        .await
        .expect("written");
    read_until(&mut stream, "100 Continue").await;
    stream.write_all(b"x").await.expect("written");
    stream
}

#[tokio::test]
async fn a_connection_beyond_the_limit_gets_a_word() {
    for (connections, words) in [
        (Connections::new(2, 0), "all 2 connections of the host are in use"),
        (Connections::new(10, 2), "this address has 2 connections"),
    ] {
        let served = serve_with(BODY_TIMEOUT, Timeouts::default(), connections).await;
        let (first, _second) = (occupied(&served).await, occupied(&served).await);
        // They wait for the host, so they make no room however long that takes.
        for _ in 0..3 {
            assert!(turned_away(&served).await.starts_with(words));
        }
        drop(first);
        // Its place is free as soon as the server has noticed.
        let ask = async || served.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        until(async || ask().await.starts_with("HTTP/1.1 200 ")).await;
    }
}

#[tokio::test]
async fn a_client_that_keeps_the_host_waiting_makes_room() {
    let served = serve_with(BODY_TIMEOUT, Timeouts::default(), Connections::new(2, 0)).await;
    let _busy = occupied(&served).await;
    let mut idle = served.connect().await;
    let ask = async || served.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    until(async || ask().await.starts_with("HTTP/1.1 200 ")).await;
    assert_eq!(read_to_end(&mut idle).await, "");
}
