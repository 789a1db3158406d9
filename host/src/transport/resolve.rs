//! From a host's name to its addresses.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};

/// A future behind a pointer, as a trait object's method returns it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The longest that an answer is kept, whatever its own lifetime says: a receiver that moves is found
/// again before the first retry.
const KEPT_AT_MOST: Duration = Duration::from_secs(5);
/// The longest that "there is no such name" is kept.
const ABSENCE_KEPT_AT_MOST: Duration = Duration::from_secs(1);

/// Looks up the addresses of a host name; tests bring a table.
pub trait Resolve: Send + Sync {
    /// Every address of the name, of both families. Asked at each new connection, so it may not keep an
    /// answer for long. It never gets an IP address as text.
    ///
    /// # Errors
    /// Whether the name does not exist or could not be looked up.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;
}

/// Why a name has no addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResolveError {
    /// The name servers say that there is no such name, or that it has no address.
    #[error("there is no such name, or it has no address")]
    NotFound,
    /// No name server answered, or it failed.
    #[error("no name server answered")]
    Unreachable,
}

/// The system's name resolution could not be set up.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ResolverSetupError(NetError);

/// A resolver with the system's configuration (`/etc/resolv.conf`, `/etc/hosts`), as it is now.
///
/// A machine without name servers is a good one still: names in its hosts file resolve, others do not.
///
/// # Errors
/// When the resolver refuses the system's options.
pub fn system_resolver() -> Result<Arc<dyn Resolve>, ResolverSetupError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::warn!(%error, "no name servers are configured: only names of the hosts file resolve");
        let none = ResolverConfig::from_name_servers(Vec::new());
        Resolver::builder_with_config(none, TokioRuntimeProvider::default())
    });
    let options = builder.options_mut();
    options.positive_max_ttl = Some(KEPT_AT_MOST);
    options.negative_max_ttl = Some(ABSENCE_KEPT_AT_MOST);
    let resolver = builder.build().map_err(ResolverSetupError)?;
    Ok(Arc::new(SystemResolver(resolver)))
}

struct SystemResolver(TokioResolver);

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            match self.0.lookup_ip(host).await {
                Ok(found) => Ok(found.iter().collect()),
                // Both are answers: one for a name that is not there, one for a name without addresses.
                Err(error) if error.is_nx_domain() || error.is_no_records_found() => Err(ResolveError::NotFound),
                // A name that no name server can be asked for.
                Err(NetError::Proto(_)) => Err(ResolveError::NotFound),
                Err(_) => Err(ResolveError::Unreachable),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6761, section 6.3: needs no name server, so this asks none.
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
