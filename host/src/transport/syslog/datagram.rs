//! Syslog over UDP (RFC 5426): fire and forget, except for an ICMP error that arrives at once.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::model::url::DeliveryUrl;
use crate::transport::destination::GuardedResolver;
use crate::transport::failure::Failure;
use crate::transport::phase::{Phase, Reached};

/// The time to wait for "ICMP port unreachable", which says that nothing listens there. On a local network it arrives
/// in less than a millisecond; a later one is missed, as RFC 5426, section 5.2, warns.
const ICMP_WAIT: Duration = Duration::from_millis(10);

/// Sends each message as a datagram. The socket is new each time, so that an ICMP error is about these messages and not
/// about earlier ones.
pub(super) async fn deliver(
    destinations: &GuardedResolver,
    url: &DeliveryUrl,
    messages: &[Bytes],
    phase: &Phase,
) -> Result<(), Failure> {
    phase.set(Reached::LookingUp);
    let addresses = destinations.addresses(&url.host(), url.port()).await?;
    let mut failed = Failure::ClosedBeforeSend;
    for address in addresses {
        phase.set(Reached::Writing);
        match send(address, messages).await {
            Ok(()) => return Ok(()),
            Err(error) => failed = Failure::NotConnected((&error).into()),
        }
    }
    Err(failed)
}

async fn send(address: SocketAddr, messages: &[Bytes]) -> std::io::Result<()> {
    let any: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    for message in messages {
        socket.send(message).await?;
    }
    match timeout(ICMP_WAIT, socket.recv(&mut [0; 1])).await {
        Ok(Err(error)) => Err(error),
        // A datagram in return or silence: something listens, or drops without a word.
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
