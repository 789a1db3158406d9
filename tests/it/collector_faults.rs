//! Syslog collectors that are killed and restarted, that stop reading, that close after each message: every event
//! acknowledged with 202 is delivered or visibly failed, and nothing counts as delivered that was not received.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{Client, Host, events, eventually};

/// Ids of the events that a collector has received.
#[derive(Default)]
struct Received {
    read: BTreeSet<String>,
    /// Acknowledged by the machine's TCP stack but not read when the process was killed. The protocol cannot tell the
    /// sender (RFC 6587, section 3.3).
    unread: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Read,
    /// Keeps connections open and reads nothing.
    Nothing,
    /// Closes after the first message of a connection.
    CloseAfterOne,
    /// Closes on a message with the word `poison`, and reads nothing after it.
    CloseOnPoison,
    /// Closes its port and its connections at once.
    Die,
}

struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    behaviour: watch::Sender<Behaviour>,
    life: Option<JoinHandle<()>>,
    /// Reserves the port while nothing listens on it.
    _port: TcpSocket,
}

impl Collector {
    async fn start(behaviour: Behaviour) -> Self {
        let port = socket("127.0.0.1:0".parse().expect("an address"));
        let address = port.local_addr().expect("an address");
        let mut collector =
            Self { address, received: Arc::default(), behaviour: watch::channel(behaviour).0, life: None, _port: port };
        collector.revive(behaviour);
        collector
    }

    fn url(&self) -> String {
        format!("syslog+tcp://{}", self.address)
    }

    fn revive(&mut self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
        let listener = socket(self.address).listen(64).expect("a listener");
        self.life = Some(tokio::spawn(run(listener, self.behaviour.subscribe(), Arc::clone(&self.received))));
    }

    async fn kill(&mut self) {
        self.behaviour.send_replace(Behaviour::Die);
        self.life.take().expect("it lives").await.expect("it ends");
    }

    fn with_received<T>(&self, read: impl FnOnce(&Received) -> T) -> T {
        read(&self.received.lock().expect("no panic while it was locked"))
    }
}

/// A bound socket with a small buffer, on a port that other sockets of this process may share.
fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("an option");
    socket.set_recv_buffer_size(4096).expect("an option");
    socket.bind(address).expect("the port");
    socket
}

async fn run(listener: TcpListener, mut behaviour: watch::Receiver<Behaviour>, received: Arc<Mutex<Received>>) {
    let mut connections = tokio::task::JoinSet::new();
    let each = behaviour.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a connection");
                connections.spawn(receive(stream, each.clone(), Arc::clone(&received)));
            }
            _ = behaviour.wait_for(|behaviour| *behaviour == Behaviour::Die) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn receive(mut stream: TcpStream, mut behaviour: watch::Receiver<Behaviour>, received: Arc<Mutex<Received>>) {
    let mut bytes = Vec::new();
    loop {
        let now = *behaviour.borrow_and_update();
        match now {
            Behaviour::Die => {
                // Peeked and left unread, so that closing resets the connection, as the death of a process does.
                let mut rest = vec![0; 1 << 20];
                let peeked = std::future::poll_fn(|cx| {
                    let mut rest = tokio::io::ReadBuf::new(&mut rest);
                    std::task::Poll::Ready(match stream.poll_peek(cx, &mut rest) {
                        std::task::Poll::Ready(Ok(read)) => read,
                        _ => 0,
                    })
                })
                .await;
                bytes.extend_from_slice(&rest[..peeked]);
                let mut received = received.lock().expect("no panic while it was locked");
                received.unread.extend(messages(&mut bytes));
                drop(stream);
                return;
            }
            Behaviour::Nothing => behaviour.changed().await.expect("the test holds the other end"),
            Behaviour::Read | Behaviour::CloseAfterOne | Behaviour::CloseOnPoison => {
                let mut chunk = [0; 4096];
                tokio::select! {
                    read = stream.read(&mut chunk) => match read {
                        Ok(0) | Err(_) => return,
                        Ok(read) => bytes.extend_from_slice(&chunk[..read]),
                    },
                    _ = behaviour.changed() => {}
                }
                let poison = now == Behaviour::CloseOnPoison && bytes.windows(6).any(|word| word == b"poison");
                let mut ids = messages(&mut bytes);
                if now == Behaviour::CloseAfterOne {
                    ids.truncate(1);
                }
                let is_over = poison || (now == Behaviour::CloseAfterOne && !ids.is_empty());
                if poison {
                    ids.clear();
                }
                received.lock().expect("no panic while it was locked").read.extend(ids);
                if is_over {
                    return;
                }
            }
        }
    }
}

/// Removes the whole messages at the front and returns their ids.
fn messages(bytes: &mut Vec<u8>) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&bytes[..space]).expect("digits").parse().expect("a length");
        let Some(message) = bytes.get(space + 1..=space + length) else { break };
        let message = syslog_rfc5424::parse_message(std::str::from_utf8(message).expect("text")).expect("a message");
        let id = message.sd.iter().find_map(|(_, params)| params.get("id")).expect("an id");
        ids.push(id.clone());
        bytes.drain(..=space + length);
    }
    ids
}

async fn host() -> Host {
    Host::with(|options| options.retry_every("200ms").args(["--breaker-threshold", "1000"])).await
}

async fn webhook(admin: &Client, collector: &Collector, more: Value) -> String {
    let mut fields = json!({"format": "syslog", "retry_count": 10, "timeout_ms": 1000});
    for (name, value) in more.as_object().expect("an object") {
        fields[name] = value.clone();
    }
    admin.webhook(&collector.url(), fields).await
}

/// Waits until each event's delivery has settled; returns the delivered and the failed events.
async fn ended(admin: &Client, events: &[String]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut delivered, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        let status = admin.settled(event).await[0]["status"].clone();
        match status.as_str() {
            Some("delivered") => delivered.insert(event.clone()),
            Some("failed") => failed.insert(event.clone()),
            _ => panic!("{event}: {status}"),
        };
    }
    (delivered, failed)
}

#[tokio::test]
async fn a_collector_that_is_killed_and_restarted_loses_nothing() {
    let (host, mut collector) = (host().await, Collector::start(Behaviour::Read).await);
    let admin = host.admin();
    webhook(&admin, &collector, json!({})).await;
    let mut posted = Vec::new();
    for _ in 0..4 {
        for event in events::findings(40) {
            posted.push(admin.event(&event).await);
        }
        collector.kill().await;
        for event in events::findings(10) {
            posted.push(admin.event(&event).await);
        }
        // Until the host has noticed.
        let last = posted.last().expect("an event").clone();
        eventually("a failed attempt", async || {
            let deliveries = admin.get(&format!("/events/{last}")).await.expect(200).json();
            (deliveries["deliveries"][0]["attempts"].as_u64() > Some(0)).then_some(())
        })
        .await;
        collector.revive(Behaviour::Read);
    }
    let (delivered, failed) = ended(&admin, &posted).await;
    assert!(failed.is_empty(), "{failed:?}");
    let (mut known, unread) = collector.with_received(|received| (received.read.clone(), received.unread.clone()));
    known.extend(unread);
    assert!(delivered.is_subset(&known), "marked as delivered but never received: {:?}", delivered.difference(&known));
}

#[tokio::test]
async fn a_collector_that_stops_reading_causes_timeouts_and_retries() {
    let (host, collector) = (host().await, Collector::start(Behaviour::Read).await);
    let admin = host.admin();
    let webhook = webhook(&admin, &collector, json!({})).await;
    let mut posted = vec![admin.event(&events::finding("first", "low")).await];
    ended(&admin, &posted).await;
    collector.behaviour.send_replace(Behaviour::Nothing);
    let long = "what is long fills a buffer ".repeat(60);
    for number in 0..60 {
        posted.push(admin.event(&events::finding(&format!("{number} {long}"), "low")).await);
    }
    let timed_out = eventually("an attempt that timed out", async || {
        let history = admin.history(&webhook).await;
        let failed_attempt = |attempt: &Value| attempt["success"] == false;
        history.into_iter().rfind(failed_attempt)
    })
    .await;
    let error = timed_out["error"].as_str().unwrap_or_default();
    assert!(error.starts_with("timeout: the destination did not acknowledge "), "{timed_out}");
    collector.behaviour.send_replace(Behaviour::Read);
    let (delivered, failed) = ended(&admin, &posted).await;
    assert!(failed.is_empty(), "{failed:?}");
    eventually("every delivered message to be read", async || {
        collector.with_received(|received| delivered.is_subset(&received.read)).then_some(())
    })
    .await;
}

/// A message on which the collector closes the connection does not fail the others of its batch.
#[tokio::test]
async fn a_collector_that_closes_on_one_message_receives_the_others() {
    let (host, collector) = (host().await, Collector::start(Behaviour::CloseOnPoison).await);
    let admin = host.admin();
    let batch = json!({"max_events": 8, "max_wait_ms": 300});
    let webhook = webhook(&admin, &collector, json!({"retry_count": 1, "batch": batch})).await;
    let titles = ["a", "b", "c", "poison", "d", "e", "f", "g"];
    let posted: Vec<_> = titles.iter().map(|title| events::finding(title, "low")).collect();
    let responses = admin.post("/events", &json!(posted)).await.expect(202).list();
    let ids: Vec<_> = responses.iter().map(|response| response["id"].as_str().expect("an id").to_owned()).collect();
    let (delivered, failed) = ended(&admin, &ids).await;
    assert_eq!(failed, BTreeSet::from([ids[3].clone()]), "{:#?}", admin.history(&webhook).await);
    let read = collector.with_received(|received| received.read.clone());
    assert!(delivered.is_subset(&read), "marked as delivered but never received: {:?}", delivered.difference(&read));
}

#[tokio::test]
async fn a_collector_that_closes_after_each_message_gets_no_false_deliveries() {
    for batch in [Value::Null, json!({"max_events": 5, "max_wait_ms": 50})] {
        let (host, collector) = (host().await, Collector::start(Behaviour::CloseAfterOne).await);
        let admin = host.admin();
        let webhook = webhook(&admin, &collector, json!({"retry_count": 1, "batch": batch})).await;
        let mut posted = Vec::new();
        for event in events::findings(20) {
            posted.push(admin.event(&event).await);
        }
        let (delivered, failed) = ended(&admin, &posted).await;
        let read = collector.with_received(|received| received.read.clone());
        assert!(
            delivered.is_subset(&read),
            "marked as delivered but never received: {:?}",
            delivered.difference(&read)
        );
        // It closes while a new connection is still unproven, so nothing counts as delivered.
        assert!(!failed.is_empty());
        for attempt in admin.history(&webhook).await {
            let error = attempt["error"].as_str().unwrap_or_default();
            assert!(attempt["success"] == true || error.starts_with("connect: the message was sent, but"), "{attempt}");
        }
    }
}
