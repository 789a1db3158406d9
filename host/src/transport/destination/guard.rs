//! Which addresses a delivery may go to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{PoisonError, RwLock};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A network that is closed, and what it is, to be read after "which is in 10.0.0.0/8, ".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Row {
    net: IpNet,
    what: &'static str,
}

const fn v4(octets: [u8; 4], prefix: u8, what: &'static str) -> Row {
    let [a, b, c, d] = octets;
    Row { net: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)), what }
}

const fn v6(first: [u16; 3], prefix: u8, what: &'static str) -> Row {
    let [a, b, c] = first;
    Row { net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)), what }
}

/// Closed until whoever runs the server opens them. These come before [`NEVER`]: `::1` lies in `::/96`.
const OPENABLE: [Row; 7] = [
    v4([10, 0, 0, 0], 8, "a private network"),
    v4([172, 16, 0, 0], 12, "a private network"),
    v4([192, 168, 0, 0], 16, "a private network"),
    v4([100, 64, 0, 0], 10, "a provider's shared network"),
    v4([127, 0, 0, 0], 8, "this machine's loopback"),
    Row { net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)), what: "this machine's loopback" },
    v6([0xfc00, 0, 0], 7, "a private network"),
];

/// Closed whatever the configuration says: no receiver has such an address, and what has one is a cloud's
/// metadata service, a neighbour on the link, or an IPv4 address in disguise.
const NEVER: [Row; 28] = [
    v4([0, 0, 0, 0], 8, "\"this network\""),
    v4([169, 254, 0, 0], 16, "link-local addresses, where clouds keep their metadata"),
    v4([192, 0, 0, 0], 24, "addresses kept for protocols"),
    v4([192, 0, 2, 0], 24, "addresses kept for documentation"),
    v4([198, 51, 100, 0], 24, "addresses kept for documentation"),
    v4([203, 0, 113, 0], 24, "addresses kept for documentation"),
    v4([192, 88, 99, 0], 24, "relays from IPv6 to IPv4"),
    v4([198, 18, 0, 0], 15, "addresses kept for benchmarks"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([255, 255, 255, 255], 32, "broadcast"),
    v4([240, 0, 0, 0], 4, "reserved addresses"),
    v6([0xfe80, 0, 0], 10, "link-local addresses"),
    v6([0xfec0, 0, 0], 10, "site-local addresses"),
    v6([0xff00, 0, 0], 8, "multicast"),
    Row { net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128)), what: "the unspecified address" },
    v6([0, 0, 0], 96, "IPv4 addresses written as IPv6"),
    v6([0x64, 0xff9b, 0], 96, "translation to IPv4 (NAT64)"),
    v6([0x64, 0xff9b, 1], 48, "translation to IPv4 (NAT64)"),
    v6([0x2002, 0, 0], 16, "tunnels to IPv4 (6to4)"),
    v6([0x2001, 0, 0], 32, "tunnels to IPv4 (Teredo)"),
    v6([0x2001, 2, 0], 48, "addresses kept for benchmarks"),
    v6([0x2001, 0x10, 0], 28, "identifiers that are no addresses (ORCHID)"),
    v6([0x2001, 0x20, 0], 28, "identifiers that are no addresses (ORCHIDv2)"),
    v6([0x2001, 0xdb8, 0], 32, "addresses kept for documentation"),
    v6([0x3fff, 0, 0], 20, "addresses kept for documentation"),
    v6([0x100, 0, 0], 64, "addresses that discard everything"),
    v6([0x5f00, 0, 0], 16, "segment identifiers"),
    Row {
        net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96)),
        what: "IPv4 addresses written as IPv6",
    },
];

/// Judges addresses: closed networks, those that were opened, and the host's own.
#[derive(Debug)]
pub struct Guard {
    allow: Vec<IpNet>,
    /// Where the host itself listens; known once it does. Written once, read at each new connection.
    own: RwLock<Option<SocketAddr>>,
}

impl Guard {
    /// A guard that opens these networks as far as they may be opened.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow: allow.into_iter().map(canonical).collect(), own: RwLock::default() }
    }

    /// Says where the host listens: no delivery goes there, whatever is open. An unspecified address
    /// (`0.0.0.0`, `[::]`) stands for every address of this machine.
    pub fn set_own(&self, own: SocketAddr) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Some(own);
    }

    /// Whether a delivery may go to this address. An IPv4 address mapped into IPv6 is judged as IPv4.
    ///
    /// # Errors
    /// Why not.
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

/// `::ffff:10.0.0.0/104` as `10.0.0.0/8`: addresses are compared in their IPv4 form.
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
        // A socket on `[::]` takes IPv4 too unless somebody asked for the contrary.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => ip.is_loopback() || is_local(ip),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => ip.is_ipv4() && (ip.is_loopback() || is_local(ip)),
        own => own == ip,
    }
}

/// Whether an address other than loopback is one of this machine's: traffic to it would leave from the very
/// same address. Connecting a UDP socket asks the system for its route and sends nothing.
fn is_local(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    // No route: not local, and no connection either.
    source().is_ok_and(|source| source.ip().to_canonical() == ip)
}

/// An address that a delivery may not go to. Its `Display` is a sentence for people.
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
    /// The same, of an address that this name resolved to.
    pub(super) fn of_name(self, name: &str) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// The stable word for programs.
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
            Reason::Closed(Row { net, what }) => write!(
                f,
                "{ip}{comma} is in {net}, {what}; whoever runs the server can open it with --allow-net {}",
                IpNet::from(*ip)
            ),
            Reason::Never(Row { net, what }) => {
                write!(f, "{ip}{comma} is in {net}, {what}; nothing is ever delivered there")
            }
            Reason::Own(port) => {
                write!(f, "{ip}{comma} is this server itself (port {port}); nothing is ever delivered there")
            }
        }
    }
}

impl std::error::Error for Denied {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses of real interfaces, if there are any beside loopback, found by asking for a route.
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
