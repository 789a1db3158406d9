//! The SSRF guard: the table of networks that deliveries may not reach, and the judgement of one address.
//!
//! Addresses are judged, not names or URLs, because an address is what a connection goes to. The table follows the
//! IANA special-purpose address registries (RFC 6890) and adds IPv6 forms that lead to an IPv4 address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{PoisonError, RwLock};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A closed network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Row {
    net: IpNet,
    /// Its purpose, to stand after "which is in 10.0.0.0/8, ".
    purpose: &'static str,
}

const fn v4(octets: [u8; 4], prefix: u8, purpose: &'static str) -> Row {
    let [a, b, c, d] = octets;
    Row { net: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)), purpose }
}

const fn v6(first: [u16; 3], prefix: u8, purpose: &'static str) -> Row {
    let [a, b, c] = first;
    Row { net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)), purpose }
}

/// Networks that are closed until an operator allows them. They are looked up before [`NEVER`], since `::1` lies in
/// `::/96`.
const OPENABLE: [Row; 7] = [
    v4([10, 0, 0, 0], 8, "a private network"),
    v4([172, 16, 0, 0], 12, "a private network"),
    v4([192, 168, 0, 0], 16, "a private network"),
    v4([100, 64, 0, 0], 10, "a provider's shared network"),
    v4([127, 0, 0, 0], 8, "this machine's loopback"),
    Row { net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)), purpose: "this machine's loopback" },
    v6([0xfc00, 0, 0], 7, "a private network"),
];

/// Networks that no configuration can allow. No receiver has such an address; those that exist belong to a cloud's
/// metadata service or to neighbours on the link, or embed an IPv4 address that the table would not recognise.
const NEVER: [Row; 28] = [
    v4([0, 0, 0, 0], 8, "\"this network\""),
    v4([169, 254, 0, 0], 16, "link-local addresses, where clouds keep their metadata"),
    v4([192, 0, 0, 0], 24, "addresses reserved for protocols"),
    v4([192, 0, 2, 0], 24, "addresses reserved for documentation"),
    v4([198, 51, 100, 0], 24, "addresses reserved for documentation"),
    v4([203, 0, 113, 0], 24, "addresses reserved for documentation"),
    v4([192, 88, 99, 0], 24, "relays from IPv6 to IPv4"),
    v4([198, 18, 0, 0], 15, "addresses reserved for benchmarks"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([255, 255, 255, 255], 32, "broadcast"),
    v4([240, 0, 0, 0], 4, "reserved addresses"),
    v6([0xfe80, 0, 0], 10, "link-local addresses"),
    v6([0xfec0, 0, 0], 10, "site-local addresses"),
    v6([0xff00, 0, 0], 8, "multicast"),
    Row { net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128)), purpose: "the unspecified address" },
    v6([0, 0, 0], 96, "IPv4 addresses written as IPv6"),
    v6([0x64, 0xff9b, 0], 96, "translation to IPv4 (NAT64)"),
    v6([0x64, 0xff9b, 1], 48, "translation to IPv4 (NAT64)"),
    v6([0x2002, 0, 0], 16, "tunnels to IPv4 (6to4)"),
    v6([0x2001, 0, 0], 32, "tunnels to IPv4 (Teredo)"),
    v6([0x2001, 2, 0], 48, "addresses reserved for benchmarks"),
    v6([0x2001, 0x10, 0], 28, "identifiers, not addresses (ORCHID)"),
    v6([0x2001, 0x20, 0], 28, "identifiers, not addresses (ORCHIDv2)"),
    v6([0x2001, 0xdb8, 0], 32, "addresses reserved for documentation"),
    v6([0x3fff, 0, 0], 20, "addresses reserved for documentation"),
    v6([0x100, 0, 0], 64, "addresses that discard everything"),
    v6([0x5f00, 0, 0], 16, "segment identifiers"),
    Row {
        net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96)),
        purpose: "IPv4 addresses written as IPv6",
    },
];

/// The policy for addresses: closed networks, the exceptions that the operator allows, and the host's own listener.
#[derive(Debug)]
pub struct Guard {
    allow: Vec<IpNet>,
    /// The API's listener; `None` until it is bound. Written once, read at each new connection.
    own: RwLock<Option<SocketAddr>>,
}

impl Guard {
    /// A guard that allows these networks, as far as they can be allowed at all.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow: allow.into_iter().map(canonical).collect(), own: RwLock::default() }
    }

    /// Sets the host's own listener, which no delivery may reach even in an allowed network: an event could otherwise
    /// cause API calls. An unspecified address (`0.0.0.0`, `[::]`) stands for every address of this machine.
    pub fn set_own(&self, own: SocketAddr) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Some(own);
    }

    /// Judges the address that a connection is to be made to. An IPv4-mapped IPv6 address is judged as IPv4.
    ///
    /// # Errors
    /// If it lies in a closed network that is not allowed, or is the host's own listener.
    pub fn judge(&self, address: SocketAddr) -> Result<(), Denied> {
        let ip = address.ip().to_canonical();
        let denied = |reason| Err(Denied { name: None, ip, reason });
        let openable = OPENABLE.iter().find(|row| row.net.contains(&ip));
        match openable {
            Some(row) if !self.allow.iter().any(|net| net.contains(&ip)) => return denied(Reason::Closed(*row)),
            Some(_) => {}
            None => {
                if let Some(row) = NEVER.iter().find(|row| row.net.contains(&ip)) {
                    return denied(Reason::Never(*row));
                }
            }
        }
        let own = *self.own.read().unwrap_or_else(PoisonError::into_inner);
        if own.is_some_and(|own| is_own(own, ip, address.port())) {
            return denied(Reason::Own(address.port()));
        }
        Ok(())
    }
}

/// `::ffff:10.0.0.0/104` as `10.0.0.0/8`, since addresses are compared in their IPv4 form.
fn canonical(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(prefix)) if net.addr().is_ipv6() => {
            Ipv4Net::new(address, prefix).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

fn is_own(own: SocketAddr, ip: IpAddr, port: u16) -> bool {
    if own.port() != port {
        return false;
    }
    let own = own.ip().to_canonical();
    match own {
        // A socket on `[::]` accepts IPv4 too, unless IPV6_V6ONLY is set.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => ip.is_loopback() || is_local(ip),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => ip.is_ipv4() && (ip.is_loopback() || is_local(ip)),
        own => own == ip,
    }
}

/// Returns true if an address other than loopback belongs to this machine: the source address of traffic to it is then
/// the address itself. Connecting a UDP socket asks the system for the route and sends nothing.
fn is_local(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    // Without a route the address is not local, and no connection to it can be made.
    source().is_ok_and(|source| source.ip().to_canonical() == ip)
}

/// A denied address. Its `Display` is a sentence for people: network, purpose, and the remedy if there is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    name: Option<Box<str>>,
    ip: IpAddr,
    reason: Reason,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    Closed(Row),
    Never(Row),
    Own(u16),
}

impl Denied {
    /// Adds the name that resolved to the address.
    pub(in crate::transport) fn of_name(self, name: &str) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// The API's error code: `address_denied` or `own_address`.
    pub fn code(&self) -> &'static str {
        match self.reason {
            Reason::Closed(_) | Reason::Never(_) => "address_denied",
            Reason::Own(_) => "own_address",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} resolves to ")?;
        }
        let comma = if self.name.is_some() { ", which" } else { "" };
        let Self { ip, .. } = self;
        match self.reason {
            Reason::Closed(Row { net, purpose }) => write!(
                f,
                "{ip}{comma} is in {net}, {purpose}; an operator can allow it with --allow-net {}",
                IpNet::from(*ip)
            ),
            Reason::Never(Row { net, purpose }) => {
                write!(f, "{ip}{comma} is in {net}, {purpose}; deliveries there are never allowed")
            }
            Reason::Own(port) => {
                write!(f, "{ip}{comma} is this server itself (port {port}); deliveries there are never allowed")
            }
        }
    }
}

impl std::error::Error for Denied {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses the address of a real interface, if there is one besides loopback: the source of a route to the internet.
    #[test]
    fn an_unspecified_listener_is_every_address_of_this_machine_and_no_other() {
        let far: IpAddr = [93, 184, 215, 14].into();
        let near = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect((far, 9))?;
            socket.local_addr()
        });
        let own = SocketAddr::from(([0, 0, 0, 0], 8080));
        assert!(!is_own(own, far, 8080));
        if let Ok(near) = near {
            assert!(is_own(own, near.ip(), 8080), "{near}");
            assert!(!is_own(own, near.ip(), 8081), "{near}");
        }
    }
}
