//! Connections that wait for the next request, by what they are connected to.
//!
//! Many webhooks may share a host, so connections are kept for a host and not for a webhook. An attempt takes an idle
//! connection, the one that was used last. If there is none it makes one, and takes whichever comes first: the new one,
//! or one that another attempt gives back. In the second case the new one is still made and kept, since the peer has been
//! asked for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep};

use super::connection::{Connection, Http1, Http2};
use super::connector::Authority;

/// Idle connections that are kept per host: as many as there are concurrent attempts by default, over all webhooks. Many
/// webhooks may share a host (a chat service), and each connection that is not kept must be made again. How many there may
/// be over all hosts together is [`MAX_POOLING`](super::budget::MAX_POOLING).
const IDLE_PER_HOST: usize = 256;
/// The longest that a connection is kept unused.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often connections are dropped that were unused for so long, or that the peer has closed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The connections of one set of TLS names.
#[derive(Debug, Default)]
pub(super) struct Pool {
    hosts: Mutex<HashMap<Authority, Host>>,
}

#[derive(Debug, Default)]
struct Host {
    /// Those over HTTP/1.1 that are unused, in the order in which they were given back.
    idle: Vec<Idle<Box<Http1>>>,
    /// The one over HTTP/2.
    shared: Option<Idle<Http2>>,
    /// Attempts that are making a connection; and some that have made it.
    waiting: VecDeque<oneshot::Sender<Connection>>,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    /// When it was last used.
    since: Instant,
}

/// What an attempt gets from the pool.
#[derive(Debug)]
pub(super) enum Taken {
    /// A connection that was used before.
    Idle(Connection),
    /// There is none. One that another attempt gives back arrives here.
    Later(oneshot::Receiver<Connection>),
}

impl Pool {
    /// Takes a connection, or gets in line for one.
    pub(super) fn take(self: &Arc<Self>, to: &Authority) -> Taken {
        let now = Instant::now();
        let mut hosts = self.lock();
        let taken = hosts.get_mut(to).and_then(|host| host.take(now));
        if let Some(connection) = taken {
            return Taken::Idle(connection);
        }
        let (sender, receiver) = oneshot::channel();
        self.host(&mut hosts, to).wait(sender);
        Taken::Later(receiver)
    }

    /// Keeps a connection that can carry another request, or hands it to an attempt that waits for one.
    pub(super) fn give(self: &Arc<Self>, to: &Authority, http1: Box<Http1>) {
        let now = Instant::now();
        // Beyond what is kept it is dropped, and not while others wait for the lock.
        let _rest = self.host(&mut self.lock(), to).give(http1, now);
    }

    /// Shares a new connection. If another was made at the same time, that one is returned, with true since it was used
    /// before, and this one ends.
    pub(super) fn share(self: &Arc<Self>, to: &Authority, http2: Http2) -> (Connection, bool) {
        self.host(&mut self.lock(), to).share(http2, Instant::now())
    }

    /// The host's connections. With the first host begins the task that drops what is idle for too long.
    fn host<'a>(self: &Arc<Self>, hosts: &'a mut HashMap<Authority, Host>, to: &Authority) -> &'a mut Host {
        if hosts.is_empty() {
            // Not interrupted: each look at a connection counts as work of the task, and there may be many.
            tokio::spawn(unconstrained(sweep(Arc::downgrade(self))));
        }
        if !hosts.contains_key(to) {
            hosts.insert(to.clone(), Host::default());
        }
        hosts.get_mut(to).expect("it was inserted if it was missing")
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Authority, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn take(&mut self, now: Instant) -> Option<Connection> {
        if let Some(shared) = self.shared(now) {
            return Some(shared);
        }
        // The one that was used last is the likeliest to be open, and lets the others become too old.
        let idle = self.idle.pop().filter(|idle| !idle.is_over(now))?;
        Some(Connection::Http1(idle.connection))
    }

    fn shared(&mut self, now: Instant) -> Option<Connection> {
        let shared = self.shared.as_mut().filter(|shared| shared.connection.is_reusable())?;
        shared.since = now;
        Some(Connection::Http2(shared.connection.clone()))
    }

    fn wait(&mut self, sender: oneshot::Sender<Connection>) {
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.retain(|waiting| !waiting.is_closed());
        }
        self.waiting.push_back(sender);
    }

    fn give(&mut self, http1: Box<Http1>, now: Instant) -> Option<Box<Http1>> {
        let mut connection = Connection::Http1(http1);
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting.send(connection) {
                Ok(()) => return None,
                Err(unwanted) => connection = unwanted,
            }
        }
        let Connection::Http1(connection) = connection else { return None };
        if self.idle.len() == IDLE_PER_HOST {
            return Some(connection);
        }
        self.idle.push(Idle { connection, since: now });
        None
    }

    fn share(&mut self, http2: Http2, now: Instant) -> (Connection, bool) {
        if let Some(shared) = self.shared(now) {
            return (shared, true);
        }
        for waiting in self.waiting.drain(..) {
            // Some have made their own.
            let _ = waiting.send(Connection::Http2(http2.clone()));
        }
        self.shared = Some(Idle { connection: http2.clone(), since: now });
        (Connection::Http2(http2), false)
    }

    /// Takes out what is over; returns it, so that it is dropped elsewhere.
    fn sweep(&mut self, now: Instant) -> (Vec<Idle<Box<Http1>>>, Option<Idle<Http2>>) {
        self.waiting.retain(|waiting| !waiting.is_closed());
        let over = self.idle.extract_if(.., |idle| idle.is_over(now) || !idle.connection.is_open()).collect();
        let shared = self.shared.take_if(|shared| shared.is_over(now) || !shared.connection.is_reusable());
        (over, shared)
    }

    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.shared.is_none() && self.waiting.is_empty()
    }
}

impl<C> Idle<C> {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= IDLE_TIMEOUT
    }
}

/// Drops what is idle for too long or closed, until nothing is left.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        let mut over = Vec::new();
        let mut hosts = pool.lock();
        hosts.retain(|_, host| {
            over.push(host.sweep(now));
            !host.is_empty()
        });
        let is_empty = hosts.is_empty();
        drop(hosts);
        drop(over);
        if is_empty {
            return;
        }
    }
}
