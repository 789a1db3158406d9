//! Name resolution: the [`Resolve`] trait, and the system's resolver behind it.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::ResolverConfig;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, TokioResolver};

/// A boxed future, which a method of a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The longest that an answer is cached, even if its TTL is longer: a receiver that moves is found before the first
/// retry.
const MAX_TTL: Duration = Duration::from_secs(5);
/// The longest that a negative answer ("no such name") is cached (RFC 2308).
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(1);

/// Looks up the addresses of a host name. Tests substitute a table.
pub trait Resolve: Send + Sync {
    /// Every address of the name, of both families. Called for each new connection, so implementations may cache
    /// answers for a few seconds only. `host` is never an IP address.
    ///
    /// # Errors
    /// If the name does not exist, has no address, or could not be looked up.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;
}

/// Why a name has no addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResolveError {
    /// NXDOMAIN, or a name without A and AAAA records.
    #[error("there is no such name, or it has no address")]
    NotFound,
    /// No name server responded, or it reported a failure of its own.
    #[error("no name server responded")]
    Unreachable,
}

/// The system's name resolution could not be set up; holds the resolver's error.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ResolverSetupError(NetError);

/// A resolver with the system's configuration (`/etc/resolv.conf`, `/etc/hosts`), read once.
///
/// A machine without name servers is accepted: the names in its hosts file resolve, others do not.
///
/// # Errors
/// If the resolver rejects the system's options.
pub fn system_resolver() -> Result<Arc<dyn Resolve>, ResolverSetupError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::warn!(%error, "no name servers are configured; only names in /etc/hosts resolve until /etc/resolv.conf names one and the server restarts");
        let none = ResolverConfig::from_name_servers(Vec::new());
        Resolver::builder_with_config(none, TokioRuntimeProvider::default())
    });
    let options = builder.options_mut();
    options.positive_max_ttl = Some(MAX_TTL);
    options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
    let resolver = builder.build().map_err(ResolverSetupError)?;
    Ok(Arc::new(SystemResolver { resolver, hosts: Hosts::from_system().unwrap_or_default() }))
}

struct SystemResolver {
    resolver: TokioResolver,
    /// Looked up first, and on its own: for a name with one address here the resolver would ask a name server for the
    /// other family, and wait for one that does not respond.
    hosts: Hosts,
}

impl SystemResolver {
    fn in_hosts_file(&self, host: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_ascii(host) else { return Vec::new() };
        let families = [RecordType::A, RecordType::AAAA];
        let found = families.map(|family| self.hosts.lookup_static_host(&Query::query(name.clone(), family)));
        found.iter().flatten().flat_map(Lookup::answers).filter_map(|record| record.data.ip_addr()).collect()
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            let found = self.in_hosts_file(host);
            if !found.is_empty() {
                return Ok(found);
            }
            match self.resolver.lookup_ip(host).await {
                Ok(found) => Ok(found.iter().collect()),
                // NXDOMAIN, and NODATA: a name without addresses.
                Err(error) if error.is_nx_domain() || error.is_no_records_found() => Err(ResolveError::NotFound),
                // The text is not a legal DNS name.
                Err(NetError::Proto(_)) => Err(ResolveError::NotFound),
                Err(_) => Err(ResolveError::Unreachable),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::config::NameServerConfig;
    use tokio::net::UdpSocket;

    use super::*;

    #[tokio::test]
    async fn a_name_in_the_hosts_file_needs_no_name_server() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("an address");
        let mut config = NameServerConfig::udp(address.ip());
        config.connections[0].port = address.port();
        let config = ResolverConfig::from_name_servers(vec![config]);
        let resolver =
            Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build().expect("resolver");
        let mut hosts = Hosts::default();
        let file = "10.1.2.3 four.example alias\nfd00::1 six.example\n10.9.9.9 both.example\nfd00::9 both.example\n";
        hosts.read_hosts_conf(file.as_bytes()).expect("a hosts file");
        let resolver = SystemResolver { resolver, hosts };
        for (name, addresses) in [
            ("four.example", vec!["10.1.2.3"]),
            ("four.example.", vec!["10.1.2.3"]),
            ("alias", vec!["10.1.2.3"]),
            ("six.example", vec!["fd00::1"]),
            ("both.example", vec!["10.9.9.9", "fd00::9"]),
        ] {
            let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
            assert_eq!(resolver.resolve(name).await, Ok(addresses), "{name}");
        }
        assert!(server.try_recv(&mut [0; 512]).is_err(), "the name server was asked");
    }

    /// RFC 6761, section 6.3: no name server is asked, so the test needs none.
    #[tokio::test]
    async fn localhost_is_loopback_however_it_is_spelled() {
        let resolver = system_resolver().expect("resolver");
        for name in ["localhost", "localhost."] {
            let addresses = resolver.resolve(name).await.expect(name);
            assert!(!addresses.is_empty());
            assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
        }
    }
}
