//! The addresses of a destination: the resolver, and the guard against SSRF (server-side request forgery).
//!
//! A webhook's URL is given by an API client and requested by this host, which may reach what the client cannot. The
//! [`Guard`] therefore judges every address of a name, at each new connection, and the connection goes to the very
//! address that was judged. A name whose answer changes between check and connect (DNS rebinding) gains nothing:
//! no second look-up takes place.

mod guard;
mod resolve;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use url::Host;

pub use self::guard::{Denied, Guard};
pub use self::resolve::{BoxFuture, Resolve, ResolveError, ResolverSetupError, system_resolver};

/// The resolver and the guard that judges its addresses: one path for saving a webhook, HTTP and syslog.
pub(super) struct GuardedResolver {
    pub(super) guard: Arc<Guard>,
    pub(super) resolver: Arc<dyn Resolve>,
}

/// Why there is no address to connect to.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("{host}: {error}")]
    Unresolved { host: Box<str>, error: ResolveError },
}

impl GuardedResolver {
    /// Every address of a host, each of them judged, in the order in which they are to be tried; at least one.
    ///
    /// # Errors
    /// If the name has no address, or if one of its addresses is denied: a name with a public and a private address
    /// aims at the private one.
    pub(super) async fn addresses(&self, host: &Host<&str>, port: u16) -> Result<Vec<SocketAddr>, AddressError> {
        let name = match host {
            Host::Ipv4(ip) => return self.literal(IpAddr::V4(*ip), port),
            Host::Ipv6(ip) => return self.literal(IpAddr::V6(*ip), port),
            Host::Domain(name) => *name,
        };
        let unresolved = |error| AddressError::Unresolved { host: name.into(), error };
        let found = self.resolver.resolve(name).await.map_err(unresolved)?;
        if found.is_empty() {
            return Err(unresolved(ResolveError::NotFound));
        }
        for ip in &found {
            self.guard.judge(SocketAddr::new(*ip, port)).map_err(|denied| denied.of_name(name))?;
        }
        Ok(interleaved(found).into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    fn literal(&self, ip: IpAddr, port: u16) -> Result<Vec<SocketAddr>, AddressError> {
        let address = SocketAddr::new(ip, port);
        self.guard.judge(address)?;
        Ok(vec![address])
    }
}

/// IPv6 and IPv4 in turn (RFC 8305, section 4), so that a family without connectivity costs one step.
fn interleaved(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let total = addresses.len();
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut ordered = Vec::with_capacity(total);
    while ordered.len() < total {
        ordered.extend(v6.next());
        ordered.extend(v4.next());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("address")).collect::<Vec<IpAddr>>();
        let ordered = interleaved(ips(&["1.0.0.1", "1.0.0.2", "1.0.0.3", "2600::1"]));
        assert_eq!(ordered, ips(&["2600::1", "1.0.0.1", "1.0.0.2", "1.0.0.3"]));
        assert!(interleaved(Vec::new()).is_empty());
    }
}
