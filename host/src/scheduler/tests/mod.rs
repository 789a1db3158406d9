//! The scheduler with the real store, on a clock and with destinations of a test's own.

mod simulation;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::formatter::{Catalog, CatalogOptions};
use crate::model::delivery::ErrorClass;
use crate::model::event::Event;
use crate::model::settings::TlsFiles;
use crate::model::webhook::Webhook;
use crate::store::DueItem;
use crate::transport::{Guard, Resolve, ResolveError, Tls, Transport};

/// What an attempt at a double came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended {
    /// The formatter does not do this event type.
    Skipped,
    /// The destination took it.
    Delivered,
    /// It did not.
    Failed {
        /// The error's class.
        class: ErrorClass,
        /// The answer's status, if there was one.
        status: Option<u16>,
        /// What the answer asked for.
        retry_after: Option<Duration>,
    },
}

/// What stands in for formatters and network.
pub(crate) trait Double: Send + Sync {
    /// Makes one attempt.
    fn attempt<'a>(
        &'a self,
        webhook: &'a Webhook,
        event: &'a Event,
        item: &'a DueItem,
    ) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>>;
}

struct NoNames;

impl Resolve for NoNames {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>> {
        Box::pin(async { Err(ResolveError::NotFound) })
    }
}

/// What a courier must have and a double does not use.
static UNUSED: LazyLock<(Arc<Catalog>, Arc<Transport>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(simulation::SimClock::standing());
    let registry = Catalog::open(CatalogOptions::in_folder(folder.path(), &[], clock)).expect("a registry");
    let guard = Arc::new(Guard::new(Vec::new()));
    let transport = Transport::new(guard, Arc::new(NoNames), Tls::new(&TlsFiles::default(), &[]).expect("TLS"), None)
        .expect("a transport");
    (Arc::new(registry), Arc::new(transport))
});
