//! Syslog collectors that are killed and started again, that stop reading, that close after each message: what was
//! answered 202 is delivered or visibly failed, and nothing is called delivered that was not taken.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{Client, Host, events, eventually};

/// What a collector knows when it was killed or has closed: the ids of the events that it took.
#[derive(Default)]
struct Taken {
    read: BTreeSet<String>,
    /// What the machine had acknowledged and nobody had read when the process was killed. The protocol cannot tell
    /// a sender of it (RFC 6587, section 3.3; the README says so).
    unread: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Does {
    Read,
    /// Keeps connections open and takes nothing from them.
    Nothing,
    /// Closes after the first message of a connection.
    CloseAfterOne,
    /// Closes on a message with the word `poison`, and takes nothing of what follows it.
    CloseOnPoison,
    /// Gives up its port and its connections at once.
    Die,
}

struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
    does: watch::Sender<Does>,
    life: Option<JoinHandle<()>>,
    /// Keeps the port while nobody listens on it.
    _port: TcpSocket,
}

impl Collector {
    async fn start(does: Does) -> Self {
        let port = socket("127.0.0.1:0".parse().expect("an address"));
        let address = port.local_addr().expect("an address");
        let mut collector =
            Self { address, taken: Arc::default(), does: watch::channel(does).0, life: None, _port: port };
        collector.revive(does);
        collector
    }

    fn url(&self) -> String {
        format!("syslog+tcp://{}", self.address)
    }

    fn revive(&mut self, does: Does) {
        self.does.send_replace(does);
        let listener = socket(self.address).listen(64).expect("a listener");
        self.life = Some(tokio::spawn(live(listener, self.does.subscribe(), Arc::clone(&self.taken))));
    }

    async fn kill(&mut self) {
        self.does.send_replace(Does::Die);
        self.life.take().expect("it lives").await.expect("it ends");
    }

    fn look<T>(&self, look: impl FnOnce(&Taken) -> T) -> T {
        look(&self.taken.lock().expect("nobody panics with it"))
    }
}

/// A bound socket with a small buffer, which others of this process may share the port of.
fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("an option");
    socket.set_recv_buffer_size(4096).expect("an option");
    socket.bind(address).expect("the port");
    socket
}

async fn live(listener: TcpListener, mut does: watch::Receiver<Does>, taken: Arc<Mutex<Taken>>) {
    let mut connections = tokio::task::JoinSet::new();
    let each = does.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a connection");
                connections.spawn(take(stream, each.clone(), Arc::clone(&taken)));
            }
            _ = does.wait_for(|does| *does == Does::Die) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn take(mut stream: TcpStream, mut does: watch::Receiver<Does>, taken: Arc<Mutex<Taken>>) {
    let mut bytes = Vec::new();
    loop {
        let now = *does.borrow_and_update();
        match now {
            Does::Die => {
                // Looked at and left there, so that closing resets the connection as the end of a process does.
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
                let mut taken = taken.lock().expect("nobody panics with it");
                taken.unread.extend(messages(&mut bytes));
                drop(stream);
                return;
            }
            Does::Nothing => does.changed().await.expect("the test holds the other end"),
            Does::Read | Does::CloseAfterOne | Does::CloseOnPoison => {
                let mut piece = [0; 4096];
                tokio::select! {
                    read = stream.read(&mut piece) => match read {
                        Ok(0) | Err(_) => return,
                        Ok(read) => bytes.extend_from_slice(&piece[..read]),
                    },
                    _ = does.changed() => {}
                }
                let poison = now == Does::CloseOnPoison && bytes.windows(6).any(|word| word == b"poison");
                let mut ids = messages(&mut bytes);
                if now == Does::CloseAfterOne {
                    ids.truncate(1);
                }
                let is_over = poison || (now == Does::CloseAfterOne && !ids.is_empty());
                if poison {
                    ids.clear();
                }
                taken.lock().expect("nobody panics with it").read.extend(ids);
                if is_over {
                    return;
                }
            }
        }
    }
}

/// The ids in the whole messages that stand in front, which are taken out.
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

/// Where the delivery of each event ended: those that were delivered, and those that failed.
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
async fn one_that_is_killed_and_started_again() {
    let (host, mut collector) = (host().await, Collector::start(Does::Read).await);
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
        // Until somebody has noticed.
        let refused = posted.last().expect("an event").clone();
        eventually("a refused attempt", async || {
            let deliveries = admin.get(&format!("/events/{refused}")).await.expect(200).json();
            (deliveries["deliveries"][0]["attempts"].as_u64() > Some(0)).then_some(())
        })
        .await;
        collector.revive(Does::Read);
    }
    let (delivered, failed) = ended(&admin, &posted).await;
    assert!(failed.is_empty(), "{failed:?}");
    let (mut known, unread) = collector.look(|taken| (taken.read.clone(), taken.unread.clone()));
    known.extend(unread);
    assert!(delivered.is_subset(&known), "delivered to nobody: {:?}", delivered.difference(&known));
}

#[tokio::test]
async fn one_that_stops_reading() {
    let (host, collector) = (host().await, Collector::start(Does::Read).await);
    let admin = host.admin();
    let webhook = webhook(&admin, &collector, json!({})).await;
    let mut posted = vec![admin.event(&events::finding("first", "low")).await];
    ended(&admin, &posted).await;
    collector.does.send_replace(Does::Nothing);
    let long = "what is long fills a buffer ".repeat(60);
    for number in 0..60 {
        posted.push(admin.event(&events::finding(&format!("{number} {long}"), "low")).await);
    }
    let gave_up = eventually("an attempt that was given up", async || {
        let history = admin.history(&webhook).await;
        let given_up = |attempt: &Value| attempt["success"] == false;
        history.into_iter().rfind(given_up)
    })
    .await;
    let error = gave_up["error"].as_str().unwrap_or_default();
    assert!(error.starts_with("timeout: the destination did not acknowledge "), "{gave_up}");
    collector.does.send_replace(Does::Read);
    let (delivered, failed) = ended(&admin, &posted).await;
    assert!(failed.is_empty(), "{failed:?}");
    eventually("everything that was taken to be read", async || {
        collector.look(|taken| delivered.is_subset(&taken.read)).then_some(())
    })
    .await;
}

/// One message that it closes on does not take the others of its batch with it.
#[tokio::test]
async fn one_that_closes_on_a_message() {
    let (host, collector) = (host().await, Collector::start(Does::CloseOnPoison).await);
    let admin = host.admin();
    let batch = json!({"max_events": 8, "max_wait_ms": 300});
    let webhook = webhook(&admin, &collector, json!({"retry_count": 1, "batch": batch})).await;
    let titles = ["a", "b", "c", "poison", "d", "e", "f", "g"];
    let posted: Vec<_> = titles.iter().map(|title| events::finding(title, "low")).collect();
    let answers = admin.post("/events", &json!(posted)).await.expect(202).list();
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_str().expect("an id").to_owned()).collect();
    let (delivered, failed) = ended(&admin, &ids).await;
    assert_eq!(failed, BTreeSet::from([ids[3].clone()]), "{:#?}", admin.history(&webhook).await);
    let read = collector.look(|taken| taken.read.clone());
    assert!(delivered.is_subset(&read), "delivered to nobody: {:?}", delivered.difference(&read));
}

#[tokio::test]
async fn one_that_closes_after_each_message() {
    for batch in [Value::Null, json!({"max_events": 5, "max_wait_ms": 50})] {
        let (host, collector) = (host().await, Collector::start(Does::CloseAfterOne).await);
        let admin = host.admin();
        let webhook = webhook(&admin, &collector, json!({"retry_count": 1, "batch": batch})).await;
        let mut posted = Vec::new();
        for event in events::findings(20) {
            posted.push(admin.event(&event).await);
        }
        let (delivered, failed) = ended(&admin, &posted).await;
        let read = collector.look(|taken| taken.read.clone());
        assert!(delivered.is_subset(&read), "delivered to nobody: {:?}", delivered.difference(&read));
        // It closes within the time in which a new connection has to prove itself, so nothing counts as taken.
        assert!(!failed.is_empty());
        for attempt in admin.history(&webhook).await {
            let error = attempt["error"].as_str().unwrap_or_default();
            assert!(attempt["success"] == true || error.starts_with("connect: the message was sent, but"), "{attempt}");
        }
    }
}
