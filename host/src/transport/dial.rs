//! TCP connections to a list of addresses: "happy eyeballs" (RFC 8305).
//!
//! From RFC 8305 come the order, IPv6 and IPv4 in turn (section 4; made by
//! [`GuardedResolver`](super::destination::GuardedResolver)), and the staggered attempts of section 5: each address
//! gets a head start of 250 ms before the next one is tried beside it, and the first connection wins. Not done: the
//! asynchronous A and AAAA queries of section 3 (every address is judged before the first attempt, so all must be
//! known), the sorting of RFC 6724, and a history of round-trip times that adapts the delay.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The "connection attempt delay" of RFC 8305, section 5: 250 ms is the recommended value.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses that are tried of one name; all of them are judged.
const MAX_TRIED: usize = 8;

/// The first connection that one of the addresses gives. They must have passed the guard.
///
/// # Errors
/// The last address's error when all failed.
pub(super) async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [address] = addresses.as_slice() {
        return TcpStream::connect(address).await;
    }
    let mut next = addresses.into_iter().take(MAX_TRIED);
    // Dropping the set aborts the attempts that lost.
    let mut attempts = JoinSet::new();
    let mut last_error = None;
    loop {
        if let Some(address) = next.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let finished = if next.len() > 0 {
            match timeout(ATTEMPT_DELAY, attempts.join_next()).await {
                Ok(finished) => finished,
                Err(_) => continue,
            }
        } else {
            attempts.join_next().await
        };
        match finished {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last_error = Some(error),
            Some(Err(error)) => last_error = Some(io::Error::other(error)),
            None => return Err(last_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_dead_address_gives_way_to_the_next() {
        let dead = TcpListener::bind("127.0.0.1:0").await.expect("bind").local_addr().expect("address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let alive = listener.local_addr().expect("address");
        let stream = connect(vec![dead, dead, alive]).await.expect("connection");
        assert_eq!(stream.peer_addr().expect("peer"), alive);
        let error = connect(vec![dead, dead]).await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
