//! Syslog over UDP (RFC 5426): fire and forget, but for what the system says at once.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::transport::http::errors;
use crate::transport::http::connector::ConnectFault;
use crate::transport::destination::GuardedResolver;
use crate::transport::failure::{Failure, Reached};
use crate::model::url::DeliveryUrl;

/// How long the destination's machine has to say that nothing listens there (ICMP port unreachable). On a local network
/// it takes less than a millisecond; what comes later is lost, as RFC 5426, section 5.2, warns.
const REFUSAL_WITHIN: Duration = Duration::from_millis(10);

/// Sends each message as a datagram of its own. The socket is new each time, so that a refusal is known to be of this
/// message and not of one before.
pub(super) async fn deliver(
    gate: &GuardedResolver,
    url: &DeliveryUrl,
    messages: &[Bytes],
    reached: &mut Reached,
) -> Result<(), Failure> {
    let addresses = gate.addresses(&url.host(), url.port()).await;
    let addresses = addresses.map_err(|closed| errors::not_connected(&ConnectFault::Closed(closed)))?;
    let mut failed = Failure::ClosedEarly;
    for address in addresses {
        *reached = Reached::Writing;
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
    match timeout(REFUSAL_WITHIN, socket.recv(&mut [0; 1])).await {
        Ok(Err(error)) => Err(error),
        // Whatever it says, it is there.
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
