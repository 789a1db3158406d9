//! Shared parts of the benchmarks: a host as a child process, a sink, a bare client, a table.
#![allow(dead_code, reason = "each benchmark uses its part")]
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark's own parts; it prints its table"
)]

#[path = "../../../tests/support/component.rs"]
pub mod component;

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub const ADMIN: &str = "benchmark-admin-token";

/// A destination that reads requests and responds with 200. Counts events: a batch names its size in a header.
pub struct Sink {
    pub address: SocketAddr,
    counter: Counter,
}

/// Count of the events that arrived at a destination.
#[derive(Clone, Default)]
pub struct Counter {
    count: Arc<AtomicUsize>,
    /// Size of the last request or message in bytes.
    size: Arc<AtomicUsize>,
    arrived: Arc<Notify>,
}

impl Counter {
    fn add(&self, count: usize, size: usize) {
        self.size.store(size, Ordering::Relaxed);
        self.count.fetch_add(count, Ordering::Relaxed);
        self.arrived.notify_one();
    }

    pub fn received(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Size of the last request or message in bytes.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Waits until `wanted` events have arrived since `from`, or for `timeout`; returns the number that arrived.
    pub async fn wait(&self, from: usize, wanted: usize, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        while self.received() - from < wanted && Instant::now() < deadline {
            let _ = tokio::time::timeout(Duration::from_millis(100), self.arrived.notified()).await;
        }
        self.received() - from
    }
}

impl Sink {
    pub async fn start() -> Self {
        Self::responding(StatusCode::OK).await
    }

    /// A destination that responds with 500 to first attempts and with 200 to others.
    pub async fn failing_first() -> Self {
        Self::responding(StatusCode::INTERNAL_SERVER_ERROR).await
    }

    /// Responds with this status to first attempts.
    async fn responding(first: StatusCode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let counter = Counter::default();
        let counts = counter.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                stream.set_nodelay(true).expect("an option of every socket");
                let counts = counts.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let counts = counts.clone();
                        async move {
                            let batch = request.headers().get("x-webhook-batch-size");
                            let events = batch.and_then(|size| size.to_str().ok()?.parse().ok()).unwrap_or(1);
                            let is_first =
                                request.headers().get("x-webhook-attempt").is_some_and(|number| number == "1");
                            let body = request.into_body().collect().await;
                            counts.add(events, body.map_or(0, |body| body.to_bytes().len()));
                            let mut response = http::Response::new(Full::new(Bytes::from_static(b"ok")));
                            *response.status_mut() = if is_first { first } else { StatusCode::OK };
                            Ok::<_, Infallible>(response)
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, counter }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

impl std::ops::Deref for Sink {
    type Target = Counter;

    fn deref(&self) -> &Counter {
        &self.counter
    }
}

/// A syslog collector over TCP that counts octet-counted messages (RFC 6587, section 3.4.1).
pub struct Collector {
    pub address: SocketAddr,
    counter: Counter,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let counter = Counter::default();
        let counts = counter.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::read(stream, counts.clone()));
            }
        });
        Self { address, counter }
    }

    async fn read(stream: TcpStream, counts: Counter) {
        let mut stream = tokio::io::BufReader::with_capacity(64 * 1024, stream);
        let (mut digits, mut message) = (Vec::new(), Vec::new());
        loop {
            digits.clear();
            if stream.read_until(b' ', &mut digits).await.unwrap_or(0) == 0 {
                return;
            }
            let length = std::str::from_utf8(&digits).expect("digits").trim_end().parse().expect("a length");
            message.resize(length, 0);
            if stream.read_exact(&mut message).await.is_err() {
                return;
            }
            counts.add(1, digits.len() + length);
        }
    }

    /// The floor: messages per second, of the size of the last one, that a loop writes to one connection, one write each.
    pub async fn bare(&self, messages: usize) -> f64 {
        let size = self.size();
        let length = (1..size).find(|length| length + length.to_string().len() + 1 == size).expect("a length");
        let frame = format!("{length} {}", "x".repeat(length));
        let (from, start) = (self.received(), Instant::now());
        let mut stream = TcpStream::connect(self.address).await.expect("the collector");
        stream.set_nodelay(true).expect("an option of every socket");
        for _ in 0..messages {
            stream.write_all(frame.as_bytes()).await.expect("written");
        }
        assert_eq!(self.wait(from, messages, Duration::from_secs(60)).await, messages);
        per_second(messages, start.elapsed())
    }
}

impl std::ops::Deref for Collector {
    type Target = Counter;

    fn deref(&self) -> &Counter {
        &self.counter
    }
}

/// A plain hyper client.
pub type Bare = Client<HttpConnector, Full<Bytes>>;

pub fn bare() -> Bare {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(512).build(connector)
}

/// Sends `bodies` to `url` from `clients` concurrent tasks; returns the total time.
pub async fn send(client: &Bare, url: &str, token: Option<&str>, clients: usize, bodies: Arc<Vec<Bytes>>) -> Duration {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (client, url, next) = (client.clone(), url.to_owned(), Arc::clone(&next));
            let (bodies, token) = (Arc::clone(&bodies), token.map(|token| format!("Bearer {token}")));
            tokio::spawn(async move {
                loop {
                    let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let status = post(&client, &url, token.as_deref(), body.clone()).await;
                    assert!(status.is_success(), "{status}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a client");
    }
    start.elapsed()
}

async fn post(client: &Bare, url: &str, token: Option<&str>, body: Bytes) -> StatusCode {
    ask(client, url, token, body).await.0
}

/// Posts JSON; the status and the body of the response.
async fn ask(client: &Bare, url: &str, token: Option<&str>, body: Bytes) -> (StatusCode, Bytes) {
    let mut request = Request::builder().method(Method::POST).uri(url).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = client.request(request.body(Full::new(body)).expect("a request")).await.expect("a response");
    let status = response.status();
    let body = response.into_body().collect().await;
    (status, body.map(http_body_util::Collected::to_bytes).unwrap_or_default())
}

/// Previews an event; the status and the response.
pub async fn preview(client: &Bare, host: &str, token: &str, name: &str, event: &str) -> (StatusCode, Bytes) {
    let url = format!("{host}/api/v1/formatters/{name}/preview");
    ask(client, &url, Some(token), format!("{{\"event\":{event}}}").into()).await
}

/// A response of the host, head and body.
pub fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}

/// The host, as users run it.
pub struct Host {
    child: Child,
    pub url: String,
    _folder: TempDir,
}

/// Allocations so far, or in between.
#[derive(Clone, Copy, Debug)]
pub struct Allocations {
    pub count: u64,
    pub bytes: u64,
}

impl std::ops::Sub for Allocations {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { count: self.count - before.count, bytes: self.bytes - before.bytes }
    }
}

impl Host {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A host with further settings.
    pub fn with(settings: &[&str]) -> Self {
        // Another build, to compare two with one benchmark.
        let other = std::env::var_os("HERALDRY_BENCH_HOST");
        let program = other.unwrap_or_else(|| env!("CARGO_BIN_EXE_heraldry").into());
        Self::of(&mut Command::new(program), settings)
    }

    /// This very program as a host, which counts its allocations.
    pub fn counting() -> Self {
        let mut program = Command::new(std::env::current_exe().expect("a program"));
        Self::of(program.stdin(Stdio::piped()).stdout(Stdio::piped()), &[])
    }

    fn of(program: &mut Command, settings: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut child = program
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-net", "127.0.0.0/8", "--log-level", "warn"])
            .args(settings)
            .arg("--data")
            .arg(folder.path().join("data"))
            .env("HERALDRY_ADMIN_TOKEN", ADMIN)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the host starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let url = lines
            .find_map(|line| Some(line.ok()?.split_once("listening on ")?.1.trim().to_owned()))
            .expect("the host says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        // Compiling the formatters is not what is measured.
        let address = url.trim_start_matches("http://");
        while !get(address, "/metrics").contains("\nheraldry_formatters_loading 0\n") {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, url, _folder: folder }
    }

    pub async fn webhook(&self, client: &Bare, destination: &str, format: &str, number: usize) {
        self.webhook_for(client, destination, format, number, &["*"]).await;
    }

    pub async fn webhook_for(&self, client: &Bare, destination: &str, format: &str, number: usize, types: &[&str]) {
        let body = serde_json::json!({
            "name": format!("sink {number}"), "url": format!("{destination}/{number}"),
            "event_types": types, "format": format, "secret": "benchmark",
        });
        self.create(client, &body).await;
    }

    pub async fn create(&self, client: &Bare, webhook: &serde_json::Value) {
        let url = format!("{}/api/v1/webhooks", self.url);
        let token = format!("Bearer {ADMIN}");
        let status = post(client, &url, Some(&token), Bytes::from(webhook.to_string())).await;
        assert_eq!(status, StatusCode::CREATED);
    }

    /// Creates a token with this role; its text.
    pub async fn token(&self, client: &Bare, role: &str) -> String {
        let (url, bearer) = (format!("{}/api/v1/tokens", self.url), format!("Bearer {ADMIN}"));
        let body = serde_json::json!({"name": role, "role": role}).to_string();
        let (status, body) = ask(client, &url, Some(&bearer), body.into()).await;
        assert_eq!(status, StatusCode::CREATED);
        let created: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        format!("Bearer {}", created["token"].as_str().expect("a token"))
    }

    /// Uploads a formatter.
    pub async fn install(&self, client: &Bare, name: &str, component: Vec<u8>) {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}/api/v1/formatters/{name}", self.url))
            .header("content-type", "application/wasm")
            .header("authorization", format!("Bearer {ADMIN}"));
        let request = request.body(Full::new(component.into())).expect("a request");
        let response = client.request(request).await.expect("a response");
        assert!(response.status().is_success(), "{}", response.status());
    }

    /// Reads from the API, as an admin.
    pub async fn read(&self, client: &Bare, path: &str) -> (StatusCode, Bytes) {
        let request =
            Request::get(format!("{}/api/v1{path}", self.url)).header("authorization", format!("Bearer {ADMIN}"));
        let response = client.request(request.body(Full::default()).expect("a request")).await.expect("a response");
        let status = response.status();
        (status, response.into_body().collect().await.expect("a body").to_bytes())
    }

    /// Previews an event; the status and the response.
    pub async fn preview(&self, client: &Bare, token: &str, name: &str, event: &str) -> (StatusCode, Bytes) {
        preview(client, &self.url, token, name, event).await
    }

    /// CPU time of the host so far, user and system.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the process");
        // The process name, in parentheses, may contain anything; utime and stime are the 12th and 13th field after it.
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .expect("fields")
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse().expect("a number"))
            .collect();
        // SAFETY: sysconf reads a constant of the system.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_secs_f64(fields.iter().sum::<u64>() as f64 / ticks as f64)
    }

    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Allocations of a host that counts them.
    pub fn allocations(&mut self) -> Allocations {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("asked");
        let mut answer = String::new();
        // One line is asked for, so nothing of another one is lost in the reader.
        let answers = self.child.stdout.as_mut().expect("piped");
        BufRead::read_line(&mut BufReader::new(answers), &mut answer).expect("an answer");
        let (count, bytes) = answer.trim().split_once(' ').expect("two numbers");
        Allocations { count: count.parse().expect("a number"), bytes: bytes.parse().expect("a number") }
    }

    pub fn events(&self) -> String {
        format!("{}/api/v1/events", self.url)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Posts events at a steady rate until stopped.
pub struct Load {
    stop: Arc<std::sync::atomic::AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    pub fn start(client: &Bare, url: &str, per_second_rate: f64) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (stopped, client, url) = (Arc::clone(&stop), client.clone(), url.to_owned());
        let task = tokio::spawn(async move {
            let (body, token) = (Bytes::from(event()), format!("Bearer {ADMIN}"));
            let mut ticks = tokio::time::interval(Duration::from_millis(5));
            let mut owed = 0.0;
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                owed += per_second_rate * 0.005;
                while owed >= 1.0 {
                    owed -= 1.0;
                    let (client, url, token, body) = (client.clone(), url.clone(), token.clone(), body.clone());
                    tokio::spawn(async move { post(&client, &url, Some(&token), body).await });
                }
            }
        });
        Self { stop, task }
    }

    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load");
    }
}

/// A destination that accepts connections and never responds.
pub struct Silent(SocketAddr);

impl Silent {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok(accepted) = listener.accept().await {
                held.push(accepted);
            }
        });
        Self(address)
    }

    pub fn url(&self) -> String {
        format!("http://{}/silent", self.0)
    }
}

/// An event of about 1 KiB.
pub fn event() -> String {
    serde_json::json!({
        "type": "finding_added",
        "occurred_at": "2026-11-17T10:12:45.120Z",
        "engagement": { "id": "eng-1", "name": "External perimeter", "client": "Contoso" },
        "data": { "finding": {
            "id": "F-0101", "title": "SQL injection in the id parameter", "severity": "high", "cvss": 8.8,
            "cwe": [89], "target": "https://shop.contoso.example/items?id=1", "parameter": "id",
            "description": "A single quote in the parameter breaks the statement. ".repeat(8),
            "evidence": "GET /items?id=1%27 HTTP/1.1\r\nHost: shop.contoso.example\r\n\r\nHTTP/1.1 500",
            "tool": "manual", "url": "https://platform.example/findings/F-0101"
        }}
    })
    .to_string()
}

pub fn events(count: usize) -> Arc<Vec<Bytes>> {
    events_of(count, |event| event)
}

/// Equal events, changed so.
pub fn events_of(count: usize, change: impl FnOnce(String) -> String) -> Arc<Vec<Bytes>> {
    let event = Bytes::from(change(event()));
    Arc::new(vec![event; count])
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// The rows of one run: printed as they are measured, and drawn as bars at the end.
pub struct Table(Vec<(String, f64, String)>);

impl Table {
    pub fn new() -> Self {
        head("Measured on this machine; a ratio compares with a floor of the same run");
        Self(Vec::new())
    }

    /// Adds a row: name, figure, floor, and the goal of the ratio (without a floor, of the figure itself).
    pub fn row(&mut self, what: &str, figure: f64, floor: Option<f64>, goal: &str) {
        let text = |figure: f64| if figure >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.2}") };
        let ratio = floor.map(|floor| figure / floor);
        row(what, &text(figure), &floor.map(text).unwrap_or_default(), ratio, goal);
        self.0.extend(ratio.map(|ratio| (what.to_owned(), ratio, goal.to_owned())));
    }

    /// Draws the ratios as bars, for a terminal.
    pub fn finish(self) {
        println!("\nRatios; the mark is the goal");
        for (what, ratio, goal) in self.0 {
            let cells = |ratio: f64| (ratio * 40.0).round().clamp(0.0, 60.0) as usize;
            let mut bar: Vec<char> = format!("{:<60}", "#".repeat(cells(ratio))).chars().collect();
            if let Ok(goal) = goal.trim_start_matches('<').parse::<f64>() {
                bar[cells(goal).min(59)] = '|';
            }
            println!("{what:<62} {} {ratio:.2}", bar.iter().collect::<String>());
        }
    }
}

/// Prints one row: name, figure, floor, ratio and goal.
pub fn row(what: &str, figure: &str, floor: &str, ratio: Option<f64>, goal: &str) {
    let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    println!("| {what:<62} | {figure:>16} | {floor:>16} | {ratio:>6} | {goal:>7} |");
}

pub fn head(title: &str) {
    println!("\n{title}\n");
    row("what", "measured", "floor", None, "goal");
    println!("| {:-<62} | {:->16} | {:->16} | {:->6} | {:->7} |", "", "", "", "", "");
}

pub fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
