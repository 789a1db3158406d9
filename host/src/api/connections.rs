//! The open connections of the API's clients: how many there may be, and which of them makes room for a new one.
//!
//! A connection costs a file descriptor, and the store and deliveries need theirs. So the number is bounded. At the
//! bound a new connection takes the place of the one that has kept the host waiting longest; where none has, it is
//! turned away with a response. Clients that are slow on purpose, or never read, thus cannot keep others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::problem::{ApiError, Code};
use crate::model::settings::ConnectionSettings;

/// Open connections at most, unless a setting says otherwise.
const MAX_CONNECTIONS: usize = 8192;
/// File descriptors kept for the store, components, listeners and idle connections to destinations.
const OTHER_FILES: usize = 128;
/// A connection may be closed for a new one once its client has kept the host waiting this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// `Retry-After` of a connection that is turned away: by then another one has used up [`PATIENCE`].
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Pause between two warnings of the same cause.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// Determines how many connections there may be: the setting, or what the limit of open files leaves beside `attempts`
/// deliveries in flight and the store. At least half of the files are for clients.
pub(super) fn limit(settings: ConnectionSettings, attempts: usize) -> usize {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    let (limit, is_cut) = within(settings.total, attempts, files.unwrap_or(usize::MAX));
    if is_cut {
        tracing::warn!(
            connections = limit,
            "--connections is more than the limit of open files leaves; raise that (LimitNOFILE= or `ulimit -n`)"
        );
    }
    limit
}

/// The number of connections within a number of files; true if it is less than what was set.
fn within(set: usize, attempts: usize, files: usize) -> (usize, bool) {
    let kept = attempts.saturating_add(OTHER_FILES).min(files / 2);
    let most = (files - kept).max(1);
    if set == 0 { (most.min(MAX_CONNECTIONS), false) } else { (set.min(most), set > most) }
}

/// The open connections; cheap to clone.
#[derive(Clone)]
pub(super) struct Connections(Arc<Inner>);

struct Inner {
    total: usize,
    /// Connections of one address at most; 0 for no limit.
    per_address: usize,
    /// The origin of all times.
    start: Instant,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Entry>,
    of_address: HashMap<IpAddr, Share>,
    next_id: u64,
    /// No connection can make room before this time.
    none_before_ms: u64,
    warned: Throttle,
}

/// The connections of one address.
#[derive(Default)]
struct Share {
    open: usize,
    /// None of them can make room before this time.
    none_before_ms: u64,
}

/// Lets a warning pass, and none after it for [`WARN_EVERY`].
#[derive(Default)]
pub(super) struct Throttle(Option<Instant>);

impl Throttle {
    pub(super) fn passes(&mut self) -> bool {
        let passes = self.0.is_none_or(|last| last.elapsed() >= WARN_EVERY);
        if passes {
            self.0 = Some(Instant::now());
        }
        passes
    }
}

struct Entry {
    address: IpAddr,
    activity: Arc<Activity>,
}

/// What one connection is waiting for.
pub(super) struct Activity {
    start: Instant,
    /// Since when the host has been waiting for the client, in milliseconds after `start`, plus one; 0 while the client
    /// waits for the host.
    waiting: AtomicU64,
    /// Cancelled when the connection is to end.
    ends: CancellationToken,
    /// True if it ends to make room, and not because the host stops.
    makes_room: AtomicBool,
}

/// Why a connection is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Another one takes its place.
    MakesRoom,
    /// The host stops: after the request in flight, if there is one.
    HostStops,
}

/// The place of one open connection; dropping it gives it back.
pub(super) struct Admitted {
    connections: Connections,
    id: u64,
    /// What the connection is waiting for.
    pub(super) activity: Arc<Activity>,
}

impl Activity {
    fn now_ms(&self) -> u64 {
        milliseconds(self.start.elapsed())
    }

    /// The host is at work on a request.
    pub(super) fn host_turn(&self) {
        self.waiting.store(0, Ordering::Relaxed);
    }

    /// The host waits for the client: for a request, for more of one, or until it has read a response.
    pub(super) fn client_turn(&self) {
        let _ = self.waiting.compare_exchange(0, self.now_ms() + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The client has sent or read something.
    pub(super) fn progress(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.waiting.store(self.now_ms() + 1, Ordering::Relaxed);
        }
    }

    /// Completes when the connection is to end. The connection's task polls this at every turn, so it is one future for
    /// both reasons.
    pub(super) async fn ends(&self) -> End {
        self.ends.cancelled().await;
        if self.makes_room.load(Ordering::Relaxed) { End::MakesRoom } else { End::HostStops }
    }
}

impl Connections {
    /// No open connections, at most `total` at a time.
    pub(super) fn new(total: usize, per_address: usize) -> Self {
        Self(Arc::new(Inner { total, per_address, start: Instant::now(), table: Mutex::default() }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a new connection a place, if need be that of another one.
    ///
    /// # Errors
    /// 503 with `Retry-After` if all are in use.
    pub(super) fn admit(&self, address: IpAddr) -> Result<Admitted, ApiError> {
        let Inner { total, per_address, start, .. } = *self.0;
        // An IPv4 client of an IPv6 listener is the same client.
        let address = address.to_canonical();
        let now_ms = milliseconds(start.elapsed());
        let mut table = self.table();
        let of_address = table.of_address.get(&address).map_or(0, |share| share.open);
        if per_address > 0 && of_address >= per_address {
            if !table.make_room(now_ms, Some(address)) {
                table.warn("an address has all the connections that it may have");
                let detail = format!("this address has {per_address} connections, which is the limit; close some");
                return Err(ApiError::new(Code::Busy, detail).retry_after(RETRY_AFTER));
            }
        } else if table.open.len() >= total && !table.make_room(now_ms, None) {
            table.warn("all connections are in use");
            let detail = format!("all {total} connections of the host are in use; try again");
            return Err(ApiError::new(Code::Busy, detail).retry_after(RETRY_AFTER));
        }
        let activity = Arc::new(Activity {
            start,
            waiting: AtomicU64::new(now_ms + 1),
            ends: CancellationToken::new(),
            makes_room: AtomicBool::new(false),
        });
        let id = table.next_id;
        table.next_id += 1;
        table.open.insert(id, Entry { address, activity: Arc::clone(&activity) });
        table.of_address.entry(address).or_default().open += 1;
        Ok(Admitted { connections: self.clone(), id, activity })
    }

    /// The number of open connections.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.table().open.len()
    }

    /// Tells every open connection that the host stops.
    pub(super) fn stop(&self) {
        self.table().open.values().for_each(|entry| entry.activity.ends.cancel());
    }

    /// Closes the connection that has kept the host waiting longest, for a host without free file descriptors.
    pub(super) fn close_one(&self) {
        self.table().make_room(milliseconds(self.0.start.elapsed()), None);
    }
}

impl Table {
    /// Closes the connection that has kept the host waiting longest, of all or of one address; false if none has for
    /// [`PATIENCE`].
    fn make_room(&mut self, now_ms: u64, of: Option<IpAddr>) -> bool {
        if self.none_before(of).is_some_and(|none_before| now_ms < *none_before) {
            return false;
        }
        let patience_ms = milliseconds(PATIENCE);
        let candidates = self.open.iter().filter(|(_, entry)| of.is_none_or(|address| entry.address == address));
        let waiting = candidates.filter_map(|(id, entry)| {
            let since = entry.activity.waiting.load(Ordering::Relaxed).checked_sub(1)?;
            Some((since, *id))
        });
        let longest = waiting.min();
        match longest {
            Some((since, id)) if now_ms.saturating_sub(since) >= patience_ms => {
                if let Some(entry) = self.remove(id) {
                    tracing::debug!(address = %entry.address, "a connection was closed for a new one");
                    entry.activity.makes_room.store(true, Ordering::Relaxed);
                    entry.activity.ends.cancel();
                }
                true
            }
            // Whoever begins to wait later has also waited long enough only later.
            _ => {
                if let Some(none_before) = self.none_before(of) {
                    *none_before = longest.map_or(now_ms, |(since, _)| since) + patience_ms;
                }
                false
            }
        }
    }

    /// The time before which no connection can make room, of all or of one address.
    fn none_before(&mut self, of: Option<IpAddr>) -> Option<&mut u64> {
        match of {
            None => Some(&mut self.none_before_ms),
            Some(address) => self.of_address.get_mut(&address).map(|share| &mut share.none_before_ms),
        }
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.open.remove(&id)?;
        if let Some(share) = self.of_address.get_mut(&entry.address) {
            share.open -= 1;
            if share.open == 0 {
                self.of_address.remove(&entry.address);
            }
        }
        Some(entry)
    }

    fn warn(&mut self, cause: &str) {
        if self.warned.passes() {
            tracing::warn!(open = self.open.len(), "{cause}; further ones get a 503");
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        // One that had to make room has no place any more.
        self.connections.table().remove(self.id);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn is_closed(admitted: &Admitted) -> bool {
        admitted.activity.ends.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn one_warning_passes_in_thirty_seconds() {
        let mut throttle = Throttle::default();
        assert!(throttle.passes() && !throttle.passes());
        tokio::time::advance(WARN_EVERY - Duration::from_millis(1)).await;
        assert!(!throttle.passes());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(throttle.passes() && !throttle.passes());
    }

    #[test]
    fn the_default_leaves_files_for_the_store_and_deliveries() {
        assert_eq!(within(0, 256, 65_536), (8192, false));
        assert_eq!(within(0, 256, 1024), (1024 - 256 - 128, false));
        assert_eq!(within(0, 256, 256), (128, false));
        assert_eq!(within(0, usize::MAX, usize::MAX), (8192, false));
        assert_eq!(within(0, 1, 1), (1, false));
        assert_eq!(within(640, 256, 1024), (640, false));
        assert_eq!(within(641, 256, 1024), (640, true));
        assert_eq!(within(20_000, 256, 65_536), (20_000, false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_keeps_the_host_waiting_longest_makes_room() {
        let connections = Connections::new(2, 0);
        let first = connections.admit(A).expect("a place");
        tokio::time::advance(Duration::from_millis(1)).await;
        let second = connections.admit(A).expect("a place");
        tokio::time::advance(PATIENCE - Duration::from_millis(2)).await;
        assert!(connections.admit(B).is_err(), "nobody has waited long enough");
        tokio::time::advance(Duration::from_millis(1)).await;
        let third = connections.admit(B).expect("the place of the first");
        assert!(is_closed(&first) && !is_closed(&second));
        // The place of one that made room is given back once.
        drop(first);
        assert!(connections.admit(B).is_err());
        drop(second);
        let _fourth = connections.admit(B).expect("the place of the second");
        assert!(!is_closed(&third));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_knows_why_it_ends() {
        let connections = Connections::new(1, 0);
        let first = connections.admit(A).expect("a place");
        tokio::time::advance(PATIENCE).await;
        let second = connections.admit(B).expect("the place of the first");
        connections.stop();
        assert_eq!((first.activity.ends().await, second.activity.ends().await), (End::MakesRoom, End::HostStops));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_makes_no_room_while_it_waits_for_the_host_or_makes_progress() {
        let connections = Connections::new(2, 0);
        let (busy, active) = (connections.admit(A).expect("a place"), connections.admit(A).expect("a place"));
        busy.activity.host_turn();
        tokio::time::advance(PATIENCE).await;
        active.activity.progress();
        busy.activity.progress();
        assert!(connections.admit(B).is_err());
        tokio::time::advance(PATIENCE).await;
        busy.activity.client_turn();
        let _new = connections.admit(B).expect("a place");
        assert!(!is_closed(&busy) && is_closed(&active));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_a_limit_of_its_own() {
        let connections = Connections::new(10, 2);
        let (first, second) = (connections.admit(A).expect("a place"), connections.admit(A).expect("a place"));
        assert!(connections.admit(A).is_err());
        let mapped = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
        assert!(connections.admit(mapped.into()).is_err(), "the same client");
        let _other = connections.admit(B).expect("another address");
        // Until then the table is not searched for one that makes room.
        let none_before = |address| connections.table().none_before(Some(address)).copied();
        assert_eq!([none_before(A), none_before(B)], [Some(milliseconds(PATIENCE)), Some(0)]);
        drop(second);
        let _third = connections.admit(A).expect("a place");
        tokio::time::advance(PATIENCE).await;
        let _fourth = connections.admit(A).expect("the place of its own first one");
        assert!(is_closed(&first));
    }
}
